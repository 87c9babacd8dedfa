/*
 * backoff.h - how long to wait before trying again: the first time not at all, then 10 s, doubling
 * up to 300 s. Pure: the caller says what time it is.
 */
#ifndef NODE_BACKOFF_H
#define NODE_BACKOFF_H

#include "podd/base.h"

#define BACKOFF_FIRST_NS (10 * NS_PER_SEC)
#define BACKOFF_MAX_NS (300 * NS_PER_SEC)

/* Zeroed: nothing has failed yet. */
struct backoff {
    int64_t delay_ns;   /* 0: none */
    int64_t updated_at; /* when the delay was last set */
};

/* The earliest time of the next try, when the last one ended at ended_at; 0: at once. */
int64_t backoff_due(const struct backoff *b, int64_t ended_at);
/* Notes that a try begins now, after one that ended at ended_at: the next one waits longer. A try
 * that lasted twice the longest delay starts over. */
void backoff_arm(struct backoff *b, int64_t ended_at, int64_t now);
/* Notes a try that failed now, where even the first failure is waited for (image pulls). */
void backoff_fail(struct backoff *b, int64_t now);

#endif
