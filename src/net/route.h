/*
 * route.h - what the node's own routes say: pools that collide with them, and the uplink's MTU.
 */
#ifndef PODD_NET_ROUTE_H
#define PODD_NET_ROUTE_H

#include "rtnl.h"

struct route {
    struct cidr to;
    int oif;
    bool has_gateway; /* one or several next hops by address */
    unsigned type;    /* RTN_* */
    uint32_t metric;
};

/* The routes of all tables; the caller frees *ret. */
int route_list(struct rtnl *r, struct route **ret, size_t *ret_count, struct err *e) MUST_CHECK;
/* The first route that makes the pool unusable, or NULL. Those of the bridge itself do not count.
 */
const struct route *route_collision(const struct route *routes, size_t count,
                                    const struct cidr *pool, int bridge);
/* The interface of the default route with the lowest metric, IPv4 first; 0 when there is none. */
int route_uplink(const struct route *routes, size_t count);

#endif
