/*
 * Cgroup directories as a tree of files: reading, writing, signalling what is in them, removing
 * them. Every path is relative to a directory descriptor of cgroupfs.
 *
 * Removal recurses, because a process inside may have made cgroups of its own, but tries the one
 * cheap rmdir first. Signals other than through cgroup.kill go to pidfds: the list of processes is
 * read, each is opened, the list is read again, and only who is in both is signalled. So a number
 * that was used anew in between hits nobody.
 */
#include "cgroup-layout.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys.h"

enum { DEPTH_MAX = 64, KILL_ROUNDS = 64 };

int cgroup_file_write(int dirfd, const char *file, const char *value)
{
    _cleanup_close_ int fd = openat(dirfd, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t len = strlen(value);
    ssize_t n;
    do {
        n = write(fd, value, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

ssize_t cgroup_file_read(int dirfd, const char *file, char *buf, size_t len)
{
    _cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    ssize_t n = fd_read_full(fd, buf, len - 1);
    if (n >= 0)
        buf[n] = '\0';
    return n;
}

uint64_t cgroup_text_value(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return strtoull(line + len + 1, NULL, 10);
    return 0;
}

int cgroup_dir_open(int root_fd, const char *path)
{
    int fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* Calls fn for every directory right below dirfd until one fails. */
static int children_visit(int dirfd, int (*fn)(int dirfd, const char *name, void *arg), void *arg)
{
    int own = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    DIR *dir = fdopendir(own);
    if (!dir) {
        fd_close(own);
        return -errno;
    }
    int r = 0;
    for (struct dirent *d; r == 0 && (d = readdir(dir));)
        if (d->d_type == DT_DIR && !str_equal(d->d_name, ".") && !str_equal(d->d_name, ".."))
            r = fn(dirfd, d->d_name, arg);
    closedir(dir);
    return r;
}

static int child_remove(int dirfd, const char *name, void *arg)
{
    int *depth = arg;
    if (*depth >= DEPTH_MAX)
        return -ELOOP;
    if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != EBUSY && errno != ENOTEMPTY)
        return -errno;
    _cleanup_close_ int child = cgroup_dir_open(dirfd, name);
    if (child < 0)
        return child == -ENOENT ? 0 : child;
    ++*depth;
    int r = children_visit(child, child_remove, depth);
    --*depth;
    if (r < 0)
        return r;
    return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

int cgroup_dir_remove(int parent_fd, const char *path)
{
    int depth = 0;
    return child_remove(parent_fd, path, &depth);
}

/* ---- Processes ------------------------------------------------------------------------------- */

struct pid_list {
    pid_t *pids;
    size_t count;
    int depth;
};

static int pids_collect(int dirfd, struct pid_list *list);

static int child_collect(int dirfd, const char *name, void *arg)
{
    struct pid_list *list = arg;
    if (list->depth >= DEPTH_MAX)
        return -ELOOP;
    _cleanup_close_ int child = cgroup_dir_open(dirfd, name);
    if (child < 0)
        return child == -ENOENT ? 0 : child;
    list->depth++;
    int r = pids_collect(child, list);
    list->depth--;
    return r == -ENODEV ? 0 : r; /* removed while we looked */
}

static int pids_collect(int dirfd, struct pid_list *list)
{
    int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    FILE *f = fdopen(fd, "r");
    if (!f) {
        fd_close(fd);
        return -errno;
    }
    long pid;
    while (fscanf(f, "%ld", &pid) == 1)
        if (pid > 0) /* 0: a process of a PID namespace that we do not see */
            *(pid_t *)array_push(&list->pids, &list->count, sizeof(pid_t)) = (pid_t)pid;
    int r = ferror(f) ? -errno : 0;
    fclose(f);
    return r < 0 ? r : children_visit(dirfd, child_collect, list);
}

static bool pid_listed(const struct pid_list *list, pid_t pid)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->pids[i] == pid)
            return true;
    return false;
}

/* Signals those of `before` that are still inside. The number signalled, or -errno. */
static int pids_signal(int dirfd, const struct pid_list *before, int signo)
{
    int *pidfds = NULL;
    size_t n = 0;
    for (size_t i = 0; i < before->count; i++)
        *(int *)array_push(&pidfds, &n, sizeof(int)) = sys_pidfd_open(before->pids[i]);
    struct pid_list after = {0};
    int r = pids_collect(dirfd, &after), sent = 0;
    for (size_t i = 0; i < n; i++) {
        if (r == 0 && pidfds[i] >= 0 && pid_listed(&after, before->pids[i])) {
            int s = sys_pidfd_send_signal(pidfds[i], signo);
            sent += s == 0;
            if (s < 0 && s != -ESRCH)
                r = s;
        }
        if (pidfds[i] >= 0)
            fd_close(pidfds[i]);
    }
    free(pidfds);
    free(after.pids);
    return r < 0 ? r : sent;
}

int cgroup_dir_signal(int dirfd, int signo)
{
    /* One that forks while we look escapes a round of SIGKILL, not many. */
    int rounds = signo == SIGKILL ? KILL_ROUNDS : 1, r = 0;
    while (rounds-- > 0) {
        struct pid_list list = {0};
        r = pids_collect(dirfd, &list);
        if (r == 0 && list.count)
            r = pids_signal(dirfd, &list, signo);
        free(list.pids);
        if (r <= 0)
            break;
    }
    return r < 0 ? r : 0;
}

int cgroup_v2_kill(int dirfd)
{
    return cgroup_file_write(dirfd, "cgroup.kill", "1");
}

bool cgroup_v2_populated(int dirfd)
{
    char text[256];
    if (cgroup_file_read(dirfd, "cgroup.events", text, sizeof(text)) < 0)
        return false; /* removed: nobody can be in it */
    return cgroup_text_value(text, "populated") != 0;
}

bool cgroup_v1_populated(int dirfd)
{
    struct pid_list list = {0};
    int r = pids_collect(dirfd, &list);
    free(list.pids);
    return r == 0 && list.count > 0;
}
