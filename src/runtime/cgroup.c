/*
 * The life of one cgroup: made in every hierarchy, entered, signalled, asked, removed.
 *
 * Directories are made once and held open, one descriptor per hierarchy, so that everything later
 * is relative to a descriptor and counters can be read until the removal.
 *
 * Entering never writes the number of another process, because the kernel then waits for all
 * running forks to pass (about 11 ms). On v2 a process is born inside (CLONE_INTO_CGROUP); on v1
 * the single-threaded child writes 0 into the `tasks` files itself.
 *
 * A leaf, for one exec, must make its processes findable and nothing else: limits are those of the
 * container. So it is one directory in one hierarchy and the container's own directories in the
 * others. Making and removing one directory costs 65 us, in all of nine hierarchies 600 us, as much
 * as the exec itself. With a v2 tree it is the v2 one: a child is born into it and one write kills
 * it, and as no controllers are enabled in it, processes may live both in it and in its parent.
 * Without, it is `freezer`, the cheapest (50 us), which can also stop what it names.
 */
#include "cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys.h"

static struct cgroup *cgroup_alloc(const char *path)
{
    const struct cgroup_layout *l = cgroup_layout();
    struct cgroup *cg = xnew(struct cgroup);
    cg->path = xstrdup(path);
    cg->v2 = -1;
    cg->oom_fd = -1;
    cg->n_v1 = l->n_v1;
    cg->v1 = xcalloc(l->n_v1 + 1, sizeof(*cg->v1));
    cg->v1_owned = xcalloc(l->n_v1 + 1, sizeof(*cg->v1_owned));
    for (size_t i = 0; i < l->n_v1; i++)
        cg->v1[i] = -1;
    int freezer = cgroup_layout_v1_index(l, "freezer");
    cg->tracker = freezer >= 0 ? freezer : 0;
    return cg;
}

void cgroup_free(struct cgroup *cg)
{
    if (!cg)
        return;
    fd_close(cg->v2);
    fd_close(cg->oom_fd);
    if (cg->leaf)
        cgroup_return_shared(cg);
    for (size_t i = 0; i < cg->n_v1; i++)
        fd_close(cg->v1[i]);
    free(cg->v1);
    free(cg->v1_owned);
    free(cg->path);
    free(cg);
}

/* ---- Making ---------------------------------------------------------------------------------- */

/* One file of a cpuset: when it is empty, it gets what its parent has. The parent may be empty
 * itself, for a moment, while another shim is making it: then that is done here. */
static int cpuset_file_inherit(int dirfd, const char *file, int depth)
{
    char text[4096];
    ssize_t n = cgroup_file_read(dirfd, file, text, sizeof(text));
    if (n < 0 || text[strspn(text, " \n")] != '\0')
        return n < 0 ? (int)n : 0;
    _cleanup_close_ int parent = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || depth == 0)
        return parent < 0 ? -errno : -ENOSPC;
    int r = cpuset_file_inherit(parent, file, depth - 1);
    if (r < 0)
        return r;
    n = cgroup_file_read(parent, file, text, sizeof(text));
    return n < 0 ? (int)n : cgroup_file_write(dirfd, file, text);
}

/* A new cpuset is empty and takes no process until it was given processors and memory: those of
 * its parent. clone_children makes the kernel do it for all below. */
static int cpuset_inherit(int dirfd)
{
    int r = cpuset_file_inherit(dirfd, "cpuset.cpus", 64);
    if (r == 0)
        r = cpuset_file_inherit(dirfd, "cpuset.mems", 64);
    return r < 0 ? r : cgroup_file_write(dirfd, "cgroup.clone_children", "1");
}

/* Makes `path` and its parents below root_fd; `prepare` sees every new directory, top down. fd, or
 * -errno; *ret_made tells whether the last one is new. */
static int dir_make(int root_fd, const char *path, int (*prepare)(int dirfd), bool *ret_made)
{
    bool made = mkdirat(root_fd, path, 0755) == 0;
    if (!made && errno == ENOENT) {
        const char *slash = strrchr(path, '/');
        if (!slash)
            return -ENOENT;
        _cleanup_free_ char *parent = xstrndup(path, (size_t)(slash - path));
        bool parent_made;
        int fd = dir_make(root_fd, parent, prepare, &parent_made);
        if (fd < 0)
            return fd;
        fd_close(fd);
        made = mkdirat(root_fd, path, 0755) == 0;
    }
    if (!made && errno != EEXIST)
        return -errno;
    int fd = cgroup_dir_open(root_fd, path);
    if (fd >= 0 && made && prepare) {
        int r = prepare(fd);
        if (r < 0) {
            fd_close(fd);
            unlinkat(root_fd, path, AT_REMOVEDIR);
            return r;
        }
    }
    *ret_made = made;
    return fd;
}

static bool word_in(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += len)
        if ((p == text || p[-1] == ' ') && (!p[len] || p[len] == ' ' || p[len] == '\n'))
            return true;
    return false;
}

/* Enables the controllers that podd uses for the children of one v2 directory. */
static int controllers_enable(int dirfd, const char *shown_path, struct err *e)
{
    static const char *const used[] = {"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "misc"};
    char have[512], enabled[512];
    if (cgroup_file_read(dirfd, "cgroup.controllers", have, sizeof(have)) < 0 ||
        cgroup_file_read(dirfd, "cgroup.subtree_control", enabled, sizeof(enabled)) < 0)
        return err_errno(e, errno, "read the controllers of cgroup /%s", shown_path);
    _cleanup_strbuf_ struct strbuf missing = {0};
    for (size_t i = 0; i < ARRAY_SIZE(used); i++)
        if (word_in(have, used[i]) && !word_in(enabled, used[i]))
            strbuf_addf(&missing, "%s+%s", missing.len ? " " : "", used[i]);
    if (!missing.len)
        return 0;
    int r = cgroup_file_write(dirfd, "cgroup.subtree_control", missing.data);
    if (r == -EBUSY)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "enable \"%s\" below cgroup /%s: it has processes of its own, and cgroup v2 "
                       "wants them in leaves only: move them into a child cgroup",
                       missing.data, shown_path);
    if (r < 0)
        return err_errno(e, r, "enable \"%s\" below cgroup /%s", missing.data, shown_path);
    return 0;
}

/* Makes every parent of `path` in the v2 tree pass its controllers on. */
static int v2_parents_enable(int root_fd, const char *path, struct err *e)
{
    if (controllers_enable(root_fd, "", e) < 0)
        return -1;
    for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
        _cleanup_free_ char *parent = xstrndup(path, (size_t)(p - path));
        if (mkdirat(root_fd, parent, 0755) < 0 && errno != EEXIST)
            return err_errno(e, errno, "make cgroup /%s", parent);
        _cleanup_close_ int fd = cgroup_dir_open(root_fd, parent);
        if (fd < 0)
            return err_errno(e, fd, "open cgroup /%s", parent);
        if (controllers_enable(fd, parent, e) < 0)
            return -1;
    }
    return 0;
}

static bool writes_v2(cgroup_write_t *const *writes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_empty(writes[i]->controller))
            return true;
    return false;
}

static int dirs_make(struct cgroup *cg, bool v2_controllers, struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    int cpuset = cgroup_layout_v1_index(l, "cpuset");
    for (size_t i = 0; i < l->n_v1; i++) {
        cg->v1[i] = dir_make(l->v1[i].root_fd, cg->path, (int)i == cpuset ? cpuset_inherit : NULL,
                             &cg->v1_owned[i]);
        if (cg->v1[i] < 0)
            return err_errno(e, cg->v1[i], "make cgroup %s/%s", l->v1[i].mount_point, cg->path);
    }
    if (l->v2_root_fd < 0)
        return 0;
    if (v2_controllers && v2_parents_enable(l->v2_root_fd, cg->path, e) < 0)
        return -1;
    cg->v2 = dir_make(l->v2_root_fd, cg->path, NULL, &cg->v2_owned);
    if (cg->v2 < 0)
        return err_errno(e, cg->v2, "make cgroup %s/%s", l->v2_mount_point, cg->path);
    return 0;
}

static void oom_counter_open(struct cgroup *cg)
{
    int memory = cgroup_layout_v1_index(cgroup_layout(), "memory");
    if (memory >= 0)
        cg->oom_fd = openat(cg->v1[memory], "memory.oom_control", O_RDONLY | O_CLOEXEC);
    else if (cg->v2 >= 0)
        cg->oom_fd = openat(cg->v2, "memory.events", O_RDONLY | O_CLOEXEC);
}

int cgroup_create(const char *path, cgroup_write_t *const *writes, size_t n_writes,
                  device_rule_t *const *rules, size_t n_rules, struct cgroup **ret, struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    if (l->n_v1 == 0 && l->v2_root_fd < 0)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup");
    _cleanup_free_ char *clean = NULL;
    if (cgroup_path_check(path, &clean, e) < 0)
        return -1;
    struct cgroup *cg = cgroup_alloc(clean);
    /* In the hybrid shape the v2 tree's controllers cost something and are rarely asked for. */
    if (dirs_make(cg, l->mode == CGROUP_V2 || writes_v2(writes, n_writes), e) < 0 ||
        cgroup_writes_apply(cg, writes, n_writes, false, e) < 0 ||
        (n_rules && cgroup_devices_apply(cg, rules, n_rules, e) < 0)) {
        cgroup_remove(cg);
        cgroup_free(cg);
        return -1;
    }
    oom_counter_open(cg);
    *ret = cg;
    return 0;
}

int cgroup_create_leaf(struct cgroup *parent, const char *name, struct cgroup **ret, struct err *e)
{
    if (str_empty(name) || strchr(name, '/') || name[0] == '.')
        return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not a name of a cgroup", name);
    _cleanup_free_ char *path = xasprintf("%s/%s", parent->path, name);
    struct cgroup *cg = cgroup_alloc(path);
    cg->leaf = true;
    bool made; /* ours in any case: nobody else makes leaves */
    int tracked =
        dir_make(parent->v2 >= 0 ? parent->v2 : parent->v1[cg->tracker], name, NULL, &made);
    *(parent->v2 >= 0 ? &cg->v2_owned : &cg->v1_owned[cg->tracker]) = true;
    for (size_t i = 0; tracked >= 0 && i < cg->n_v1; i++)
        cg->v1[i] = cg->v1_owned[i] ? tracked : parent->v1[i];
    if (parent->v2 >= 0)
        cg->v2 = tracked;
    if (tracked < 0) {
        cgroup_free(cg);
        return err_errno(e, tracked, "make cgroup /%s", path);
    }
    *ret = cg;
    return 0;
}

/* ---- Entering -------------------------------------------------------------------------------- */

int cgroup_enter_v1(const struct cgroup *cg, struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    for (size_t i = 0; i < cg->n_v1; i++) {
        int r = cgroup_file_write(cg->v1[i], "tasks", "0");
        if (r == -ENOSPC)
            return err_set(e, ERR_FAILED_PRECONDITION,
                           "enter cgroup %s/%s: its cpuset has no processors or no memory",
                           l->v1[i].mount_point, cg->path);
        if (r < 0)
            return err_errno(e, r, "enter cgroup %s/%s", l->v1[i].mount_point, cg->path);
    }
    return 0;
}

/* Is the calling process in the v2 directory already? Moving there again is not free. */
static bool v2_entered(const struct cgroup *cg)
{
    _cleanup_bytes_ struct bytes text = {0};
    _cleanup_err_ struct err ignored = ERR_INIT;
    if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, &ignored) < 0)
        return false;
    const char *line = strstr((const char *)text.data, "0::/");
    if (!line)
        return false;
    line += strlen("0::/");
    size_t len = strcspn(line, "\n");
    return len == strlen(cg->path) && memcmp(line, cg->path, len) == 0;
}

void cgroup_return_shared(struct cgroup *leaf)
{
    for (size_t i = 0; i < leaf->n_v1; i++)
        if (!leaf->v1_owned[i])
            leaf->v1[i] = -1;
}

int cgroup_enter(struct cgroup *cg, struct err *e)
{
    if (cgroup_enter_v1(cg, e) < 0)
        return -1;
    if (cg->v2 < 0 || v2_entered(cg))
        return 0;
    int r = cgroup_file_write(cg->v2, "cgroup.procs", "0");
    if (r < 0)
        return err_errno(e, r, "enter cgroup /%s", cg->path);
    return 0;
}

int cgroup_v2_fd(const struct cgroup *cg)
{
    return cg->v2;
}

/* ---- While it lives -------------------------------------------------------------------------- */

int cgroup_update(struct cgroup *cg, cgroup_write_t *const *writes, size_t n_writes, struct err *e)
{
    return cgroup_writes_apply(cg, writes, n_writes, true, e);
}

/* A frozen process takes no signal before it is thawed. */
static void cgroup_thaw(const struct cgroup *cg)
{
    int freezer = cgroup_layout_v1_index(cgroup_layout(), "freezer");
    if (freezer >= 0 && cg->v1_owned[freezer])
        cgroup_file_write(cg->v1[freezer], "freezer.state", "THAWED");
    if (cg->v2 >= 0)
        cgroup_file_write(cg->v2, "cgroup.freeze", "0");
}

/* SIGKILL without cgroup.kill: nobody can fork or leave while all are frozen. */
static int frozen_kill(const struct cgroup *cg)
{
    if (cg->v2 >= 0) {
        cgroup_file_write(cg->v2, "cgroup.freeze", "1");
        return cgroup_dir_signal(cg->v2, SIGKILL);
    }
    int dirfd = cg->v1[cg->tracker];
    if (cg->tracker == cgroup_layout_v1_index(cgroup_layout(), "freezer"))
        cgroup_file_write(dirfd, "freezer.state", "FROZEN");
    return cgroup_dir_signal(dirfd, SIGKILL);
}

int cgroup_signal(struct cgroup *cg, int signo)
{
    int r;
    if (signo == SIGKILL) {
        r = cg->v2 >= 0 ? cgroup_v2_kill(cg->v2) : -ENOENT;
        if (r == -ENOENT)
            r = frozen_kill(cg);
    } else {
        r = cgroup_dir_signal(cg->v2 >= 0 ? cg->v2 : cg->v1[cg->tracker], signo);
    }
    cgroup_thaw(cg);
    return r == -ENODEV || r == -ENOENT ? 0 : r; /* removed: nobody is in it */
}

bool cgroup_is_empty(const struct cgroup *cg)
{
    return !(cg->v2 >= 0 ? cgroup_v2_populated(cg->v2) : cgroup_v1_populated(cg->v1[cg->tracker]));
}

bool cgroup_oom_killed(const struct cgroup *cg)
{
    char text[512];
    ssize_t n = cg->oom_fd < 0 ? -1 : pread(cg->oom_fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return cgroup_text_value(text, "oom_kill") > 0;
}

int cgroup_remove(struct cgroup *cg)
{
    const struct cgroup_layout *l = cgroup_layout();
    int result = 0;
    for (size_t i = 0; i < cg->n_v1; i++) {
        int r = cg->v1_owned[i] ? cgroup_dir_remove(l->v1[i].root_fd, cg->path) : 0;
        if (r < 0 && result == 0)
            result = r;
    }
    int r = cg->v2_owned ? cgroup_dir_remove(l->v2_root_fd, cg->path) : 0;
    return result < 0 ? result : r;
}
