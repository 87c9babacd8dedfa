/*
 * cni-member.h - one pod in the CNI network, and what it wants of the plugins.
 */
#ifndef PODD_NET_CNI_MEMBER_H
#define PODD_NET_CNI_MEMBER_H

#include "cni-room.h"

/* Who waits for DEL. */
struct waiter {
    struct list link;
    net_done_fn *fn;
    void *arg;
};

struct member {
    struct cni *cni;
    struct cni_attachment *a;
    struct list queued;
    struct cni_chain *chain; /* under way */
    bool wants_add, wants_check, wants_delete;
    net_attached_fn *attached; /* waits for ADD */
    void *attached_arg;
    int netns;           /* owned; -1: only the path of a->netns */
    struct list waiters; /* for DEL */
    int64_t retry_at;    /* monotonic ns; 0: none is due */
    unsigned failures;   /* of DEL, in a row */
    char *complaint;     /* of the last failed DEL or CHECK */
};

/* Known from now on. */
struct member *member_new(struct cni *c, struct cni_attachment *a_take);
void member_free(struct member *m);
/* It wants something: cni_pump() begins with it when it can. */
void member_enqueue(struct member *m);

/* Answers all of them. */
void members_tell(struct list *waiters, const struct err *e);
/* Answers one (a struct waiter) that waits for nothing. */
void member_told(void *waiter);
/* DEL again, where it is due (a struct cni). */
void members_retry(void *cni);

#endif
