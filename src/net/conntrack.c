/*
 * conntrack.c - forgetting connections that the kernel would go on translating the old way.
 *
 * A connection is translated once, by the rules at its first packet. For TCP that is right; a UDP
 * "connection" lives as long as packets come, so a client that asks every few seconds would be sent
 * to a pod that has been gone for hours, or past one that has just been published. The entries are
 * found by a dump of the kernel's table and deleted one by one, each by its original tuple, which
 * works on every kernel; a filter inside the kernel would still walk the whole table, and that walk
 * is what takes the time.
 */
#include <netinet/in.h> /* before any header of the kernel's that defines the same */

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "conntrack.h"

struct tuple {
    struct ip src, dst;
    uint8_t protocol;
    uint16_t dport;
};

struct flush {
    const struct conntrack_filter *filter;
    struct strbuf requests; /* delete messages, one behind the other */
    uint32_t seq;
    size_t count;
};

static bool parse_nested(const struct nlattr *nest, const struct nlattr **tb, int max)
{
    const struct nlattr *attribute;

    memset(tb, 0, (size_t)(max + 1) * sizeof(*tb));
    if (!nest)
        return false;
    mnl_attr_for_each_nested(attribute, nest)
    {
        int type = mnl_attr_get_type(attribute);
        if (type <= max)
            tb[type] = attribute;
    }
    return true;
}

static bool get_address(const struct nlattr *attribute, int family, struct ip *ret)
{
    *ret = (struct ip){.family = family};
    if (!attribute || mnl_attr_get_payload_len(attribute) != ip_size(ret))
        return false;
    memcpy(ret->bytes, mnl_attr_get_payload(attribute), ip_size(ret));
    return true;
}

static bool parse_tuple(const struct nlattr *attribute, int family, struct tuple *ret)
{
    const struct nlattr *tb[CTA_TUPLE_MAX + 1], *ip[CTA_IP_MAX + 1], *proto[CTA_PROTO_MAX + 1];
    bool v4 = family == AF_INET;

    if (!parse_nested(attribute, tb, CTA_TUPLE_MAX) ||
        !parse_nested(tb[CTA_TUPLE_IP], ip, CTA_IP_MAX) ||
        !parse_nested(tb[CTA_TUPLE_PROTO], proto, CTA_PROTO_MAX))
        return false;
    *ret = (struct tuple){0};
    if (proto[CTA_PROTO_NUM] && mnl_attr_get_payload_len(proto[CTA_PROTO_NUM]) == 1)
        ret->protocol = mnl_attr_get_u8(proto[CTA_PROTO_NUM]);
    if (proto[CTA_PROTO_DST_PORT] && mnl_attr_get_payload_len(proto[CTA_PROTO_DST_PORT]) == 2)
        ret->dport = ntohs(mnl_attr_get_u16(proto[CTA_PROTO_DST_PORT]));
    return get_address(ip[v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC], family, &ret->src) &&
           get_address(ip[v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST], family, &ret->dst);
}

static bool matches(const struct conntrack_filter *f, const struct tuple *orig,
                    const struct tuple *reply, uint32_t status)
{
    for (size_t i = 0; i < f->n_addresses; i++) {
        const struct ip *ip = &f->addresses[i];
        if (ip_equal(ip, &orig->src) || ip_equal(ip, &orig->dst) || ip_equal(ip, &reply->src))
            return true;
    }
    /* One that is translated already came after the port was published. */
    for (size_t i = 0; i < f->n_ports && !(status & IPS_DST_NAT); i++) {
        const struct rules_port *port = &f->ports[i];
        if (port->protocol == IPPROTO_UDP && orig->protocol == IPPROTO_UDP &&
            port->host.family == orig->dst.family && port->host_port == orig->dport &&
            (ip_is_zero(&port->host) || ip_equal(&port->host, &orig->dst)))
            return true;
    }
    return false;
}

static struct nlmsghdr *put_message(char *buffer, uint16_t type, uint16_t flags, int family,
                                    uint32_t seq)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = seq;
    struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(h, sizeof(*nfg));
    nfg->nfgen_family = (uint8_t)family;
    nfg->version = NFNETLINK_V0;
    nfg->res_id = 0;
    return h;
}

static void copy_attribute(struct nlmsghdr *h, const struct nlattr *attribute)
{
    if (attribute)
        mnl_attr_put(h, attribute->nla_type, mnl_attr_get_payload_len(attribute),
                     mnl_attr_get_payload(attribute));
}

static int take_entry(const struct nlmsghdr *h, void *arg)
{
    struct flush *flush = arg;
    const struct nlattr *tb[CTA_MAX + 1] = {0}, *attribute;
    char buffer[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
    const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(h);
    struct tuple orig, reply;
    uint32_t status = 0;

    mnl_attr_for_each(attribute, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(attribute) <= CTA_MAX)
            tb[mnl_attr_get_type(attribute)] = attribute;
    }
    if (tb[CTA_STATUS] && mnl_attr_get_payload_len(tb[CTA_STATUS]) == sizeof(status))
        status = ntohl(mnl_attr_get_u32(tb[CTA_STATUS]));
    if ((nfg->nfgen_family != AF_INET && nfg->nfgen_family != AF_INET6) ||
        !parse_tuple(tb[CTA_TUPLE_ORIG], nfg->nfgen_family, &orig) ||
        !parse_tuple(tb[CTA_TUPLE_REPLY], nfg->nfgen_family, &reply) ||
        !matches(flush->filter, &orig, &reply, status))
        return MNL_CB_OK;
    struct nlmsghdr *request =
        put_message(buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, nfg->nfgen_family, ++flush->seq);
    copy_attribute(request, tb[CTA_TUPLE_ORIG]);
    copy_attribute(request, tb[CTA_ZONE]);
    copy_attribute(request, tb[CTA_ID]); /* not another one of the same tuple that came since */
    strbuf_add(&flush->requests, buffer, request->nlmsg_len);
    flush->count++;
    return MNL_CB_OK;
}

static int dump_table(struct mnl_socket *socket, struct flush *flush, struct err *e)
{
    _cleanup_free_ char *buffer = xmalloc(65536);
    int r = MNL_CB_OK;

    struct nlmsghdr *h =
        put_message(buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, ++flush->seq);
    uint32_t seq = flush->seq;
    if (mnl_socket_sendto(socket, h, h->nlmsg_len) < 0)
        return err_errno(e, errno, "ask for the connections");
    while (r > MNL_CB_STOP) {
        ssize_t len = mnl_socket_recvfrom(socket, buffer, 65536);
        if (len < 0)
            return err_errno(e, errno, "list the connections");
        r = mnl_cb_run(buffer, (size_t)len, seq, mnl_socket_get_portid(socket), take_entry, flush);
    }
    return r < 0 ? err_errno(e, errno, "list the connections") : 0;
}

/* One request at a time: there are few, and each answer is there when sendto() returns. */
static int delete_entries(struct mnl_socket *socket, struct flush *flush, struct err *e)
{
    char answer[1024] __attribute__((aligned(NLMSG_ALIGNTO)));

    for (size_t at = 0; at < flush->requests.len;) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)(flush->requests.data + at);
        if (mnl_socket_sendto(socket, h, h->nlmsg_len) < 0)
            return err_errno(e, errno, "delete a connection");
        ssize_t len = mnl_socket_recvfrom(socket, answer, sizeof(answer));
        if (len < 0)
            return err_errno(e, errno, "delete a connection");
        if (mnl_cb_run(answer, (size_t)len, h->nlmsg_seq, mnl_socket_get_portid(socket), NULL,
                       NULL) < 0 &&
            errno != ENOENT)
            return err_errno(e, errno, "delete a connection");
        at += NLMSG_ALIGN(h->nlmsg_len);
    }
    return 0;
}

static void socket_closep(struct mnl_socket **s)
{
    if (*s)
        mnl_socket_close(*s);
}

int conntrack_flush(const struct conntrack_filter *filter, size_t *ret_deleted, struct err *e)
{
    CLEANUP(socket_closep)
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    struct flush flush = {.filter = filter};

    *ret_deleted = 0;
    if (filter->n_addresses == 0 && filter->n_ports == 0)
        return 0;
    if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return err_errno(e, errno, "open a netfilter socket");
    int r = dump_table(socket, &flush, e);
    if (r == 0)
        r = delete_entries(socket, &flush, e);
    *ret_deleted = flush.count;
    strbuf_free(&flush.requests);
    return r;
}
