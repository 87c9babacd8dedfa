/* Scopes of systemd: the cgroups that it hands to podd. Theory: scope.c. */
#ifndef POD_SCOPE_H
#define POD_SCOPE_H

#include <podd/base.h>

struct systemd; /* the connection, made when it is needed */
struct systemd *systemd_new(struct loop *loop);
/* What is under way is not answered any more. NULL is fine. */
void systemd_free(struct systemd *b);

struct scope_request {
    const char *name;        /* "podd-<id>.scope" */
    const char *slice;       /* "kubepods-pod<uid>.slice"; made when it is missing */
    const char *description; /* what `systemctl status` shows */
    pid_t pid;               /* the process that begins it, and keeps it */
};
/* Calls back on the loop, never from inside this call, when the process is in the scope's cgroup.
 * ERR_UNAVAILABLE: the bus cannot be reached or was lost; ERR_DEADLINE_EXCEEDED: no answer. */
void systemd_start_scope(struct systemd *b, const struct scope_request *request,
                         void (*fn)(void *arg, const struct err *e), void *arg);

#endif
