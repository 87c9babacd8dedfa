/*
 * lease.h - who has which address: pools in memory, leases as files.
 */
#ifndef PODD_NET_LEASE_H
#define PODD_NET_LEASE_H

#include <podd/net.h>

#include "pool.h"

/* What one sandbox has. */
struct holder {
    char *id;
    struct ip *addresses; /* the primary one first, unless read back from files */
    size_t count;
};

/* Zeroed is empty. */
struct ipam {
    int dir;     /* <state>/net/leases: one file per address, holding the id */
    int cursors; /* <state>/net/cursors: the address given last in each pool */
    struct pool pools[NET_POOLS_MAX];
    size_t n_pools;
    struct map *holders; /* id -> struct holder */
};

/* Opens the files below state_fd and reads the leases that are there. */
int ipam_open(struct ipam *i, int state_fd, struct err *e) MUST_CHECK;
void ipam_close(struct ipam *i);
/* Replaces the pools; leases stay, also those that are in no pool any more. */
int ipam_set_pools(struct ipam *i, const struct cidr *cidrs, size_t count, struct err *e)
    MUST_CHECK;
/* One address of each pool, all or none. The holder is borrowed until ipam_release(). */
int ipam_lease(struct ipam *i, const char *id, const struct holder **ret, struct err *e) MUST_CHECK;
/* Success when there is nothing. */
int ipam_release(struct ipam *i, const char *id, struct err *e) MUST_CHECK;
const struct holder *ipam_find(const struct ipam *i, const char *id); /* NULL when unknown */
/* Whether the address, one of the present pools, is given out. */
bool ipam_is_leased(const struct ipam *i, const struct ip *ip);
/* Whether any lease lies in the CIDR. */
bool ipam_uses(const struct ipam *i, const struct cidr *cidr);

#endif
