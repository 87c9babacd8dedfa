/*
 * watch_log.c - the pods that were deleted lately, for watches that go on where an earlier one
 * ended. Pods that are there need no log: each carries the version of its last change.
 *
 * Bounded: when the oldest entry is dropped, versions before it can no longer be gone on from.
 */
#include "private.h"

#define DELETIONS_MAX 1000

struct deletions {
    struct list entries; /* of struct deletion_entry, the latest last */
    size_t count;
    uint64_t floor;
};

struct deletions *deletions_new(uint64_t now)
{
    struct deletions *l = xnew(struct deletions);

    list_init(&l->entries);
    l->floor = now;
    return l;
}

static void entry_free(struct deletion_entry *entry)
{
    list_remove(&entry->item);
    podd__v1__pod__free_unpacked(entry->pod, NULL);
    free(entry->namespace_);
    free(entry->name);
    free(entry);
}

void deletions_free(struct deletions *l)
{
    while (!list_empty(&l->entries))
        entry_free(container_of(l->entries.next, struct deletion_entry, item));
    free(l);
}

void deletions_add(struct deletions *l, struct declared *d)
{
    struct deletion_entry *entry = xnew(struct deletion_entry);

    entry->version = d->version;
    entry->namespace_ = xstrdup(d->namespace_);
    entry->name = xstrdup(d->name);
    entry->pod = declared_to_message(d, false);
    if (!str_empty(entry->pod->manifest)) /* else it is protobuf-c's constant */
        entry->pod->manifest[0] = '\0';
    list_append(&l->entries, &entry->item);
    if (++l->count <= DELETIONS_MAX)
        return;
    struct deletion_entry *oldest = container_of(l->entries.next, struct deletion_entry, item);
    l->floor = oldest->version;
    entry_free(oldest);
    l->count--;
}

uint64_t deletions_floor(const struct deletions *l)
{
    return l->floor;
}

const struct deletion_entry *deletions_after(const struct deletions *l, uint64_t version)
{
    list_for_each (it, &l->entries) {
        const struct deletion_entry *entry = container_of(it, struct deletion_entry, item);
        if (entry->version > version)
            return entry;
    }
    return NULL;
}
