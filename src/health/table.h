/*
 * table.h - how probes stand, on disk: counts, results and schedule outlive podd.
 *
 * One file in <state> of equal slots, one for each probe of a container that exists. After every
 * attempt its slot is written over: one write of a few hundred bytes into the page cache, which is
 * nothing beside the attempt, and outlives the death of podd at any moment. Nothing is flushed, for
 * no container outlives the machine.
 */
#ifndef HEALTH_TABLE_H
#define HEALTH_TABLE_H

#include "podd/health.h"

struct kept_probe {
    bool on_hold;
    int64_t due; /* wall-clock ns of the next attempt */
    struct probe_state state;
};

struct probe_table;
/* `exists` says whether there is still such a container: slots of others are given to new probes. A
 * file that cannot be used is begun anew, with a warning; one that cannot be written is done
 * without. */
struct probe_table *probe_table_open(const char *path, bool (*exists)(void *arg, const char *id),
                                     void *arg);
void probe_table_close(struct probe_table *t); /* NULL is fine */

/* The slot of this probe, a new one if it has none: *ret is filled and true returned if it had. */
bool probe_table_claim(struct probe_table *t, const char *id, enum probe_kind kind,
                       size_t *ret_slot, struct kept_probe *ret);
/* Without effect when the slot is another probe's by now, its container being gone. */
void probe_table_put(struct probe_table *t, size_t slot, const char *id, enum probe_kind kind,
                     const struct kept_probe *kept);

#endif
