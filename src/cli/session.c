/*
 * session.c - a WebSocket client on the loop.
 *
 * The upgrade is done by blocking calls, then the socket becomes the loop's. wslay makes and reads
 * the frames; it asks for bytes and gives bytes through the two callbacks below. What the server
 * sent right behind its answer to the upgrade is given to wslay first.
 */
#include "session.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

enum {
    ANSWER_MAX = 16 << 10,
    BACKLOG_FULL = 1 << 20,
    KEY_BYTES = 16,
};
#define KEY_SIZE 25 /* base64 of 16 bytes, and a NUL */
#define ACCEPT_SIZE 29

struct session {
    struct loop *loop;
    int fd;
    struct io *io;
    struct timer *early_timer; /* what came with the answer does not make the socket readable */
    wslay_event_context_ptr frames;
    struct bytes early; /* of the peer's, read together with the answer */
    size_t early_done;
    bool paused, over, was_full;
    const struct session_events *events;
    void *arg;
};

/* ---- The upgrade
 * -------------------------------------------------------------------------------- */

/* http://HOST:PORT/PATH, HOST being a number: podd writes it so. */
static int parse_url(const char *url, struct sockaddr_storage *ret, socklen_t *ret_len,
                     const char **ret_path, struct err *e)
{
    struct sockaddr_in *v4 = (void *)ret;
    struct sockaddr_in6 *v6 = (void *)ret;
    const char *host = url + strlen("http://");
    const char *path = str_starts_with(url, "http://") ? strchr(host, '/') : NULL;
    const char *colon = path ? memrchr(host, ':', (size_t)(path - host)) : NULL;
    uint64_t port;

    if (!colon)
        return err_set(e, ERR_INTERNAL, "podd answered with a strange address: %s", url);
    _cleanup_free_ char *name = xstrndup(host, (size_t)(colon - host));
    _cleanup_free_ char *number = xstrndup(colon + 1, (size_t)(path - colon - 1));
    if (parse_uint(number, UINT16_MAX, &port) < 0)
        return err_set(e, ERR_INTERNAL, "podd answered with a strange address: %s", url);
    *ret = (struct sockaddr_storage){0};
    *ret_path = path;
    if (inet_pton(AF_INET, name, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_len = sizeof(*v4);
        return 0;
    }
    if (name[0] == '[')
        name[strlen(name) - 1] = '\0';
    if (inet_pton(AF_INET6, name[0] == '[' ? name + 1 : name, &v6->sin6_addr) != 1)
        return err_set(e, ERR_INTERNAL, "podd answered with a strange address: %s", url);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *ret_len = sizeof(*v6);
    return 0;
}

static void make_key(char ret[KEY_SIZE])
{
    uint8_t raw[KEY_BYTES];

    if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
        abort(); /* cannot fail for so few bytes */
    EVP_EncodeBlock((uint8_t *)ret, raw, sizeof(raw));
}

/* RFC 6455, section 4.2.2: what the server answers to a key. */
static void expected_accept(const char *key, char ret[ACCEPT_SIZE])
{
    _cleanup_free_ char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    uint8_t digest[SHA_DIGEST_LENGTH];

    SHA1((const uint8_t *)text, strlen(text), digest);
    EVP_EncodeBlock((uint8_t *)ret, digest, sizeof(digest));
}

/* Reads up to and with the empty line, and what came along with it. */
static int read_answer(int fd, struct strbuf *answer, size_t *ret_head, struct err *e)
{
    char chunk[4096];
    const char *end;

    do {
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n <= 0)
            return n == 0 ? err_set(e, ERR_UNAVAILABLE, "podd closed the streaming connection")
                          : err_errno(e, errno, "read podd's streaming answer");
        strbuf_add(answer, chunk, (size_t)n);
        end = strstr(answer->data, "\r\n\r\n");
    } while (!end && answer->len < ANSWER_MAX);
    if (!end)
        return err_set(e, ERR_INTERNAL, "podd's streaming answer does not end");
    *ret_head = (size_t)(end - answer->data) + 4;
    return 0;
}

static int check_answer(const char *key, const struct strbuf *answer, size_t head, struct err *e)
{
    char accept[ACCEPT_SIZE];

    expected_accept(key, accept);
    if (!str_starts_with(answer->data, "HTTP/1.1 101 "))
        return err_set(e, ERR_UNAVAILABLE, "podd refused the session: %.*s",
                       (int)strcspn(answer->data + head, "\r\n"), answer->data + head);
    if (!memmem(answer->data, head, accept, strlen(accept)))
        return err_set(e, ERR_INTERNAL, "what answered is no WebSocket server");
    return 0;
}

static int upgrade(struct session *s, const char *path, const char *protocol, struct err *e)
{
    _cleanup_strbuf_ struct strbuf answer = {0};
    char key[KEY_SIZE];
    size_t head = 0;

    make_key(key);
    _cleanup_free_ char *request = xasprintf("GET %s HTTP/1.1\r\n"
                                             "Host: localhost\r\n"
                                             "Connection: Upgrade\r\n"
                                             "Upgrade: websocket\r\n"
                                             "Sec-WebSocket-Version: 13\r\n"
                                             "Sec-WebSocket-Key: %s\r\n"
                                             "Sec-WebSocket-Protocol: %s\r\n\r\n",
                                             path, key, protocol);
    int r = fd_write_all(s->fd, request, strlen(request));
    if (r < 0)
        return err_errno(e, r, "ask podd for a streaming session");
    if (read_answer(s->fd, &answer, &head, e) < 0 || check_answer(key, &answer, head, e) < 0)
        return -1;
    s->early.len = answer.len - head;
    s->early.data = xmemdup(answer.data + head, s->early.len);
    return 0;
}

static int dial(struct session *s, const char *url, const char **ret_path, struct err *e)
{
    struct sockaddr_storage address;
    socklen_t len = 0;
    int on = 1;

    if (parse_url(url, &address, &len, ret_path, e) < 0)
        return -1;
    s->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return err_errno(e, errno, "make a socket");
    if (connect(s->fd, (struct sockaddr *)&address, len) < 0)
        return err_errno(e, errno, "connect to podd's streaming server");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* keystrokes do not wait */
    return 0;
}

/* ---- Frames
 * ------------------------------------------------------------------------------------- */

static ssize_t give_bytes(wslay_event_context_ptr frames, uint8_t *buf, size_t len, int flags,
                          void *arg)
{
    struct session *s = arg;
    size_t early = s->early.len - s->early_done;

    if (early > 0) {
        size_t n = len < early ? len : early;
        memcpy(buf, s->early.data + s->early_done, n);
        s->early_done += n;
        return (ssize_t)n;
    }
    if (s->paused) { /* in the middle of what has come */
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    ssize_t n = recv(s->fd, buf, len, MSG_DONTWAIT);
    if (n > 0)
        return n;
    wslay_event_set_error(frames, n < 0 && errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                                           : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t take_bytes(wslay_event_context_ptr frames, const uint8_t *data, size_t len,
                          int flags, void *arg)
{
    struct session *s = arg;
    ssize_t n = send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n >= 0)
        return n;
    wslay_event_set_error(frames,
                          errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int make_mask(wslay_event_context_ptr frames, uint8_t *buf, size_t len, void *arg)
{
    return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static void on_frame(wslay_event_context_ptr frames,
                     const struct wslay_event_on_msg_recv_arg *message, void *arg)
{
    struct session *s = arg;

    if (!wslay_is_ctrl_frame(message->opcode) && message->msg_length > 0)
        s->events->on_message(s->arg, message->msg[0], message->msg + 1, message->msg_length - 1);
}

/* ---- On the loop
 * ---------------------------------------------------------------------------------- */

static void end(struct session *s)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (s->over)
        return;
    s->over = true;
    io_free(take_ptr(s->io));
    if (!wslay_event_get_close_received(s->frames))
        err_set(&e, ERR_UNAVAILABLE, "the connection to podd was lost");
    s->events->on_end(s->arg, &e);
}

static void watch(struct session *s)
{
    unsigned events =
        (s->paused ? 0 : IO_READ) | (wslay_event_want_write(s->frames) ? IO_WRITE : 0);

    io_set(s->io, events);
}

static void on_io(void *arg, unsigned events)
{
    struct session *s = arg;
    int r = 0;

    if (events & (IO_READ | IO_HANGUP))
        r = wslay_event_recv(s->frames);
    if (r == 0 && wslay_event_want_write(s->frames))
        r = wslay_event_send(s->frames);
    if (r != 0 || wslay_event_get_close_received(s->frames)) {
        end(s);
        return;
    }
    bool room = s->was_full && !session_is_full(s);
    if (room)
        s->was_full = false;
    watch(s);
    if (room && s->events->on_room)
        s->events->on_room(s->arg);
}

static void read_early(void *arg)
{
    on_io(arg, IO_READ);
}

int session_open(struct loop *loop, const char *url, const char *protocol,
                 const struct session_events *events, void *arg, struct session **ret,
                 struct err *e)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = give_bytes,
        .send_callback = take_bytes,
        .genmask_callback = make_mask,
        .on_msg_recv_callback = on_frame,
    };
    struct session *s = xnew(struct session);
    const char *path = NULL;

    *s = (struct session){.loop = loop, .fd = -1, .events = events, .arg = arg};
    if (dial(s, url, &path, e) < 0 || upgrade(s, path, protocol, e) < 0) {
        session_free(s);
        return -1;
    }
    if (wslay_event_context_client_init(&s->frames, &callbacks, s) != 0)
        abort(); /* memory only */
    s->io = io_new(loop, s->fd, IO_READ, on_io, s);
    if (s->early.len > 0) {
        s->early_timer = timer_new(loop, read_early, s);
        timer_start(s->early_timer, 0);
    }
    *ret = s;
    return 0;
}

void session_free(struct session *s)
{
    if (!s)
        return;
    io_free(s->io);
    timer_free(s->early_timer);
    if (s->frames)
        wslay_event_context_free(s->frames);
    fd_close(s->fd);
    bytes_free(&s->early);
    free(s);
}

void session_send(struct session *s, unsigned channel, const void *data, size_t len)
{
    if (s->over)
        return;
    uint8_t *text = xmalloc(len + 1);
    text[0] = (uint8_t)channel;
    if (len)
        memcpy(text + 1, data, len);
    struct wslay_event_msg message = {
        .opcode = WSLAY_BINARY_FRAME, .msg = text, .msg_length = len + 1};
    wslay_event_queue_msg(s->frames, &message); /* copies; fails only once it is closed */
    free(text);
    s->was_full = s->was_full || session_is_full(s);
    watch(s);
}

bool session_is_full(const struct session *s)
{
    return !s->over && wslay_event_get_queued_msg_length(s->frames) >= BACKLOG_FULL;
}

void session_pause(struct session *s, bool paused)
{
    s->paused = paused;
    if (!s->over)
        watch(s);
}
