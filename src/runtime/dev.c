/*
 * The container's /dev: a tmpfs of podd's own, filled while it is still detached. So no path of the
 * image takes part in making the nodes, and none of its links can lead them astray.
 *
 * With a user namespace the kernel refuses device nodes to whoever is root only in there; the tmpfs
 * is then made by the shim, before the namespace is entered, and what is in it given to the mapped
 * root.
 */
#include "mount.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "sys.h"

static const struct {
    const char *name, *target;
} links[] = {{"fd", "/proc/self/fd"},
             {"stdin", "/proc/self/fd/0"},
             {"stdout", "/proc/self/fd/1"},
             {"stderr", "/proc/self/fd/2"},
             {"ptmx", "pts/ptmx"}};

/* The node number of container id 0 on the host. */
static uint32_t mapped_root(id_map_t *const *maps, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (maps[i]->container_id == 0)
            return maps[i]->host_id;
    return 0;
}

/* The path below /dev, or NULL when the device lies elsewhere. */
static const char *below_dev(const Podd__Shim__Device *d)
{
    const char *p = d->path;
    if (!str_starts_with(p, "/dev/"))
        return NULL;
    p += strlen("/dev/");
    return p + strspn(p, "/");
}

static bool dev_is_ours(const container_spec_t *spec)
{
    for (size_t i = 0; i < spec->n_mounts; i++)
        if (str_equal(spec->mounts[i]->target, "/dev"))
            return spec->mounts[i]->kind == PODD__SHIM__MOUNT__KIND__TMPFS;
    return false;
}

static int node_make(int dirfd, const char *name, const Podd__Shim__Device *d, uint32_t uid,
                     uint32_t gid)
{
    dev_t number = makedev(d->major, d->minor);
    struct stat st = {0}; /* a new node is root's */
    if (mknodat(dirfd, name, d->mode, number) < 0) {
        if (errno != EEXIST || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
        if ((st.st_mode & S_IFMT) != (d->mode & S_IFMT) ||
            (!S_ISFIFO(d->mode) && st.st_rdev != number))
            return -EEXIST; /* the image has something else there */
    }
    if (st.st_uid == uid && st.st_gid == gid)
        return 0;
    return fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Makes the node at path (relative to root) with its parents. */
static int device_make(int root, const char *path, const Podd__Shim__Device *d, uint32_t root_uid,
                       uint32_t root_gid, struct err *e)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    _cleanup_free_ char *parent = xasprintf("/%.*s", slash ? (int)(slash - path) : 0, path);
    if (str_empty(name) || str_equal(name, ".") || str_equal(name, ".."))
        return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not a path for a device", d->path);
    _cleanup_close_ int made = slash ? directory_ensure(root, parent) : -1;
    int dirfd = slash ? made : root;
    int r = dirfd < 0 ? dirfd : node_make(dirfd, name, d, root_uid + d->uid, root_gid + d->gid);
    if (r == -EPERM)
        return err_set(e, ERR_PERMISSION_DENIED,
                       "make device %s (%u:%u): not allowed; CAP_MKNOD is missing", d->path,
                       d->major, d->minor);
    return r < 0 ? err_errno(e, r, "make device %s (%u:%u)", d->path, d->major, d->minor) : 0;
}

static int dev_fill(const container_spec_t *spec, int dev, uint32_t uid, uint32_t gid,
                    struct err *e)
{
    for (size_t i = 0; i < spec->n_devices; i++) {
        const char *path = below_dev(spec->devices[i]);
        if (path && device_make(dev, path, spec->devices[i], uid, gid, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST)
            return err_errno(e, errno, "make the link /dev/%s", links[i].name);
    return 0;
}

int dev_make(const container_spec_t *spec, const mount_spec_t *m, struct err *e)
{
    _cleanup_close_ int dev = fs_mount_spec(m, e);
    if (dev < 0)
        return -1;
    uint32_t uid = mapped_root(spec->uid_maps, spec->n_uid_maps);
    uint32_t gid = mapped_root(spec->gid_maps, spec->n_gid_maps);
    if (uid && fchownat(dev, "", uid, gid, AT_EMPTY_PATH) < 0)
        return err_errno(e, errno, "give /dev to the root of the user namespace");
    mode_t mask = umask(0);
    int r = dev_fill(spec, dev, uid, gid, e);
    umask(mask);
    return r < 0 ? -1 : take_fd(&dev);
}

int devices_make(const container_spec_t *spec, int root, struct err *e)
{
    bool ours = dev_is_ours(spec);
    for (size_t i = 0; i < spec->n_devices; i++) {
        const Podd__Shim__Device *d = spec->devices[i];
        if (d->path[0] != '/')
            return err_set(e, ERR_INVALID_ARGUMENT, "device path \"%s\" is not absolute", d->path);
        if (ours && below_dev(d))
            continue;
        if (spec->n_uid_maps)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "device %s: in a pod with a user namespace devices must be below a /dev "
                           "that no other mount covers",
                           d->path);
        if (device_make(root, d->path + strspn(d->path, "/"), d, 0, 0, e) < 0)
            return -1;
    }
    return 0;
}
