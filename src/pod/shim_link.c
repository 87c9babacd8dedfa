/*
 * shim_link.c - what the shim of a sandbox tells, and its end.
 *
 * A shim can go in two ways: asked to (a stop), or by dying. In both cases its namespaces are gone,
 * and the kernel has killed its containers; what differs is who removes their cgroups. A shim that
 * answered the shutdown has done it; after any other end podd does it, on a worker thread, for
 * killing and removing may take a while.
 *
 *   on_gone -> exits are read from the shim's records -> [worker: cgroups] -> shim_end() answers
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "private.h"

enum {
    SHUTDOWN_TIMEOUT_MS = 10000, /* then the shim is killed */
    CGROUP_TIMEOUT_MS = 5000,
};

/* ---- Containers of a shim that is gone ------------------------------------------------------ */

/* What is known of the end of a container that the shim will tell nothing more about. */
static void settle_container(struct container *c)
{
    struct sandbox *s = c->sandbox;
    _cleanup_free_ char *directory = sandbox_state_dir(s->priv->pods, s->id);
    _cleanup_err_ struct err e = ERR_INIT;
    exit_info_t *exit = NULL;

    if (c->state == CONTAINER_EXITED)
        return;
    if (shim_read_exit(directory, c->id, &exit, &e) == 0) {
        container_exit_told(c, exit);
        podd__shim__exit_info__free_unpacked(exit, NULL);
        return;
    }
    if (e.code != ERR_NOT_FOUND)
        log_warn("pod", c->id, "%s", err_text(&e));
    if (c->started_at == 0)
        container_exited(
            c, &(struct container_exit){.code = 128,
                                        .reason = "StartError",
                                        .message = "its sandbox ended before it was started"});
    else
        container_exited(c, &(struct container_exit){.code = 255,
                                                     .reason = "Unknown",
                                                     .message = "its shim is gone, and its exit "
                                                                "was not recorded"});
}

struct clean_up {
    struct pods *pods;
    char id[ID_SIZE];  /* of the sandbox: it may be removed meanwhile */
    struct sandbox *s; /* one in the making: it waits for us */
    char **paths;      /* strv */
    struct err e;
};

static void clean_up_work(void *arg)
{
    struct clean_up *u = arg;

    for (size_t i = 0; i < strv_len(u->paths); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (cgroup_destroy(u->paths[i], CGROUP_TIMEOUT_MS, &e) < 0 && u->e.code == ERR_OK)
            err_move(&u->e, &e);
    }
}

static void ending_finish(struct sandbox *s, const struct err *e)
{
    timer_free(take_ptr(s->priv->ending_timer));
    waiters_finish(&s->priv->ending, e);
}

static void clean_up_done(void *arg)
{
    struct clean_up *u = arg;

    if (!u->pods->closing) {
        if (u->e.code != ERR_OK)
            log_warn("pod", u->id, "its cgroups are not removed: %s", err_text(&u->e));
        u->s->priv->cleaning = false;
        ending_finish(u->s, &u->e);
    }
    pods_release(u->pods);
    strv_free(u->paths);
    err_clear(&u->e);
    free(u);
}

/* Removes cgroups that nobody else will. The sandbox is `cleaning`: shim_end() waits for it. */
static void clean_cgroups(struct sandbox *s)
{
    struct clean_up *u = xnew(struct clean_up);

    u->pods = pods_hold(s->priv->pods);
    u->s = s;
    memcpy(u->id, s->id, strnlen(s->id, ID_SIZE - 1));
    list_for_each (it, &s->containers)
        strv_push(&u->paths, container_of_sibling(it)->cgroup_path);
    loop_work(u->pods->loop, clean_up_work, clean_up_done, u);
}

void sandbox_lost_shim(struct sandbox *s)
{
    static const struct err no_error = ERR_INIT;
    struct sandbox_private *priv = s->priv;
    bool was_ready = s->state == SANDBOX_READY && priv->published;

    s->state = SANDBOX_NOTREADY;
    priv->cleaning = !priv->shutdown_answered && !list_empty(&s->containers);
    list_for_each_safe (it, &s->containers)
        settle_container(container_of_sibling(it));
    if (priv->published)
        record_note_sandbox(s);
    if (was_ready)
        pod_emit(priv->pods, POD_STOPPED, s, NULL);
    if (priv->cleaning)
        clean_cgroups(s);
    else
        ending_finish(s, &no_error);
}

/* ---- What the shim tells -------------------------------------------------------------------- */

static void on_container_exit(void *arg, const char *container_id, const exit_info_t *exit)
{
    struct sandbox *s = arg;
    struct container *c = container_by_id(s->priv->pods, container_id);

    if (c && c->sandbox == s)
        container_exit_told(c, exit);
}

static void on_gone(void *arg)
{
    struct sandbox *s = arg;

    if (s->priv->published && !s->priv->stopping)
        log_warn("pod", s->id, "its shim (process %d) is gone", (int)s->priv->shim_pid);
    shim_free(take_ptr(s->priv->shim));
    sandbox_lost_shim(s);
}

const struct shim_events shim_link_events = {
    .on_container_exit = on_container_exit,
    .on_gone = on_gone,
};

/* ---- Ending it ------------------------------------------------------------------------------ */

int shim_process_kill(pid_t pid, uint64_t start_time)
{
    char path[64], text[1024];
    unsigned long long found = 0;

    _cleanup_close_ int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return errno == ESRCH ? 0 : -errno;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : fd_read_full(fd, text, sizeof(text) - 1);
    if (n < 0)
        return n == -ESRCH || n == -ENOENT ? 0 : (int)n;
    text[n] = '\0';
    /* The name in parentheses may contain anything; 19 fields are between it and the start time. */
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1,
                        " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                        "%*s %*s %llu",
                        &found) != 1)
        return -EINVAL;
    if (found != start_time)
        return 0; /* somebody else by now */
    return pidfd_send_signal(pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH ? -errno : 0;
}

static void on_ending_timer(void *arg)
{
    struct sandbox *s = arg;
    struct sandbox_private *priv = s->priv;
    _cleanup_err_ struct err e = ERR_INIT;
    int r = 0;

    if (!priv->shim_killed) {
        log_warn("pod", s->id, "its shim (process %d) does not end: it is killed",
                 (int)priv->shim_pid);
        priv->shim_killed = true;
        r = shim_process_kill(priv->shim_pid, priv->shim_start_time);
        if (r == 0) {
            timer_start(priv->ending_timer, SHUTDOWN_TIMEOUT_MS); /* on_gone should come first */
            return;
        }
    }
    if (r < 0)
        err_errno(&e, r, "kill the shim of sandbox " ID_SHORT, s->id);
    else
        err_set(&e, ERR_DEADLINE_EXCEEDED,
                "the shim of sandbox " ID_SHORT " (process %d) was killed and is still there",
                s->id, (int)priv->shim_pid);
    priv->shim_killed = false; /* the next attempt begins anew */
    ending_finish(s, &e);
}

static void on_shutdown(void *arg, const struct err *e)
{
    struct sandbox *s = arg;

    if (s->priv->pods->closing)
        return;
    if (e->code == ERR_OK)
        s->priv->shutdown_answered = true;
    else if (e->code != ERR_UNAVAILABLE && s->priv->shim && s->priv->ending_timer)
        timer_start(s->priv->ending_timer, 0); /* it refuses: no use to wait */
}

/* One that cannot be spoken to: recover.c goes on trying, and sees it gone. */
static void kill_unreachable(struct sandbox *s)
{
    int r = shim_process_kill(s->priv->shim_pid, s->priv->shim_start_time);

    if (r < 0) {
        _cleanup_err_ struct err e = ERR_INIT;
        err_errno(&e, r, "kill the shim of sandbox " ID_SHORT, s->id);
        ending_finish(s, &e);
    }
}

void shim_end(struct sandbox *s, pod_done_fn *fn, void *arg)
{
    static const struct err no_error = ERR_INIT;
    struct sandbox_private *priv = s->priv;
    bool under_way = !list_empty(&priv->ending);

    if (!priv->shim && !priv->cleaning && !priv->connecting) {
        fn(arg, &no_error);
        return;
    }
    waiters_add(&priv->ending, fn, arg);
    if (under_way || priv->cleaning)
        return;
    if (priv->connecting) {
        kill_unreachable(s);
        return;
    }
    priv->ending_timer = timer_new(priv->pods->loop, on_ending_timer, s);
    timer_start(priv->ending_timer, SHUTDOWN_TIMEOUT_MS);
    shim_shutdown(priv->shim, on_shutdown, s);
}
