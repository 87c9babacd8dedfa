/*
 * link.h - the links of a node as seen through rtnetlink: listing, the bridge, a pod's veth pair.
 */
#ifndef PODD_NET_LINK_H
#define PODD_NET_LINK_H

#include <net/if.h>

#include "rtnl.h"

#define LINK_MAC_SIZE 6
#define LINK_ALIAS_SIZE 256

struct link_info {
    int index;
    int master; /* index of the bridge it is a port of, or 0 */
    unsigned mtu;
    unsigned flags; /* IFF_* */
    char name[IFNAMSIZ];
    char kind[16]; /* "bridge", "veth", ""; cut off */
    char alias[LINK_ALIAS_SIZE];
};

/* All links; the caller frees *ret. */
int link_list(struct rtnl *r, struct link_info **ret, size_t *ret_count, struct err *e) MUST_CHECK;
/* Waits for RCU, some 25 ms. Success when there is none. */
int link_delete(struct rtnl *r, const char *name, struct err *e) MUST_CHECK;

/* The hardware address that belongs to an IP address: locally administered, always the same. */
void link_mac(const struct ip *ip, uint8_t ret[LINK_MAC_SIZE]);

/* ---- The bridge ------------------------------------------------------------------------------ */

int bridge_create(struct rtnl *r, const char *name, const char *alias, unsigned mtu,
                  const struct ip *gateway, struct err *e) MUST_CHECK;
/* Sets MTU and alias of one that is there. */
int bridge_adopt(struct rtnl *r, const char *name, const char *alias, unsigned mtu, struct err *e)
    MUST_CHECK;
int link_set_up(struct rtnl *r, const char *name, struct err *e) MUST_CHECK;
/* Present is success. */
int address_add(struct rtnl *r, int index, const struct ip *ip, unsigned prefix, struct err *e)
    MUST_CHECK;
/* Absent is success. */
int address_remove(struct rtnl *r, int index, const struct ip *ip, unsigned prefix, struct err *e)
    MUST_CHECK;
void address_put(struct rtnl_batch *b, int index, const struct ip *ip, unsigned prefix);
/* The node forgets the hardware addresses of these on the link. */
int neighbours_forget(struct rtnl *r, int index, const struct ip *addresses, size_t count,
                      struct err *e) MUST_CHECK;

/* ---- Host ends of pods ----------------------------------------------------------------------- */

/* "pd" and twelve hex digits out of the sandbox id. */
void veth_name(const char *sandbox_id, char ret[IFNAMSIZ]);
bool veth_name_is_ours(const char *name);

#endif
