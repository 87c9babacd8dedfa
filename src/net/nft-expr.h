/*
 * nft-expr.h - the expressions that podd's rules are made of.
 *
 * A rule is a list of them, run from the left: they load into registers, compare (which ends the
 * rule when it does not hold), look up, and at last do something to the packet. Registers are
 * numbered in units of four bytes.
 */
#ifndef PODD_NET_NFT_EXPR_H
#define PODD_NET_NFT_EXPR_H

#include <libnftnl/rule.h>

#include "addr.h"

enum { NFT_EXPR_REGISTERS = 16 };

/* Loads. */
void nft_load_meta(struct nftnl_rule *r, uint32_t key, unsigned reg);
void nft_load_network(struct nftnl_rule *r, unsigned offset, unsigned len, unsigned reg);
void nft_load_transport(struct nftnl_rule *r, unsigned offset, unsigned len, unsigned reg);
/* The source or destination address of the packet, by family. */
void nft_load_saddr(struct nftnl_rule *r, int family, unsigned reg);
void nft_load_daddr(struct nftnl_rule *r, int family, unsigned reg);
void nft_load_dport(struct nftnl_rule *r, unsigned reg);

/* Compares: the rule goes on when it holds. */
void nft_if_equal(struct nftnl_rule *r, unsigned reg, const void *data, size_t len);
void nft_if_unequal(struct nftnl_rule *r, unsigned reg, const void *data, size_t len);
void nft_if_family(struct nftnl_rule *r, int family);
void nft_if_iif(struct nftnl_rule *r, const char *name, bool is);
void nft_if_oif(struct nftnl_rule *r, const char *name, bool is);
/* The address in the register, which is masked, lies in the CIDR or does not. */
void nft_if_within(struct nftnl_rule *r, unsigned reg, const struct cidr *cidr, bool is);
/* The packet's destination is an address of this node. */
void nft_if_for_node(struct nftnl_rule *r);
/* The connection's destination was translated. */
void nft_if_dnat(struct nftnl_rule *r);
/* The key from reg 0 on is in the set. */
void nft_if_in_set(struct nftnl_rule *r, const char *set);
/* The key from reg 0 on is in the map; its value is loaded from reg 0 on. */
void nft_if_in_map(struct nftnl_rule *r, const char *map);

/* Actions. */
void nft_do_dnat(struct nftnl_rule *r, int family, unsigned addr_reg, unsigned port_reg);
void nft_do_masquerade(struct nftnl_rule *r);
/* Overwrites the source or the destination address, checksums included. */
void nft_do_set_saddr(struct nftnl_rule *r, const struct ip *ip);
void nft_do_set_daddr(struct nftnl_rule *r, const struct ip *ip);
void nft_do_jump(struct nftnl_rule *r, const char *chain);
void nft_do_verdict(struct nftnl_rule *r, int verdict);

#endif
