/*
 * rules.c - podd's nf_tables table: its chains and rules, built from the bridge and the pools.
 *
 * The table is `inet podd-<bridge>`, so that several podds have one each. Nothing outside of it is
 * ever changed, and no packet is ever accepted over the head of another table: in nf_tables a drop
 * anywhere is final and an accept ends only the chain it is in. An administrator's own rules go
 * into the chains `user` (before any translation: sees the node's ports) and `user_forward` (behind
 * it: sees the pods' ports); podd makes them, jumps to them first, and never touches their content.
 *
 *   first         prerouting -105   jump user
 *   publish       prerouting -100   dnat  to the node's own addresses, by the maps below
 *   publish_local output     -100   the same for connections of the node itself
 *   loopback_out  output     -300   see below
 *   loopback_in   input       150   see below
 *   forward       forward       0   jump user_forward; no foreign source address out of a pod
 *   source_nat    postrouting 100   pods leaving the node; pods reaching pods by a published port
 *
 * The maps any4, any6 (protocol, port) and bound4, bound6 (protocol, address, port) lead to a pod's
 * address and port. A pod's published ports are elements of them, so starting and stopping a pod
 * changes no rule, and any number of ports costs a packet two hash lookups. The sets of the same
 * names with _keys hold the maps' keys, for rules that only ask whether: kernels before 6.13 cannot
 * look up a map without its value, and nft(8) cannot show a rule that drops the value. The sets
 * pods4, pods6 (protocol, address, port) are where the maps lead to.
 *
 * Published ports on 127.0.0.1. The usual way, the sysctl route_localnet, makes the kernel take
 * packets for 127.0.0.0/8 from the network, and has opened the loopback services of nodes to their
 * neighbours (CVE-2020-8558). podd never sets it. A connection of the node to a published port
 * on loopback instead gets the bridge's address for its source in loopback_out, before connection
 * tracking sees it, and can then be translated and routed to the pod like any other. Its answers
 * come to the bridge's address; connection tracking turns their source back into 127.0.0.1 at the
 * input hook, behind the routing decision, and loopback_in, which comes next, turns their
 * destination back too. It recognises them by a loopback source on a packet from the bridge, which
 * only connection tracking can have made, as routing drops what arrives with one. ::1 is the same.
 * The chain publish leaves packets for loopback addresses alone: from outside they stay dropped.
 */
#include <netinet/in.h> /* before any header of the kernel's that defines the same */
#include <stdio.h>

#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "nft-expr.h"
#include "pool.h"
#include "ports-map.h"
#include "rules.h"

struct chain_spec {
    const char *name;
    const char *type; /* NULL: no base chain */
    uint32_t hook;
    int32_t priority;
};

static const char user_chain[] = "user";
static const char user_forward_chain[] = "user_forward";

static const struct chain_spec chains[] = {
    {user_chain, NULL, 0, 0},
    {user_forward_chain, NULL, 0, 0},
    {"first", "filter", NF_INET_PRE_ROUTING, -105},
    {"publish", "nat", NF_INET_PRE_ROUTING, -100},
    {"publish_local", "nat", NF_INET_LOCAL_OUT, -100},
    {"loopback_out", "filter", NF_INET_LOCAL_OUT, -300},
    {"loopback_in", "filter", NF_INET_LOCAL_IN, 150},
    {"forward", "filter", NF_INET_FORWARD, 0},
    {"source_nat", "nat", NF_INET_POST_ROUTING, 100},
};

static const int families[] = {AF_INET, AF_INET6};

void rules_init(struct rules *r, const char *bridge)
{
    *r = (struct rules){0};
    snprintf(r->bridge, sizeof(r->bridge), "%s", bridge);
    snprintf(r->table, sizeof(r->table), "podd-%s", r->bridge);
}

bool rules_own_chain(const char *chain)
{
    return !str_equal(chain, user_chain) && !str_equal(chain, user_forward_chain);
}

/* ---- Messages ------------------------------------------------------------------------------- */

static void put_table(struct nft_batch *b, const struct rules *r, uint16_t type, uint16_t flags)
{
    struct nftnl_table *t = nftnl_table_alloc();

    if (!t)
        abort();
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, r->table);
    nftnl_table_nlmsg_build_payload(nft_batch_message(b, type, flags, "change the table"), t);
    nft_batch_next(b);
    nftnl_table_free(t);
}

static void put_chain(struct nft_batch *b, const struct rules *r, const struct chain_spec *spec)
{
    struct nftnl_chain *c = nftnl_chain_alloc();

    if (!c)
        abort();
    nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, r->table);
    nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, spec->name);
    if (spec->type) {
        nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, spec->type);
        nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, spec->hook);
        nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, spec->priority);
        nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
    }
    nftnl_chain_nlmsg_build_payload(
        nft_batch_message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "make a chain (nat or filter, inet)"),
        c);
    nft_batch_next(b);
    nftnl_chain_free(c);
}

static struct nftnl_rule *rule_new(const struct rules *r, const char *chain)
{
    struct nftnl_rule *rule = nftnl_rule_alloc();

    if (!rule)
        abort();
    nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, r->table);
    nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
    return rule;
}

static void put_rule(struct nft_batch *b, struct nftnl_rule *rule, const char *what)
{
    nftnl_rule_nlmsg_build_payload(
        nft_batch_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, what), rule);
    nft_batch_next(b);
    nftnl_rule_free(rule);
}

static void put_chain_flush(struct nft_batch *b, const struct rules *r, const char *chain)
{
    struct nftnl_rule *rule = rule_new(r, chain);

    nftnl_rule_nlmsg_build_payload(nft_batch_message(b, NFT_MSG_DELRULE, 0, "empty a chain"), rule);
    nft_batch_next(b);
    nftnl_rule_free(rule);
}

/* ---- Rules ---------------------------------------------------------------------------------- */

static void put_jump(struct nft_batch *b, const struct rules *r, const char *from, const char *to)
{
    struct nftnl_rule *rule = rule_new(r, from);

    nft_do_jump(rule, to);
    put_rule(b, rule, "jump to the user's chain");
}

static const struct cidr loopback_net[] = {
    {.base = {AF_INET, {127}}, .prefix = 8},
    {.base = {AF_INET6, {[15] = 1}}, .prefix = 128},
};
static const struct ip loopback_ip[] = {{AF_INET, {127, 0, 0, 1}}, {AF_INET6, {[15] = 1}}};

/* Translates what is for the node by one of the maps. From the network nothing is for loopback. */
static void put_publish(struct nft_batch *b, const struct rules *r, const char *chain,
                        enum ports_map map, bool from_network)
{
    struct nftnl_rule *rule = rule_new(r, chain);
    int family = ports_map_family(map);

    nft_if_family(rule, family);
    if (from_network) {
        nft_load_daddr(rule, family, 0);
        nft_if_within(rule, 0, &loopback_net[family == AF_INET6], false);
    }
    nft_if_for_node(rule);
    ports_map_look_up(rule, map);
    nft_do_dnat(rule, family, 0, family == AF_INET ? 1 : 4);
    put_rule(b, rule, "translate published ports (nft_fib_inet, nft_nat, maps)");
}

static const struct ip *gateway_of(const struct rules *r, int family, struct ip *buffer)
{
    for (size_t i = 0; i < r->n_pools; i++) {
        if (r->pools[i].base.family == family) {
            *buffer = cidr_nth(&r->pools[i], POOL_GATEWAY);
            return buffer;
        }
    }
    return NULL;
}

static void put_loopback_out(struct nft_batch *b, const struct rules *r, enum ports_map map)
{
    int family = ports_map_family(map);
    struct ip buffer;

    const struct ip *gateway = gateway_of(r, family, &buffer);
    if (!gateway)
        return;
    struct nftnl_rule *rule = rule_new(r, "loopback_out");
    nft_if_family(rule, family);
    nft_if_oif(rule, "lo", true);
    nft_load_saddr(rule, family, 0);
    nft_if_equal(rule, 0, loopback_ip[family == AF_INET6].bytes, family == AF_INET ? 4 : 16);
    nft_load_daddr(rule, family, 0);
    nft_if_within(rule, 0, &loopback_net[family == AF_INET6], true);
    ports_map_check(rule, map);
    nft_do_set_saddr(rule, gateway);
    put_rule(b, rule, "give loopback connections the bridge's address (payload writes)");
}

static void put_loopback_in(struct nft_batch *b, const struct rules *r, int family)
{
    struct ip buffer;

    const struct ip *gateway = gateway_of(r, family, &buffer);
    if (!gateway)
        return;
    struct nftnl_rule *rule = rule_new(r, "loopback_in");
    nft_if_family(rule, family);
    nft_if_iif(rule, r->bridge, true);
    nft_load_saddr(rule, family, 0);
    nft_if_within(rule, 0, &loopback_net[family == AF_INET6], true);
    nft_load_daddr(rule, family, 0);
    nft_if_equal(rule, 0, gateway->bytes, ip_size(gateway));
    nft_do_set_daddr(rule, &loopback_ip[family == AF_INET6]);
    put_rule(b, rule, "give loopback connections their answers (payload writes)");
}

/* A pod that sends with an address of nobody on the bridge does not get past the node. */
static void put_source_check(struct nft_batch *b, const struct rules *r, int family)
{
    struct nftnl_rule *rule = rule_new(r, "forward");

    nft_if_iif(rule, r->bridge, true);
    nft_if_oif(rule, r->bridge, false);
    nft_if_family(rule, family);
    for (size_t i = 0; i < r->n_pools; i++) {
        if (r->pools[i].base.family != family)
            continue;
        nft_load_saddr(rule, family, 0);
        nft_if_within(rule, 0, &r->pools[i], false);
    }
    nft_do_verdict(rule, NF_DROP);
    put_rule(b, rule, "check source addresses");
}

static void put_masquerade(struct nft_batch *b, const struct rules *r, const struct cidr *pool)
{
    struct nftnl_rule *rule = rule_new(r, "source_nat");

    nft_if_family(rule, pool->base.family);
    nft_if_oif(rule, r->bridge, false);
    nft_load_saddr(rule, pool->base.family, 0);
    nft_if_within(rule, 0, pool, true);
    nft_do_masquerade(rule);
    put_rule(b, rule, "masquerade (nft_masq)");
}

/* A pod that reached a pod of this bridge through a published port: the answer must come back
 * through the node, or it would come from an address that was never asked. */
static void put_hairpin(struct nft_batch *b, const struct rules *r, const struct cidr *pool)
{
    struct nftnl_rule *rule = rule_new(r, "source_nat");

    nft_if_family(rule, pool->base.family);
    nft_if_oif(rule, r->bridge, true);
    nft_load_saddr(rule, pool->base.family, 0);
    nft_if_within(rule, 0, pool, true);
    nft_if_dnat(rule);
    ports_map_check_pod(rule, pool->base.family);
    nft_do_masquerade(rule);
    put_rule(b, rule, "masquerade published ports between pods (nft_ct)");
}

static void put_rules(struct nft_batch *b, const struct rules *r)
{
    put_jump(b, r, "first", user_chain);
    for (enum ports_map map = 0; map < PORTS_MAPS; map++) {
        put_publish(b, r, "publish", map, true);
        put_publish(b, r, "publish_local", map, false);
        put_loopback_out(b, r, map);
    }
    put_jump(b, r, "forward", user_forward_chain);
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        put_loopback_in(b, r, families[i]);
        put_source_check(b, r, families[i]);
    }
    for (size_t i = 0; i < r->n_pools; i++) {
        put_hairpin(b, r, &r->pools[i]);
        put_masquerade(b, r, &r->pools[i]);
    }
}

/* ---- Transactions --------------------------------------------------------------------------- */

static int sync_table(const struct rules *r, struct nft *nft, const struct rules_port *ports,
                      size_t n_ports, bool anew, struct err *e)
{
    _cleanup_nft_batch_ struct nft_batch b = {0};

    nft_batch_init(&b, nft);
    put_table(&b, r, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    if (anew) {
        put_table(&b, r, NFT_MSG_DELTABLE, 0);
        put_table(&b, r, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    }
    for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
        put_chain(&b, r, &chains[i]);
    ports_map_put_empty(&b, r->table);
    for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
        if (rules_own_chain(chains[i].name))
            put_chain_flush(&b, r, chains[i].name);
    }
    put_rules(&b, r);
    ports_map_put_elements(&b, r->table, NFT_MSG_NEWSETELEM, ports, n_ports);
    return nft_batch_commit(&b, nft, e);
}

int rules_sync(const struct rules *r, struct nft *nft, const struct rules_port *ports,
               size_t n_ports, struct err *e)
{
    _cleanup_err_ struct err first = ERR_INIT;

    if (sync_table(r, nft, ports, n_ports, false, &first) == 0)
        return 0;
    /* Another version of podd may have left a table whose chains or maps are of another kind. */
    if (sync_table(r, nft, ports, n_ports, true, e) == 0) {
        log_warn("net", r->table,
                 "the table was rebuilt, with what was in its user chains lost: %s",
                 err_text(&first));
        return 0;
    }
    return -1;
}

static int change_ports(const struct rules *r, struct nft *nft, uint16_t type,
                        const struct rules_port *ports, size_t n_ports, struct err *e)
{
    _cleanup_nft_batch_ struct nft_batch b = {0};

    if (n_ports == 0)
        return 0;
    nft_batch_init(&b, nft);
    ports_map_put_elements(&b, r->table, type, ports, n_ports);
    return nft_batch_commit(&b, nft, e);
}

int rules_add_ports(const struct rules *r, struct nft *nft, const struct rules_port *ports,
                    size_t n_ports, struct err *e)
{
    return change_ports(r, nft, NFT_MSG_NEWSETELEM, ports, n_ports, e);
}

int rules_remove_ports(const struct rules *r, struct nft *nft, const struct rules_port *ports,
                       size_t n_ports, struct err *e)
{
    return change_ports(r, nft, NFT_MSG_DELSETELEM, ports, n_ports, e);
}

int rules_remove_table(const struct rules *r, struct nft *nft, struct err *e)
{
    _cleanup_nft_batch_ struct nft_batch b = {0};

    nft_batch_init(&b, nft);
    put_table(&b, r, NFT_MSG_NEWTABLE, NLM_F_CREATE); /* so that deleting cannot miss it */
    put_table(&b, r, NFT_MSG_DELTABLE, 0);
    return nft_batch_commit(&b, nft, e);
}
