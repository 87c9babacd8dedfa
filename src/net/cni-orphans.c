/*
 * cni-orphans.c - plugins that a podd left running when it was killed.
 *
 * They would go on with an ADD while this podd calls DEL for the same pod. They are known by their
 * environment, which what they started has too: CNI_CONTAINERID is an id that nobody else has.
 * Looked for only when a record says that something was under way.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "cni-room.h"

enum { ENVIRON_MAX = 128 << 10 };
static const char key[] = "CNI_CONTAINERID=";

static bool is_about(const struct bytes *environment, const struct map *ids)
{
    const char *p = (const char *)environment->data, *end = p + environment->len;

    for (; p < end; p += strlen(p) + 1)
        if (str_starts_with(p, key) && map_get(ids, p + strlen(key)))
            return true;
    return false;
}

static void look_at(pid_t pid, const struct map *ids)
{
    struct bytes environment = {.data = xmalloc(ENVIRON_MAX + 1)};
    char path[64];

    /* First the descriptor, then the look: so what is killed is what was seen. */
    _cleanup_close_ int pidfd = pidfd_open(pid, 0);
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    _cleanup_close_ int fd = pidfd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : fd_read_full(fd, environment.data, ENVIRON_MAX);
    if (len > 0) {
        environment.len = (size_t)len;
        environment.data[len] = '\0';
        if (is_about(&environment, ids) && pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0)
            log_info("net", NULL, "killed a CNI plugin that was left running (process %d)",
                     (int)pid);
    }
    bytes_free(&environment);
}

void cni_kill_orphans(const struct map *ids)
{
    DIR *dir = opendir("/proc");
    uint64_t pid;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (parse_uint(entry->d_name, INT32_MAX, &pid) == 0 && (pid_t)pid != getpid())
            look_at((pid_t)pid, ids);
    if (dir)
        closedir(dir);
}
