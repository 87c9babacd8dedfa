/*
 * A process of a container between clone and execve: what it is made from, and the functions that
 * turn the forked shim into it, step by step. Theory: child.c.
 */
#ifndef RUNTIME_CHILD_H
#define RUNTIME_CHILD_H

#include "cgroup.h"

struct child {
    const process_spec_t *process;
    const struct process_io *io;
    const struct cgroup *cg;
    /* In the parent: a namespace descriptor (or a pidfd) whose PID namespace it is born into. */
    int pid_ns;
    bool new_pid_ns;
    /* The user namespace it is made in, entered before everything else; -1: the host's. */
    int user_ns;
    /* Who is given the pipes it reads and writes: the node's numbers of its user and group. */
    uint32_t stdio_uid, stdio_gid;
    /* In the child: joins or builds the other namespaces and the mount tree. */
    int (*enter)(struct child *c, struct err *e);
    void *arg;    /* of enter */
    bool is_init; /* the container's first process: /dev/console is its terminal */

    /* Filled in the child. */
    int report;   /* its end of the report socket */
    int lsm_exec; /* /proc/self/attr/exec, opened on the host, or -1 */
    int stdio[3];
    bool in_cwd; /* the working directory was reached */
};

/* Forks, lets the child run through to execve, and waits for that. Nothing is left on failure. */
int child_start(struct child *c, struct process *ret, struct err *e) MUST_CHECK;

/* Kills and reaps. One that cannot die (a hung file system) is left for the shim's reaper. */
void process_discard(struct process *p);

/* ---- Report: what the child tells the parent (report.c) -------------------------------------- */

/* Tells of a failure; best effort, the child ends anyway. */
void report_failure(int fd, const struct err *e);
/* The next thing is execve. 0 or -errno. */
int report_ready(int fd);
/* The process number of the second child, when there is one. */
int report_pid(int fd, pid_t pid);
/* Hands the terminal's master over. */
int report_terminal(int fd, int master);

struct report {
    bool ready;   /* the child said so, then its end closed: execve succeeded, or it was killed */
    pid_t pid;    /* from report_pid, or 0 */
    int terminal; /* from report_terminal, or -1 */
};
/* Reads until the child's end is closed. -1 with what the child told, or a timeout. */
int report_read(int fd, int64_t timeout_ms, struct report *ret, struct err *e) MUST_CHECK;

/* ---- Steps of the child ---------------------------------------------------------------------- */

/* Standard input and outputs, or a new terminal; a session of its own. (terminal.c) */
int stdio_attach(struct child *c, struct err *e) MUST_CHECK;
/* Makes and enters the working directory. Leaves in_cwd false where only the user may enter.
 * (process.c) */
int cwd_enter(struct child *c, struct err *e) MUST_CHECK;
/* Everything from limits to execve; comes back only on failure. (process.c) */
int process_become(struct child *c, struct err *e) MUST_CHECK;
/* Identity, capabilities, labels, system call filter. (privilege.c) */
int privilege_apply(struct child *c, struct err *e) MUST_CHECK;

/* ---- Namespaces (nsvisit.c) ------------------------------------------------------------------ */

/* A short visit of the calling, single-threaded process to another mount namespace. */
struct ns_visit {
    int own_mntns;
    int own_root;
};
int ns_visit_begin(int mntns, struct ns_visit *ret, struct err *e) MUST_CHECK;
/* Comes back; aborts where that fails, for nothing may run on in the wrong namespace. */
void ns_visit_end(struct ns_visit *v);

#endif
