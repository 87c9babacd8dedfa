/*
 * pool.h - which addresses of a CIDR are given out. Pure: no system calls.
 */
#ifndef PODD_NET_POOL_H
#define PODD_NET_POOL_H

#include "addr.h"

/* No node runs more pods; larger CIDRs are used up to here. */
#define POOL_SIZE_MAX 65536

struct pool {
    struct cidr cidr;
    uint32_t end;    /* offsets POOL_FIRST .. end - 1 are for pods */
    uint32_t cursor; /* the offset given last, or 0 */
    uint32_t used;
    uint8_t *bitmap; /* owned; one bit per offset */
};

/* Offset 0 is the network (and in IPv6 the anycast address of its routers), 1 the bridge's. */
#define POOL_GATEWAY 1
#define POOL_FIRST 2

/* ERR_INVALID_ARGUMENT when it is too small for a single pod or not for hosts at all. */
int pool_init(struct pool *p, const struct cidr *cidr, struct err *e) MUST_CHECK;
void pool_deinit(struct pool *p);
struct ip pool_gateway(const struct pool *p);
/* The free address next behind the last given one, marked as used; false when there is none. */
bool pool_take(struct pool *p, struct ip *ret);
/* Marks an address as used; false when it was already, or is not one for a pod of this pool. */
bool pool_mark(struct pool *p, const struct ip *ip);
bool pool_is_marked(const struct pool *p, const struct ip *ip);
/* False when it was not marked. */
bool pool_clear(struct pool *p, const struct ip *ip);

#endif
