/*
 * room.h - what the room keeps between calls.
 *
 * Two threads touch it: the loop's, and the one worker of `jobs`. All that a job works with is
 * under `state`, which a job holds from beginning to end; the loop's thread takes it only at start
 * and at the end, when no jobs run. `slow` has jobs that take long and touch nothing of this.
 */
#ifndef PODD_NET_ROOM_H
#define PODD_NET_ROOM_H

#include <stdatomic.h>

#include <podd/net.h>

#include "lease.h"
#include "link.h"
#include "nft.h"
#include "ports.h"
#include "queue.h"
#include "rtnl.h"
#include "rules.h"

struct cni;
struct lookout;
struct sweep;
struct watch;

struct net {
    struct cni *cni; /* CNI mode: then there is nothing of all the rest */
    struct loop *loop;
    char *state_dir;
    int state_fd, lock_fd; /* owned */
    char bridge[IFNAMSIZ];
    unsigned wanted_mtu; /* 0: the uplink's */

    pthread_mutex_t state;
    int bridge_index;
    unsigned mtu;
    bool ours;               /* the bridge was made by podd */
    atomic_bool forwards[2]; /* IPv4, IPv6; also read without the lock, for the status */
    struct ipam ipam;
    struct ports ports;
    struct rules rules;
    struct rtnl rtnl;
    struct nft nft;

    /* The loop's thread only. */
    struct queue jobs, slow;
    bool closing;
    struct nft status_nft;
    struct sweep *sweep;
    struct watch *watch;
    struct lookout *lookout;
};

/* ---- node.c: bridge, addresses, forwarding ----------------------------------------------------
 */

/* Makes or adopts the bridge and lets the node forward, for these pools. Called with `state`. */
int node_setup(struct net *n, const struct cidr *pools, size_t count, struct err *e) MUST_CHECK;
/* Deletes the host ends of all pods that have no lease; their number, or -1. */
int node_delete_orphans(struct net *n, size_t *ret_count, struct err *e) MUST_CHECK;
int node_destroy(struct net *n, struct err *e) MUST_CHECK;
int node_status(struct net *n, struct err *e) MUST_CHECK;

/* ---- attach.c: the jobs of one pod ------------------------------------------------------------
 */

/* Gives back what a sandbox has, but for its link and its connections. Called with `state`. */
int pod_release(struct net *n, const char *id, struct err *e) MUST_CHECK;
bool sandbox_id_is_sound(const char *id);

/* ---- sweep.c: what is cleaned up later --------------------------------------------------------
 */

struct sweep *sweep_new(struct net *n);
void sweep_free(struct sweep *s);
/* Some seconds from now the host end of this pod, whose addresses these were, is gone. */
void sweep_links(struct sweep *s, const char *id, const struct ip *addresses, size_t count);
/* Soon the kernel forgets the connections of these addresses. */
void sweep_addresses(struct sweep *s, const struct ip *addresses, size_t count);
/* Soon the kernel forgets who talks UDP to the node on these ports, which are a pod's now. */
void sweep_udp_ports(struct sweep *s, const struct rules_port *ports, size_t count);

/* ---- watch.c: somebody else changes our table -------------------------------------------------
 */

int watch_new(struct net *n, struct watch **ret, struct err *e) MUST_CHECK;
void watch_free(struct watch *w);

/* ---- lookout.c: rules of others that cut pods off ----------------------------------------------
 */

struct lookout *lookout_new(struct net *n);
void lookout_free(struct lookout *l);
/* Somebody changed nf_tables outside of our table; NULL is fine. */
void lookout_on_change(struct lookout *l);
/* What the last look found, for people, or NULL; looks anew soon when that is old. */
const char *lookout_warning(struct lookout *l);

#endif
