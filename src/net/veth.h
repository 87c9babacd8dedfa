/*
 * veth.h - one pod's link: host end on the bridge, eth0 in the pod, configured on both sides.
 */
#ifndef PODD_NET_VETH_H
#define PODD_NET_VETH_H

#include <podd/net.h>

#include "link.h"
#include "pool.h"

struct veth_spec {
    const char *host_name;
    const char *bridge;
    int bridge_index;
    unsigned mtu;
    int netns;                /* borrowed */
    const struct pool *pools; /* gateways and prefix lengths; one address of each */
    const struct ip *addresses;
    size_t count;
    struct net_bandwidth bandwidth;
};

/* Makes and configures both ends; on failure nothing is left. */
int veth_create(struct rtnl *host, const struct veth_spec *spec, struct err *e) MUST_CHECK;
/* Cuts a pod off at once, without waiting: its port forwards nothing any more. Success when the
 * link is gone already; *ret_present says whether it was there. */
int veth_cut(struct rtnl *host, const char *host_name, bool *ret_present, struct err *e) MUST_CHECK;

#endif
