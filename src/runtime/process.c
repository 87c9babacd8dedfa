/*
 * The last stretch of a child, inside the container: from its session to execve.
 *
 * The directory is entered with all privileges and, where those do not reach (a volume on NFS that
 * only the user may enter), once more as the user. It is resolved with openat2 and no magic links,
 * and afterwards the kernel must name it as a path inside: /proc/self/fd/7 and the like lead
 * nowhere. The program is looked up the way a shell would, by trying execve in the directories of
 * PATH as the user that will run it.
 */
#include "child.h"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sys.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- Working directory ----------------------------------------------------------------------- */

static int directory_open(const char *path)
{
    return sys_openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
}

/* mkdir -p, one step at a time from a descriptor. fd of the last one or -errno. */
static int directory_make(const char *path)
{
    int fd = directory_open(path);
    if (fd != -ENOENT)
        return fd;
    const char *slash = strrchr(path, '/');
    if (!slash || !slash[1] || str_equal(slash, "/..") || str_equal(slash, "/."))
        return -ENOENT;
    _cleanup_free_ char *parent = slash == path ? xstrdup("/") : xstrndup(path, slash - path);
    _cleanup_close_ int parent_fd = directory_make(parent);
    if (parent_fd < 0)
        return parent_fd;
    if (mkdirat(parent_fd, slash + 1, 0755) < 0 && errno != EEXIST)
        return -errno;
    return sys_openat2(parent_fd, slash + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                       RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH);
}

int cwd_enter(struct child *c, struct err *e)
{
    const char *given = str_empty(c->process->cwd) ? "/" : c->process->cwd;
    if (given[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "working directory \"%s\" is not absolute", given);
    _cleanup_free_ char *path = xstrdup(given);
    for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';

    _cleanup_close_ int fd = directory_make(path);
    int r = fd < 0 ? fd : fchdir(fd) < 0 ? -errno : 0;
    c->in_cwd = r == 0;
    if (r == -EACCES || r == -EPERM)
        return 0; /* perhaps the user may */
    if (r == -ELOOP)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "working directory %s: it goes through a link of procfs, or in circles",
                       path);
    if (r < 0)
        return err_errno(e, r, "working directory %s", path);

    char real[4096];
    int len = sys_result(syscall(SYS_getcwd, real, sizeof(real)));
    if (len < 0 || real[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "working directory %s is outside of the container",
                       path);
    return 0;
}

/* ---- Limits, keys, descriptors --------------------------------------------------------------- */

static int rlimits_set(const process_spec_t *p, struct err *e)
{
    for (size_t i = 0; i < p->n_rlimits; i++) {
        const Podd__Shim__Rlimit *l = p->rlimits[i];
        struct rlimit limit = {.rlim_cur = l->soft, .rlim_max = l->hard};
        if (setrlimit((__rlimit_resource_t)l->resource, &limit) < 0)
            return err_errno(e, errno, "set resource limit %u to %llu:%llu", l->resource,
                             (unsigned long long)l->soft, (unsigned long long)l->hard);
    }
    return 0;
}

/* A session keyring of its own. Without key support there is nothing to share; when the quota is
 * full the pod's keyring stays, which is not the node's either. */
static int keyring_join(struct err *e)
{
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 || errno == ENOSYS ||
        errno == EDQUOT)
        return 0;
    return err_errno(e, errno, "make a session keyring");
}

/* Leaves 0-2, the report and the label file open, the latter two until execve. */
static int descriptors_close(struct child *c, struct err *e)
{
    int keep[2] = {c->report, c->lsm_exec};
    if (keep[0] > keep[1]) {
        keep[0] = c->lsm_exec;
        keep[1] = c->report;
    }
    unsigned first = 3;
    int r = 0;
    for (int i = 0; i < 2 && r == 0; i++) {
        if (keep[i] < 0)
            continue;
        if ((unsigned)keep[i] > first)
            r = sys_close_range(first, (unsigned)keep[i] - 1, 0);
        first = (unsigned)keep[i] + 1;
    }
    if (r == 0)
        r = sys_close_range(first, ~0U, 0);
    return r < 0 ? err_errno(e, r, "close descriptors") : 0;
}

/* ---- The program ----------------------------------------------------------------------------- */

static const char *path_of(char *const *env)
{
    for (; *env; env++)
        if (str_starts_with(*env, "PATH="))
            return *env + strlen("PATH=");
    return PATH_DEFAULT;
}

static int exec_failed(const char *program, int errnum, struct err *e)
{
    if (errnum == ENOENT && faccessat(AT_FDCWD, program, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        err_set(e, ERR_INVALID_ARGUMENT,
                "exec %s: the file is there, but its interpreter or dynamic loader is not",
                program);
    else if (errnum == ENOEXEC)
        err_set(e, ERR_INVALID_ARGUMENT,
                "exec %s: not a program for this machine (another architecture, or a script "
                "without #!)",
                program);
    else
        err_errno(e, errnum, "exec %s", program);
    if (errnum == ENOENT || errnum == EACCES || errnum == ENOTDIR || errnum == EISDIR)
        e->code = ERR_INVALID_ARGUMENT;
    return -1;
}

/* The next directory of PATH with the name behind it; NULL: there is none. Caller frees. */
static char *path_next(const char **path, const char *name)
{
    if (!*path)
        return NULL;
    const char *dir = *path;
    size_t len = strcspn(dir, ":");
    *path = dir[len] ? dir + len + 1 : NULL;
    return xasprintf("%.*s%s%s", (int)len, dir, len ? "/" : "./", name);
}

/* The file that is in PATH but cannot be run: one that may not be executed, or whose interpreter is
 * missing. NULL: there is none. Caller frees. */
static char *path_find(const char *path, const char *name)
{
    for (char *program; (program = path_next(&path, name)); free(program))
        if (faccessat(AT_FDCWD, program, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return program;
    return NULL;
}

/* Tries the directories of PATH. A file that cannot be run does not end the search, as in a shell.
 */
static int exec_search(const char *name, char *const *argv, char *const *env, struct err *e)
{
    const char *path = path_of(env);
    int denied = 0;
    for (const char *left = path;;) {
        _cleanup_free_ char *program = path_next(&left, name);
        if (!program)
            break;
        execve(program, argv, env);
        if (errno == EACCES)
            denied = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR)
            return exec_failed(program, errno, e);
    }
    _cleanup_free_ char *found = path_find(path, name);
    if (found)
        return exec_failed(found, denied ? denied : ENOENT, e);
    return err_set(e, ERR_INVALID_ARGUMENT, "exec %s: no such command in PATH (%s)", name, path);
}

static char **vector_terminate(char *const *items, size_t n)
{
    char **v = xcalloc(n + 1, sizeof(*v));
    for (size_t i = 0; i < n; i++)
        v[i] = items[i];
    return v;
}

static int program_exec(const process_spec_t *p, struct err *e)
{
    _cleanup_free_ char **argv = vector_terminate(p->args, p->n_args);
    _cleanup_free_ char **env = vector_terminate(p->env, p->n_env);
    if (!strchr(argv[0], '/'))
        return exec_search(argv[0], argv, env, e);
    execve(argv[0], argv, env);
    return exec_failed(argv[0], errno, e);
}

int process_become(struct child *c, struct err *e)
{
    if (c->process->n_args == 0 || str_empty(c->process->args[0]))
        return err_set(e, ERR_INVALID_ARGUMENT, "no command was given");
    if (stdio_attach(c, e) < 0 || keyring_join(e) < 0 || cwd_enter(c, e) < 0 ||
        rlimits_set(c->process, e) < 0 || descriptors_close(c, e) < 0 || privilege_apply(c, e) < 0)
        return -1;
    return program_exec(c->process, e);
}
