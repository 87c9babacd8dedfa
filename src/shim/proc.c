/*
 * proc.c - reads the start time of a process from proc(5).
 */
#include <fcntl.h>
#include <stdio.h>

#include "proc.h"

enum { FIELD_START_TIME = 22 };

int proc_parse_start_time(const char *stat, uint64_t *ret)
{
    /* The second field is the command in parentheses, and may itself contain both: what counts is
     * the last one. Fields 3 and up follow, each behind a blank. */
    const char *p = strrchr(stat, ')');
    char digits[24];

    if (!p)
        return -EBADMSG;
    for (int field = 2; field < FIELD_START_TIME; field++) {
        p = strchr(p + 1, ' ');
        if (!p)
            return -EBADMSG;
    }
    size_t n = strspn(p + 1, "0123456789");
    if (n == 0 || n >= sizeof(digits))
        return -EBADMSG;
    memcpy(digits, p + 1, n);
    digits[n] = '\0';
    return parse_uint(digits, UINT64_MAX, ret);
}

int proc_start_time(pid_t pid, uint64_t *ret)
{
    char path[40], text[1024];

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    ssize_t n = fd_read_full(fd, text, sizeof(text) - 1);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    return proc_parse_start_time(text, ret);
}
