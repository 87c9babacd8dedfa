/*
 * proc.h - what tells a process from a later one with the same pid.
 */
#ifndef SHIM_PROC_H
#define SHIM_PROC_H

#include <podd/base.h>

/* Field 22 of /proc/PID/stat: clock ticks from boot to its start. 0 or -errno; -ESRCH: gone. */
int proc_start_time(pid_t pid, uint64_t *ret) MUST_CHECK;
/* The same out of the file's text. -EBADMSG when it is not such a text. */
int proc_parse_start_time(const char *stat, uint64_t *ret) MUST_CHECK;

#endif
