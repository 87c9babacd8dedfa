/*
 * link.c - the links of a node as seen through rtnetlink: listing them, the bridge, its addresses.
 *
 * The bridge has a hardware address of its own choice, made from its first IP address: left to the
 * kernel it would be the lowest of its ports' and change as pods come and go, and every pod would
 * hold a wrong neighbour entry for its gateway. Multicast snooping is off: without
 * somebody in the network who asks for groups it changes nothing, and asking ourselves was measured
 * to send more to all pods at the start of each than it saves.
 */
#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <stdio.h>

#include "link.h"

/* ---- Listing -------------------------------------------------------------------------------- */

struct listing {
    struct link_info *links;
    size_t count;
};

static void copy_text(char *to, size_t size, struct nlattr *attribute)
{
    size_t len = 0;

    if (attribute) {
        len = strnlen(nla_data(attribute), (size_t)nla_len(attribute));
        if (len >= size)
            len = size - 1;
        memcpy(to, nla_data(attribute), len);
    }
    to[len] = '\0';
}

static void take_link(void *arg, struct nlmsghdr *h)
{
    struct listing *list = arg;
    struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
    const struct ifinfomsg *ifi = nlmsg_data(h);

    if (h->nlmsg_type != RTM_NEWLINK || nlmsg_parse(h, sizeof(*ifi), tb, IFLA_MAX, NULL) < 0)
        return;
    struct link_info *link = array_push(&list->links, &list->count, sizeof(*link));
    link->index = ifi->ifi_index;
    link->flags = ifi->ifi_flags;
    link->master = tb[IFLA_MASTER] ? (int)nla_get_u32(tb[IFLA_MASTER]) : 0;
    link->mtu = tb[IFLA_MTU] ? nla_get_u32(tb[IFLA_MTU]) : 0;
    copy_text(link->name, sizeof(link->name), tb[IFLA_IFNAME]);
    copy_text(link->alias, sizeof(link->alias), tb[IFLA_IFALIAS]);
    if (tb[IFLA_LINKINFO] && nla_parse_nested(info, IFLA_INFO_MAX, tb[IFLA_LINKINFO], NULL) == 0)
        copy_text(link->kind, sizeof(link->kind), info[IFLA_INFO_KIND]);
}

int link_list(struct rtnl *r, struct link_info **ret, size_t *ret_count, struct err *e)
{
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
    struct listing list = {0};

    if (rtnl_dump(r, RTM_GETLINK, &ifi, sizeof(ifi), "list the links", take_link, &list, e) < 0) {
        free(list.links);
        return -1;
    }
    *ret = list.links;
    *ret_count = list.count;
    return 0;
}

int link_delete(struct rtnl *r, const char *name, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};

    struct nl_msg *m = rtnl_add_tolerant(&b, RTM_DELLINK, 0, "delete link", ENODEV);
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, name);
    return rtnl_send(r, &b, name, e);
}

void link_mac(const struct ip *ip, uint8_t ret[LINK_MAC_SIZE])
{
    /* The second bit of the first byte: locally administered; the low bit stays 0: unicast. Pools
     * are capped below 2^32 addresses, hence the last four bytes tell all of one pool apart. */
    ret[0] = 0x02;
    ret[1] = 0x70;
    memcpy(ret + 2, ip->bytes + ip_size(ip) - 4, 4);
}

/* ---- The bridge ----------------------------------------------------------------------------- */

int bridge_create(struct rtnl *r, const char *name, const char *alias, unsigned mtu,
                  const struct ip *gateway, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
    uint8_t mac[LINK_MAC_SIZE];

    link_mac(gateway, mac);
    struct nl_msg *m = rtnl_add(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create bridge");
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, name);
    rtnl_put_u32(m, IFLA_MTU, mtu);
    rtnl_put(m, IFLA_ADDRESS, mac, sizeof(mac));
    struct nlattr *info = rtnl_nest(m, IFLA_LINKINFO);
    rtnl_put_string(m, IFLA_INFO_KIND, "bridge");
    struct nlattr *data = rtnl_nest(m, IFLA_INFO_DATA);
    rtnl_put_u8(m, IFLA_BR_MCAST_SNOOPING, 0);
    rtnl_nest_end(m, data);
    rtnl_nest_end(m, info);
    if (rtnl_send(r, &b, name, e) < 0)
        return -1;
    return bridge_adopt(r, name, alias, mtu, e);
}

int bridge_adopt(struct rtnl *r, const char *name, const char *alias, unsigned mtu, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};

    struct nl_msg *m = rtnl_add(&b, RTM_NEWLINK, 0, "configure bridge");
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, name);
    rtnl_put(m, IFLA_IFALIAS, alias, strlen(alias));
    rtnl_put_u32(m, IFLA_MTU, mtu);
    return rtnl_send(r, &b, name, e);
}

int link_set_up(struct rtnl *r, const char *name, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};

    struct nl_msg *m = rtnl_add(&b, RTM_NEWLINK, 0, "set up link");
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, name);
    return rtnl_send(r, &b, name, e);
}

static void put_address(struct nl_msg *m, int index, const struct ip *ip, unsigned prefix)
{
    struct ifaddrmsg ifa = {.ifa_family = (uint8_t)ip->family,
                            .ifa_prefixlen = (uint8_t)prefix,
                            .ifa_index = (unsigned)index,
                            .ifa_scope = RT_SCOPE_UNIVERSE};
    struct ip broadcast = *ip;

    /* We are the ones who give out these addresses: nobody else can have one. Without duplicate
     * address detection it can be used this moment rather than in two seconds. */
    if (ip->family == AF_INET6)
        ifa.ifa_flags = IFA_F_NODAD;
    rtnl_put_header(m, &ifa, sizeof(ifa));
    rtnl_put_ip(m, IFA_LOCAL, ip);
    rtnl_put_ip(m, IFA_ADDRESS, ip);
    if (ip->family == AF_INET) {
        for (unsigned bit = prefix; bit < 32; bit++)
            broadcast.bytes[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
        rtnl_put_ip(m, IFA_BROADCAST, &broadcast);
    }
}

void address_put(struct rtnl_batch *b, int index, const struct ip *ip, unsigned prefix)
{
    struct nl_msg *m =
        rtnl_add_tolerant(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add an address to", EEXIST);
    put_address(m, index, ip, prefix);
}

int address_add(struct rtnl *r, int index, const struct ip *ip, unsigned prefix, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    char text[IP_TEXT_SIZE];

    ip_format(ip, text);
    address_put(&b, index, ip, prefix);
    return rtnl_send(r, &b, text, e);
}

int address_remove(struct rtnl *r, int index, const struct ip *ip, unsigned prefix, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    char text[IP_TEXT_SIZE];

    ip_format(ip, text);
    put_address(rtnl_add_tolerant(&b, RTM_DELADDR, 0, "remove address", EADDRNOTAVAIL), index, ip,
                prefix);
    return rtnl_send(r, &b, text, e);
}

int neighbours_forget(struct rtnl *r, int index, const struct ip *addresses, size_t count,
                      struct err *e)
{
    for (size_t i = 0; i < count;) {
        _cleanup_batch_ struct rtnl_batch b = {0};
        for (; i < count && b.count < RTNL_BATCH_MAX; i++) {
            struct ndmsg ndm = {.ndm_family = (uint8_t)addresses[i].family, .ndm_ifindex = index};
            struct nl_msg *m =
                rtnl_add_tolerant(&b, RTM_DELNEIGH, 0, "forget a neighbour on", ENOENT);
            rtnl_put_header(m, &ndm, sizeof(ndm));
            rtnl_put_ip(m, NDA_DST, &addresses[i]);
        }
        if (rtnl_send(r, &b, "the bridge", e) < 0)
            return -1;
    }
    return 0;
}

/* ---- Names of host ends --------------------------------------------------------------------- */

enum { VETH_DIGITS = 12 };

static bool is_hex(const char *s, size_t n)
{
    return strspn(s, "0123456789abcdef") >= n;
}

void veth_name(const char *sandbox_id, char ret[IFNAMSIZ])
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a, for ids that are not hex digits */

    if (is_hex(sandbox_id, VETH_DIGITS)) {
        snprintf(ret, IFNAMSIZ, "pd%.*s", VETH_DIGITS, sandbox_id);
        return;
    }
    for (const char *p = sandbox_id; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
    snprintf(ret, IFNAMSIZ, "pd%012llx", (unsigned long long)(hash & 0xffffffffffff));
}

bool veth_name_is_ours(const char *name)
{
    return str_starts_with(name, "pd") && strlen(name) == 2 + VETH_DIGITS &&
           is_hex(name + 2, VETH_DIGITS);
}
