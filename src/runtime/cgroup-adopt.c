/*
 * Moves a process from one cgroup into a leaf of another, in the v2 tree.
 *
 * A cgroup that passes controllers on may hold no process of its own. One that systemd has made
 * around a process therefore holds containers only after that process has stepped aside.
 */
#include "cgroup-layout.h"

#include <stdio.h>
#include <sys/stat.h>

int cgroup_adopt(const char *cgroup_path, const char *leaf, pid_t pid, struct err *e)
{
    const struct cgroup_layout *l = cgroup_layout();
    _cleanup_free_ char *path = NULL;
    if (cgroup_path_check(cgroup_path, &path, e) < 0)
        return -1;
    if (l->v2_root_fd < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "cgroup /%s: no cgroup v2 tree is mounted",
                       path);
    _cleanup_close_ int dirfd = cgroup_dir_open(l->v2_root_fd, path);
    if (dirfd < 0)
        return err_errno(e, dirfd, "open cgroup /%s", path);
    if (mkdirat(dirfd, leaf, 0755) < 0 && errno != EEXIST)
        return err_errno(e, errno, "make cgroup /%s/%s", path, leaf);
    _cleanup_close_ int leaf_fd = cgroup_dir_open(dirfd, leaf);
    char number[24];
    snprintf(number, sizeof(number), "%d", (int)pid);
    int r = leaf_fd < 0 ? leaf_fd : cgroup_file_write(leaf_fd, "cgroup.procs", number);
    if (r < 0)
        return err_errno(e, r, "move process %d to cgroup /%s/%s", (int)pid, path, leaf);
    return 0;
}
