/*
 * client_connect.c - connecting to a shim: one just spawned, one of an earlier daemon, and one
 * whose connection was lost.
 *
 * It counts as connected when it has answered Info. The first time its owner gets it then; later
 * the answer tells which exits were missed. That it is the right process is known by the pidfd, the
 * start time and who listens on the socket (SO_PEERCRED).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "client.h"
#include "proc.h"

enum { CONNECT_TIMEOUT_MS = 10000 };

/* ---- Becoming ready ------------------------------------------------------------------------- */

/* -1 instead of the daemon's own network namespace. */
static int without_own_netns(int fd_take)
{
    struct stat own, other;

    if (stat("/proc/self/ns/net", &own) == 0 && fstat(fd_take, &other) == 0 &&
        own.st_dev == other.st_dev && own.st_ino == other.st_ino) {
        fd_close(fd_take);
        return -1;
    }
    return fd_take;
}

/* Exits that happened while there was no connection. One that was told before is told again. */
static void tell_missed_exits(struct shim *s, const Podd__Shim__InfoResponse *info)
{
    for (size_t i = 0; i < info->n_containers && !s->freed; i++) {
        const Podd__Shim__ContainerInfo *c = info->containers[i];
        if (c->exit && s->events.on_container_exit)
            s->events.on_container_exit(s->events_arg, c->id, c->exit);
    }
}

static Podd__Shim__InfoResponse *info_copy(const Podd__Shim__InfoResponse *info)
{
    size_t len = podd__shim__info_response__get_packed_size(info);
    _cleanup_free_ uint8_t *packed = xmalloc(len);

    podd__shim__info_response__pack(info, packed);
    return podd__shim__info_response__unpack(NULL, len, packed);
}

static int info_finish(struct call *c, struct channel *ch, const envelope_t *answer,
                       const struct err *e)
{
    struct shim *s = c->arg;
    int fds[2] = {-1, -1}; /* of the network and of the user namespace */

    if (e) {
        /* Freed by its owner, or what lost the connection deals with it. */
        if (!s->freed && s->state == SHIM_CONNECTING)
            client_ready_failed(s, e);
        else if (s->state == SHIM_LOST && s->ch.fd >= 0)
            client_lost(s, err_text(e));
        return 0;
    }
    if (channel_take_fds(ch, answer->info_done->user_namespace ? 2 : 1, fds) < 0)
        return -EPROTO;
    bool again = s->handed_over;
    timer_stop(s->timer);
    s->state = SHIM_READY;
    if (again) {
        fd_close(fds[0]);
        fd_close(fds[1]);
        tell_missed_exits(s, answer->info_done);
        return 0;
    }
    s->netns = without_own_netns(fds[0]);
    s->user_ns = fds[1];
    s->info = info_copy(answer->info_done);
    s->handed_over = true;
    s->ready(s->ready_arg, s, ERR_NONE);
    return 0;
}

static void ask_info(struct shim *s)
{
    Podd__Shim__InfoRequest request = PODD__SHIM__INFO_REQUEST__INIT;

    call_send(s, PODD__SHIM__ENVELOPE__BODY_INFO, &request, NULL, 0,
              PODD__SHIM__ENVELOPE__BODY_INFO_DONE, info_finish, NULL, s);
}

/* A path of any length: unix(7) allows 107 bytes, a link in proc shortens what is longer. */
static int socket_connect(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    _cleanup_close_ int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/shim.sock", dir);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return take_fd(&fd);
}

/* Learns which process it is when that was not known. */
static int adopt_listener(struct shim *s, pid_t pid, struct err *e)
{
    _cleanup_close_ int pidfd = pidfd_open(pid, 0);
    int r = pidfd < 0 ? -errno : proc_start_time(pid, &s->start_time);

    if (r < 0)
        return err_set(e, ERR_NOT_FOUND, "the shim that listens in %s is gone", s->directory);
    s->pid = pid;
    s->pidfd = take_fd(&pidfd);
    return 0;
}

static int connect_channel(struct shim *s, struct err *e)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    _cleanup_close_ int fd = socket_connect(s->directory);
    if (fd < 0) {
        bool nobody = fd == -ENOENT || fd == -ECONNREFUSED;
        err_errno(e, take_fd(&fd), "connect to the shim in %s", s->directory);
        if (nobody)
            e->code = s->pidfd >= 0 ? ERR_UNAVAILABLE : ERR_NOT_FOUND;
        return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return err_errno(e, errno, "ask who listens in %s", s->directory);
    if (s->pidfd < 0 && adopt_listener(s, peer.pid, e) < 0)
        return -1;
    if (peer.pid != s->pid)
        return err_set(e, ERR_NOT_FOUND, "in %s listens process %d and not the pod's shim %d",
                       s->directory, peer.pid, s->pid);
    channel_init(&s->ch, take_fd(&fd));
    s->ch_io = io_new(s->loop, s->ch.fd, IO_READ, client_on_socket, s);
    return 0;
}

static void on_timer(void *arg)
{
    struct shim *s = arg;

    if (s->state == SHIM_CONNECTING) {
        _cleanup_err_ struct err e = ERR_INIT;
        err_set(&e, ERR_DEADLINE_EXCEEDED, "the shim in %s does not answer", s->directory);
        client_ready_failed(s, &e);
        return;
    }
    if (s->state != SHIM_LOST || s->ch.fd >= 0)
        return;
    _cleanup_err_ struct err e = ERR_INIT;
    if (connect_channel(s, &e) == 0) {
        ask_info(s);
        return;
    }
    log_debug("shim", s->directory, "%s", err_text(&e));
    timer_start(s->timer, CLIENT_RECONNECT_MS * 10);
}

/* The first attempt, from a posted job: its failure must not be told inside shim_begin(). */
static void begin_job(void *arg)
{
    struct shim *s = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    if (connect_channel(s, &e) < 0) {
        client_ready_failed(s, &e);
    } else {
        s->pidfd_io = io_new(s->loop, s->pidfd, IO_READ, client_on_pidfd, s);
        timer_start(s->timer, CONNECT_TIMEOUT_MS);
        ask_info(s);
    }
    client_unref(s);
}

void shim_begin(struct loop *loop, const char *directory, int pidfd_take, pid_t pid,
                uint64_t start_time, const struct shim_events *events, void *events_arg,
                shim_ready_fn *fn, void *arg)
{
    struct shim *s = xnew(struct shim);

    s->loop = loop;
    s->refs = 2; /* its owner (until it is ready, itself) and begin_job() */
    s->directory = xstrdup(directory);
    s->pid = pid;
    s->start_time = start_time;
    s->pidfd = pidfd_take;
    s->netns = -1;
    s->user_ns = -1;
    channel_init(&s->ch, -1);
    list_init(&s->calls);
    list_init(&s->failed);
    list_init(&s->execs);
    list_init(&s->lost_execs);
    s->events = *events;
    s->events_arg = events_arg;
    s->ready = fn;
    s->ready_arg = arg;
    s->timer = timer_new(loop, on_timer, s);
    loop_post(loop, begin_job, s);
}

/* ---- Connecting to the shim of an earlier daemon --------------------------------------------- */

/* A connect that failed before there was a shim, told from a posted job. */
struct connect_failure {
    shim_ready_fn *fn;
    void *arg;
    struct err e;
};

static void tell_connect_failure(void *arg)
{
    struct connect_failure *f = arg;

    f->fn(f->arg, NULL, &f->e);
    err_clear(&f->e);
    free(f);
}

/* It has ended, though somebody may not have reaped it: when podd is killed, shims become children
 * of the node's first process, and in a container that is often one that waits for nobody. */
static bool has_ended(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

/* A pidfd of exactly this process, or -1 with ERR_NOT_FOUND. */
static int open_process(pid_t pid, uint64_t start_time, struct err *e)
{
    uint64_t found;
    _cleanup_close_ int pidfd = pidfd_open(pid, 0);

    if (pidfd < 0 && errno != ESRCH)
        return err_errno(e, errno, "open the shim's process %d", pid);
    /* Read after the pidfd was opened: if it is the right one now, it was then. */
    int r = pidfd < 0 ? -ESRCH : proc_start_time(pid, &found);
    if (r < 0 && r != -ESRCH)
        return err_errno(e, r, "read the start time of the shim's process %d", pid);
    if (r == -ESRCH || found != start_time || has_ended(pidfd))
        return err_set(e, ERR_NOT_FOUND, "the shim, process %d, is gone", pid);
    return take_fd(&pidfd);
}

void shim_connect(struct loop *loop, const char *directory, pid_t pid, uint64_t start_time,
                  const struct shim_events *events, void *events_arg, shim_ready_fn *fn, void *arg)
{
    int pidfd = -1;

    if (pid > 0) {
        struct err e = ERR_INIT;
        pidfd = open_process(pid, start_time, &e);
        if (pidfd < 0) {
            struct connect_failure *f = xnew(struct connect_failure);
            *f = (struct connect_failure){.fn = fn, .arg = arg, .e = e};
            loop_post(loop, tell_connect_failure, f);
            return;
        }
    }
    shim_begin(loop, directory, pidfd, pid, start_time, events, events_arg, fn, arg);
}
