/*
 * proc.c - memory and CPU of a runtime's helper processes: those that appeared since a moment, less
 * the containers' own programs.
 */
#include "proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void proc_set_read(struct proc_set *ret)
{
    DIR *dir = opendir("/proc");

    *ret = (struct proc_set){0};
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        uint64_t pid;
        if (parse_uint(entry->d_name, INT32_MAX, &pid) == 0)
            *(pid_t *)array_push(&ret->pids, &ret->n, sizeof(*ret->pids)) = (pid_t)pid;
    }
    if (dir)
        closedir(dir);
}

void proc_set_free(struct proc_set *s)
{
    free(s->pids);
    *s = (struct proc_set){0};
}

static bool proc_set_has(const struct proc_set *s, pid_t pid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->pids[i] == pid)
            return true;
    return false;
}

/* The content of /proc/PID/NAME; "" when the process is gone. Static storage. */
static const char *proc_read(pid_t pid, const char *name)
{
    static char text[65536];
    _cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)pid, name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : fd_read_full(fd, text, sizeof(text) - 1);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

int64_t proc_pss_kib(pid_t pid)
{
    const char *line = strstr(proc_read(pid, "smaps_rollup"), "\nPss:");

    return line ? strtoll(line + strlen("\nPss:"), NULL, 10) : 0;
}

uint64_t proc_cpu_ticks(pid_t pid)
{
    const char *behind_name = strrchr(proc_read(pid, "stat"), ')');
    unsigned long user = 0, kernel = 0;

    if (behind_name)
        sscanf(behind_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &kernel);
    return user + kernel;
}

static bool is_workload(pid_t pid)
{
    const char *comm = proc_read(pid, "comm");

    return str_equal(comm, "sh\n") || str_equal(comm, "sleep\n") || str_equal(comm, "busybox\n");
}

struct proc_usage proc_usage_since(const struct proc_set *before, pid_t daemon)
{
    struct proc_usage usage = {0};
    struct proc_set now;

    proc_set_read(&now);
    for (size_t i = 0; i < now.n; i++) {
        pid_t pid = now.pids[i];
        if (pid == daemon || pid == getpid() || proc_set_has(before, pid) || is_workload(pid))
            continue;
        int64_t pss = proc_pss_kib(pid);
        if (pss == 0)
            continue; /* a kernel thread, or gone */
        usage.pss_kib += pss;
        usage.cpu_ticks += proc_cpu_ticks(pid);
        usage.processes++;
    }
    proc_set_free(&now);
    return usage;
}

pid_t proc_of_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        fprintf(stderr, "cri-bench: cannot connect to %s: %m\n", path);
        exit(1);
    }
    return peer.pid;
}
