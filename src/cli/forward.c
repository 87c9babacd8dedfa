/*
 * forward.c - port-forward: ports of this machine that lead into a pod.
 *
 * Each connection to a listener gets a session of its own to the pod's port, and lives and dies
 * with it; one that fails does not touch the others. Either side may end its direction first.
 */
#include "cli.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "session.h"

enum {
    DATA = 0, /* channels of a session that forwards one port */
    FAILURE = 1,
    CHUNK = 32 << 10,
    OUT_FULL = 1 << 20,
};

struct forward {
    struct cli *cli;
    const char *sandbox_id;
    struct list listeners, connections;
    int status;
};

struct listener {
    struct list link;
    struct forward *forward;
    int fd;
    struct io *io;
    uint16_t local, remote;
};

struct connection {
    struct list link;
    struct forward *forward;
    uint16_t remote;
    int fd;
    struct io *io;
    struct session *session; /* NULL: its address is still asked for */
    struct strbuf out;       /* for the local side */
    bool input_ended, output_ended, session_over;
    unsigned char greeted; /* bits of the channels whose first message, the port, has come */
};

/* ---- A connection
 * --------------------------------------------------------------------------------- */

static void connection_free(struct connection *c)
{
    list_remove(&c->link);
    session_free(c->session);
    io_free(c->io);
    fd_close(c->fd);
    strbuf_free(&c->out);
    free(c);
}

static void watch(struct connection *c)
{
    bool may_read =
        c->session && !c->input_ended && !c->session_over && !session_is_full(c->session);

    io_set(c->io, (may_read ? IO_READ : 0) | (c->out.len ? IO_WRITE : 0));
    if (c->session && !c->session_over)
        session_pause(c->session, c->out.len >= OUT_FULL);
}

/* The server's end goes to the local side behind all of its data. */
static void end_output(struct connection *c)
{
    if (c->output_ended && c->out.len == 0)
        shutdown(c->fd, SHUT_WR);
}

static void on_message(void *arg, unsigned channel, const uint8_t *data, size_t len)
{
    struct connection *c = arg;

    if (channel == CHANNEL_CLOSE) {
        c->output_ended = true;
        end_output(c);
    }
    if (channel > FAILURE)
        return;
    if (!(c->greeted & 1u << channel)) {
        c->greeted |= (unsigned char)(1u << channel);
        return;
    }
    if (channel == FAILURE) {
        _cleanup_free_ char *text = xstrndup((const char *)data, len);
        _cleanup_free_ char *clean = format_clean(text);
        fprintf(stderr, "podctl: %s\n", clean);
        return;
    }
    strbuf_add(&c->out, data, len);
    watch(c);
}

static void on_end(void *arg, const struct err *e)
{
    struct connection *c = arg;

    c->session_over = true;
    if (c->out.len == 0)
        connection_free(c);
    else
        watch(c);
}

static void on_room(void *arg)
{
    watch(arg);
}

static const struct session_events session_events = {
    .on_message = on_message,
    .on_end = on_end,
    .on_room = on_room,
};

/* False: the local side is gone. */
static bool local_read(struct connection *c)
{
    char chunk[CHUNK];
    ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n > 0) {
        session_send(c->session, DATA, chunk, (size_t)n);
    } else {
        uint8_t channel = DATA;
        c->input_ended = true;
        session_send(c->session, CHANNEL_CLOSE, &channel, 1);
    }
    return true;
}

static bool local_write(struct connection *c)
{
    ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    c->out.len -= (size_t)n;
    memmove(c->out.data, c->out.data + n, c->out.len);
    end_output(c);
    return true;
}

static void on_local(void *arg, unsigned events)
{
    struct connection *c = arg;
    bool alive = true;

    if (events & IO_WRITE && c->out.len)
        alive = local_write(c);
    if (alive && events & IO_READ && !c->input_ended)
        alive = local_read(c);
    if (!alive || (c->session_over && c->out.len == 0))
        connection_free(c);
    else
        watch(c);
}

static void on_address(void *arg, const ProtobufCMessage *message, const struct err *e)
{
    const Runtime__V1__PortForwardResponse *answer = (const void *)message;
    struct connection *c = arg;
    _cleanup_err_ struct err failure = ERR_INIT;

    if (e->code == ERR_OK && session_open(c->forward->cli->loop, answer->url, PROTOCOL_FORWARD,
                                          &session_events, c, &c->session, &failure) == 0) {
        watch(c);
        return;
    }
    struct forward *f = c->forward;
    connection_free(c);
    f->status = cli_fail(e->code != ERR_OK ? e : &failure);
    if (e->code == ERR_NOT_FOUND || e->code == ERR_UNAVAILABLE)
        loop_stop(f->cli->loop); /* the pod or podd is gone: so is what was to be forwarded */
}

static void on_connection(void *arg, unsigned events)
{
    Runtime__V1__PortForwardRequest request = RUNTIME__V1__PORT_FORWARD_REQUEST__INIT;
    struct listener *l = arg;
    int32_t port = l->remote;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    struct connection *c = xnew(struct connection);
    *c = (struct connection){.forward = l->forward, .remote = l->remote, .fd = fd};
    c->io = io_new(l->forward->cli->loop, fd, 0, on_local, c);
    list_append(&l->forward->connections, &c->link);
    request.pod_sandbox_id = (char *)l->forward->sandbox_id;
    request.port = &port;
    request.n_port = 1;
    rpc_client_call(l->forward->cli->client, &runtime__v1__runtime_service__descriptor,
                    "PortForward", &request.base, 0, on_address, c);
}

/* ---- Listeners
 * ------------------------------------------------------------------------------------ */

static void listener_free(struct listener *l)
{
    list_remove(&l->link);
    io_free(l->io);
    fd_close(l->fd);
    free(l);
}

static int listen_on(const char *address, uint16_t port, uint16_t *ret_port, struct err *e)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    socklen_t len = sizeof(a.v4);
    int on = 1;

    if (inet_pton(AF_INET, address, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, address, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
        len = sizeof(a.v6);
    } else {
        return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not an address", address);
    }
    _cleanup_close_ int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &a.any, len) < 0 || listen(fd, 128) < 0 || getsockname(fd, &a.any, &len) < 0)
        return err_errno(e, errno, "listen on %s port %u", address, port);
    *ret_port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    return take_fd(&fd);
}

static int listener_new(struct forward *f, const char *address, uint16_t local, uint16_t remote)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct listener *l = xnew(struct listener);

    *l = (struct listener){.forward = f, .remote = remote};
    list_append(&f->listeners, &l->link);
    l->fd = listen_on(address, local, &l->local, &e);
    if (l->fd < 0)
        return cli_fail(&e);
    l->io = io_new(f->cli->loop, l->fd, IO_READ, on_connection, l);
    printf("Forwarding from %s%s%s:%u to port %u\n", strchr(address, ':') ? "[" : "", address,
           strchr(address, ':') ? "]" : "", l->local, remote);
    return EXIT_OK;
}

/* "8080:80", "80" (the same on both sides) or ":80" (any free one here). */
static int parse_ports(const char *text, uint16_t *ret_local, uint16_t *ret_remote)
{
    const char *colon = strchr(text, ':');
    _cleanup_free_ char *left = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
    uint64_t local = 0, remote;

    if (parse_uint(colon ? colon + 1 : text, UINT16_MAX, &remote) < 0 || remote == 0 ||
        (!str_empty(left) && parse_uint(left, UINT16_MAX, &local) < 0))
        return cli_usage("port-forward: \"%s\" is not PORT, LOCAL:REMOTE or :REMOTE", text);
    *ret_local = (uint16_t)local;
    *ret_remote = (uint16_t)remote;
    return EXIT_OK;
}

/* ---- The command
 * ---------------------------------------------------------------------------------- */

static void on_signal(void *arg, int signo)
{
    loop_stop(arg);
}

static int forward_run(struct forward *f, const char *address, int n, char **ports)
{
    uint16_t local = 0, remote = 0;

    for (int i = 0; i < n; i++) {
        int status = parse_ports(ports[i], &local, &remote);
        if (status == EXIT_OK)
            status = listener_new(f, address, local, remote);
        if (status != EXIT_OK)
            return status;
    }
    fflush(stdout);
    loop_on_signal(f->cli->loop, SIGINT, on_signal, f->cli->loop);
    loop_on_signal(f->cli->loop, SIGTERM, on_signal, f->cli->loop);
    loop_run(f->cli->loop);
    return f->status;
}

int cmd_port_forward(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    const char *address = "127.0.0.1";
    const struct option_spec options[] = {{"--address", .value = &address}};
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("port-forward: %s", err_text(&e));
    if (argc < 2)
        return cli_usage("port-forward: podctl port-forward POD [LOCAL:]REMOTE...");
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, argv[0], &status);
    if (!answer)
        return status;
    if (str_empty(answer->pod->status->sandbox_id)) {
        fprintf(stderr, "podctl: pod %s is not running\n", answer->pod->name);
        return EXIT_FAILED;
    }
    struct forward f = {.cli = cli, .sandbox_id = answer->pod->status->sandbox_id};
    list_init(&f.listeners);
    list_init(&f.connections);
    status = forward_run(&f, address, argc - 1, argv + 1);
    list_for_each_safe (it, &f.listeners)
        listener_free(container_of(it, struct listener, link));
    rpc_client_free(
        take_ptr(cli->client)); /* addresses still asked for are answered, with an error */
    list_for_each_safe (it, &f.connections)
        connection_free(container_of(it, struct connection, link));
    return status;
}
