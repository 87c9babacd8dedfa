/*
 * server.c - the server: its table of methods, its sockets, its start and its end.
 *
 * Connections are accepted on the loop, which can ask who is there, and given to gRPC as file
 * descriptors. gRPC hands calls over by path (call.c), so the table here is all there is to
 * dispatch; it is complete before the start and constant from then on, so gRPC's thread may read
 * it.
 */
#include <sys/socket.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>

#include "private.h"

/* Calls asked of gRPC in advance. Each that arrives is replaced at once, so more would only
 * shorten the list in which gRPC itself keeps a burst. */
#define CALLS_IN_ADVANCE 32
#define STREAMS_PER_CONNECTION 1024
/* How long to leave new connections alone when there are no fds for them. */
#define ACCEPT_PAUSE_MS 100
#define ACCEPT_BURST 64
/* For remote clients: when to ask a silent one, how long to wait, and how long TLS may take. */
#define KEEPALIVE_MS 20000
#define HANDSHAKE_MS 10000

struct listener {
    struct list link;
    struct rpc_server *server;
    char *path;
    dev_t dev;
    ino_t ino;
    int fd;
    struct io *io;       /* once started */
    struct timer *pause; /* likewise */
};

/* ---- The table ------------------------------------------------------------------------------- */

struct rpc_server *rpc_server_new(struct loop *loop)
{
    struct rpc_server *s = xnew(struct rpc_server);

    atomic_store(&s->refs, 1);
    s->loop = loop;
    s->core = core_get(loop);
    s->rows = map_new();
    list_init(&s->listeners);
    return s;
}

static struct rpc_row *row_of(struct rpc_server *s, const char *service, const char *method)
{
    _cleanup_free_ char *path = xasprintf("/%s/%s", service, method);

    return map_get(s->rows, path);
}

static void add_rows(struct rpc_server *s, const ProtobufCServiceDescriptor *service)
{
    for (unsigned i = 0; i < service->n_methods; i++) {
        struct rpc_row *row = xnew(struct rpc_row);
        row->method = &service->methods[i];
        row->counts = xnew(struct rpc_counts);
        row->path = xasprintf("/%s/%s", service->name, row->method->name);
        if (map_put(s->rows, row->path, row)) {
            log_error("rpc", row->path, "added twice");
            abort();
        }
    }
}

void rpc_server_add_service(struct rpc_server *s, const ProtobufCServiceDescriptor *service,
                            const struct rpc_method *methods, size_t n_methods, void *ctx)
{
    add_rows(s, service);
    for (size_t i = 0; i < n_methods; i++) {
        struct rpc_row *row = row_of(s, service->name, methods[i].name);
        if (!row) {
            log_error("rpc", service->name, "has no method %s", methods[i].name);
            abort();
        }
        row->handler = methods[i].handler;
        row->streaming = methods[i].streaming;
        row->reads = methods[i].reads;
        row->ctx = ctx;
    }
}

void rpc_server_counts(struct rpc_server *s,
                       void (*fn)(void *arg, const char *path, const struct rpc_counts *counts),
                       void *arg)
{
    size_t cursor = 0;
    void *value;

    while (map_next(s->rows, &cursor, NULL, &value)) {
        const struct rpc_row *row = value;
        fn(arg, row->path, row->counts);
    }
}

/* ---- Sockets --------------------------------------------------------------------------------- */

/* Only root, or whom the daemon itself runs as, however the socket's mode was changed. */
static bool peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    log_warn("rpc", NULL, "refused a connection of user %u (process %d)", (unsigned)peer.uid,
             (int)peer.pid);
    return false;
}

static void add_connection(struct rpc_server *s, int fd_take)
{
    _cleanup_close_ int fd = fd_take;

    if (!peer_allowed(fd))
        return;
    grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
    grpc_server_add_channel_from_fd(s->grpc, take_fd(&fd), insecure);
    grpc_server_credentials_release(insecure);
}

static void on_pause_over(void *arg)
{
    struct listener *l = arg;

    io_set(l->io, IO_READ);
}

static void on_connection(void *arg, unsigned events)
{
    struct listener *l = arg;

    for (int i = 0; i < ACCEPT_BURST; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            add_connection(l->server, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EAGAIN)
            return;
        log_error("rpc", l->path, "accept a connection: %s", strerror(errno));
        io_set(l->io, 0);
        timer_start(l->pause, ACCEPT_PAUSE_MS);
        return;
    }
}

static void listener_free(struct listener *l)
{
    list_remove(&l->link);
    io_free(l->io);
    timer_free(l->pause);
    unix_socket_unlink(l->path, l->dev, l->ino);
    fd_close(l->fd);
    free(l->path);
    free(l);
}

int rpc_server_listen(struct rpc_server *s, const char *address, struct err *e)
{
    struct listener *l;
    const char *path;
    dev_t dev;
    ino_t ino;

    if (unix_address_path(address, &path, e) < 0)
        return -1;
    int fd = unix_socket_listen(path, &dev, &ino, e);
    if (fd < 0)
        return -1;
    l = xnew(struct listener);
    l->server = s;
    l->path = xstrdup(path);
    l->dev = dev;
    l->ino = ino;
    l->fd = fd;
    list_append(&s->listeners, &l->link);
    return 0;
}

/* ---- Start ----------------------------------------------------------------------------------- */

static grpc_arg int_arg(const char *key, int value)
{
    grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = (char *)key};

    a.value.integer = value;
    return a;
}

static grpc_server *create_grpc_server(bool remote)
{
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MESSAGE_MAX),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_PER_CONNECTION),
        /* Idle streams live; clients may ping as they like; nothing here wakes up by itself, unless
         * there can be clients whose host or network goes away without a word. */
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, remote ? KEEPALIVE_MS : INT32_MAX),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_MS),
        int_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS),
        /* A second server on the port is a mistake, not a helper. */
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
        int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        /* Bit 0 is "identity": no compression, hence no message that grows when it arrives. */
        int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
    };
    grpc_channel_args all = {.num_args = ARRAY_SIZE(args), .args = args};

    return grpc_server_create(&all, NULL);
}

int rpc_server_start(struct rpc_server *s, struct err *e)
{
    if (s->grpc || s->stopping)
        return err_set(e, ERR_FAILED_PRECONDITION, "the server was started before");
    s->grpc = create_grpc_server(s->tls != NULL);
    if (!s->grpc)
        return err_set(e, ERR_INTERNAL, "gRPC cannot create a server");
    grpc_server_register_completion_queue(s->grpc, core_queue(s->core), NULL);
    int opened = s->tls ? tls_port_open(s->tls, s->grpc, e) : 0;
    grpc_server_start(s->grpc);
    for (int i = 0; i < CALLS_IN_ADVANCE; i++)
        call_request(s);
    list_for_each (it, &s->listeners) {
        struct listener *l = container_of(it, struct listener, link);
        l->pause = timer_new(s->loop, on_pause_over, l);
        l->io = io_new(s->loop, l->fd, IO_READ, on_connection, l);
    }
    return opened;
}

/* ---- End ------------------------------------------------------------------------------------- */

static void on_grace_over(void *arg)
{
    struct rpc_server *s = arg;

    grpc_server_cancel_all_calls(s->grpc);
}

static void deliver_shutdown(struct rpc_op *op)
{
    struct rpc_server *s = container_of(op, struct rpc_server, shutdown);

    timer_free(take_ptr(s->grace));
    grpc_server_destroy(s->grpc);
    s->grpc = NULL;
    if (s->done)
        s->done(s->done_arg);
}

static void on_shutdown(struct rpc_op *op, bool ok)
{
    struct rpc_server *s = container_of(op, struct rpc_server, shutdown);

    op_deliver(s->core, op, ok, deliver_shutdown);
}

static void close_listeners(struct rpc_server *s)
{
    list_for_each_safe (it, &s->listeners)
        listener_free(container_of(it, struct listener, link));
}

static void post_done(void *arg)
{
    struct rpc_server *s = arg;

    if (s->done)
        s->done(s->done_arg);
    server_unref(s);
}

void rpc_server_shutdown(struct rpc_server *s, int64_t grace_ms, void (*done)(void *arg), void *arg)
{
    if (s->stopping) {
        log_error("rpc", NULL, "the server was shut down twice");
        abort();
    }
    s->stopping = true;
    s->done = done;
    s->done_arg = arg;
    close_listeners(s);
    if (!s->grpc) {
        atomic_fetch_add(&s->refs, 1);
        loop_post(s->loop, post_done, s);
        return;
    }
    health_end(s->health);
    op_arm(&s->shutdown, on_shutdown);
    grpc_server_shutdown_and_notify(s->grpc, core_queue(s->core), &s->shutdown);
    if (grace_ms > 0) {
        s->grace = timer_new(s->loop, on_grace_over, s);
        timer_start(s->grace, grace_ms);
    } else {
        grpc_server_cancel_all_calls(s->grpc);
    }
}

void server_unref(struct rpc_server *s)
{
    size_t cursor = 0;
    void *value;

    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    while (map_next(s->rows, &cursor, NULL, &value)) {
        struct rpc_row *row = value;
        free(row->path);
        free(row->counts);
        free(row);
    }
    map_free(s->rows);
    tls_port_free(s->tls);
    free(s);
}

void rpc_server_free(struct rpc_server *s)
{
    if (!s)
        return;
    if (!s->stopping && s->grpc)
        rpc_server_shutdown(s, 0, NULL, NULL);
    s->done = NULL;
    if (s->grpc) {
        grpc_server_cancel_all_calls(s->grpc);
        while (s->grpc)
            core_wait(s->core);
    }
    close_listeners(s);
    health_service_free(s->health);
    core_release(s->core);
    server_unref(s);
}
