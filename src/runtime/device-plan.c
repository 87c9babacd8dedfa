/*
 * Which devices a container gets: nodes in its /dev and rules of its device cgroup.
 *
 * Rules start from "none" (the doing half sees to that). An unprivileged container may make any
 * node, as CAP_MKNOD promises, but open only those named here.
 */
#include "podd/runtime.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

typedef Podd__Shim__Device device_t;

enum { DEPTH_MAX = 8, DEVICES_MAX = 4096 };

static const struct {
    const char *name;
    uint32_t major, minor;
} defaults[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static void rule_add(container_spec_t *spec, char type, int64_t major, int64_t minor,
                     const char *access)
{
    device_rule_t *r = xnew(device_rule_t);
    podd__shim__device_rule__init(r);
    r->allow = true;
    r->type = (uint32_t)type;
    r->major = major;
    r->minor = minor;
    r->access = xstrdup(access);
    *(device_rule_t **)array_push(&spec->device_rules, &spec->n_device_rules, sizeof(r)) = r;
}

/* Replaces a node of the same path. */
static void node_add(container_spec_t *spec, const char *path, uint32_t mode, uint32_t major,
                     uint32_t minor)
{
    device_t *d = NULL;
    for (size_t i = 0; i < spec->n_devices; i++)
        if (str_equal(spec->devices[i]->path, path))
            d = spec->devices[i];
    if (!d) {
        d = xnew(device_t);
        podd__shim__device__init(d);
        d->path = xstrdup(path);
        *(device_t **)array_push(&spec->devices, &spec->n_devices, sizeof(d)) = d;
    }
    d->mode = mode;
    d->major = major;
    d->minor = minor;
}

void device_plan_node(container_spec_t *spec, const char *path, const struct stat *st,
                      const char *access)
{
    node_add(spec, path, st->st_mode, major(st->st_rdev), minor(st->st_rdev));
    for (size_t i = 0; i < spec->n_devices; i++)
        if (str_equal(spec->devices[i]->path, path)) {
            spec->devices[i]->uid = st->st_uid;
            spec->devices[i]->gid = st->st_gid;
        }
    if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode))
        rule_add(spec, S_ISBLK(st->st_mode) ? 'b' : 'c', major(st->st_rdev), minor(st->st_rdev),
                 access);
}

void device_plan_default(container_spec_t *spec)
{
    rule_add(spec, 'c', -1, -1, "m");
    rule_add(spec, 'b', -1, -1, "m");
    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
        _cleanup_free_ char *path = xasprintf("/dev/%s", defaults[i].name);
        node_add(spec, path, S_IFCHR | 0666, defaults[i].major, defaults[i].minor);
        rule_add(spec, 'c', defaults[i].major, defaults[i].minor, "rwm");
    }
    rule_add(spec, 'c', 5, 2, "rwm");    /* ptmx */
    rule_add(spec, 'c', 136, -1, "rwm"); /* pts/N */
}

/* ---- Devices of the host --------------------------------------------------------------------- */

struct walk {
    container_spec_t *spec;
    const char *access; /* NULL: no rules */
    int depth;
};

static int walk_directory(struct walk *w, int dirfd, const char *container_path, struct err *e);

/* Those are made anew for every container, or are not devices. */
static bool skipped(const char *container_path)
{
    static const char *const paths[] = {"/dev/pts",     "/dev/shm",  "/dev/fd",       "/dev/mqueue",
                                        "/dev/console", "/dev/ptmx", "/dev/hugepages"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (str_equal(container_path, paths[i]))
            return true;
    return false;
}

static int walk_entry(struct walk *w, int dirfd, const char *name, const char *parent,
                      struct err *e)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", parent, name);
    struct stat st;
    if (skipped(path) || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* removed meanwhile: devices come and go */
    if (S_ISDIR(st.st_mode)) {
        if (w->depth >= DEPTH_MAX)
            return 0;
        _cleanup_close_ int child =
            openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return child < 0 ? 0 : walk_directory(w, child, path, e);
    }
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return 0;
    if (w->spec->n_devices >= DEVICES_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "more than %d devices", DEVICES_MAX);
    node_add(w->spec, path, st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    if (w->access)
        rule_add(w->spec, S_ISBLK(st.st_mode) ? 'b' : 'c', major(st.st_rdev), minor(st.st_rdev),
                 w->access);
    return 0;
}

static int walk_directory(struct walk *w, int dirfd, const char *container_path, struct err *e)
{
    int own = fd_dup(dirfd);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (!dir) {
        fd_close(own);
        return err_errno(e, errno, "list devices for %s", container_path);
    }
    int r = 0;
    w->depth++;
    for (struct dirent *d; r == 0 && (d = readdir(dir));)
        if (!str_equal(d->d_name, ".") && !str_equal(d->d_name, ".."))
            r = walk_entry(w, dirfd, d->d_name, container_path, e);
    w->depth--;
    closedir(dir);
    return r;
}

int device_plan_privileged(container_spec_t *spec, struct err *e)
{
    struct walk w = {.spec = spec};
    _cleanup_close_ int dev = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dev < 0)
        return err_errno(e, errno, "open /dev");
    if (walk_directory(&w, dev, "/dev", e) < 0)
        return -1;
    rule_add(spec, 'a', -1, -1, "rwm");
    return 0;
}

int device_plan_add(container_spec_t *spec, const char *host_path, const char *container_path,
                    const char *access, struct err *e)
{
    if (str_empty(access) || strspn(access, "rwm") != strlen(access))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "device %s: permissions \"%s\" are not made of r, w and m", host_path,
                       access ? access : "");
    if (str_empty(container_path) || container_path[0] != '/' || str_equal(container_path, "/"))
        return err_set(e, ERR_INVALID_ARGUMENT, "device %s: \"%s\" is not a path in the container",
                       host_path, container_path ? container_path : "");
    struct stat st;
    _cleanup_close_ int fd = open(host_path, O_PATH | O_CLOEXEC); /* links are followed */
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_errno(e, errno, "device %s", host_path);
        e->code = ERR_INVALID_ARGUMENT;
        return -1;
    }
    if (S_ISDIR(st.st_mode)) {
        struct walk w = {.spec = spec, .access = access};
        _cleanup_close_ int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return err_errno(e, errno, "device %s", host_path);
        return walk_directory(&w, dir, container_path, e);
    }
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s is not a device", host_path);
    node_add(spec, container_path, st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    rule_add(spec, S_ISBLK(st.st_mode) ? 'b' : 'c', major(st.st_rdev), minor(st.st_rdev), access);
    return 0;
}
