/*
 * id_range.c - which ids of the node stand for those of a pod with a user namespace (hostUsers:
 * false).
 *
 * Each such pod has 65,536 of its own, from its declaration until all of it is removed. The choice
 * is part of the pod's record, and free is what no record has taken: nothing else is kept. The
 * ranges lie above what systemd gives to containers and below the ids that do not fit a signed
 * number; a kubelet's own begin at 65,536.
 */
#include "private.h"
#include "translate.h"

#define FIRST UINT32_C(0x70000000)
#define END UINT32_C(0x80000000)

static bool is_taken(const struct node *n, uint32_t first)
{
    list_for_each (it, &n->declared)
        if (container_of(it, struct declared, item)->first_id == first)
            return true;
    return false;
}

uint32_t id_range_choose(const struct node *n)
{
    for (uint32_t first = FIRST; first < END; first += ID_RANGE_LENGTH)
        if (!is_taken(n, first))
            return first;
    return 0;
}
