/*
 * ports-map.c - the maps and sets of published ports in podd's table, and their elements.
 *
 * A key is protocol, (address,) port, a value address, port: each field fills up whole registers of
 * four bytes, with zeroes behind it. The numbers of the types are those of nft(8), which lists the
 * maps by them; the kernel looks only at the lengths.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "nft-expr.h"
#include "ports-map.h"

enum { TYPE_IPV4 = 7, TYPE_IPV6 = 8, TYPE_PROTOCOL = 12, TYPE_PORT = 13, TYPE_BITS = 6 };
enum { ELEMENTS_PER_MESSAGE = 100, FIELDS_MAX = 4 + 16 + 4 };

enum key {
    KEY_ANY,   /* protocol, port of the node */
    KEY_BOUND, /* protocol, address and port of the node */
    KEY_POD,   /* protocol, address and port of the pod */
};

struct set_spec {
    const char *name;
    int family;
    enum key key;
    bool map; /* with the pod's address and port for a value */
};

static const struct set_spec sets[] = {
    {"bound4", AF_INET, KEY_BOUND, true},       {"bound6", AF_INET6, KEY_BOUND, true},
    {"any4", AF_INET, KEY_ANY, true},           {"any6", AF_INET6, KEY_ANY, true},
    {"bound4_keys", AF_INET, KEY_BOUND, false}, {"bound6_keys", AF_INET6, KEY_BOUND, false},
    {"any4_keys", AF_INET, KEY_ANY, false},     {"any6_keys", AF_INET6, KEY_ANY, false},
    {"pods4", AF_INET, KEY_POD, false},         {"pods6", AF_INET6, KEY_POD, false},
};

static const struct {
    const char *name, *keys;
    int family;
    bool bound;
} maps[] = {
    [PORTS_BOUND4] = {"bound4", "bound4_keys", AF_INET, true},
    [PORTS_BOUND6] = {"bound6", "bound6_keys", AF_INET6, true},
    [PORTS_ANY4] = {"any4", "any4_keys", AF_INET, false},
    [PORTS_ANY6] = {"any6", "any6_keys", AF_INET6, false},
};
static_assert(ARRAY_SIZE(maps) == PORTS_MAPS, "one row per map");

/* ---- For the rules --------------------------------------------------------------------------- */

int ports_map_family(enum ports_map map)
{
    return maps[map].family;
}

/* Registers from 0 on: protocol, (address,) port. */
static void load_key(struct nftnl_rule *rule, int family, bool with_address)
{
    unsigned address_regs = with_address ? (family == AF_INET ? 1 : 4) : 0;

    nft_load_meta(rule, NFT_META_L4PROTO, 0);
    if (with_address)
        nft_load_daddr(rule, family, 1);
    nft_load_dport(rule, 1 + address_regs);
}

void ports_map_look_up(struct nftnl_rule *rule, enum ports_map map)
{
    load_key(rule, maps[map].family, maps[map].bound);
    nft_if_in_map(rule, maps[map].name);
}

void ports_map_check(struct nftnl_rule *rule, enum ports_map map)
{
    load_key(rule, maps[map].family, maps[map].bound);
    nft_if_in_set(rule, maps[map].keys);
}

void ports_map_check_pod(struct nftnl_rule *rule, int family)
{
    load_key(rule, family, true);
    nft_if_in_set(rule, family == AF_INET ? "pods4" : "pods6");
}

/* ---- The sets -------------------------------------------------------------------------------- */

static unsigned address_len(const struct set_spec *spec)
{
    return spec->family == AF_INET ? 4 : 16;
}

static struct nftnl_set *set_new(const char *table, const struct set_spec *spec)
{
    struct nftnl_set *s = nftnl_set_alloc();

    if (!s)
        abort();
    nftnl_set_set_str(s, NFTNL_SET_TABLE, table);
    nftnl_set_set_str(s, NFTNL_SET_NAME, spec->name);
    return s;
}

static void put_set(struct nft_batch *b, const char *table, const struct set_spec *spec)
{
    uint32_t address_type = spec->family == AF_INET ? TYPE_IPV4 : TYPE_IPV6;
    uint32_t key_type = TYPE_PROTOCOL, key_len = 4 + 4;
    struct nftnl_set *s = set_new(table, spec);

    if (spec->key != KEY_ANY) {
        key_type = key_type << TYPE_BITS | address_type;
        key_len += address_len(spec);
    }
    key_type = key_type << TYPE_BITS | TYPE_PORT;
    nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
    nftnl_set_set_u32(s, NFTNL_SET_ID, 1 + (uint32_t)(spec - sets)); /* in the transaction */
    nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, key_type);
    nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, key_len);
    if (spec->map) {
        nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_MAP);
        nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, address_type << TYPE_BITS | TYPE_PORT);
        nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, address_len(spec) + 4);
    }
    nftnl_set_nlmsg_build_payload(
        nft_batch_message(b, NFT_MSG_NEWSET, NLM_F_CREATE, "make a map of published ports"), s);
    nft_batch_next(b);
    nftnl_set_free(s);
}

static void put_flush(struct nft_batch *b, const char *table, const struct set_spec *spec)
{
    struct nftnl_set *s = set_new(table, spec);

    nftnl_set_elems_nlmsg_build_payload(
        nft_batch_message(b, NFT_MSG_DELSETELEM, 0, "empty a map of published ports"), s);
    nft_batch_next(b);
    nftnl_set_free(s);
}

void ports_map_put_empty(struct nft_batch *b, const char *table)
{
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        put_set(b, table, &sets[i]);
        put_flush(b, table, &sets[i]);
    }
}

/* ---- Elements ------------------------------------------------------------------------------- */

static bool same_pod_port(const struct rules_port *a, const struct rules_port *b)
{
    return a->protocol == b->protocol && a->pod_port == b->pod_port && ip_equal(&a->pod, &b->pod);
}

/* Whether ports[index] has an element in the set. A pod's port that is published several times is
 * one element of the pods' sets; all ports of a pod stand together. */
static bool is_member(const struct set_spec *spec, const struct rules_port *ports, size_t index)
{
    const struct rules_port *port = &ports[index];

    if (port->pod.family != spec->family)
        return false;
    if (spec->key != KEY_POD)
        return ip_is_zero(&port->host) == (spec->key == KEY_ANY);
    for (size_t i = index; i-- > 0;) {
        if (same_pod_port(&ports[i], port))
            return false;
        if (ports[i].pod.family == port->pod.family && !ip_equal(&ports[i].pod, &port->pod))
            break;
    }
    return true;
}

static size_t put_port(uint8_t *to, uint16_t port)
{
    uint16_t wire = htons(port);

    memcpy(to, &wire, sizeof(wire));
    return 4;
}

static size_t put_endpoint(uint8_t *to, const struct ip *ip, size_t len, uint16_t port)
{
    memcpy(to, ip->bytes, len);
    return len + put_port(to + len, port);
}

static void add_element(struct nftnl_set *s, const struct set_spec *spec,
                        const struct rules_port *port, bool with_value)
{
    uint8_t key[FIELDS_MAX] = {(uint8_t)port->protocol}, value[FIELDS_MAX] = {0};
    struct nftnl_set_elem *element = nftnl_set_elem_alloc();
    size_t address = address_len(spec), key_len = 4;

    if (!element)
        abort();
    switch (spec->key) {
    case KEY_ANY:
        key_len += put_port(key + key_len, port->host_port);
        break;
    case KEY_BOUND:
        key_len += put_endpoint(key + key_len, &port->host, address, port->host_port);
        break;
    case KEY_POD:
        key_len += put_endpoint(key + key_len, &port->pod, address, port->pod_port);
        break;
    }
    nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key, (uint32_t)key_len);
    if (with_value) {
        size_t len = put_endpoint(value, &port->pod, address, port->pod_port);
        nftnl_set_elem_set(element, NFTNL_SET_ELEM_DATA, value, (uint32_t)len);
    }
    nftnl_set_elem_add(s, element);
}

/* Takes up to a message's worth of the set's ports from *next on. */
static size_t add_elements(struct nftnl_set *s, const struct set_spec *spec,
                           const struct rules_port *ports, size_t n_ports, size_t *next, bool add)
{
    size_t added = 0;

    for (; *next < n_ports && added < ELEMENTS_PER_MESSAGE; ++*next) {
        if (!is_member(spec, ports, *next))
            continue;
        add_element(s, spec, &ports[*next], add && spec->map);
        added++;
    }
    return added;
}

static void put_set_elements(struct nft_batch *b, const char *table, uint16_t type,
                             const struct set_spec *spec, const struct rules_port *ports,
                             size_t n_ports)
{
    bool add = type == NFT_MSG_NEWSETELEM;

    for (size_t next = 0; next < n_ports;) {
        struct nftnl_set *s = set_new(table, spec);
        if (add_elements(s, spec, ports, n_ports, &next, add) > 0) {
            nftnl_set_elems_nlmsg_build_payload(
                nft_batch_message(b, type, add ? NLM_F_CREATE | NLM_F_EXCL : 0,
                                  add ? "publish a port" : "unpublish a port"),
                s);
            nft_batch_next(b);
        }
        nftnl_set_free(s);
    }
}

void ports_map_put_elements(struct nft_batch *b, const char *table, uint16_t type,
                            const struct rules_port *ports, size_t n_ports)
{
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        put_set_elements(b, table, type, &sets[i], ports, n_ports);
}
