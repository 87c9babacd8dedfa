/*
 * server.c - the shim's listening socket and its connections.
 *
 * Usually there is one connection, the daemon's; during its restart for a moment there may be two.
 * A connection costs nothing while it is silent. What a peer does not read is queued up to a
 * limit, then the connection is broken off: the daemon connects anew and asks Info. Broken ones
 * are freed in server_sweep() only, so that a handler never loses the connection under its feet.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "exec.h"
#include "server.h"

enum {
    CONNECTIONS_MAX = 16,
    BACKLOG = 16,
    OUT_MAX = 4 * 1024 * 1024,
    LONELY_MS = 30 * 1000,
    ACCEPT_PAUSE_MS = 200,
};

struct connection {
    struct list link;
    struct watch watch;
    struct channel ch;
    uint64_t serial;
    bool broken;
    struct sandbox *sb;
};

static void connection_free(struct connection *c)
{
    list_remove(&c->link);
    watch_remove(&c->sb->poller, &c->watch);
    channel_close(&c->ch);
    exec_connection_closed(c->sb, c->serial);
    free(c);
}

/* ---- Sending -------------------------------------------------------------------------------- */

/* Looks at the queue after something was put in or the socket became writable. */
static void connection_flush(struct connection *c)
{
    int r = channel_flush(&c->ch);

    if (r < 0 || c->ch.out_bytes > OUT_MAX)
        c->broken = true;
    watch_set(&c->sb->poller, &c->watch, r > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static struct connection *find_connection(struct sandbox *sb, uint64_t serial)
{
    list_for_each (it, &sb->server.connections) {
        struct connection *c = container_of(it, struct connection, link);
        if (c->serial == serial)
            return c;
    }
    return NULL;
}

void server_answer(struct sandbox *sb, struct reply to, Podd__Shim__Envelope__BodyCase body_case,
                   void *body, const int *fds_take, size_t n_fds)
{
    struct connection *c = find_connection(sb, to.connection);
    envelope_t env = envelope_of(to.call, body_case, body);

    if (!c || c->broken) {
        for (size_t i = 0; i < n_fds; i++)
            fd_close(fds_take[i]);
        return;
    }
    channel_send(&c->ch, &env, fds_take, n_fds);
    connection_flush(c);
}

void server_answer_failure(struct sandbox *sb, struct reply to, const struct err *e)
{
    Podd__Shim__Failure failure = PODD__SHIM__FAILURE__INIT;

    failure.code = (int32_t)e->code;
    failure.message = (char *)err_text(e);
    server_answer(sb, to, PODD__SHIM__ENVELOPE__BODY_FAILURE, &failure, NULL, 0);
}

void server_send_event(struct sandbox *sb, Podd__Shim__Envelope__BodyCase body_case, void *body)
{
    list_for_each (it, &sb->server.connections) {
        struct connection *c = container_of(it, struct connection, link);
        server_answer(sb, (struct reply){.connection = c->serial}, body_case, body, NULL, 0);
    }
}

/* ---- Receiving ------------------------------------------------------------------------------ */

/* 0, or -EPROTO: the connection makes no sense any more. */
static int handle_frame(struct connection *c, const uint8_t *data, size_t len)
{
    _cleanup_message_ struct message *m = message_unpack(data, len);

    if (!m || m->env->call == 0)
        return -EPROTO;
    struct request rq = {
        .sb = c->sb,
        .reply = {.connection = c->serial, .call = m->env->call},
        .env = m->env,
        .n_fds = service_fds(m->env),
    };
    if (channel_take_fds(&c->ch, rq.n_fds, rq.fds) < 0)
        return -EPROTO;
    rq.message = take_ptr(m);
    service_handle(&rq);
    m = rq.message;
    for (size_t i = 0; i < rq.n_fds; i++)
        fd_close(rq.fds[i]);
    return 0;
}

static int handle_frames(struct connection *c)
{
    const uint8_t *data;
    size_t len;
    int r;

    while (!c->broken && (r = channel_next(&c->ch, &data, &len)) != 0) {
        if (r < 0 || handle_frame(c, data, len) < 0)
            return -EPROTO;
        if (channel_has_stray_fds(&c->ch))
            return -EPROTO;
    }
    return 0;
}

static void on_connection(struct watch *w, uint32_t events)
{
    struct connection *c = container_of(w, struct connection, watch);

    if (events & EPOLLOUT)
        connection_flush(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    int r = channel_receive(&c->ch);
    if (r > 0)
        r = handle_frames(c) < 0 ? -EPROTO : 1;
    if (r <= 0 && r != -EAGAIN)
        c->broken = true;
}

void server_sweep(struct sandbox *sb)
{
    list_for_each_safe (it, &sb->server.connections) {
        struct connection *c = container_of(it, struct connection, link);
        if (c->broken)
            connection_free(c);
    }
}

/* ---- Accepting ------------------------------------------------------------------------------ */

static size_t count_connections(struct sandbox *sb)
{
    size_t n = 0;

    list_for_each (it, &sb->server.connections)
        n++;
    return n;
}

static bool peer_is_trusted(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void on_listener(struct watch *w, uint32_t events)
{
    struct sandbox *sb = container_of(w, struct sandbox, server.watch);
    _cleanup_close_ int fd = accept4(sb->server.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        /* Out of descriptors: it would be ready again at once, and the loop would spin. */
        watch_set(&sb->poller, w, 0);
        deadline_start(&sb->poller, &sb->server.accept_again, ACCEPT_PAUSE_MS);
    }
    if (fd < 0 || !peer_is_trusted(fd) || count_connections(sb) >= CONNECTIONS_MAX)
        return;
    struct connection *c = xnew(struct connection);
    if (watch_add(&sb->poller, &c->watch, fd, EPOLLIN, on_connection) < 0) {
        free(c);
        return;
    }
    channel_init(&c->ch, take_fd(&fd));
    c->serial = ++sb->server.last_serial;
    c->sb = sb;
    list_append(&sb->server.connections, &c->link);
    deadline_stop(&sb->server.lonely);
}

static void on_accept_again(struct deadline *d)
{
    struct sandbox *sb = container_of(d, struct sandbox, server.accept_again);

    watch_set(&sb->poller, &sb->server.watch, EPOLLIN);
}

/* The daemon died between asking for the shim and connecting: nobody knows of it. */
static void on_lonely(struct deadline *d)
{
    struct sandbox *sb = container_of(d, struct sandbox, server.lonely);

    sb->ended = true;
}

/* A path of any length: unix(7) allows 107 bytes, a link in proc shortens what is longer. */
static int listen_in(int dir_fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        return -errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    mode_t before = umask(0177); /* bind makes it 0600: there is no moment of more */
    int r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    umask(before);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    return r < 0 ? r : take_fd(&fd);
}

int server_start(struct sandbox *sb, struct err *e)
{
    struct server *s = &sb->server;

    list_init(&s->connections);
    s->fd = listen_in(sb->dir_fd, "shim.sock");
    if (s->fd < 0)
        return err_errno(e, take_fd(&s->fd), "listen on shim.sock of pod %s", sb->id);
    int r = watch_add(&sb->poller, &s->watch, s->fd, EPOLLIN, on_listener);
    if (r < 0)
        return err_errno(e, r, "watch shim.sock of pod %s", sb->id);
    deadline_init(&s->accept_again, on_accept_again);
    deadline_init(&s->lonely, on_lonely);
    deadline_start(&sb->poller, &s->lonely, LONELY_MS);
    return 0;
}

void server_stop(struct sandbox *sb)
{
    unlinkat(sb->dir_fd, "shim.sock", 0);
    list_for_each_safe (it, &sb->server.connections) {
        struct connection *c = container_of(it, struct connection, link);
        channel_flush(&c->ch);
        connection_free(c);
    }
}
