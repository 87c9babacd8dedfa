/*
 * zygote.c - the warm, single-threaded process that every shim is a fork of.
 *
 * A request is a fork and nothing else: the fork makes itself the sandbox, so several pods come up
 * at once, and reports over a socket of its own, which the zygote passes on. If that socket ends
 * without a report, the shim has died and the zygote says so. Dead shims are not waited for
 * (SIGCHLD is ignored: the kernel reaps them); living ones fall to init when the zygote goes.
 *
 * What every shim would have to find out anew is found out here, before the first fork: the layout
 * of the cgroups. A cgroup for all shims is entered here too: they are no processes of podd's
 * service, so whoever kills or limits that does not hit them. Otherwise the zygote touches little
 * memory after its start, since every page it writes to is one that the shims no longer share.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "channel.h"
#include "message.h"
#include "poller.h"
#include "sandbox.h"
#include "zygote.h"

#define SHIMS_CGROUP "/podd/shims"

struct zygote {
    struct poller poller;
    struct channel ch;
    struct watch watch;
    struct list births; /* struct birth */
    char *title;
    size_t title_size;
    bool ended;
};

/* A shim that has not reported yet. */
struct birth {
    struct list link;
    struct zygote *zygote;
    struct channel ch;
    struct watch watch;
    uint64_t call;
};

/* ---- Answers -------------------------------------------------------------------------------- */

static void flush(struct zygote *z)
{
    int r = channel_flush(&z->ch);

    watch_set(&z->poller, &z->watch, r > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void answer_failure(struct zygote *z, uint64_t call, const struct err *e)
{
    Podd__Shim__Failure failure = PODD__SHIM__FAILURE__INIT;

    failure.code = (int32_t)e->code;
    failure.message = (char *)err_text(e);
    envelope_t env = envelope_of(call, PODD__SHIM__ENVELOPE__BODY_FAILURE, &failure);
    channel_send(&z->ch, &env, NULL, 0);
    flush(z);
}

static void birth_free(struct birth *b)
{
    list_remove(&b->link);
    watch_remove(&b->zygote->poller, &b->watch);
    channel_close(&b->ch);
    free(b);
}

/* Passes the report on as it is. */
static void on_report(struct watch *w, uint32_t events)
{
    struct birth *b = container_of(w, struct birth, watch);
    struct zygote *z = b->zygote;
    const uint8_t *data;
    size_t len;

    int r = channel_receive(&b->ch);
    if (r == -EAGAIN)
        return;
    if (r > 0) {
        r = channel_next(&b->ch, &data, &len);
        if (r == 0)
            return; /* the rest will come */
    } else {
        r = -EPIPE;
    }
    if (r > 0) {
        channel_forward(&z->ch, data, len, b->ch.in_fds, b->ch.n_in_fds);
        b->ch.n_in_fds = 0;
        flush(z);
    } else {
        _cleanup_err_ struct err e = ERR_INIT;
        err_set(&e, ERR_INTERNAL, "the shim died before it was ready");
        answer_failure(z, b->call, &e);
    }
    birth_free(b);
}

/* ---- Requests ------------------------------------------------------------------------------- */

static void set_title(struct zygote *z, const char *sandbox_id)
{
    memset(z->title, 0, z->title_size);
    snprintf(z->title, z->title_size, "%s", sandbox_id);
}

/* In the fork: nothing of the zygote's stays open but what it keeps warm for all. */
static void close_zygote(struct zygote *z)
{
    /* First: the epoll instance is the zygote's own still, and its watches must stay. */
    poller_close(&z->poller);
    list_for_each_safe (it, &z->births)
        birth_free(container_of(it, struct birth, link));
    channel_close(&z->ch);
}

static int watch_birth(struct zygote *z, uint64_t call, int report_fd_take)
{
    struct birth *b = xnew(struct birth);

    b->zygote = z;
    b->call = call;
    channel_init(&b->ch, report_fd_take);
    list_append(&z->births, &b->link);
    b->watch = (struct watch)WATCH_NULL;
    int r = watch_add(&z->poller, &b->watch, b->ch.fd, EPOLLIN, on_report);
    if (r < 0)
        birth_free(b); /* the shim finds nobody to report to, and ends */
    return r;
}

static int spawn(struct zygote *z, struct message **message, struct err *e)
{
    uint64_t call = (*message)->env->call;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return err_errno(e, errno, "make a socket pair for the shim");
    _cleanup_close_ int ours = pair[0], theirs = pair[1];
    pid_t pid = fork();
    if (pid < 0)
        return err_errno(e, errno, "fork the shim");
    if (pid == 0) {
        fd_close(take_fd(&ours));
        set_title(z, (*message)->env->spawn->sandbox_id);
        close_zygote(z);
        _exit(sandbox_main(take_ptr(*message), take_fd(&theirs)));
    }
    int r = watch_birth(z, call, take_fd(&ours));
    return r < 0 ? err_errno(e, r, "watch the shim's report") : 0;
}

static int handle_frame(struct zygote *z, const uint8_t *data, size_t len)
{
    _cleanup_message_ struct message *m = message_unpack(data, len);
    _cleanup_err_ struct err e = ERR_INIT;

    if (!m || m->env->body_case != PODD__SHIM__ENVELOPE__BODY_SPAWN)
        return -EPROTO;
    uint64_t call = m->env->call;
    if (spawn(z, &m, &e) < 0)
        answer_failure(z, call, &e);
    return 0;
}

static void on_socket(struct watch *w, uint32_t events)
{
    struct zygote *z = container_of(w, struct zygote, watch);
    const uint8_t *data;
    size_t len;
    int r;

    if (events & EPOLLOUT)
        flush(z);
    r = channel_receive(&z->ch);
    if (r == -EAGAIN)
        return;
    z->ended = r <= 0;
    while (r > 0 && (r = channel_next(&z->ch, &data, &len)) > 0)
        r = handle_frame(z, data, len) < 0 ? -EPROTO : 1;
    if (r < 0)
        z->ended = true;
}

/* The cgroup stays when the last shim is gone, as its parent does. Best effort: without it pods run
 * as well. */
static void enter_shims_cgroup(void)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cgroup *cg = NULL;

    if (cgroup_create(SHIMS_CGROUP, NULL, 0, NULL, 0, &cg, &e) < 0 || cgroup_enter(cg, &e) < 0)
        log_warn("shim", NULL, "shims stay in podd's own cgroup: %s", err_text(&e));
    cgroup_free(cg);
}

int zygote_main(int socket_fd, char *title, size_t title_size)
{
    struct zygote z = {.title = title, .title_size = title_size, .watch = WATCH_NULL};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    _cleanup_err_ struct err e = ERR_INIT;

    prctl(PR_SET_NAME, "podd-zygote");
    sigaction(SIGCHLD, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    cgroup_mode(); /* probed here, once, for all shims */
    enter_shims_cgroup();
    if (sandbox_prepare(&e) < 0) {
        log_error("shim", NULL, "%s", err_text(&e));
        return 1;
    }
    list_init(&z.births);
    channel_init(&z.ch, socket_fd);
    if (fcntl(socket_fd, F_SETFD, FD_CLOEXEC) < 0 || poller_init(&z.poller) < 0 ||
        watch_add(&z.poller, &z.watch, socket_fd, EPOLLIN, on_socket) < 0)
        return 1;
    while (!z.ended)
        if (poller_run(&z.poller) < 0)
            return 1;
    return 0;
}
