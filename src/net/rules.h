/*
 * rules.h - podd's nf_tables table: its chains, its maps of published ports.
 */
#ifndef PODD_NET_RULES_H
#define PODD_NET_RULES_H

#include <net/if.h>

#include "addr.h"
#include "nft.h"

#define RULES_TABLE_SIZE 32 /* "podd-" and an interface name */

/* One published port of one pod and one family. */
struct rules_port {
    int protocol;   /* IPPROTO_* */
    struct ip host; /* family always set; the zero address: every address of the node */
    uint16_t host_port;
    struct ip pod;
    uint16_t pod_port;
};

struct rules {
    char table[RULES_TABLE_SIZE];
    char bridge[IFNAMSIZ];
    struct cidr pools[16]; /* those of the configuration, and older ones that are still in use */
    size_t n_pools;
};

void rules_init(struct rules *r, const char *bridge);
/* Makes the kernel's table what *r and the ports say, whatever it was before, in one transaction.
 * What an administrator put into the user chains stays. */
int rules_sync(const struct rules *r, struct nft *nft, const struct rules_port *ports,
               size_t n_ports, struct err *e) MUST_CHECK;
int rules_add_ports(const struct rules *r, struct nft *nft, const struct rules_port *ports,
                    size_t n_ports, struct err *e) MUST_CHECK;
/* ERR_UNKNOWN and nothing changed when one of them is not there. */
int rules_remove_ports(const struct rules *r, struct nft *nft, const struct rules_port *ports,
                       size_t n_ports, struct err *e) MUST_CHECK;
/* Missing is success. */
int rules_remove_table(const struct rules *r, struct nft *nft, struct err *e) MUST_CHECK;
/* Whether chain is one whose rules are podd's (not an administrator's). */
bool rules_own_chain(const char *chain);

#endif
