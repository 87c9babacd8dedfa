/*
 * deadline.c - activeDeadlineSeconds: a pod that is still active when its time is up fails,
 * whatever its restart policy says.
 *
 * Its containers end in the order and with the grace of a deletion; then the pod is finished, and
 * stays for people to see until it is deleted. The time runs from the declaration, so that neither
 * a restart of podd nor one of the node gives it more.
 */
#include "private.h"

int64_t deadline_of(const struct declared *d)
{
    const struct opt_int *seconds = &d->manifest->spec->active_deadline;

    return seconds->set ? d->created_at + seconds->value * NS_PER_SEC : 0;
}

bool deadline_sync(struct declared *d)
{
    int64_t deadline = deadline_of(d);

    if (!deadline || deadline > time_now_ns())
        return false;
    if (!d->expired) {
        d->expired = true;
        event_add(d, NULL, true, "DeadlineExceeded",
                  "Pod was active on the node longer than its activeDeadlineSeconds (%lld)",
                  (long long)d->manifest->spec->active_deadline.value);
        declared_cancel_pulls(d);
        declared_touch(d);
    }
    declared_end(d);
    return true;
}
