/*
 * Ends a cgroup from outside, without anything held open: for what a shim that is gone left behind.
 * First everything inside is killed and waited for, then the directories are removed in every
 * hierarchy.
 */
#include "cgroup-layout.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

static void hierarchy_kill(int root_fd, const char *path, bool v2)
{
    _cleanup_close_ int dirfd = cgroup_dir_open(root_fd, path);
    if (dirfd < 0)
        return;
    if (v2)
        cgroup_file_write(dirfd, "cgroup.freeze", "0");
    else
        cgroup_file_write(dirfd, "freezer.state", "THAWED"); /* only where that file is */
    if (!v2 || cgroup_v2_kill(dirfd) < 0)
        (void)cgroup_dir_signal(dirfd, SIGKILL);
}

static int all_kill_and_remove(const struct cgroup_layout *l, const char *path)
{
    int result = 0;
    if (l->v2_root_fd >= 0)
        hierarchy_kill(l->v2_root_fd, path, true);
    for (size_t i = 0; i < l->n_v1; i++)
        hierarchy_kill(l->v1[i].root_fd, path, false);
    for (size_t i = 0; i < l->n_v1; i++) {
        int r = cgroup_dir_remove(l->v1[i].root_fd, path);
        result = r < 0 ? r : result;
    }
    if (l->v2_root_fd >= 0) {
        int r = cgroup_dir_remove(l->v2_root_fd, path);
        result = r < 0 ? r : result;
    }
    return result;
}

int cgroup_destroy(const char *cgroup_path, int64_t timeout_ms, struct err *e)
{
    _cleanup_free_ char *path = NULL;
    if (cgroup_path_check(cgroup_path, &path, e) < 0)
        return -1;
    int64_t deadline = time_mono_ns() + timeout_ms * NS_PER_MS;
    for (int wait_ms = 1;; wait_ms = wait_ms < 32 ? wait_ms * 2 : 32) {
        int r = all_kill_and_remove(cgroup_layout(), path);
        if (r == 0)
            return 0;
        if (r != -EBUSY && r != -ENOTEMPTY)
            return err_errno(e, r, "remove cgroup /%s", path);
        if (time_mono_ns() >= deadline)
            return err_set(e, ERR_DEADLINE_EXCEEDED,
                           "remove cgroup /%s: processes in it did not end within %lld ms of "
                           "SIGKILL",
                           path, (long long)timeout_ms);
        poll(NULL, 0, wait_ms);
    }
}
