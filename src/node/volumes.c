/*
 * volumes.c - see the header.
 *
 * An emptyDir is open to every user of the pod and to nobody outside (the directory above is
 * root's). With fsGroup a volume belongs to that group, and so does what is made in it; not a
 * hostPath, which is what the administrator of the node names. What its type promises is checked
 * here for a clear error, and again by the shim on what it mounts.
 */
#include "volumes.h"
#include "volume_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

void volumes_place_clear(struct volumes_place *place)
{
    free(place->dir);
    free(place->memory_dir);
    *place = (struct volumes_place){0};
}

static bool is_in_memory(const struct manifest_volume *v)
{
    return volume_is_secret(v) || (v->empty_dir && v->empty_dir->medium == MEDIUM_MEMORY);
}

char *volume_path(const struct volumes_place *place, const struct manifest_volume *v)
{
    if (v->host_path || v->image)
        return NULL;
    return xasprintf("%s/%s", is_in_memory(v) ? place->memory_dir : place->dir, v->name);
}

/* ---- Directories -------------------------------------------------------------------------------
 */

static int64_t group_of(const struct pod_spec *spec)
{
    return spec->security && spec->security->fs_group.set ? spec->security->fs_group.value : -1;
}

/* Gives the volume to its group, and opens it to its users. */
static int set_owner(int fd, const char *name, mode_t mode, int64_t gid, struct err *e)
{
    if (gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)gid) < 0)
        return err_errno(e, errno, "give volume %s to group %lld", name, (long long)gid);
    if (fchmod(fd, gid >= 0 ? mode | S_ISGID : mode) < 0)
        return err_errno(e, errno, "open volume %s to its users", name);
    return 0;
}

/* fd or -1. *ret_made: it was not there before. */
static int open_volume(const char *path, bool *ret_made, struct err *e)
{
    *ret_made = mkdir(path, 0700) == 0;
    if (!*ret_made && errno != EEXIST)
        return err_errno(e, errno, "make volume %s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_errno(e, errno, "open volume %s", path) : fd;
}

static int make_empty_dir(const char *path, const struct manifest_volume *v, int64_t gid,
                          struct err *e)
{
    bool made;
    _cleanup_close_ int fd = open_volume(path, &made, e);

    if (fd < 0)
        return -1;
    return made ? set_owner(fd, v->name, 0777, gid, e) : 0;
}

/* ---- In memory ---------------------------------------------------------------------------------
 */

static int mount_tmpfs(const char *path, int64_t size, struct err *e)
{
    _cleanup_free_ char *data =
        size > 0 ? xasprintf("mode=0700,size=%lld", (long long)size) : xstrdup("mode=0700");

    if (mount("tmpfs", path, "tmpfs", MS_NODEV, data) < 0)
        return err_errno(e, errno, "mount a tmpfs on %s", path);
    return 0;
}

/* Where Secrets are: on a tmpfs, whatever <state> is on. */
static int make_memory_dir(const char *path, struct err *e)
{
    struct statfs fs;

    if (dir_ensure(path, 0700, e) < 0)
        return -1;
    if (statfs(path, &fs) < 0)
        return err_errno(e, errno, "statfs %s", path);
    return fs.f_type == TMPFS_MAGIC ? 0 : mount_tmpfs(path, 0, e);
}

static bool is_mounted(const char *path, const char *parent)
{
    struct stat own, above;

    return stat(path, &own) == 0 && stat(parent, &above) == 0 && own.st_dev != above.st_dev;
}

/* The limit, and no more than all containers together may use. */
static int64_t memory_size(const struct pod_spec *spec, const struct volume_empty_dir *v)
{
    int64_t limit = v->size_limit.set ? v->size_limit.units : 0, sum = 0;

    for (size_t i = 0; i < spec->containers.count; i++) {
        const struct manifest_resources *r = spec_container(spec, i)->resources;
        if (!r || !r->limits || !r->limits->memory.set)
            return limit;
        sum += r->limits->memory.units;
    }
    return limit > 0 && limit < sum ? limit : sum;
}

static int make_memory_volume(const char *path, const char *parent, const struct pod_spec *spec,
                              const struct manifest_volume *v, struct err *e)
{
    if (is_mounted(path, parent))
        return 0;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(e, errno, "make volume %s", path);
    if (mount_tmpfs(path, memory_size(spec, v->empty_dir), e) < 0)
        return -1;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "open volume %s", path);
    return set_owner(fd, v->name, 0777, group_of(spec), e);
}

/* ---- hostPath ----------------------------------------------------------------------------------
 */

static int check_type(const char *path, const char *wanted, bool good, struct err *e)
{
    if (good)
        return 0;
    return err_set(e, ERR_FAILED_PRECONDITION, "hostPath %s is no %s", path, wanted);
}

static int make_file(const char *path, struct err *e)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0)
        return err_errno(e, errno, "make hostPath file %s", path);
    return 0;
}

static int prepare_host_path(const struct volume_host_path *v, struct err *e)
{
    struct stat st = {0};

    if (v->type <= HOST_PATH_ANY)
        return 0;
    if (v->type == HOST_PATH_DIRECTORY_OR_CREATE && dir_ensure(v->path, 0755, e) < 0)
        return -1;
    if (v->type == HOST_PATH_FILE_OR_CREATE && stat(v->path, &st) < 0 && errno == ENOENT &&
        make_file(v->path, e) < 0)
        return -1;
    if (stat(v->path, &st) < 0)
        return err_errno(e, errno, "hostPath %s", v->path);
    switch ((enum host_path_type)v->type) {
    case HOST_PATH_DIRECTORY_OR_CREATE:
    case HOST_PATH_DIRECTORY:
        return check_type(v->path, "directory", S_ISDIR(st.st_mode), e);
    case HOST_PATH_FILE_OR_CREATE:
    case HOST_PATH_FILE:
        return check_type(v->path, "regular file", S_ISREG(st.st_mode), e);
    case HOST_PATH_SOCKET:
        return check_type(v->path, "socket", S_ISSOCK(st.st_mode), e);
    case HOST_PATH_CHAR_DEVICE:
        return check_type(v->path, "character device", S_ISCHR(st.st_mode), e);
    case HOST_PATH_BLOCK_DEVICE:
        return check_type(v->path, "block device", S_ISBLK(st.st_mode), e);
    case HOST_PATH_UNSET:
    case HOST_PATH_ANY:
        break;
    }
    return 0;
}

/* ---- Making ------------------------------------------------------------------------------------
 */

static int fill_volume(const char *path, const struct payload *payload, int64_t gid, struct err *e)
{
    bool made;
    _cleanup_close_ int fd = open_volume(path, &made, e);

    if (fd < 0 || set_owner(fd, path, 0755, gid, e) < 0)
        return -1;
    return volume_files_write(fd, payload, gid, e) < 0 ? err_wrap(e, "volume %s", path) : 0;
}

static int make_volume(const struct pod_spec *spec, const struct volumes_place *place,
                       const struct manifest_volume *v, const struct payload *payload,
                       struct err *e)
{
    _cleanup_free_ char *path = volume_path(place, v);

    if (v->host_path)
        return prepare_host_path(v->host_path, e);
    if (!path)
        return 0;
    if (!v->empty_dir)
        return fill_volume(path, payload, group_of(spec), e);
    return v->empty_dir->medium == MEDIUM_MEMORY
               ? make_memory_volume(path, place->memory_dir, spec, v, e)
               : make_empty_dir(path, v, group_of(spec), e);
}

int volumes_prepare(const struct pod_spec *spec, const struct volumes_place *place,
                    const struct payload *payloads, struct err *e)
{
    bool in_memory = false;

    for (size_t i = 0; i < spec->volumes.count; i++)
        in_memory = in_memory || is_in_memory(spec_volume(spec, i));
    if (dir_ensure(place->dir, 0700, e) < 0 ||
        (in_memory && make_memory_dir(place->memory_dir, e) < 0))
        return -1;
    for (size_t i = 0; i < spec->volumes.count; i++)
        if (make_volume(spec, place, spec_volume(spec, i), &payloads[i], e) < 0)
            return -1;
    return 0;
}

int volumes_fill(const struct pod_spec *spec, const struct volumes_place *place,
                 const struct payload *payloads, struct err *e)
{
    for (size_t i = 0; i < spec->volumes.count; i++) {
        const struct manifest_volume *v = spec_volume(spec, i);
        _cleanup_free_ char *path = volume_has_payload(v) ? volume_path(place, v) : NULL;
        if (path && fill_volume(path, &payloads[i], group_of(spec), e) < 0)
            return -1;
    }
    return 0;
}

/* ---- subPath -----------------------------------------------------------------------------------
 */

/* Makes the last component of `path` when it is missing, as open as the volume itself. */
static int make_component(int root, const char *path, mode_t mode)
{
    const char *slash = strrchr(path, '/');
    _cleanup_free_ char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    _cleanup_close_ int above = open_in_root(root, parent, O_RDONLY | O_DIRECTORY, 0);
    const char *name = slash ? slash + 1 : path;

    if (above < 0)
        return above;
    if (mkdirat(above, name, 0700) < 0)
        return -errno;
    _cleanup_close_ int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 || fchmod(fd, mode) < 0 ? -errno : 0;
}

int volume_make_sub_path(const char *volume, const char *sub_path, struct err *e)
{
    _cleanup_close_ int root = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    if (root < 0 || fstat(root, &st) < 0)
        return err_errno(e, errno, "open volume %s", volume);
    for (const char *end = sub_path; *end;) {
        end += strcspn(end, "/");
        _cleanup_free_ char *path = xstrndup(sub_path, (size_t)(end - sub_path));
        end += strspn(end, "/");
        int fd = open_in_root(root, path, O_PATH, 0);
        int r = fd == -ENOENT ? make_component(root, path, st.st_mode & 07777) : fd;
        fd_close(fd);
        if (r < 0)
            return err_errno(e, r, "subPath %s of volume %s", sub_path, volume);
    }
    return 0;
}

/* ---- Removing ----------------------------------------------------------------------------------
 */

/* Whoever uses it in a container keeps it until he ends. */
static int unmount(const char *path, struct err *e)
{
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
        return err_errno(e, errno, "unmount %s", path);
    return 0;
}

static int unmount_below(const char *dir, struct err *e)
{
    DIR *stream = opendir(dir);
    int r = 0;

    if (!stream)
        return errno == ENOENT ? 0 : err_errno(e, errno, "open %s", dir);
    for (struct dirent *entry; r == 0 && (entry = readdir(stream));) {
        _cleanup_free_ char *path = xasprintf("%s/%s", dir, entry->d_name);
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
            r = unmount(path, e);
    }
    closedir(stream);
    return r;
}

int volumes_remove_memory(const char *memory_dir, struct err *e)
{
    if (unmount_below(memory_dir, e) < 0 || unmount(memory_dir, e) < 0)
        return -1;
    return tree_remove(AT_FDCWD, memory_dir, e);
}

int volumes_remove(const struct volumes_place *place, struct err *e)
{
    if (volumes_remove_memory(place->memory_dir, e) < 0)
        return -1;
    return tree_remove(AT_FDCWD, place->dir, e);
}
