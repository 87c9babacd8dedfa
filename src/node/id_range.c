/*
 * id_range.c - which ids of the node stand for those of a pod with a user namespace (hostUsers:
 * false).
 *
 * Each such pod has 65,536 of its own, from its declaration until all of it is removed. The choice
 * is part of the pod's record, and free is what neither a record nor a pod that there is (one of a
 * kubelet's, or what is left of one that was declared) has taken: nothing else is kept. The ranges
 * lie above what systemd gives to containers and below the ids that do not fit a signed number; a
 * kubelet's own begin at 65,536.
 */
#include "private.h"
#include "translate.h"

#define FIRST UINT32_C(0x70000000)
#define COUNT 4096

struct taken {
    bool ranges[COUNT];
};

static void take(struct taken *t, uint64_t first, uint64_t length)
{
    uint64_t i = first < FIRST ? 0 : (first - FIRST) / ID_RANGE_LENGTH;

    for (; i < COUNT && FIRST + i * ID_RANGE_LENGTH < first + length; i++)
        t->ranges[i] = true;
}

static void take_sandbox(void *arg, const struct sandbox *s)
{
    struct id_range uids, gids;

    if (!sandbox_ids(s, &uids, &gids))
        return;
    take(arg, uids.host_id, uids.length);
    take(arg, gids.host_id, gids.length);
}

uint32_t id_range_choose(const struct node *n)
{
    struct taken taken = {0};

    list_for_each (it, &n->declared) {
        const struct declared *d = container_of(it, struct declared, item);
        if (d->first_id)
            take(&taken, d->first_id, ID_RANGE_LENGTH);
    }
    sandbox_for_each(n->config.pods, take_sandbox, &taken);
    for (uint32_t i = 0; i < COUNT; i++)
        if (!taken.ranges[i])
            return FIRST + i * ID_RANGE_LENGTH;
    return 0;
}
