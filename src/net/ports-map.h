/*
 * ports-map.h - the maps and sets of published ports in podd's table, and their elements.
 */
#ifndef PODD_NET_PORTS_MAP_H
#define PODD_NET_PORTS_MAP_H

#include <libnftnl/rule.h>

#include "rules.h"

/* Ports of one address of the node, and of all its addresses; by family. */
enum ports_map { PORTS_BOUND4, PORTS_BOUND6, PORTS_ANY4, PORTS_ANY6, PORTS_MAPS };

int ports_map_family(enum ports_map map);

/* Parts of a rule. It goes on when the packet's destination is published by the map: with the pod's
 * address from register 0 on, and its port behind it. */
void ports_map_look_up(struct nftnl_rule *rule, enum ports_map map);
/* The same, without loading. */
void ports_map_check(struct nftnl_rule *rule, enum ports_map map);
/* The rule goes on when the packet's destination is a pod's port that is published. */
void ports_map_check_pod(struct nftnl_rule *rule, int family);

/* Messages of a transaction: make all maps and sets, or empty them; add or delete elements. */
void ports_map_put_empty(struct nft_batch *b, const char *table);
void ports_map_put_elements(struct nft_batch *b, const char *table, uint16_t type,
                            const struct rules_port *ports, size_t n_ports);

#endif
