/*
 * nft-expr.c - the expressions that podd's rules are made of, on top of libnftnl.
 */
#include <netinet/in.h> /* before any header of the kernel's that defines the same */
#include <stdio.h>      /* libnftnl's headers need it */

#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "nft-expr.h"

/* Offsets in the headers of IPv4 (RFC 791) and IPv6 (RFC 8200). */
enum { IP4_CHECKSUM = 10, IP4_SOURCE = 12, IP4_DESTINATION = 16 };
enum { IP6_SOURCE = 8, IP6_DESTINATION = 24 };

static uint32_t reg_number(unsigned reg)
{
    return NFT_REG32_00 + reg;
}

static struct nftnl_expr *add_expr(struct nftnl_rule *r, const char *name)
{
    struct nftnl_expr *expr = nftnl_expr_alloc(name);

    if (!expr)
        abort(); /* out of memory, or a name that libnftnl does not know */
    nftnl_rule_add_expr(r, expr);
    return expr;
}

/* ---- Loads ---------------------------------------------------------------------------------- */

void nft_load_meta(struct nftnl_rule *r, uint32_t key, unsigned reg)
{
    struct nftnl_expr *expr = add_expr(r, "meta");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, reg_number(reg));
}

static void load_payload(struct nftnl_rule *r, uint32_t base, unsigned offset, unsigned len,
                         unsigned reg)
{
    struct nftnl_expr *expr = add_expr(r, "payload");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, len);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, reg_number(reg));
}

void nft_load_network(struct nftnl_rule *r, unsigned offset, unsigned len, unsigned reg)
{
    load_payload(r, NFT_PAYLOAD_NETWORK_HEADER, offset, len, reg);
}

void nft_load_transport(struct nftnl_rule *r, unsigned offset, unsigned len, unsigned reg)
{
    load_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offset, len, reg);
}

static unsigned saddr_offset(int family)
{
    return family == AF_INET ? IP4_SOURCE : IP6_SOURCE;
}

static unsigned daddr_offset(int family)
{
    return family == AF_INET ? IP4_DESTINATION : IP6_DESTINATION;
}

void nft_load_saddr(struct nftnl_rule *r, int family, unsigned reg)
{
    nft_load_network(r, saddr_offset(family), family == AF_INET ? 4 : 16, reg);
}

void nft_load_daddr(struct nftnl_rule *r, int family, unsigned reg)
{
    nft_load_network(r, daddr_offset(family), family == AF_INET ? 4 : 16, reg);
}

void nft_load_dport(struct nftnl_rule *r, unsigned reg)
{
    nft_load_transport(r, 2, 2, reg); /* the same in TCP, UDP and SCTP */
}

/* ---- Compares ------------------------------------------------------------------------------- */

static void compare(struct nftnl_rule *r, unsigned reg, uint32_t op, const void *data, size_t len)
{
    struct nftnl_expr *expr = add_expr(r, "cmp");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, reg_number(reg));
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(expr, NFTNL_EXPR_CMP_DATA, data, (uint32_t)len);
}

void nft_if_equal(struct nftnl_rule *r, unsigned reg, const void *data, size_t len)
{
    compare(r, reg, NFT_CMP_EQ, data, len);
}

void nft_if_unequal(struct nftnl_rule *r, unsigned reg, const void *data, size_t len)
{
    compare(r, reg, NFT_CMP_NEQ, data, len);
}

void nft_if_family(struct nftnl_rule *r, int family)
{
    uint8_t nfproto = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;

    nft_load_meta(r, NFT_META_NFPROTO, 0);
    nft_if_equal(r, 0, &nfproto, sizeof(nfproto));
}

static void compare_name(struct nftnl_rule *r, uint32_t key, const char *name, bool is)
{
    char padded[IFNAMSIZ] = {0};

    memcpy(padded, name, strlen(name));
    nft_load_meta(r, key, 0);
    compare(r, 0, is ? NFT_CMP_EQ : NFT_CMP_NEQ, padded, sizeof(padded));
}

void nft_if_iif(struct nftnl_rule *r, const char *name, bool is)
{
    compare_name(r, NFT_META_IIFNAME, name, is);
}

void nft_if_oif(struct nftnl_rule *r, const char *name, bool is)
{
    compare_name(r, NFT_META_OIFNAME, name, is);
}

static void mask_register(struct nftnl_rule *r, unsigned reg, const void *mask, size_t len)
{
    static const uint8_t zero[16];
    struct nftnl_expr *expr = add_expr(r, "bitwise");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, reg_number(reg));
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, reg_number(reg));
    nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, (uint32_t)len);
    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_MASK, mask, (uint32_t)len);
    nftnl_expr_set(expr, NFTNL_EXPR_BITWISE_XOR, zero, (uint32_t)len);
}

void nft_if_within(struct nftnl_rule *r, unsigned reg, const struct cidr *cidr, bool is)
{
    size_t len = ip_size(&cidr->base);
    uint8_t mask[16] = {0};

    for (unsigned bit = 0; bit < cidr->prefix; bit++)
        mask[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    mask_register(r, reg, mask, len);
    compare(r, reg, is ? NFT_CMP_EQ : NFT_CMP_NEQ, cidr->base.bytes, len);
}

void nft_if_for_node(struct nftnl_rule *r)
{
    struct nftnl_expr *expr = add_expr(r, "fib");
    uint32_t local = RTN_LOCAL;

    nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, reg_number(0));
    nft_if_equal(r, 0, &local, sizeof(local));
}

void nft_if_dnat(struct nftnl_rule *r)
{
    uint32_t mask = IPS_DST_NAT, zero = 0;

    struct nftnl_expr *expr = add_expr(r, "ct");
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_STATUS);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, reg_number(0));
    mask_register(r, 0, &mask, sizeof(mask));
    nft_if_unequal(r, 0, &zero, sizeof(zero));
}

static struct nftnl_expr *look_up(struct nftnl_rule *r, const char *set)
{
    struct nftnl_expr *expr = add_expr(r, "lookup");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, reg_number(0));
    nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, set);
    return expr;
}

void nft_if_in_set(struct nftnl_rule *r, const char *set)
{
    (void)look_up(r, set);
}

void nft_if_in_map(struct nftnl_rule *r, const char *map)
{
    nftnl_expr_set_u32(look_up(r, map), NFTNL_EXPR_LOOKUP_DREG, reg_number(0));
}

/* ---- Actions -------------------------------------------------------------------------------- */

void nft_do_dnat(struct nftnl_rule *r, int family, unsigned addr_reg, unsigned port_reg)
{
    struct nftnl_expr *expr = add_expr(r, "nat");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FAMILY,
                       family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg_number(addr_reg));
    nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg_number(port_reg));
}

void nft_do_masquerade(struct nftnl_rule *r)
{
    (void)add_expr(r, "masq");
}

static void load_immediate(struct nftnl_rule *r, unsigned reg, const void *data, size_t len)
{
    struct nftnl_expr *expr = add_expr(r, "immediate");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, reg_number(reg));
    nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, data, (uint32_t)len);
}

static void write_network(struct nftnl_rule *r, unsigned offset, const struct ip *ip)
{
    load_immediate(r, 0, ip->bytes, ip_size(ip));
    struct nftnl_expr *expr = add_expr(r, "payload");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_SREG, reg_number(0));
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, (uint32_t)ip_size(ip));
    if (ip->family == AF_INET) {
        nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
        nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, IP4_CHECKSUM);
    }
    nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR);
}

void nft_do_set_saddr(struct nftnl_rule *r, const struct ip *ip)
{
    write_network(r, saddr_offset(ip->family), ip);
}

void nft_do_set_daddr(struct nftnl_rule *r, const struct ip *ip)
{
    write_network(r, daddr_offset(ip->family), ip);
}

void nft_do_jump(struct nftnl_rule *r, const char *chain)
{
    struct nftnl_expr *expr = add_expr(r, "immediate");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_str(expr, NFTNL_EXPR_IMM_CHAIN, chain);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)NFT_JUMP);
}

void nft_do_verdict(struct nftnl_rule *r, int verdict)
{
    struct nftnl_expr *expr = add_expr(r, "immediate");

    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
}
