/*
 * channel.c - frames with descriptors over a unix stream socket, both directions.
 *
 * Descriptors and the stream: the kernel never merges bytes that came with different descriptors
 * into one recvmsg(2) beyond the first that has some, but it may put the tail of an earlier frame
 * in front of them. So descriptors are kept in a queue, and each frame takes as many as its kind
 * says, in order. Whoever sends descriptors that no frame names is caught when the buffer is empty
 * and the queue is not (channel_has_stray_fds).
 *
 * Sending: a frame goes out directly when nothing waits before it; what the socket does not take is
 * kept. The descriptors of a frame ride on its first byte.
 */
#include <sys/socket.h>

#include "channel.h"

struct out_frame {
    struct list link;
    size_t len, sent;
    int fds[CHANNEL_FDS_MAX];
    size_t n_fds; /* 0 once sent */
    uint8_t data[];
};

union fds_control {
    struct cmsghdr align;
    char buf[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
};

void channel_init(struct channel *ch, int fd_take)
{
    *ch = (struct channel){.fd = fd_take};
    list_init(&ch->out);
}

static void close_all(int *fds, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        fd_close(fds[i]);
    *n = 0;
}

static void out_frame_free(struct channel *ch, struct out_frame *f)
{
    ch->out_bytes -= f->len;
    close_all(f->fds, &f->n_fds);
    list_remove(&f->link);
    free(f);
}

void channel_close(struct channel *ch)
{
    list_for_each_safe (it, &ch->out)
        out_frame_free(ch, container_of(it, struct out_frame, link));
    close_all(ch->in_fds, &ch->n_in_fds);
    frame_reader_free(&ch->in);
    fd_close(take_fd(&ch->fd));
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static int keep_fds(struct channel *ch, struct msghdr *msg)
{
    int r = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const unsigned char *from = CMSG_DATA(c);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, from + i * sizeof(int), sizeof(int));
            if (ch->n_in_fds < CHANNEL_FDS_MAX) {
                ch->in_fds[ch->n_in_fds++] = fd;
            } else {
                fd_close(fd);
                r = -EPROTO;
            }
        }
    }
    return r;
}

int channel_receive(struct channel *ch)
{
    struct iovec iov;
    union fds_control control;
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buf,
        .msg_controllen = sizeof(control.buf),
    };
    ssize_t n;

    iov.iov_base = frame_reader_space(&ch->in, &iov.iov_len);
    do
        n = recvmsg(ch->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    int r = n < 0 ? -errno : keep_fds(ch, &msg);
    if (n > 0)
        frame_reader_add(&ch->in, (size_t)n);
    else if (frame_reader_is_empty(&ch->in))
        frame_reader_free(&ch->in);
    if (r < 0)
        return r;
    return n > 0;
}

int channel_next(struct channel *ch, const uint8_t **ret, size_t *ret_len)
{
    return frame_reader_next(&ch->in, ret, ret_len);
}

int channel_take_fds(struct channel *ch, size_t n, int *ret)
{
    if (n > ch->n_in_fds)
        return -EPROTO;
    memcpy(ret, ch->in_fds, n * sizeof(int));
    ch->n_in_fds -= n;
    memmove(ch->in_fds, ch->in_fds + n, ch->n_in_fds * sizeof(int));
    return 0;
}

bool channel_has_stray_fds(const struct channel *ch)
{
    return ch->n_in_fds > 0 && frame_reader_is_empty(&ch->in);
}

/* ---- Sending -------------------------------------------------------------------------------- */

static ssize_t send_part(struct channel *ch, struct out_frame *f)
{
    struct iovec iov = {f->data + f->sent, f->len - f->sent};
    union fds_control control;
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (f->n_fds) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(f->n_fds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(f->n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), f->fds, f->n_fds * sizeof(int));
    }
    do
        n = sendmsg(ch->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int channel_flush(struct channel *ch)
{
    if (ch->fd < 0)
        return -EPIPE;
    while (!list_empty(&ch->out)) {
        struct out_frame *f = container_of(ch->out.next, struct out_frame, link);
        ssize_t n = send_part(ch, f);
        if (n == -EAGAIN)
            return 1;
        if (n < 0)
            return (int)n;
        close_all(f->fds, &f->n_fds);
        f->sent += (size_t)n;
        if (f->sent == f->len)
            out_frame_free(ch, f);
    }
    return 0;
}

static void enqueue(struct channel *ch, struct out_frame *f, const int *fds_take, size_t n_fds)
{
    bool first = list_empty(&ch->out);

    f->n_fds = n_fds;
    if (n_fds)
        memcpy(f->fds, fds_take, n_fds * sizeof(int));
    list_append(&ch->out, &f->link);
    ch->out_bytes += f->len;
    if (first)
        channel_flush(ch);
}

static struct out_frame *out_frame_new(size_t len)
{
    struct out_frame *f = xmalloc(sizeof(*f) + len);

    *f = (struct out_frame){.len = len};
    return f;
}

void channel_send(struct channel *ch, const envelope_t *env, const int *fds_take, size_t n_fds)
{
    size_t len = podd__shim__envelope__get_packed_size(env);
    struct out_frame *f = out_frame_new(FRAME_HEADER + len);

    frame_header_write(f->data, len);
    podd__shim__envelope__pack(env, f->data + FRAME_HEADER);
    enqueue(ch, f, fds_take, n_fds);
}

void channel_forward(struct channel *ch, const void *packed, size_t len, const int *fds_take,
                     size_t n_fds)
{
    struct out_frame *f = out_frame_new(FRAME_HEADER + len);

    frame_header_write(f->data, len);
    memcpy(f->data + FRAME_HEADER, packed, len);
    enqueue(ch, f, fds_take, n_fds);
}

envelope_t envelope_of(uint64_t call, Podd__Shim__Envelope__BodyCase body_case, void *body)
{
    envelope_t env = PODD__SHIM__ENVELOPE__INIT;

    env.call = call;
    env.body_case = body_case;
    memcpy(&env.failure, &body, sizeof(body)); /* every member of the union is a pointer */
    return env;
}
