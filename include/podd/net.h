/*
 * podd/net.h - a pod's network on this node: bridge, veth, addresses, routes, masquerade; or, in
 * CNI mode, what plugins make of it.
 *
 * Built with rtnetlink (libnl-3) and nf_tables (libmnl, libnftnl); no program is run. One bridge
 * per podd; each pod gets a veth pair, the peer being eth0 in the pod's namespace, and one address
 * per pool. What has a name outlives a crash and is reconciled at start: host veth ends, leases
 * (<state>/net/leases/<address>, one file each, created exclusively, holding the sandbox id),
 * published ports (<state>/net/ports/<sandbox id>), and one nft table `inet podd-<bridge>`, with
 * the chains `user` and `user_forward` in it for an administrator's own rules, which run first.
 */
#ifndef PODD_NET_H
#define PODD_NET_H

#include "podd/base.h"

#define NET_POOLS_MAX 4
#define NET_ADDRESSES_MAX 8

/* CNI mode: pods are connected by the plugins that a configuration directory names. */
struct net_cni_config {
    const char *config_dir;
    char *const *plugin_dirs; /* strv */
    int64_t timeout_ms;       /* that one plugin may take */
    const char *cache_dir;    /* made 0700; outlives a boot, as what plugins remember does */
};

struct net_config {
    const struct net_cni_config *cni; /* NULL: podd builds the network itself */
    const char *bridge;               /* "podd0" */
    const char *pools[NET_POOLS_MAX]; /* CIDRs; the first address of each is the bridge's. Those
                                       * that net_set_pools() was given since the last boot win */
    size_t n_pools;
    unsigned mtu;          /* 0: that of the uplink (route to the default gateway), else 1500 */
    const char *state_dir; /* <state>/net, made 0700 */
};

struct net;
/* Makes or adopts the bridge, its addresses, the nft table, forwarding. ERR_INVALID_ARGUMENT for
 * pools that are malformed, overlap each other or a route of the node; ERR_FAILED_PRECONDITION for
 * a bridge name that is something else or a kernel that lacks a feature (which one is said). */
int net_open(struct loop *loop, const struct net_config *config, struct net **ret, struct err *e)
    MUST_CHECK;
/* Leaves everything in place: pods go on. Calls in flight are finished and their callbacks come. */
void net_close(struct net *n);
/* Removes bridge, table and leases; for a podd with no pods left. net_close() comes after it. */
int net_destroy(struct net *n, struct err *e) MUST_CHECK;
/* Ready, or the reason why not in *e. */
int net_status(struct net *n, struct err *e) MUST_CHECK;
/* What somebody else's rules keep pods from although the network is ready, and what to type; NULL
 * when nothing is known. Until the next call. */
const char *net_warning(struct net *n);
/* The same in one word, for programs. */
const char *net_warning_reason(struct net *n);

/* A pod's addresses as text, without prefix length, the primary one first. */
struct net_addresses {
    char text[NET_ADDRESSES_MAX][46];
    size_t count;
};

struct net_port {
    int protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
    uint16_t container_port, host_port;
    const char *host_ip; /* NULL or "": every address */
};

/* Bits per second; 0: no limit. */
struct net_bandwidth {
    uint64_t ingress, egress; /* into the pod, out of it */
};
#define NET_INGRESS_ANNOTATION "kubernetes.io/ingress-bandwidth"
#define NET_EGRESS_ANNOTATION "kubernetes.io/egress-bandwidth"
/* Out of a pod's annotations; ERR_INVALID_ARGUMENT for what is no quantity from 1k to 1P. */
int net_bandwidth_parse(const struct key_value *annotations, size_t n, struct net_bandwidth *ret,
                        struct err *e) MUST_CHECK;

struct net_pod {
    const char *sandbox_id;
    const char *name, *namespace_, *uid;
    pid_t pid;                    /* lives in the namespace as long as the pod is there */
    int netns;                    /* borrowed until the callback */
    const struct net_port *ports; /* those with host_port 0 are skipped */
    size_t n_ports;
    struct net_bandwidth bandwidth;
    char *const *dns_servers, *const *dns_searches, *const *dns_options; /* strv */
};

typedef void net_attached_fn(void *arg, const struct net_addresses *addresses, const struct err *e);
/* Leases the addresses, makes the links, configures them in the pod, publishes the ports. Undone on
 * failure; `addresses` is NULL then. ERR_RESOURCE_EXHAUSTED: the pool is full;
 * ERR_FAILED_PRECONDITION: a port of the node is another pod's or a process listens on it. Calls
 * may overlap. */
void net_attach(struct net *n, const struct net_pod *pod, net_attached_fn *fn, void *arg);

/* The pod is about to end: in CNI mode keeps its namespace (borrowed) until net_detach() is done,
 * for plugins that clean up in there. */
void net_hold(struct net *n, const char *sandbox_id, int netns);

typedef void net_done_fn(void *arg, const struct err *e);
/* Gives everything of this pod back; success when there is nothing. The namespace may be gone
 * already. Does not wait for the kernel to free the links. In CNI mode a plugin that fails or is
 * missing is success too: it is called again later. */
void net_detach(struct net *n, const char *sandbox_id, net_done_fn *fn, void *arg);

/* Other pools, for instance the pod CIDRs that the cluster gave the node; those that are there are
 * success. Pods keep the addresses they have, and their old pools go on working for them. In CNI
 * mode they become the capability ipRanges. */
void net_set_pools(struct net *n, const char *const *pools, size_t count, net_done_fn *fn,
                   void *arg);

/* At start, when the live pods are known: frees leases, ports and links of all others. Blocks. */
int net_reconcile(struct net *n, char *const *live_sandbox_ids, size_t count, struct err *e)
    MUST_CHECK;

/* A non-blocking socket made inside the network namespace (it stays there); fd or -1. netns -1 is
 * the host's. For probes and port forwarding: costs the node no route, port or conntrack entry. */
int net_socket(int netns, int domain, int type, int protocol, struct err *e) MUST_CHECK;

/* Counters of the pod's interfaces. */
struct net_usage {
    char name[16];
    uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
    uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
int net_read_usage(int netns, struct net_usage *ret, size_t max, size_t *ret_count, struct err *e)
    MUST_CHECK;

#endif
