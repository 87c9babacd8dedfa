/*
 * overlay.c - assembles an overlayfs as a detached mount.
 *
 * Since Linux 6.7 layers are appended one by one ("lowerdir+") and there is nothing to it. Before,
 * all of them share one string, which fsconfig(2) limits to 255 bytes and mount(2) to a page. Full
 * paths would fill that with three layers, so each directory is opened first and named by its fd:
 * with /proc/self/fd as the working directory, "12:13:14" is a list of layers. The working
 * directory belongs to the whole process, therefore a thread of its own, which has unshared it,
 * does that part: fsconfig(2) while the string fits, else mount(2) in a mount namespace that dies
 * with the thread, out of which a detached copy of the mount is taken.
 *
 * Layers whose ids are mapped are mounted, mapped, over themselves in such a thread's namespace
 * first: overlayfs takes its layers as they are seen there, and keeps them when the namespace is
 * gone.
 *
 * Options. index, metacopy and xino stay off and redirects are neither made nor followed: layers
 * come from strangers and must mean what their files say. Where the kernel has it (5.10) the mount
 * is "volatile": the writable layer belongs to a container, a container does not outlive the boot,
 * so there is nothing that a sync to disk could save for later. It buys that the last process of a
 * container does not wait, inside its exit, until the host's whole file system is written back.
 * The death of any process loses nothing.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

#include "overlay.h"

enum {
    FSCONFIG_VALUE_MAX = 255,
    MOUNT_DATA_MAX = 4095,
    FD_LAYERS_MAX = FSCONFIG_VALUE_MAX / 6, /* "12345:" */
};

struct option {
    const char *key, *value; /* value NULL: a flag */
    bool optional;           /* old kernels do not know it */
};

static const struct option OPTIONS[] = {
    {"index", "off", false},  {"metacopy", "off", true},
    {"xino", "off", true},    {"redirect_dir", "nofollow", false},
    {"volatile", NULL, true},
};

/* The kernel explains mount errors line by line on the context's fd: "e overlay: ...". */
static char *kernel_says(int fs)
{
    char buf[256];
    char *text = NULL;

    for (;;) {
        ssize_t n = read(fs, buf, sizeof(buf) - 1);
        if (n <= 2)
            return text;
        buf[n] = 0;
        buf[strcspn(buf, "\n")] = 0;
        if (buf[0] == 'e') {
            free(text);
            text = xstrdup(buf + 2);
        }
    }
}

/* Leaves errno as it is: callers look at it to try another way. */
static int fail_at(int fs, const char *what, struct err *e)
{
    int saved = errno;
    _cleanup_free_ char *says = kernel_says(fs);

    err_errno(e, saved, "mount an overlay: %s%s%s%s", what, says ? " (" : "", says ? says : "",
              says ? ")" : "");
    errno = saved;
    return -1;
}

static int set_string(int fs, const char *key, const char *value, struct err *e)
{
    if (fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0) < 0)
        return fail_at(fs, key, e);
    return 0;
}

static int set_upper(int fs, const char *upper, const char *work, struct err *e)
{
    if (!upper)
        return 0;
    return set_string(fs, "upperdir", upper, e) < 0 ? -1 : set_string(fs, "workdir", work, e);
}

static int set_options(int fs, const struct overlay *overlay, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(OPTIONS); i++) {
        const struct option *o = &OPTIONS[i];
        if (!o->value && !overlay->upper) /* nothing that could be volatile */
            continue;
        int r =
            fsconfig(fs, o->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, o->key, o->value, 0);
        if (r < 0 && !(o->optional && errno == EINVAL))
            return fail_at(fs, o->key, e);
    }
    return 0;
}

static int make_mount(int fs, int *ret_fd, struct err *e)
{
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return fail_at(fs, "create", e);
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    if (fd < 0)
        return fail_at(fs, "fsmount", e);
    *ret_fd = fd;
    return 0;
}

static int open_context(struct err *e)
{
    int fs = fsopen("overlay", FSOPEN_CLOEXEC);

    if (fs < 0)
        err_errno(e, errno, "mount an overlay: fsopen (is the kernel's overlay module there?)");
    return fs;
}

/* ---- Linux 6.7 and later --------------------------------------------------------------------- */

/* -1 with *e, or 1 when the kernel does not know how to append. */
static int mount_by_appending(const struct overlay *o, int *ret_fd, struct err *e)
{
    _cleanup_close_ int fs = open_context(e);

    if (fs < 0)
        return -1;
    for (char *const *lower = o->lowers; *lower; lower++)
        if (fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", *lower, 0) < 0)
            return errno == EINVAL ? 1 : fail_at(fs, *lower, e);
    if (set_upper(fs, o->upper, o->work, e) < 0 || set_options(fs, o, e) < 0)
        return -1;
    /* Before 6.5 unknown options are noticed only here. */
    if (make_mount(fs, ret_fd, e) == 0)
        return 0;
    return errno == EINVAL ? 1 : -1;
}

/* ---- Before ---------------------------------------------------------------------------------- */

/* The directories of an overlay as fds. */
struct dirs {
    int *fds; /* the layers, uppermost first; then upper and work, if there are any */
    size_t n, n_lowers;
};

static void dirs_close(struct dirs *d)
{
    for (size_t i = 0; i < d->n; i++)
        fd_close(d->fds[i]);
    free(d->fds);
}

static int dirs_add(struct dirs *d, const char *path, struct err *e)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_errno(e, errno, "mount an overlay: open %s", path);
    *(int *)array_push(&d->fds, &d->n, sizeof(fd)) = fd;
    return 0;
}

struct job {
    const struct overlay *overlay;
    bool in_namespace;  /* mounted there by mount(2) */
    bool append;        /* else, by appending */
    bool cannot_append; /* which this kernel does not know */
    int fd;             /* the result; -1 when failed */
    struct err error;
};

static int dirs_open(const struct overlay *o, struct dirs *d, struct err *e)
{
    for (char *const *lower = o->lowers; *lower; lower++)
        if (dirs_add(d, *lower, e) < 0)
            return -1;
    d->n_lowers = d->n;
    if (!o->upper)
        return 0;
    return dirs_add(d, o->upper, e) < 0 ? -1 : dirs_add(d, o->work, e);
}

static char *join_lowers(const struct dirs *d)
{
    struct strbuf b = {0};

    for (size_t i = 0; i < d->n_lowers; i++)
        strbuf_addf(&b, "%s%d", i ? ":" : "", d->fds[i]);
    return strbuf_take(&b);
}

static int mount_with_fsconfig(const struct overlay *o, const struct dirs *d, const char *lowers,
                               int *ret_fd, struct err *e)
{
    _cleanup_free_ char *upper = o->upper ? xasprintf("%d", d->fds[d->n_lowers]) : NULL;
    _cleanup_free_ char *work = o->upper ? xasprintf("%d", d->fds[d->n_lowers + 1]) : NULL;

    _cleanup_close_ int fs = open_context(e);
    if (fs < 0)
        return -1;
    if (set_string(fs, "lowerdir", lowers, e) < 0 || set_upper(fs, upper, work, e) < 0 ||
        set_options(fs, o, e) < 0)
        return -1;
    return make_mount(fs, ret_fd, e);
}

/* The overlay is mounted over its own uppermost directory: a place that surely exists. */
static int mount_in_namespace(const struct overlay *o, const struct dirs *d, const char *lowers,
                              int *ret_fd, struct err *e)
{
    const char *place = o->upper ? o->upper : o->lowers[0];
    _cleanup_free_ char *data = xasprintf("lowerdir=%s,index=off,redirect_dir=nofollow", lowers);

    if (o->upper) {
        _cleanup_free_ char *lower_part = data;
        data = xasprintf("%s,upperdir=%d,workdir=%d,volatile", lower_part, d->fds[d->n_lowers],
                         d->fds[d->n_lowers + 1]);
    }
    if (strlen(data) > MOUNT_DATA_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "mount an overlay: too many layers for this "
                       "kernel");
    if (mount("overlay", place, "overlay", 0, data) < 0)
        return err_errno(e, errno, "mount an overlay at %s", place);
    int fd = open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "mount an overlay: open_tree");
    *ret_fd = fd;
    return 0;
}

/* The thread's own working directory, and mount namespace if need be. Before the layers are opened:
 * overlayfs takes only directories of the namespace it is mounted in. */
static int leave_process(bool in_namespace, struct err *e)
{
    if (unshare(in_namespace ? CLONE_NEWNS : CLONE_FS) < 0)
        return err_errno(e, errno, "mount an overlay: unshare");
    if (in_namespace && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(e, errno, "mount an overlay: make the namespace private");
    if (chdir("/proc/self/fd") < 0)
        return err_errno(e, errno, "mount an overlay: chdir to /proc/self/fd");
    return 0;
}

/* Covers the layer with a mount of itself that shows its files with the ids of `user_ns`. */
static int map_layer(const char *path, int user_ns, struct err *e)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_ns};
    _cleanup_close_ int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0)
        return err_errno(e, errno, "map the ids of layer %s: open_tree", path);
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
        return err_errno(e, errno,
                         "map the ids of layer %s: does its file system support idmapped mounts?",
                         path);
    if (move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, errno, "map the ids of layer %s: move_mount", path);
    return 0;
}

static int map_layers(const struct overlay *o, struct err *e)
{
    for (char *const *lower = o->lowers; *lower; lower++)
        if (map_layer(*lower, o->user_ns, e) < 0)
            return -1;
    return 0;
}

static void *run_job(void *arg)
{
    struct job *job = arg;
    CLEANUP(dirs_close) struct dirs d = {0};
    bool mapped = job->overlay->user_ns >= 0;

    if (leave_process(job->in_namespace || mapped, &job->error) < 0 ||
        (mapped && map_layers(job->overlay, &job->error) < 0))
        return NULL;
    if (job->append) {
        job->cannot_append = mount_by_appending(job->overlay, &job->fd, &job->error) > 0;
        return NULL;
    }
    if (dirs_open(job->overlay, &d, &job->error) < 0)
        return NULL;
    _cleanup_free_ char *lowers = join_lowers(&d);
    int r = job->in_namespace
                ? mount_in_namespace(job->overlay, &d, lowers, &job->fd, &job->error)
                : mount_with_fsconfig(job->overlay, &d, lowers, &job->fd, &job->error);
    (void)r; /* told by job->fd */
    return NULL;
}

/* 0, -1 with *e, or 1 when the kernel does not know how to append. */
static int run_in_thread(struct job *job, int *ret_fd, struct err *e)
{
    pthread_t thread;

    int r = pthread_create(&thread, NULL, run_job, job);
    if (r)
        return err_errno(e, r, "mount an overlay: start a thread");
    pthread_join(thread, NULL);
    if (job->cannot_append) {
        err_clear(&job->error);
        return 1;
    }
    if (job->fd < 0)
        return err_move(e, &job->error);
    *ret_fd = job->fd;
    return 0;
}

static int mount_in_thread(const struct overlay *o, bool in_namespace, int *ret_fd, struct err *e)
{
    struct job job = {.overlay = o, .in_namespace = in_namespace, .fd = -1};

    return run_in_thread(&job, ret_fd, e);
}

static int append(const struct overlay *o, int *ret_fd, struct err *e)
{
    struct job job = {.overlay = o, .append = true, .fd = -1};

    return o->user_ns < 0 ? mount_by_appending(o, ret_fd, e) : run_in_thread(&job, ret_fd, e);
}

int overlay_mount_by_fds(const struct overlay *o, int *ret_fd, struct err *e)
{
    size_t n = 0;

    while (o->lowers[n])
        n++;
    return mount_in_thread(o, n > FD_LAYERS_MAX, ret_fd, e);
}

int overlay_mount_by_namespace(const struct overlay *o, int *ret_fd, struct err *e)
{
    return mount_in_thread(o, true, ret_fd, e);
}

static bool paths_fit(const struct overlay *o)
{
    for (char *const *lower = o->lowers; *lower; lower++)
        if (strlen(*lower) > FSCONFIG_VALUE_MAX)
            return false;
    if (!o->upper)
        return true;
    /* overlayfs takes "\" and ":" in paths for its own. */
    return strlen(o->upper) <= FSCONFIG_VALUE_MAX && strlen(o->work) <= FSCONFIG_VALUE_MAX &&
           !strpbrk(o->upper, "\\:,");
}

int overlay_mount(struct overlay_kernel *k, const struct overlay *o, int *ret_fd, struct err *e)
{
    if (!atomic_load(&k->no_append) && paths_fit(o)) {
        _cleanup_err_ struct err first = ERR_INIT;
        int r = append(o, ret_fd, &first);
        if (r == 0)
            return 0;
        if (r < 0)
            return err_move(e, &first);
        r = overlay_mount_by_fds(o, ret_fd, e);
        /* Only a success proves that appending was what the kernel did not like. */
        if (r == 0)
            atomic_store(&k->no_append, true);
        return r;
    }
    return overlay_mount_by_fds(o, ret_fd, e);
}
