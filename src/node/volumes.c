/*
 * volumes.c - emptyDir and hostPath.
 *
 * An emptyDir is a directory of podd's own, open to every user of the pod and to nobody outside
 * (the directory above is root's). With fsGroup it belongs to that group, and so does what is made
 * in it. A hostPath is what the administrator of the node names; only what its type promises is
 * checked.
 */
#include "volumes.h"

#include <fcntl.h>
#include <sys/stat.h>

static int make_empty_dir(int dirfd, const char *name, const struct pod_security *security,
                          struct err *e)
{
    mode_t mode = 0777;

    if (mkdirat(dirfd, name, 0700) < 0) {
        if (errno == EEXIST)
            return 0;
        return err_errno(e, errno, "make volume %s", name);
    }
    _cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "open volume %s", name);
    if (security && security->fs_group.set) {
        if (fchown(fd, (uid_t)-1, (gid_t)security->fs_group.value) < 0)
            return err_errno(e, errno, "give volume %s to group %lld", name,
                             (long long)security->fs_group.value);
        mode |= S_ISGID;
    }
    if (fchmod(fd, mode) < 0)
        return err_errno(e, errno, "open volume %s to its users", name);
    return 0;
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

    if (v->type == HOST_PATH_UNSET)
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
        break;
    }
    return 0;
}

int volumes_prepare(const struct pod_spec *spec, const char *dir, struct err *e)
{
    if (dir_ensure(dir, 0700, e) < 0)
        return -1;
    _cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return err_errno(e, errno, "open %s", dir);
    for (size_t i = 0; i < spec->volumes.count; i++) {
        const struct manifest_volume *v = spec_volume(spec, i);
        int r = v->host_path ? prepare_host_path(v->host_path, e)
                             : make_empty_dir(dirfd, v->name, spec->security, e);
        if (r < 0)
            return -1;
    }
    return 0;
}
