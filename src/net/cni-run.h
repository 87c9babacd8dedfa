/*
 * cni-run.h - one plugin's program, run once, on the event loop.
 */
#ifndef PODD_NET_CNI_RUN_H
#define PODD_NET_CNI_RUN_H

#include <podd/base.h>

enum { CNI_OUTPUT_MAX = 1 << 20, CNI_STDERR_MAX = 8192 };

struct cni_program {
    const char *path;
    char *const *envp;
    const char *input; /* on stdin */
    size_t input_len;
    int64_t timeout_ms;
};

/* With success, `out` is what it printed. The error does not name the program.
 * ERR_DEADLINE_EXCEEDED: it was killed, with all that it had started. */
typedef void cni_run_fn(void *arg, const struct bytes *out, const struct err *e);
struct cni_run;
/* fn is called later, and never from in here. All is borrowed for the call alone. */
struct cni_run *cni_run_start(struct loop *loop, const struct cni_program *program, cni_run_fn *fn,
                              void *arg);
/* Kills it; fn is not called. Before fn was. */
void cni_run_cancel(struct cni_run *r);

#endif
