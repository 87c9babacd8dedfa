/*
 * veth.c - one pod's link: host end on the bridge, eth0 in the pod, configured on both sides.
 *
 * Three system calls do nearly all of it, each a batch of requests:
 *
 *   1. from the node: create the pair. The kernel makes the peer right inside the pod's namespace
 *      and enslaves the host end in the same request, so that no crash leaves a pair that is
 *      neither in a pod nor on the bridge.
 *   2. from inside: lo and eth0 up, addresses, routes.
 *   3. from the node: the bridge port (hairpin, no learning, no flooding of unknown addresses), a
 *      fixed forwarding entry for the pod's hardware address, then the host end up. As eth0 is up
 *      already, the bridge forwards from this request on, not from some later moment.
 *
 * Two details make an address work from the first packet, even one that another pod had a moment
 * ago. The hardware address is made from the IP address, so a neighbour entry that a peer still has
 * is right. And the forwarding entry of the bridge is moved by the request, not learnt by a packet;
 * since ports do not learn, a pod cannot pull another's traffic to itself either. So nothing needs
 * to be announced, which matters: an announcement goes to all pods, and that of each of 500 pods
 * to the 499 others is what would make starting them quadratic.
 *
 * A link that gets its carrier (both ends in step 3, and the bridge with its first pod) drops what
 * is sent through it until a worker of the kernel has looked at it, some time after the request.
 * Kernels since 6.14 look at once when the link's state is asked for, so it is, at the end; on
 * older ones we ask again until the worker has been there, for a moment.
 *
 * Sysctls of IPv6 are written as the namespace's defaults before eth0 exists: a link inherits them
 * when it is made, and writing a default waits for nothing, while writing that of a link takes the
 * kernel's link lock.
 */
#include <net/if.h> /* before the kernel's header of the same name */

#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/neighbour.h>
#include <linux/veth.h>

#include "bandwidth.h"
#include "netns.h"
#include "veth.h"

static const char pod_interface[] = "eth0";

enum { LOOPBACK_INDEX = 1 }; /* in every network namespace */

static bool has_family(const struct veth_spec *spec, int family)
{
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->addresses[i].family == family)
            return true;
    }
    return false;
}

/* ---- Step 0: the namespace's defaults, and a socket in it ------------------------------------ */

static int write_default(const char *name, const char *value, struct err *e)
{
    int r = sysctl_write(name, value);

    /* A kernel without IPv6 has none of these and needs none. */
    if (r < 0 && r != -ENOENT)
        return err_errno(e, r, "set %s to %s in the pod", name, value);
    return 0;
}

static int prepare_pod(const struct veth_spec *spec, struct rtnl *pod, struct err *e)
{
    _cleanup_visit_ struct netns_visit visit = {0};

    if (netns_enter(&visit, spec->netns, e) < 0)
        return -1;
    if (write_default("net/ipv6/conf/default/accept_ra", "0", e) < 0)
        return -1;
    if (has_family(spec, AF_INET6)) {
        if (write_default("net/ipv6/conf/default/accept_dad", "0", e) < 0)
            return -1;
    } else if (write_default("net/ipv6/conf/default/disable_ipv6", "1", e) < 0) {
        return -1;
    }
    return rtnl_open(pod, e);
}

/* ---- Step 1: the pair ----------------------------------------------------------------------- */

static void put_link_basics(struct nl_msg *m, const char *name, unsigned mtu)
{
    rtnl_put_string(m, IFLA_IFNAME, name);
    rtnl_put_u32(m, IFLA_MTU, mtu);
    /* The kernel's default is one queue per CPU and end, each with files in sysfs; they are of use
     * only to XDP programs. */
    rtnl_put_u32(m, IFLA_NUM_TX_QUEUES, 1);
    rtnl_put_u32(m, IFLA_NUM_RX_QUEUES, 1);
}

static int create_pair(struct rtnl *host, const struct veth_spec *spec, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
    uint8_t mac[LINK_MAC_SIZE];

    link_mac(&spec->addresses[0], mac);
    struct nl_msg *m = rtnl_add(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create veth");
    rtnl_put_header(m, &ifi, sizeof(ifi));
    put_link_basics(m, spec->host_name, spec->mtu);
    rtnl_put_u32(m, IFLA_MASTER, (uint32_t)spec->bridge_index);
    struct nlattr *info = rtnl_nest(m, IFLA_LINKINFO);
    rtnl_put_string(m, IFLA_INFO_KIND, "veth");
    struct nlattr *data = rtnl_nest(m, IFLA_INFO_DATA);
    struct nlattr *peer = rtnl_nest(m, VETH_INFO_PEER);
    rtnl_put_header(m, &ifi, sizeof(ifi));
    put_link_basics(m, pod_interface, spec->mtu);
    rtnl_put(m, IFLA_ADDRESS, mac, sizeof(mac));
    rtnl_put_u32(m, IFLA_NET_NS_FD, (uint32_t)spec->netns);
    rtnl_nest_end(m, peer);
    rtnl_nest_end(m, data);
    rtnl_nest_end(m, info);
    return rtnl_send(host, &b, spec->host_name, e);
}

/* ---- Step 3: the bridge port ---------------------------------------------------------------- */

static void put_port(struct rtnl_batch *b, int index)
{
    struct ifinfomsg ifi = {.ifi_family = AF_BRIDGE, .ifi_index = index};
    struct nl_msg *m = rtnl_add(b, RTM_SETLINK, 0, "configure the bridge port");

    rtnl_put_header(m, &ifi, sizeof(ifi));
    struct nlattr *port = rtnl_nest(m, IFLA_PROTINFO);
    rtnl_put_u8(m, IFLA_BRPORT_MODE, 1); /* hairpin: a pod may reach itself through its port map */
    rtnl_put_u8(m, IFLA_BRPORT_LEARNING, 0);
    rtnl_put_u8(m, IFLA_BRPORT_UNICAST_FLOOD, 0);
    rtnl_nest_end(m, port);
}

static void put_forwarding(struct rtnl_batch *b, int index, const struct ip *ip)
{
    struct ndmsg ndm = {.ndm_family = AF_BRIDGE,
                        .ndm_ifindex = index,
                        .ndm_state = NUD_NOARP,
                        .ndm_flags = NTF_MASTER};
    struct nl_msg *m = rtnl_add(b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                                "add the bridge's forwarding entry for");
    uint8_t mac[LINK_MAC_SIZE];

    link_mac(ip, mac);
    rtnl_put_header(m, &ndm, sizeof(ndm));
    rtnl_put(m, NDA_LLADDR, mac, sizeof(mac));
}

/* The host end gets no address of its own, not even a link-local one: the bridge speaks. */
static void put_addr_gen_none(struct rtnl_batch *b, int index)
{
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    struct nl_msg *m = rtnl_add_tolerant(b, RTM_SETLINK, 0, "turn off IPv6 addresses of",
                                         EAFNOSUPPORT /* a kernel without IPv6 */);

    rtnl_put_header(m, &ifi, sizeof(ifi));
    struct nlattr *families = rtnl_nest(m, IFLA_AF_SPEC);
    struct nlattr *inet6 = rtnl_nest(m, AF_INET6);
    rtnl_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    rtnl_nest_end(m, inet6);
    rtnl_nest_end(m, families);
}

static void put_up(struct rtnl_batch *b, int index, const char *what)
{
    struct ifinfomsg ifi = {
        .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct nl_msg *m = rtnl_add(b, RTM_SETLINK, 0, what);

    rtnl_put_header(m, &ifi, sizeof(ifi));
}

static int configure_host_end(struct rtnl *host, int index, const struct veth_spec *spec,
                              struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};

    put_port(&b, index);
    put_forwarding(&b, index, &spec->addresses[0]);
    put_addr_gen_none(&b, index);
    put_up(&b, index, "set up link");
    if (spec->bandwidth.ingress &&
        bandwidth_limit(host, index, spec->host_name, spec->bandwidth.ingress, e) < 0)
        return -1;
    return rtnl_send(host, &b, spec->host_name, e);
}

/* ---- Step 2: inside ------------------------------------------------------------------------- */

static void put_default_route(struct rtnl_batch *b, int index, const struct ip *gateway)
{
    struct rtmsg rtm = {.rtm_family = (uint8_t)gateway->family,
                        .rtm_table = RT_TABLE_MAIN,
                        .rtm_protocol = RTPROT_BOOT,
                        .rtm_scope = RT_SCOPE_UNIVERSE,
                        .rtm_type = RTN_UNICAST};
    struct nl_msg *m =
        rtnl_add(b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "add the default route of");

    rtnl_put_header(m, &rtm, sizeof(rtm));
    rtnl_put_ip(m, RTA_GATEWAY, gateway);
    rtnl_put_u32(m, RTA_OIF, (uint32_t)index);
}

enum { CARRIER_PAUSE_US = 200, CARRIER_PAUSES = 100 };

/* Not the flag IFF_RUNNING: a new link has it too, until the worker looks for the first time. */
static void count_up(void *arg, const struct nlmsghdr *h)
{
    struct nlattr *state;

    if (h->nlmsg_type != RTM_NEWLINK)
        return;
    state = nlmsg_find_attr((struct nlmsghdr *)h, sizeof(struct ifinfomsg), IFLA_OPERSTATE);
    if (state && nla_get_u8(state) == IF_OPER_UP)
        ++*(size_t *)arg;
}

/* The worker sets the state first and lets packets through after that, both under the lock that the
 * answer to this request is made under: a state in the answer says that all of it is done. */
static int read_up(struct rtnl *r, const int *indexes, size_t count, const char *name,
                   size_t *ret_up, struct err *e)
{
    size_t up = 0;
    _cleanup_batch_ struct rtnl_batch b = {.on_answer = count_up, .arg = &up};

    for (size_t i = 0; i < count; i++) {
        struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC, .ifi_index = indexes[i]};
        struct nl_msg *m = rtnl_add(&b, RTM_GETLINK, 0, "read the state of");
        rtnl_put_header(m, &ifi, sizeof(ifi));
        rtnl_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    }
    if (rtnl_send(r, &b, name, e) < 0)
        return -1;
    *ret_up = up;
    return 0;
}

/* A link that does not get there is no error: packets are repeated. */
static int await_carrier(struct rtnl *r, const int *indexes, size_t count, const char *name,
                         struct err *e)
{
    size_t up = 0;

    for (int i = 0; i < CARRIER_PAUSES; i++) {
        if (read_up(r, indexes, count, name, &up, e) < 0)
            return -1;
        if (up == count)
            break;
        usleep(CARRIER_PAUSE_US);
    }
    return 0;
}

static int configure_pod_end(struct rtnl *pod, int index, const struct veth_spec *spec,
                             struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    bool routed[2] = {false, false};

    if (spec->bandwidth.egress &&
        bandwidth_limit(pod, index, pod_interface, spec->bandwidth.egress, e) < 0)
        return -1;
    put_up(&b, LOOPBACK_INDEX, "set up lo in the pod beside");
    put_up(&b, index, "set up");
    for (size_t i = 0; i < spec->count; i++)
        address_put(&b, index, &spec->addresses[i], spec->pools[i].cidr.prefix);
    for (size_t i = 0; i < spec->count; i++) {
        bool *done = &routed[spec->addresses[i].family == AF_INET6];
        struct ip gateway = pool_gateway(&spec->pools[i]);
        if (!*done)
            put_default_route(&b, index, &gateway);
        *done = true;
    }
    return rtnl_send(pod, &b, pod_interface, e);
}

/* ---- All of it ------------------------------------------------------------------------------ */

static void rtnl_closep(struct rtnl *r)
{
    rtnl_close(r);
}

/* Both ends are there: to where packets go through. */
static int configure_pair(struct rtnl *host, struct rtnl *pod, const struct veth_spec *spec,
                          struct err *e)
{
    int outside = rtnl_link_index(host, spec->host_name);
    int inside = rtnl_link_index(pod, pod_interface);
    const int node_links[] = {spec->bridge_index, outside};

    if (outside < 0)
        return err_errno(e, outside, "find link %s", spec->host_name);
    if (inside < 0)
        return err_errno(e, inside, "find eth0 in the pod");
    if (configure_pod_end(pod, inside, spec, e) < 0 ||
        configure_host_end(host, outside, spec, e) < 0 ||
        await_carrier(host, node_links, ARRAY_SIZE(node_links), spec->host_name, e) < 0)
        return -1;
    return await_carrier(pod, &inside, 1, pod_interface, e);
}

int veth_create(struct rtnl *host, const struct veth_spec *spec, struct err *e)
{
    CLEANUP(rtnl_closep) struct rtnl pod = {.fd = -1};

    if (prepare_pod(spec, &pod, e) < 0 || create_pair(host, spec, e) < 0)
        return -1;
    if (configure_pair(host, &pod, spec, e) == 0)
        return 0;
    _cleanup_err_ struct err second = ERR_INIT;
    if (link_delete(host, spec->host_name, &second) < 0)
        log_warn("net", spec->host_name, "%s", err_text(&second));
    return -1;
}

int veth_cut(struct rtnl *host, const char *host_name, bool *ret_present, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};

    int index = rtnl_link_index(host, host_name);
    if (index == -ENODEV) {
        *ret_present = false;
        return 0;
    }
    if (index < 0)
        return err_errno(e, index, "find link %s", host_name);
    struct ifinfomsg ifi = {.ifi_family = AF_BRIDGE, .ifi_index = index};
    struct nl_msg *m = rtnl_add_tolerant(&b, RTM_SETLINK, 0, "cut off", ENODEV);
    rtnl_put_header(m, &ifi, sizeof(ifi));
    struct nlattr *port = rtnl_nest(m, IFLA_PROTINFO);
    rtnl_put_u8(m, IFLA_BRPORT_STATE, BR_STATE_DISABLED);
    rtnl_nest_end(m, port);
    *ret_present = true;
    return rtnl_send(host, &b, host_name, e);
}
