/*
 * spawn.c - starting programs.
 *
 * posix_spawn(3) shares the address space with the child until its exec, so its cost does not
 * depend on the daemon's size and no code of ours runs between. The child gets:
 *
 *   fds      The mapped ones at their numbers, /dev/null at 0 to 2 otherwise, no others. All fds
 *            are O_CLOEXEC anyway; closing the rest is a second line. Assignments happen in
 *            sequence in the child, so a source that lies among the targets might be overwritten
 *            before its turn: it is moved above all targets first, in the parent.
 *   signals  None blocked, all at their defaults (the daemon ignores SIGPIPE, which would be
 *            inherited).
 *   group    The daemon's, or one of its own.
 */
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include <podd/base.h>

enum { TARGET_MAX = 1023 };

/* The sources that were moved; closed in the parent when the child has started. */
struct moved {
    int *fds;
    size_t n;
};

static void moved_free(struct moved *m)
{
    for (size_t i = 0; i < m->n; i++)
        fd_close(m->fds[i]);
    free(m->fds);
}

static bool is_target(const struct spawn *s, int fd)
{
    for (size_t i = 0; i < s->n_fds; i++)
        if (s->fds[i].to == fd)
            return true;
    return false;
}

static int highest_target(const struct spawn *s)
{
    int highest = STDERR_FILENO;

    for (size_t i = 0; i < s->n_fds; i++) {
        assert(s->fds[i].from >= 0 && s->fds[i].to >= 0 && s->fds[i].to <= TARGET_MAX);
        if (s->fds[i].to > highest)
            highest = s->fds[i].to;
    }
    return highest;
}

/* 0 or a positive error number, as posix_spawn has it. */
static int add_fds(posix_spawn_file_actions_t *actions, const struct spawn *s, struct moved *moved)
{
    int highest = highest_target(s);
    int r = 0;

    for (int fd = 0; !r && fd <= STDERR_FILENO; fd++)
        if (!is_target(s, fd))
            r = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);

    for (size_t i = 0; !r && i < s->n_fds; i++) {
        int from = s->fds[i].from, to = s->fds[i].to;

        if (from != to && from <= highest) {
            int *slot = array_push(&moved->fds, &moved->n, sizeof(*slot));
            *slot = fcntl(from, F_DUPFD_CLOEXEC, highest + 1);
            if (*slot < 0)
                return errno;
            from = *slot;
        }
        /* With from == to this clears FD_CLOEXEC in the child. */
        r = posix_spawn_file_actions_adddup2(actions, from, to);
    }
    for (int fd = STDERR_FILENO + 1; !r && fd < highest; fd++)
        if (!is_target(s, fd))
            r = posix_spawn_file_actions_addclose(actions, fd);
    return r ? r : posix_spawn_file_actions_addclosefrom_np(actions, highest + 1);
}

static void set_attributes(posix_spawnattr_t *attr, const struct spawn *s)
{
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    sigset_t all, none;

    /* Not sigfillset(): that leaves out the two signals glibc uses itself (32 and 33), and
     * posix_spawn() makes the child ignore what it is not told to reset. */
    memset(&all, 0xff, sizeof(all));
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(attr, &all);
    posix_spawnattr_setsigmask(attr, &none);
    if (s->own_group)
        flags |= POSIX_SPAWN_SETPGROUP; /* 0, the default: that of its own pid */
    posix_spawnattr_setflags(attr, flags);
}

static int start(const struct spawn *s, pid_t *ret_pid)
{
    static char *const no_env[] = {NULL};
    __attribute__((cleanup(moved_free))) struct moved moved = {0};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int r;

    r = posix_spawnattr_init(&attr);
    if (r)
        return r;
    set_attributes(&attr, s);
    r = posix_spawn_file_actions_init(&actions);
    if (r == 0) {
        r = add_fds(&actions, s, &moved);
        if (r == 0)
            r = posix_spawn(ret_pid, s->path, &actions, &attr, s->argv, s->envp ? s->envp : no_env);
        posix_spawn_file_actions_destroy(&actions);
    }
    posix_spawnattr_destroy(&attr);
    return r;
}

int spawn_process(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
    pid_t pid = -1;
    int r;

    assert(s->path && *s->path == '/' && s->argv && s->argv[0]);
    r = start(s, &pid);
    if (r)
        return err_errno(e, r, "start %s", s->path);

    /* The pid cannot be another's: the child stays a zombie until we reap it. pidfd_open() sets
     * FD_CLOEXEC by itself. */
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        r = errno;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return err_errno(e, r, "start %s: pidfd_open", s->path);
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}
