/*
 * metrics_http.c - serves GET /metrics and nothing else, one request per connection.
 *
 * A client is in one of three states: its head is read (at most HEAD_MAX bytes), the answer is
 * written, and then it is read empty until it closes, since closing on unread bytes would reset the
 * connection and could take the answer with it. One timer of CLIENT_MS bounds all three together,
 * and CLIENTS_MAX the clients at a time, so nobody can hold memory or descriptors by being slow.
 */
#include "metrics_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define HEAD_MAX 8192
#define CLIENTS_MAX 16
#define CLIENT_MS 5000
/* How long to leave new connections alone when there are no descriptors for them. */
#define ACCEPT_PAUSE_MS 100
#define PAGE_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_http {
    struct loop *loop;
    int fd;
    struct io *io;
    struct timer *pause;
    struct list clients;
    unsigned n_clients;
    void (*render)(void *arg, struct strbuf *out);
    void *arg;
};

struct client {
    struct list link;
    struct metrics_http *http;
    int fd;
    struct io *io;
    struct timer *timer;
    enum { READS, WRITES, DRAINS } state;
    char head[HEAD_MAX];
    size_t len;
    struct strbuf out;
    size_t sent;
};

static void client_free(struct client *c)
{
    list_remove(&c->link);
    c->http->n_clients--;
    io_free(c->io);
    timer_free(c->timer);
    fd_close(c->fd);
    strbuf_free(&c->out);
    free(c);
}

static void on_client_late(void *arg)
{
    client_free(arg);
}

/* ---- The answer ------------------------------------------------------------------------------ */

static void answer(struct client *c, const char *status, const char *type, const char *extra,
                   const char *body)
{
    strbuf_addf(&c->out,
                "HTTP/1.1 %s\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\n%s"
                "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                status, type, extra, strlen(body));
    strbuf_adds(&c->out, body);
    c->state = WRITES;
    io_set(c->io, IO_WRITE);
}

static void refuse(struct client *c, const char *status, const char *extra, const char *why)
{
    answer(c, status, "text/plain; charset=utf-8", extra, why);
}

/* Only the first line matters: no header changes the page. */
static void decide(struct client *c)
{
    char *eol = memmem(c->head, c->len, "\r\n", 2);

    *eol = '\0';
    char *path = strchr(c->head, ' ');
    char *version = path ? strchr(path + 1, ' ') : NULL;
    if (!version || strlen(c->head) != (size_t)(eol - c->head) || path == c->head) {
        refuse(c, "400 Bad Request", "", "the request line must be: GET /metrics HTTP/1.1\n");
        return;
    }
    *path++ = '\0';
    *version++ = '\0';
    path[strcspn(path, "?")] = '\0';
    if (!str_equal(version, "HTTP/1.1") && !str_equal(version, "HTTP/1.0")) {
        refuse(c, "400 Bad Request", "", "only HTTP/1.1 and HTTP/1.0 are spoken here\n");
    } else if (!str_equal(path, "/metrics")) {
        refuse(c, "404 Not Found", "", "there is only /metrics here\n");
    } else if (!str_equal(c->head, "GET")) {
        refuse(c, "405 Method Not Allowed", "Allow: GET\r\n", "only GET is served\n");
    } else {
        _cleanup_strbuf_ struct strbuf page = {0};
        c->http->render(c->http->arg, &page);
        answer(c, "200 OK", PAGE_TYPE, "", page.data);
    }
}

/* ---- A client -------------------------------------------------------------------------------- */

static void client_read(struct client *c)
{
    ssize_t n = recv(c->fd, c->head + c->len, sizeof(c->head) - c->len, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_free(c);
        return;
    }
    c->len += (size_t)n;
    if (memmem(c->head, c->len, "\r\n\r\n", 4))
        decide(c);
    else if (c->len == sizeof(c->head))
        refuse(c, "431 Request Header Fields Too Large", "", "the request is too long\n");
}

static void client_write(struct client *c)
{
    ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        client_free(c);
        return;
    }
    c->sent += (size_t)n;
    if (c->sent < c->out.len)
        return;
    shutdown(c->fd, SHUT_WR);
    c->state = DRAINS;
    io_set(c->io, IO_READ);
}

static void client_drain(struct client *c)
{
    ssize_t n = recv(c->fd, c->head, sizeof(c->head), 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        client_free(c);
}

static void on_client(void *arg, unsigned events)
{
    struct client *c = arg;

    (void)events; /* whatever it was, the next call on the socket says it */
    if (c->state == READS)
        client_read(c);
    else if (c->state == WRITES)
        client_write(c);
    else
        client_drain(c);
}

/* ---- The listener ---------------------------------------------------------------------------- */

static void client_add(struct metrics_http *h, int fd_take)
{
    if (h->n_clients == CLIENTS_MAX) {
        fd_close(fd_take);
        return;
    }
    struct client *c = xnew(struct client);
    c->http = h;
    c->fd = fd_take;
    list_append(&h->clients, &c->link);
    h->n_clients++;
    c->timer = timer_new(h->loop, on_client_late, c);
    timer_start(c->timer, CLIENT_MS);
    c->io = io_new(h->loop, c->fd, IO_READ, on_client, c);
}

static void on_pause_over(void *arg)
{
    struct metrics_http *h = arg;

    io_set(h->io, IO_READ);
}

static void on_connection(void *arg, unsigned events)
{
    struct metrics_http *h = arg;
    int fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd >= 0) {
        client_add(h, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        io_set(h->io, 0);
        timer_start(h->pause, ACCEPT_PAUSE_MS);
    }
}

static int listen_on(struct metrics_http *h, const char *address, struct err *e)
{
    const char *colon = strrchr(address, ':');
    bool v6 = address[0] == '[';
    size_t len = colon ? (size_t)(colon - address) : 0;
    _cleanup_free_ char *ip = v6 ? xstrndup(address + 1, len - 2) : xstrndup(address, len);
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    uint64_t port;
    int on = 1;

    if (!colon || parse_uint(colon + 1, UINT16_MAX, &port) < 0 ||
        inet_pton(v6 ? AF_INET6 : AF_INET, ip,
                  v6 ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr) != 1)
        return err_set(e, ERR_INVALID_ARGUMENT, "metrics.address: %s is no address and port",
                       address);
    in4.sin_port = in6.sin6_port = htons((uint16_t)port);
    h->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (h->fd < 0)
        return err_errno(e, errno, "make the socket of metrics.address");
    (void)setsockopt(h->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(h->fd, v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4,
             v6 ? sizeof(in6) : sizeof(in4)) < 0 ||
        listen(h->fd, CLIENTS_MAX) < 0)
        return err_errno(e, errno, "metrics.address: listen on %s", address);
    return 0;
}

int metrics_http_open(struct loop *loop, const char *address,
                      void (*render)(void *arg, struct strbuf *out), void *arg,
                      struct metrics_http **ret, struct err *e)
{
    struct metrics_http *h = xnew(struct metrics_http);

    h->loop = loop;
    h->render = render;
    h->arg = arg;
    h->fd = -1;
    list_init(&h->clients);
    if (listen_on(h, address, e) < 0) {
        metrics_http_close(h);
        return -1;
    }
    h->pause = timer_new(loop, on_pause_over, h);
    h->io = io_new(loop, h->fd, IO_READ, on_connection, h);
    *ret = h;
    return 0;
}

void metrics_http_close(struct metrics_http *h)
{
    if (!h)
        return;
    list_for_each_safe (it, &h->clients)
        client_free(container_of(it, struct client, link));
    io_free(h->io);
    timer_free(h->pause);
    fd_close(h->fd);
    free(h);
}
