/*
 * proc.h - processes and what they use, out of /proc.
 */
#ifndef BENCH_PROC_H
#define BENCH_PROC_H

#include "podd/base.h"

struct proc_set {
    pid_t *pids;
    size_t n;
};
void proc_set_read(struct proc_set *ret); /* every process there is */
void proc_set_free(struct proc_set *s);

struct proc_usage {
    int64_t pss_kib;
    uint64_t cpu_ticks;
    size_t processes;
};
/* Of all processes that came after `before`; the workload's (sh, sleep, busybox) and the daemon do
 * not count. */
struct proc_usage proc_usage_since(const struct proc_set *before, pid_t daemon);

int64_t proc_pss_kib(pid_t pid); /* 0 when it is gone */
uint64_t proc_cpu_ticks(pid_t pid);
/* The process that listens on a unix socket. */
pid_t proc_of_socket(const char *path);

#endif
