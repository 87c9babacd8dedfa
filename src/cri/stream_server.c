/*
 * stream_server.c - listens, reads the request that begins each stream, finds what its token stands
 * for, and hands the connection to a session.
 *
 *   accepted --request read, 101--> session
 *       \--anything else, or HEAD_MS--> answered and closed
 *
 * Connections that have not shown a token yet are cheap and few: of more than CALLERS_MAX the
 * oldest is dropped, so that who connects and says nothing keeps nobody out. Sessions are counted
 * apart. A token is used up by the first request that brings it, whatever becomes of that; it is
 * never logged.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "stream_server.h"

enum {
    CALLERS_MAX = 256,
    SESSIONS_MAX = 1024,
    ACCEPT_BATCH = 32,
    ACCEPT_PAUSE_MS = 100, /* when the process has no descriptors left */
    HEAD_MS = 10000,
    STALL_MS = 10 * 60 * 1000, /* long enough to look at a page of output in a pager */
    IDLE_MS = 4 * 60 * 60 * 1000,
};

struct stream_server {
    struct loop *loop;
    struct pods *pods;
    int fd;
    char *base; /* "http://127.0.0.1:1234" */
    struct io *io;
    struct timer *retry;
    struct tokens *tokens;
    struct links links;
    struct list callers, sessions;
    size_t n_callers, n_sessions;
};

/* A connection whose request is being read. */
struct caller {
    struct list siblings; /* the oldest first */
    struct stream_server *server;
    struct link *link;
    struct timer *timer;
    struct strbuf head;
};

/* ---- Sessions ------------------------------------------------------------------------------- */

void session_begin(struct session *s, struct stream_server *server, void (*shut)(struct session *s))
{
    s->server = server;
    s->shut = shut;
    list_append(&server->sessions, &s->siblings);
    server->n_sessions++;
}

void session_end(struct session *s)
{
    list_remove(&s->siblings);
    s->server->n_sessions--;
}

struct loop *session_loop(const struct session *s)
{
    return s->server->loop;
}

struct pods *session_pods(const struct session *s)
{
    return s->server->pods;
}

static void open_session(struct stream_server *s, struct link *link_take, const struct upgrade *u,
                         struct stream_request *request_take, const uint8_t *leftover, size_t len)
{
    session_open_fn *open = command_open;

    if (request_take->kind == STREAM_PORT_FORWARD)
        open = u->protocol->format == FORMAT_CHANNELS ? forward_ws_open : forward_spdy_open;
    open(s, link_take, u->protocol, request_take, leftover, len);
}

/* ---- Callers -------------------------------------------------------------------------------- */

static void caller_free(struct caller *c)
{
    list_remove(&c->siblings);
    c->server->n_callers--;
    timer_free(c->timer);
    link_free(c->link);
    strbuf_free(&c->head);
    free(c);
}

static void answer(struct caller *c, int status, const char *extra, const char *text)
{
    _cleanup_strbuf_ struct strbuf out = {0};

    http_answer(&out, status, extra, text);
    link_send(c->link, out.data, out.len);
    link_finish(take_ptr(c->link));
    caller_free(c);
}

/* The request is right: the connection becomes a stream, or is told why not. */
static void upgrade(struct caller *c, const struct http_head *head,
                    struct stream_request *request_take)
{
    struct stream_server *s = c->server;
    enum stream_kind kind = request_take->kind;
    _cleanup_strbuf_ struct strbuf out = {0};
    struct upgrade u;

    upgrade_decide(head, kind, &u);
    upgrade_answer(&u, kind, &out);
    link_send(c->link, out.data, out.len);
    if (!u.protocol) {
        stream_request_free(request_take);
        link_finish(take_ptr(c->link));
    } else {
        open_session(s, take_ptr(c->link), &u, request_take,
                     (const uint8_t *)c->head.data + head->len, c->head.len - head->len);
    }
    caller_free(c);
}

static void serve(struct caller *c, const struct http_head *head)
{
    struct stream_server *s = c->server;
    enum stream_kind kind;
    const char *token = http_path_parse(head->path, &kind);

    if (!str_equal(head->method, "GET") && !str_equal(head->method, "POST")) {
        answer(c, 405, "Allow: GET, POST\r\n", "only GET and POST are answered");
        return;
    }
    struct stream_request *request =
        token ? tokens_redeem(s->tokens, token, kind, time_mono_ns()) : NULL;
    if (!request) {
        answer(c, 404, "", "there is no such stream: each address works once, for a minute");
    } else if (s->n_sessions >= SESSIONS_MAX) {
        stream_request_free(request);
        answer(c, 503, "", "too many streaming sessions are open");
    } else {
        upgrade(c, head, request);
    }
}

static void on_head_data(void *arg, const uint8_t *data, size_t len)
{
    struct caller *c = arg;
    struct http_head head = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    strbuf_add(&c->head, data, len);
    int r = http_head_parse(c->head.data, c->head.len, &head, &e);
    if (r < 0)
        answer(c, 400, "", err_text(&e));
    else if (r > 0)
        serve(c, &head);
}

static void on_head_gone(void *arg)
{
    caller_free(arg);
}

static void on_head_timeout(void *arg)
{
    caller_free(arg);
}

static void caller_new(struct stream_server *s, int fd_take)
{
    static const struct link_events events = {.on_data = on_head_data, .on_gone = on_head_gone};
    struct caller *c = xnew(struct caller);

    c->server = s;
    c->link = link_new(&s->links, fd_take, &events, c);
    c->timer = timer_new(s->loop, on_head_timeout, c);
    timer_start(c->timer, HEAD_MS);
    list_append(&s->callers, &c->siblings);
    if (++s->n_callers > CALLERS_MAX)
        caller_free(container_of(s->callers.next, struct caller, siblings));
}

/* ---- Listening ------------------------------------------------------------------------------ */

static void on_retry(void *arg)
{
    struct stream_server *s = arg;

    io_set(s->io, IO_READ);
}

static void on_connection(void *arg, unsigned events)
{
    struct stream_server *s = arg;

    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            caller_new(s, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn("stream", NULL, "accept a streaming client: %s", strerror(errno));
            io_set(s->io, 0);
            timer_start(s->retry, ACCEPT_PAUSE_MS);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

/* The address as the kernel and a URL want it. */
static int resolve(const char *address, uint16_t port, struct sockaddr_storage *ret,
                   socklen_t *ret_len, struct err *e)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_len = sizeof(*v4);
        return 0;
    }
    if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *ret_len = sizeof(*v6);
        return 0;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "streaming address %s is no IP address", address);
}

static int listen_on(struct stream_server *s, const char *address, uint16_t port, struct err *e)
{
    struct sockaddr_storage name;
    socklen_t len;
    int on = 1;

    if (resolve(address, port, &name, &len, e) < 0)
        return -1;
    s->fd = socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return err_errno(e, errno, "make the streaming socket");
    (void)setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(s->fd, (struct sockaddr *)&name, len) < 0 || listen(s->fd, SOMAXCONN) < 0)
        return err_errno(e, errno, "listen for streaming clients on %s port %u", address, port);
    len = sizeof(name);
    if (getsockname(s->fd, (struct sockaddr *)&name, &len) < 0)
        return err_errno(e, errno, "find the port of the streaming server");
    bool v6 = name.ss_family == AF_INET6;
    s->base = xasprintf(v6 ? "http://[%s]:%u" : "http://%s:%u", address,
                        ntohs(v6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                 : ((struct sockaddr_in *)&name)->sin_port));
    return 0;
}

int stream_server_open(const struct stream_config *config, struct stream_server **ret,
                       struct err *e)
{
    struct stream_server *s = xnew(struct stream_server);

    s->loop = config->loop;
    s->pods = config->pods;
    s->fd = -1;
    if (listen_on(s, config->address, config->port, e) < 0) {
        fd_close(s->fd);
        free(s);
        return -1;
    }
    s->tokens = tokens_new();
    s->links = (struct links){.loop = s->loop, .idle_ms = IDLE_MS, .stall_ms = STALL_MS};
    list_init(&s->links.all);
    list_init(&s->callers);
    list_init(&s->sessions);
    s->retry = timer_new(s->loop, on_retry, s);
    s->io = io_new(s->loop, s->fd, IO_READ, on_connection, s);
    *ret = s;
    return 0;
}

void stream_server_close(struct stream_server *s)
{
    if (!s)
        return;
    io_free(s->io);
    timer_free(s->retry);
    fd_close(s->fd);
    list_for_each_safe (it, &s->callers)
        caller_free(container_of(it, struct caller, siblings));
    while (!list_empty(&s->sessions)) {
        struct session *session = container_of(s->sessions.next, struct session, siblings);
        session->shut(session);
    }
    links_close(&s->links);
    tokens_free(s->tokens);
    free(s->base);
    free(s);
}

int stream_server_url(struct stream_server *s, struct stream_request *request_take, char **ret,
                      struct err *e)
{
    static const char *const paths[] = {"exec", "attach", "portforward"};
    enum stream_kind kind = request_take->kind;
    char token[TOKEN_SIZE];

    if (tokens_issue(s->tokens, request_take, time_mono_ns(), token, e) < 0)
        return -1;
    *ret = xasprintf("%s/%s/%s", s->base, paths[kind], token);
    return 0;
}
