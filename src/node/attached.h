/*
 * attached.h - what the files about attached probes share: probes that a master has attached to
 * containers it started through CRI.
 *
 * attached.c probes, attached_record.c keeps on disk what was asked, attached_call.c answers.
 */
#ifndef NODE_ATTACHED_H
#define NODE_ATTACHED_H

#include "private.h"

struct attached {
    struct list item;
    struct attached_table *table;
    char *id;
    Podd__V1__ProbedContainer *message; /* what was given; its status is filled in when asked */
    struct health_container *health;
    char *failure; /* why it failed for good; NULL: it has not */
};

struct attached_table {
    struct node *node;
    char *directory;
    struct list all;      /* of struct attached, oldest first */
    struct list watchers; /* of struct watcher (attached_call.c) */
    struct list records;  /* of struct record (attached_record.c) */
};

struct attached *attached_find(struct attached_table *t, const char *id);
/* Begins to probe as the message says; with `resume`, where an earlier podd ended. Takes the
 * message. NULL with *e set. */
struct attached *attached_new(struct attached_table *t, const char *id,
                              Podd__V1__ProbedContainer *message_take, bool resume, struct err *e);
/* Ends the probing; the record stays. */
void attached_free(struct attached *a);
/* Ends the probing, and the record with it. `call` as for the record. */
void attached_drop(struct attached *a, struct rpc_call *call);
/* Brings the message up to date. It stays the container's. */
Podd__V1__ProbedContainer *attached_refresh(struct attached *a);

/* attached_record.c: has the record say what was asked, or be gone when nothing is attached. `call`
 * (SetProbes; NULL: none) is answered when that is on disk; one at a time of each container. */
void attached_record_sync(struct attached_table *t, const char *id, struct rpc_call *call);
/* The call that waits for the record, no longer the record's; NULL: none. */
struct rpc_call *attached_record_take_call(struct attached_table *t, const char *id);
bool attached_record_has_call(struct attached_table *t, const char *id);
/* Calls that wait fail; whoever still writes finds nobody to tell. */
void attached_record_close(struct attached_table *t);

/* attached_call.c */
void attached_tell(struct attached *a, Podd__V1__WatchProbesResponse__Type type);
void attached_watchers_close(struct attached_table *t);

#endif
