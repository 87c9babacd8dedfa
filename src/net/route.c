/*
 * route.c - what the node's own routes say.
 *
 * A pool collides with a route that lies inside it (somebody else has addresses of the pool) and
 * with a directly connected network around it. A wider route through a gateway is no collision:
 * that is how a node of a cluster reaches the pods of all other nodes, whose network contains its
 * own. Default routes lead everywhere and collide with nothing.
 */
#include "route.h"

struct listing {
    struct route *routes;
    size_t count;
};

static void take_route(void *arg, struct nlmsghdr *h)
{
    struct listing *list = arg;
    struct nlattr *tb[RTA_MAX + 1];
    const struct rtmsg *rtm = nlmsg_data(h);

    if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse(h, sizeof(*rtm), tb, RTA_MAX, NULL) < 0)
        return;
    if (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6)
        return;
    struct route route = {.to.prefix = rtm->rtm_dst_len,
                          .type = rtm->rtm_type,
                          .has_gateway =
                              tb[RTA_GATEWAY] || tb[RTA_VIA] || tb[RTA_MULTIPATH] || tb[RTA_NH_ID],
                          .oif = tb[RTA_OIF] ? (int)nla_get_u32(tb[RTA_OIF]) : 0,
                          .metric = tb[RTA_PRIORITY] ? nla_get_u32(tb[RTA_PRIORITY]) : 0};
    if (!rtnl_get_ip(tb[RTA_DST], rtm->rtm_family, &route.to.base))
        route.to.base.family = rtm->rtm_family;
    struct route *slot = array_push(&list->routes, &list->count, sizeof(*slot));
    *slot = route;
}

int route_list(struct rtnl *r, struct route **ret, size_t *ret_count, struct err *e)
{
    struct rtmsg rtm = {.rtm_family = AF_UNSPEC};
    struct listing list = {0};

    for (size_t i = 0; i < 2; i++) {
        rtm.rtm_family = i == 0 ? AF_INET : AF_INET6;
        if (rtnl_dump(r, RTM_GETROUTE, &rtm, sizeof(rtm), "list the routes", take_route, &list, e) <
            0) {
            free(list.routes);
            return -1;
        }
    }
    *ret = list.routes;
    *ret_count = list.count;
    return 0;
}

static bool collides(const struct route *route, const struct cidr *pool, int bridge)
{
    if (route->to.prefix == 0 || route->oif == bridge || !cidr_overlaps(&route->to, pool))
        return false;
    if (cidr_within(&route->to, pool))
        return route->type == RTN_UNICAST || route->type == RTN_LOCAL;
    return route->type == RTN_UNICAST && !route->has_gateway;
}

const struct route *route_collision(const struct route *routes, size_t count,
                                    const struct cidr *pool, int bridge)
{
    for (size_t i = 0; i < count; i++) {
        if (collides(&routes[i], pool, bridge))
            return &routes[i];
    }
    return NULL;
}

int route_uplink(const struct route *routes, size_t count)
{
    const struct route *best = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct route *r = &routes[i];
        if (r->to.prefix != 0 || r->type != RTN_UNICAST || r->oif == 0)
            continue;
        if (!best || (best->to.base.family == AF_INET6 && r->to.base.family == AF_INET) ||
            (best->to.base.family == r->to.base.family && r->metric < best->metric))
            best = r;
    }
    return best ? best->oif : 0;
}
