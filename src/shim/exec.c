/*
 * exec.c - processes run in a running container beside its first one.
 *
 * Each has a leaf of its own below the container's cgroup, so that ExecKill reaches all that it
 * started and nothing else. When the process ends, its exit is told at once: the pipes are the
 * daemon's, which drains them. What it left behind in the background goes on, as after a shell's
 * `&`; then the leaf cannot be removed yet. It is kept and tried again a few times after a short
 * while (the kernel may take a moment to let go of a process that was reaped), whenever another
 * exec of the container ends, and when the container is removed.
 *
 * An exec belongs to the connection that asked for it. When that ends nobody can enforce a time
 * limit on it or read what it says any more: it is killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "exec.h"
#include "server.h"

struct exec_run *exec_find(struct sandbox *sb, const char *id)
{
    struct exec_run *ended = NULL;

    list_for_each (it, &sb->execs) {
        struct exec_run *x = container_of(it, struct exec_run, link);
        if (!str_equal(x->id, id))
            continue;
        if (x->process.pid)
            return x;
        ended = x;
    }
    return ended;
}

static void exec_free(struct exec_run *x)
{
    list_remove(&x->link);
    cgroup_free(x->leaf);
    fd_close(x->process.pidfd);
    fd_close(x->tty_peer);
    free(x->id);
    free(x);
}

/* ---- Starting ------------------------------------------------------------------------------- */

static int make_leaf(struct ctr *c, struct cgroup **ret, struct err *e)
{
    char name[24];

    /* Not named after the id, which is the caller's text. */
    snprintf(name, sizeof(name), "exec-%u", ++c->last_leaf);
    return cgroup_create_leaf(c->cgroup, name, ret, e);
}

static void complete_process(const struct ctr *c, process_spec_t *process)
{
    if (process->set_oom_score_adj || !c->set_oom_score_adj)
        return;
    process->set_oom_score_adj = true;
    process->oom_score_adj = c->oom_score_adj;
    process->oom_score_adj_best_effort = true;
}

/* The daemon gets the master; the shim keeps the other side while the process runs, which is
 * enough to set the size, and does not keep the terminal up when the daemon closes it. */
static int keep_peer(struct exec_run *x, int master)
{
    x->tty_peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return x->tty_peer < 0 ? -errno : 0;
}

static int start_process(struct exec_run *x, process_spec_t *process, const int stdio[3],
                         int *ret_tty_master, struct err *e)
{
    struct process_io io = {-1, -1, -1, NULL};

    if (process->tty)
        io.ret_tty_master = ret_tty_master;
    else
        io = (struct process_io){stdio[0], stdio[1], stdio[2], NULL};
    complete_process(x->ctr, process);
    if (make_leaf(x->ctr, &x->leaf, e) < 0)
        return -1;
    if (container_exec(process, &x->ctr->process, &x->sb->ns, x->leaf, &io, &x->process, e) < 0) {
        cgroup_remove(x->leaf);
        return -1;
    }
    int r = process->tty ? keep_peer(x, *ret_tty_master) : 0;
    if (r < 0)
        log_warn("shim", x->id, "open the other side of its terminal: %s", strerror(-r));
    return 0;
}

int exec_start(struct ctr *c, const Podd__Shim__ExecRequest *request, uint64_t connection,
               const int stdio[3], int *ret_tty_master, struct exec_run **ret, struct err *e)
{
    struct exec_run *x = exec_find(c->sb, request->exec_id);

    if (str_empty(request->exec_id) || !request->process)
        return err_set(e, ERR_INVALID_ARGUMENT, "exec in container %s: no id or no process", c->id);
    if (x && x->process.pid)
        return err_set(e, ERR_ALREADY_EXISTS, "exec %s exists already", request->exec_id);
    x = xnew(struct exec_run);
    *x = (struct exec_run){
        .sb = c->sb,
        .id = xstrdup(request->exec_id),
        .ctr = c,
        .process = PROCESS_NULL,
        .tty_peer = -1,
        .connection = connection,
    };
    list_init(&x->link);
    if (start_process(x, request->process, stdio, ret_tty_master, e) < 0) {
        exec_free(x);
        return -1;
    }
    list_append(&c->sb->execs, &x->link);
    *ret = x;
    return 0;
}

int exec_resize(struct exec_run *x, uint32_t width, uint32_t height, struct err *e)
{
    struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};

    if (x->tty_peer < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "exec %s has no terminal", x->id);
    if (width > UINT16_MAX || height > UINT16_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "a terminal cannot be %u by %u", width, height);
    if (ioctl(x->tty_peer, TIOCSWINSZ, &size) < 0)
        return err_errno(e, errno, "resize the terminal of exec %s", x->id);
    return 0;
}

/* ---- Ending --------------------------------------------------------------------------------- */

int exec_kill(struct exec_run *x, struct err *e)
{
    int r = cgroup_signal(x->leaf, SIGKILL);

    return r < 0 && r != -ESRCH ? err_errno(e, r, "kill exec %s", x->id) : 0;
}

void exec_connection_closed(struct sandbox *sb, uint64_t connection)
{
    list_for_each (it, &sb->execs) {
        struct exec_run *x = container_of(it, struct exec_run, link);
        _cleanup_err_ struct err e = ERR_INIT;
        if (x->connection == connection && x->process.pid && exec_kill(x, &e) < 0)
            log_error("shim", x->id, "%s", err_text(&e));
    }
}

/* Tries the leaves of the container's ended execs. How many of those are left, and how many run. */
static void try_leaves(struct ctr *c, size_t *ret_ended, size_t *ret_running)
{
    *ret_ended = *ret_running = 0;
    list_for_each_safe (it, &c->sb->execs) {
        struct exec_run *x = container_of(it, struct exec_run, link);
        if (x->ctr != c)
            continue;
        if (x->process.pid)
            ++*ret_running;
        else if (cgroup_remove(x->leaf) == 0)
            exec_free(x);
        else
            ++*ret_ended;
    }
}

bool exec_remove_leaves(struct ctr *c)
{
    size_t ended, running;

    try_leaves(c, &ended, &running);
    return ended == 0 && running == 0;
}

void exec_leaf_tick(struct deadline *d)
{
    static const int64_t delays_ms[] = {1, 10, 100, 1000};
    struct ctr *c = container_of(d, struct ctr, leaf_tick);
    size_t ended, running;

    try_leaves(c, &ended, &running);
    if (ended && c->leaf_attempts < ARRAY_SIZE(delays_ms))
        deadline_start(&c->sb->poller, d, delays_ms[c->leaf_attempts++]);
}

void exec_ended(struct exec_run *x, int32_t code, int32_t signo)
{
    Podd__Shim__ExecExit event = PODD__SHIM__EXEC_EXIT__INIT;
    exit_info_t exit = PODD__SHIM__EXIT_INFO__INIT;

    fd_close(take_fd(&x->process.pidfd));
    x->process.pid = 0;
    fd_close(take_fd(&x->tty_peer));
    exit.code = code;
    exit.signal = signo;
    exit.finished_at = time_now_ns();
    event.exec_id = x->id;
    event.exit = &exit;
    server_send_event(x->sb, PODD__SHIM__ENVELOPE__BODY_EXEC_EXIT, &event);
    x->ctr->leaf_attempts = 0;
    exec_leaf_tick(&x->ctr->leaf_tick);
}
