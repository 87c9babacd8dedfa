/*
 * stream_forward.c - connections into a pod, and the bytes between them and a client.
 *
 *   dialling 127.0.0.1 --refused--> dialling ::1 --refused--> over, with the reasons
 *        \------------connected-----------/--> moving --both ends, or broken--> over
 *
 * The sockets are made inside of the pod's network namespace, so a server that listens on loopback
 * only is reached, and no address or route of the node is involved. Each direction ends for itself;
 * once one has, silence of SILENCE_MS ends the other.
 *
 * All pairs of a session share one connection to the client. When that is full, no server is read;
 * when WAITING_MAX bytes wait for servers, the client is not read.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "podd/net.h"
#include "stream_forward.h"

enum {
    DIAL_MS = 10000,
    SILENCE_MS = 60000,
    WAITING_MAX = 1 << 20,
    WAITING_LOW = 256 << 10,
};

static void dial(struct forward_pair *p);

/* ---- The session ---------------------------------------------------------------------------- */

static void shut(struct session *s)
{
    struct forward *f = container_of(s, struct forward, session);

    f->ops->finish(f);
}

void forward_init(struct forward *f, struct stream_server *server, struct link *link_take,
                  bool websocket, struct stream_request *request_take,
                  const struct forward_ops *ops)
{
    session_begin(&f->session, server, shut);
    f->ops = ops;
    f->request = request_take;
    wire_init(&f->wire, link_take, websocket);
    list_init(&f->pairs);
}

void forward_end(struct forward *f)
{
    f->over = true;
    wire_free(&f->wire);
    stream_request_free(take_ptr(f->request));
    session_end(&f->session);
}

static void hold_servers(struct forward *f, bool held)
{
    list_for_each (it, &f->pairs)
        duct_hold(&container_of(it, struct forward_pair, siblings)->duct, held);
}

void forward_resume(struct forward *f)
{
    hold_servers(f, false);
}

/* Keeps account of what waits in the pair, and holds the client back when it is too much. */
static void balance(struct forward_pair *p)
{
    struct forward *f = p->forward;
    size_t waits = p->early.len + duct_waiting(&p->duct);

    f->waiting += waits - p->counted;
    p->counted = waits;
    bool pause = f->paused ? f->waiting > WAITING_LOW : f->waiting >= WAITING_MAX;
    if (pause == f->paused || !f->wire.link)
        return;
    f->paused = pause;
    link_pause(f->wire.link, pause);
}

/* ---- Pairs ---------------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
    struct forward_pair *p = arg;
    int64_t silent_ms = (time_mono_ns() - p->moved) / NS_PER_MS;

    if (!p->connected)
        p->forward->ops->over(p, "the server does not answer", false);
    else if (silent_ms >= SILENCE_MS)
        p->forward->ops->over(p, NULL, true);
    else
        timer_start(p->timer, SILENCE_MS - silent_ms);
}

void forward_pair_init(struct forward_pair *p, struct forward *f, uint16_t port)
{
    p->forward = f;
    p->port = port;
    p->duct = DUCT_NULL;
    p->fd = -1;
    p->timer = timer_new(session_loop(&f->session), on_timer, p);
    list_append(&f->pairs, &p->siblings);
    f->n_pairs++;
}

static void stop_dialling(struct forward_pair *p)
{
    io_free(take_ptr(p->io));
    fd_close(take_fd(&p->fd));
}

void forward_pair_clear(struct forward_pair *p)
{
    stop_dialling(p);
    duct_close(&p->duct);
    strbuf_free(&p->early);
    strbuf_free(&p->failures);
    balance(p);
    timer_free(p->timer);
    list_remove(&p->siblings);
    p->forward->n_pairs--;
}

/* One direction has ended. */
static void direction_ended(struct forward_pair *p)
{
    if (p->server_ended && (p->client_ended || !p->can_half_close))
        p->forward->ops->over(p, NULL, false);
    else
        timer_start(p->timer, SILENCE_MS);
}

/* ---- Moving --------------------------------------------------------------------------------- */

static void on_server_data(void *arg, struct duct *d, const uint8_t *data, size_t len)
{
    struct forward_pair *p = arg;
    struct forward *f = p->forward;

    p->moved = time_mono_ns();
    f->ops->send(p, data, len);
    if (f->wire.link && link_is_full(f->wire.link))
        hold_servers(f, true);
}

static void on_server_end(void *arg, struct duct *d, bool broken)
{
    struct forward_pair *p = arg;

    p->server_ended = true;
    if (broken) {
        p->forward->ops->over(p, NULL, true);
        return;
    }
    p->forward->ops->send_end(p);
    direction_ended(p);
}

static void on_server_taken(void *arg, struct duct *d)
{
    struct forward_pair *p = arg;

    p->moved = time_mono_ns();
    balance(p);
}

void forward_input(struct forward_pair *p, const uint8_t *data, size_t len)
{
    if (p->connected)
        duct_write(&p->duct, data, len);
    else
        strbuf_add(&p->early, data, len);
    p->moved = time_mono_ns();
    balance(p);
}

void forward_input_end(struct forward_pair *p)
{
    p->client_ended = true;
    if (!p->connected)
        return;
    duct_write_end(&p->duct);
    direction_ended(p);
}

/* ---- Dialling ------------------------------------------------------------------------------- */

static void connected(struct forward_pair *p)
{
    static const struct duct_events events = {on_server_data, on_server_end, on_server_taken};
    int fd = take_fd(&p->fd);

    stop_dialling(p);
    timer_stop(p->timer);
    p->connected = true;
    p->moved = time_mono_ns();
    duct_open(&p->duct, session_loop(&p->forward->session), fd, DUCT_READ | DUCT_WRITE, &events, p);
    if (p->early.len > 0)
        duct_write(&p->duct, p->early.data, p->early.len);
    strbuf_free(&p->early);
    balance(p);
    if (p->forward->wire.link && link_is_full(p->forward->wire.link))
        duct_hold(&p->duct, true);
    if (p->client_ended) {
        duct_write_end(&p->duct);
        direction_ended(p);
    }
}

static void attempt_failed(struct forward_pair *p, const char *why)
{
    stop_dialling(p);
    strbuf_addf(&p->failures, "%s%s: %s", p->attempt ? ", " : "", p->attempt ? "::1" : "127.0.0.1",
                why);
    if (p->attempt++ == 0)
        dial(p);
    else
        p->forward->ops->over(p, p->failures.data, false);
}

static void on_dialled(void *arg, unsigned events)
{
    struct forward_pair *p = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error)
        attempt_failed(p, strerror(error));
    else
        connected(p);
}

static int connect_loopback(int fd, bool v6, uint16_t port)
{
    struct sockaddr_in a4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 a6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    return v6 ? connect(fd, (struct sockaddr *)&a6, sizeof(a6))
              : connect(fd, (struct sockaddr *)&a4, sizeof(a4));
}

/* The pod may have been stopped since the session began; the host's network is then none of ours.
 */
static int open_socket(struct forward_pair *p, bool v6, struct err *e)
{
    struct forward *f = p->forward;
    const struct sandbox *s = sandbox_find(session_pods(&f->session), f->request->id, e);

    if (!s)
        return -1;
    if (s->state != SANDBOX_READY || (sandbox_netns(s) < 0 && !s->host_network))
        return err_set(e, ERR_FAILED_PRECONDITION, "the pod is not ready");
    return net_socket(sandbox_netns(s), v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0, e);
}

static void dial(struct forward_pair *p)
{
    _cleanup_err_ struct err e = ERR_INIT;
    bool v6 = p->attempt == 1;

    p->fd = open_socket(p, v6, &e);
    if (p->fd < 0)
        attempt_failed(p, err_text(&e));
    else if (connect_loopback(p->fd, v6, p->port) == 0)
        connected(p);
    else if (errno == EINPROGRESS)
        p->io = io_new(session_loop(&p->forward->session), p->fd, IO_WRITE, on_dialled, p);
    else
        attempt_failed(p, strerror(errno));
}

void forward_dial(struct forward_pair *p)
{
    timer_start(p->timer, DIAL_MS);
    dial(p);
}
