/*
 * The one-way conversation between a child on its way to execve and the parent that waits.
 *
 * A SOCK_SEQPACKET pair, so that messages keep their borders and can carry a descriptor. Every
 * message begins with one letter. The parent reads until the child's last copy of its end is gone:
 * closed by execve, or by death. "Ready" before that tells the two apart.
 */
#include "child.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    TEXT_MAX = 4096,
    LETTER_FAILURE = 'F', /* err_code, text */
    LETTER_READY = 'R',
    LETTER_PID = 'P',     /* pid_t */
    LETTER_TERMINAL = 'T' /* one descriptor */
};

static int message_send(int fd, const void *data, size_t len)
{
    /* write(2), because a system call filter that is already loaded knows it for sure. */
    ssize_t n = write(fd, data, len);
    return n < 0 ? -errno : 0;
}

void report_failure(int fd, const struct err *e)
{
    char message[TEXT_MAX];
    message[0] = LETTER_FAILURE;
    message[1] = (char)e->code;
    size_t len = strnlen(err_text(e), sizeof(message) - 2);
    memcpy(message + 2, err_text(e), len);
    (void)message_send(fd, message, len + 2);
}

int report_ready(int fd)
{
    char letter = LETTER_READY;
    return message_send(fd, &letter, 1);
}

int report_pid(int fd, pid_t pid)
{
    char message[1 + sizeof(pid)] = {LETTER_PID};
    memcpy(message + 1, &pid, sizeof(pid));
    return message_send(fd, message, sizeof(message));
}

int report_terminal(int fd, int master)
{
    char letter = LETTER_TERMINAL;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = &letter, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &master, sizeof(int));
    return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int message_receive(int fd, char *buf, size_t cap, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = cap};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof(control.space)};
    ssize_t n;
    do {
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    return (int)n;
}

static int readable_wait(int fd, int64_t deadline_ns)
{
    for (;;) {
        int64_t left = (deadline_ns - time_mono_ns()) / NS_PER_MS;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int r = poll(&p, 1, left < 0 ? 0 : (int)left + 1);
        if (r > 0)
            return 0;
        if (r == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int message_take(const char *text, int len, int fd, struct report *ret, struct err *e)
{
    switch (text[0]) {
    case LETTER_FAILURE:
        return err_set(e, len > 1 ? (enum err_code)text[1] : ERR_UNKNOWN, "%.*s",
                       len > 2 ? len - 2 : 0, text + 2);
    case LETTER_READY:
        ret->ready = true;
        return 0;
    case LETTER_PID:
        if (len == 1 + (int)sizeof(pid_t))
            memcpy(&ret->pid, text + 1, sizeof(pid_t));
        return 0;
    case LETTER_TERMINAL:
        if (ret->terminal >= 0)
            fd_close(ret->terminal);
        ret->terminal = fd;
        return 0;
    default:
        return err_set(e, ERR_INTERNAL, "a message of an unknown kind");
    }
}

int report_read(int fd, int64_t timeout_ms, struct report *ret, struct err *e)
{
    int64_t deadline = time_mono_ns() + timeout_ms * NS_PER_MS;
    for (;;) {
        int r = readable_wait(fd, deadline);
        if (r < 0)
            return err_errno(e, r, "wait for execve");
        char message[TEXT_MAX];
        int received = -1;
        int n = message_receive(fd, message, sizeof(message), &received);
        if (n == 0)
            return 0;
        if (n < 0)
            return err_errno(e, n, "read what the new process reports");
        if (message_take(message, n, received, ret, e) < 0)
            return -1;
    }
}
