/*
 * node.c - podd's part of the node: the bridge and its addresses, forwarding, and what they need.
 *
 * The bridge bears an alias that names the state directory it belongs to. A podd adopts a bridge
 * with its own alias, or with none (an administrator may have made it, with a port of his own in
 * it; then podd never deletes it). A bridge of another podd is refused while that one has pods on
 * it: their addresses are in leases that we cannot see.
 *
 * Old pools: when the pools change, pods keep the addresses they have, so an address of the bridge
 * stays as long as a lease lies in its network, and is removed at the next start after that.
 *
 * Forwarding is a switch of the whole node. podd turns it on when it is off, says so, and leaves it
 * on: others may have come to rely on it meanwhile. For IPv6, turning it on makes the kernel ignore
 * router advertisements on interfaces that accepted them; those are set to go on accepting, or the
 * node would lose its default route some minutes later.
 */
#include <stdio.h>

#include "netns.h"
#include "room.h"
#include "route.h"

/* ---- Finding out ----------------------------------------------------------------------------- */

struct survey {
    struct link_info *links;
    size_t n_links;
    struct route *routes;
    size_t n_routes;
};

static void survey_free(struct survey *s)
{
    free(s->links);
    free(s->routes);
}

static int survey_take(struct survey *s, struct rtnl *r, struct err *e)
{
    if (link_list(r, &s->links, &s->n_links, e) < 0)
        return -1;
    return route_list(r, &s->routes, &s->n_routes, e);
}

static const struct link_info *find_link(const struct survey *s, const char *name)
{
    for (size_t i = 0; i < s->n_links; i++) {
        if (str_equal(s->links[i].name, name))
            return &s->links[i];
    }
    return NULL;
}

static const struct link_info *find_index(const struct survey *s, int index)
{
    for (size_t i = 0; i < s->n_links; i++) {
        if (s->links[i].index == index)
            return &s->links[i];
    }
    return NULL;
}

static int check_collisions(const struct survey *s, const struct cidr *pools, size_t count,
                            int bridge, struct err *e)
{
    char pool[IP_TEXT_SIZE + 4], to[IP_TEXT_SIZE + 4];

    for (size_t i = 0; i < count; i++) {
        const struct route *r = route_collision(s->routes, s->n_routes, &pools[i], bridge);
        if (!r)
            continue;
        const struct link_info *link = find_index(s, r->oif);
        cidr_format(&pools[i], pool);
        cidr_format(&r->to, to);
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "pool %s collides with the node's route to %s on %s; choose another pool",
                       pool, to, link ? link->name : "no interface");
    }
    return 0;
}

static unsigned choose_mtu(const struct net *n, const struct survey *s)
{
    const struct link_info *uplink = find_index(s, route_uplink(s->routes, s->n_routes));

    if (n->wanted_mtu)
        return n->wanted_mtu;
    return uplink && uplink->mtu ? uplink->mtu : 1500;
}

/* ---- The bridge ------------------------------------------------------------------------------ */

static void bridge_alias(const struct net *n, char ret[LINK_ALIAS_SIZE])
{
    snprintf(ret, LINK_ALIAS_SIZE, "podd %s", n->state_dir);
}

static bool has_pods(const struct survey *s, int bridge)
{
    for (size_t i = 0; i < s->n_links; i++) {
        if (s->links[i].master == bridge && veth_name_is_ours(s->links[i].name))
            return true;
    }
    return false;
}

static int check_bridge(const struct net *n, const struct survey *s, const struct link_info *link,
                        const char *alias, struct err *e)
{
    if (!str_equal(link->kind, "bridge"))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "%s is not a bridge but %s%s; choose another name for podd's bridge",
                       n->bridge, str_empty(link->kind) ? "a network card" : "a link of kind ",
                       link->kind);
    if (str_starts_with(link->alias, "podd ") && !str_equal(link->alias, alias) &&
        has_pods(s, link->index))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "bridge %s belongs to another podd (%s), and there are pods on it; choose "
                       "another name, or remove it with `ip link delete %s`",
                       n->bridge, link->alias, n->bridge);
    return 0;
}

static int ensure_bridge(struct net *n, const struct survey *s, const struct cidr *pools,
                         struct err *e)
{
    const struct link_info *link = find_link(s, n->bridge);
    struct ip gateway = cidr_nth(&pools[0], POOL_GATEWAY);
    char alias[LINK_ALIAS_SIZE];

    bridge_alias(n, alias);
    n->mtu = choose_mtu(n, s);
    n->ours = !link || str_starts_with(link->alias, "podd ");
    if (!link) {
        if (bridge_create(&n->rtnl, n->bridge, alias, n->mtu, &gateway, e) < 0)
            return -1;
        log_info("net", n->bridge, "made the bridge, mtu %u", n->mtu);
    } else if (check_bridge(n, s, link, alias, e) < 0 ||
               (n->ours && bridge_adopt(&n->rtnl, n->bridge, alias, n->mtu, e) < 0)) {
        return -1;
    }
    n->bridge_index = rtnl_link_index(&n->rtnl, n->bridge);
    if (n->bridge_index < 0)
        return err_errno(e, n->bridge_index, "find bridge %s", n->bridge);
    return 0;
}

static bool has_family(const struct cidr *pools, size_t count, int family)
{
    for (size_t i = 0; i < count; i++) {
        if (pools[i].base.family == family)
            return true;
    }
    return false;
}

/* The bridge is a router's leg: it takes no advice from the pods. */
static int harden_bridge(const struct net *n, bool v6, struct err *e)
{
    const struct {
        const char *family, *name, *value;
    } settings[] = {
        {"ipv6", "accept_dad", "0"},       {"ipv6", "accept_ra", "0"},
        {"ipv6", "accept_redirects", "0"}, {"ipv6", "disable_ipv6", v6 ? "0" : "1"},
        {"ipv4", "accept_redirects", "0"}, {"ipv4", "send_redirects", "0"},
        {"ipv4", "proxy_arp", "0"},        {"ipv4", "arp_ignore", "1"},
        {"ipv4", "rp_filter", "1"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        char path[128];
        int value, wanted = settings[i].value[0] - '0';
        snprintf(path, sizeof(path), "net/%s/conf/%s/%s", settings[i].family, n->bridge,
                 settings[i].name);
        int r = sysctl_read(path, &value);
        if (r == 0 && value != wanted)
            r = sysctl_write(path, settings[i].value);
        if (r < 0 && r != -ENOENT)
            return err_errno(e, r, "set %s", path);
    }
    return 0;
}

/* ---- Its addresses --------------------------------------------------------------------------- */

struct bridge_addresses {
    int index;
    struct cidr networks[32];
    struct ip addresses[32];
    size_t count;
};

static void take_address(void *arg, struct nlmsghdr *h)
{
    struct bridge_addresses *list = arg;
    const struct ifaddrmsg *ifa = nlmsg_data(h);
    struct nlattr *tb[IFA_MAX + 1];
    struct ip ip;

    if (h->nlmsg_type != RTM_NEWADDR || (int)ifa->ifa_index != list->index ||
        ifa->ifa_scope != RT_SCOPE_UNIVERSE || list->count == ARRAY_SIZE(list->addresses) ||
        nlmsg_parse(h, sizeof(*ifa), tb, IFA_MAX, NULL) < 0 ||
        !rtnl_get_ip(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], ifa->ifa_family, &ip))
        return;
    list->networks[list->count] = cidr_of(&ip, ifa->ifa_prefixlen);
    list->addresses[list->count++] = ip;
}

static bool is_listed(const struct cidr *network, const struct cidr *pools, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ip_equal(&network->base, &pools[i].base) && network->prefix == pools[i].prefix)
            return true;
    }
    return false;
}

static void add_rules_pool(struct net *n, const struct cidr *pool)
{
    if (n->rules.n_pools < ARRAY_SIZE(n->rules.pools))
        n->rules.pools[n->rules.n_pools++] = *pool;
}

/* Addresses of earlier pools go, or stay as long as pods have some of theirs. */
static int settle_old_addresses(struct net *n, const struct cidr *pools, size_t count,
                                struct err *e)
{
    struct bridge_addresses list = {.index = n->bridge_index};
    struct ifaddrmsg ifa = {.ifa_family = AF_UNSPEC};

    if (rtnl_dump(&n->rtnl, RTM_GETADDR, &ifa, sizeof(ifa), "list the addresses", take_address,
                  &list, e) < 0)
        return -1;
    for (size_t i = 0; i < list.count; i++) {
        if (is_listed(&list.networks[i], pools, count))
            continue;
        if (ipam_uses(&n->ipam, &list.networks[i]))
            add_rules_pool(n, &list.networks[i]);
        else if (n->ours && address_remove(&n->rtnl, n->bridge_index, &list.addresses[i],
                                           list.networks[i].prefix, e) < 0)
            return -1;
    }
    return 0;
}

static int set_addresses(struct net *n, const struct cidr *pools, size_t count, struct err *e)
{
    n->rules.n_pools = 0;
    for (size_t i = 0; i < count; i++) {
        struct ip gateway = cidr_nth(&pools[i], POOL_GATEWAY);
        if (address_add(&n->rtnl, n->bridge_index, &gateway, pools[i].prefix, e) < 0)
            return -1;
        add_rules_pool(n, &pools[i]);
    }
    return settle_old_addresses(n, pools, count, e);
}

/* ---- Forwarding ------------------------------------------------------------------------------ */

static int keep_router_advertisements(const struct survey *s, struct err *e)
{
    for (size_t i = 0; i < s->n_links; i++) {
        char path[128];
        int value;
        snprintf(path, sizeof(path), "net/ipv6/conf/%s/accept_ra", s->links[i].name);
        if (str_equal(s->links[i].name, "lo") || sysctl_read(path, &value) < 0 || value != 1)
            continue;
        int r = sysctl_write(path, "2");
        if (r < 0)
            return err_errno(e, r, "set %s", path);
        log_info("net", s->links[i].name,
                 "set accept_ra to 2, so that it accepts router advertisements while forwarding");
    }
    return 0;
}

static int enable_forwarding(const struct survey *s, int family, struct err *e)
{
    const char *path = family == AF_INET ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    int value;

    int r = sysctl_read(path, &value);
    if (r < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "this kernel has no %s: %s",
                       family == AF_INET ? "IPv4" : "IPv6", strerror(-r));
    if (value != 0)
        return 0;
    if (family == AF_INET6 && keep_router_advertisements(s, e) < 0)
        return -1;
    r = sysctl_write(path, "1");
    if (r < 0)
        return err_errno(e, r, "turn on forwarding (%s)", path);
    log_info("net", NULL, "turned on %s forwarding (%s = 1)", family == AF_INET ? "IPv4" : "IPv6",
             path);
    return 0;
}

/* ---- All of it ------------------------------------------------------------------------------- */

int node_setup(struct net *n, const struct cidr *pools, size_t count, struct err *e)
{
    CLEANUP(survey_free) struct survey s = {0};
    static const int families[] = {AF_INET, AF_INET6};

    if (survey_take(&s, &n->rtnl, e) < 0)
        return -1;
    const struct link_info *link = find_link(&s, n->bridge);
    if (check_collisions(&s, pools, count, link ? link->index : -1, e) < 0 ||
        ensure_bridge(n, &s, pools, e) < 0 ||
        harden_bridge(n, has_family(pools, count, AF_INET6), e) < 0 ||
        link_set_up(&n->rtnl, n->bridge, e) < 0 || set_addresses(n, pools, count, e) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        bool wanted = has_family(pools, count, families[i]);
        if (wanted && enable_forwarding(&s, families[i], e) < 0)
            return -1;
        n->forwards[i] = wanted;
    }
    return 0;
}

/* Host ends on our bridge, by name; those of `keep` (names as keys) are left. */
static int delete_host_ends(struct net *n, const struct map *keep, size_t *ret_count, struct err *e)
{
    CLEANUP(survey_free) struct survey s = {0};
    size_t count = 0;

    if (link_list(&n->rtnl, &s.links, &s.n_links, e) < 0)
        return -1;
    for (size_t i = 0; i < s.n_links; i++) {
        const struct link_info *link = &s.links[i];
        if (link->master != n->bridge_index || !veth_name_is_ours(link->name) ||
            map_get(keep, link->name))
            continue;
        if (link_delete(&n->rtnl, link->name, e) < 0)
            return -1;
        count++;
    }
    *ret_count = count;
    return 0;
}

int node_delete_orphans(struct net *n, size_t *ret_count, struct err *e)
{
    struct map *keep = map_new();
    size_t cursor = 0;
    const char *id;
    void *holder;

    while (map_next(n->ipam.holders, &cursor, &id, &holder)) {
        char name[IFNAMSIZ];
        veth_name(id, name);
        map_put(keep, name, holder);
    }
    int r = delete_host_ends(n, keep, ret_count, e);
    map_free(keep);
    return r;
}

int node_destroy(struct net *n, struct err *e)
{
    size_t count;

    if (rtnl_link_index(&n->rtnl, n->bridge) != n->bridge_index)
        return 0; /* somebody deleted it, and with it what was on it */

    struct map *nothing = map_new();
    int r = delete_host_ends(n, nothing, &count, e);
    map_free(nothing);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n->rules.n_pools; i++) {
        struct ip gateway = cidr_nth(&n->rules.pools[i], POOL_GATEWAY);
        if (address_remove(&n->rtnl, n->bridge_index, &gateway, n->rules.pools[i].prefix, e) < 0)
            return -1;
    }
    return !n->ours ? 0 : link_delete(&n->rtnl, n->bridge, e);
}

int node_status(struct net *n, struct err *e)
{
    int value = 0;
    bool table = false;

    if (rtnl_link_index(&n->rtnl, n->bridge) < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "bridge %s is gone; restart podd to make it",
                       n->bridge);
    if (!rtnl_link_has(&n->rtnl, n->bridge, IFF_UP))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "bridge %s is down; `ip link set %s up` brings it back", n->bridge,
                       n->bridge);
    if (nft_table_exists(&n->status_nft, n->rules.table, &table, e) < 0)
        return -1;
    if (!table)
        return err_set(e, ERR_UNAVAILABLE, "nf_tables table %s was removed; it is being restored",
                       n->rules.table);
    if (n->forwards[0] && sysctl_read("net/ipv4/ip_forward", &value) == 0 && value == 0)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "IPv4 forwarding was turned off; `sysctl -w net.ipv4.ip_forward=1`");
    if (n->forwards[1] && sysctl_read("net/ipv6/conf/all/forwarding", &value) == 0 && value == 0)
        return err_set(
            e, ERR_FAILED_PRECONDITION,
            "IPv6 forwarding was turned off; `sysctl -w net.ipv6.conf.all.forwarding=1`");
    return 0;
}
