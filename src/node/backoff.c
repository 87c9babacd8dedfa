/*
 * backoff.c - kubelet's numbers. The delay is armed by the start of a try and measured from the end
 * of the one before, so that a container that ran for a minute after a delay of 40 s is started
 * again after its end plus 80 s, and one that ran for ten minutes counts as well again.
 */
#include "backoff.h"

static bool has_expired(const struct backoff *b, int64_t ended_at)
{
    return ended_at - b->updated_at > 2 * BACKOFF_MAX_NS;
}

int64_t backoff_due(const struct backoff *b, int64_t ended_at)
{
    if (b->delay_ns == 0 || has_expired(b, ended_at))
        return 0;
    return ended_at + b->delay_ns;
}

void backoff_arm(struct backoff *b, int64_t ended_at, int64_t now)
{
    if (b->delay_ns == 0 || has_expired(b, ended_at))
        b->delay_ns = BACKOFF_FIRST_NS;
    else
        b->delay_ns = b->delay_ns * 2 < BACKOFF_MAX_NS ? b->delay_ns * 2 : BACKOFF_MAX_NS;
    b->updated_at = now;
}

void backoff_fail(struct backoff *b, int64_t now)
{
    backoff_arm(b, now, now);
}
