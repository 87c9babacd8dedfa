/*
 * Counts the processes of a cgroup and of those below it, and what they have open. A process that
 * ends while it is looked at counts for as much as was seen.
 */
#include "cgroup-layout.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { PIDS_TEXT_MAX = 1 << 20, DEPTH_MAX = 8 };

static void descriptors_count(const char *pid, struct cgroup_processes *ret)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char target[16];
        if (entry->d_name[0] == '.')
            continue;
        ret->descriptors++;
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));
        if (n >= 7 && memcmp(target, "socket:", 7) == 0)
            ret->sockets++;
    }
    if (dir)
        closedir(dir);
}

/* A directory of threads has one link for each, and two more. */
static void threads_count(const char *pid, struct cgroup_processes *ret)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%s/task", pid);
    if (stat(path, &st) == 0 && st.st_nlink > 2)
        ret->threads += st.st_nlink - 2;
}

static void directory_count(int dirfd, int depth, struct cgroup_processes *ret)
{
    _cleanup_free_ char *text = xmalloc(PIDS_TEXT_MAX);
    char *rest = text;

    if (cgroup_file_read(dirfd, "cgroup.procs", text, PIDS_TEXT_MAX) > 0)
        for (char *pid; (pid = strsep(&rest, "\n"));) {
            if (!*pid || *pid == '0')
                continue;
            ret->processes++;
            threads_count(pid, ret);
            descriptors_count(pid, ret);
        }
    int copy = depth < DEPTH_MAX ? openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir && copy >= 0)
        fd_close(copy);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        _cleanup_close_ int below =
            openat(dirfd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            directory_count(below, depth + 1, ret);
    }
    if (dir)
        closedir(dir);
}

int cgroup_read_processes(const char *cgroup_path, struct cgroup_processes *ret, struct err *e)
{
    _cleanup_free_ char *path = NULL;

    if (cgroup_path_check(cgroup_path, &path, e) < 0)
        return -1;
    *ret = (struct cgroup_processes){0};
    _cleanup_close_ int dirfd = cgroup_mode() == CGROUP_V2
                                    ? cgroup_dir_open(cgroup_layout()->v2_root_fd, path)
                                    : cgroup_v1_open(path, "pids");
    if (dirfd < 0)
        return err_set(e, ERR_NOT_FOUND, "cgroup /%s does not exist", path);
    directory_count(dirfd, 0, ret);
    return 0;
}
