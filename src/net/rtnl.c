/*
 * rtnl.c - rtnetlink: several requests in one system call, and dumps.
 *
 * libnl builds and takes apart the messages; the transport is here, because its send-and-wait is
 * one request per round trip. The kernel handles rtnetlink requests inside sendmsg(2), one after
 * the other, and has queued every answer when it returns: a batch therefore costs one sendmsg and
 * mostly one read that never sleeps. The price is that sendmsg itself sleeps for as long as the
 * kernel's one lock over all links is held elsewhere, so nothing here runs on the event loop.
 *
 * Errors carry the kernel's own words where it gives any (extended acknowledgements).
 */
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "rtnl.h"

enum { DUMP_BUFFER = 65536 };

int rtnl_open(struct rtnl *r, struct err *e)
{
    int one = 1;

    r->seq = 0;
    r->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (r->fd < 0)
        return err_errno(e, errno, "open a rtnetlink socket");
    /* Without it the answers say less, no more. */
    (void)setsockopt(r->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    return 0;
}

void rtnl_close(struct rtnl *r)
{
    fd_close(r->fd);
    r->fd = -1;
}

/* ---- Building ------------------------------------------------------------------------------- */

void rtnl_batch_clear(struct rtnl_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        nlmsg_free(b->requests[i].msg);
    b->count = 0;
}

struct nl_msg *rtnl_add_tolerant(struct rtnl_batch *b, int type, int flags, const char *what,
                                 int tolerated)
{
    struct nl_msg *m = nlmsg_alloc_size(1024);

    if (!m || b->count == RTNL_BATCH_MAX || !nlmsg_put(m, 0, 0, type, 0, NLM_F_REQUEST | flags))
        abort();
    b->requests[b->count++] = (struct rtnl_request){.msg = m, .what = what, .tolerated = tolerated};
    return m;
}

struct nl_msg *rtnl_add_needing(struct rtnl_batch *b, int type, int flags, const char *what,
                                const char *needs)
{
    struct nl_msg *m = rtnl_add_tolerant(b, type, flags, what, 0);

    b->requests[b->count - 1].needs = needs;
    return m;
}

struct nl_msg *rtnl_add(struct rtnl_batch *b, int type, int flags, const char *what)
{
    return rtnl_add_tolerant(b, type, flags, what, 0);
}

void rtnl_put_header(struct nl_msg *m, const void *header, size_t len)
{
    if (nlmsg_append(m, (void *)header, len, NLMSG_ALIGNTO) < 0)
        abort();
}

void rtnl_put(struct nl_msg *m, int attribute, const void *data, size_t len)
{
    if (nla_put(m, attribute, (int)len, data) < 0)
        abort();
}

void rtnl_put_u32(struct nl_msg *m, int attribute, uint32_t value)
{
    rtnl_put(m, attribute, &value, sizeof(value));
}

void rtnl_put_u8(struct nl_msg *m, int attribute, uint8_t value)
{
    rtnl_put(m, attribute, &value, sizeof(value));
}

void rtnl_put_string(struct nl_msg *m, int attribute, const char *value)
{
    rtnl_put(m, attribute, value, strlen(value) + 1);
}

void rtnl_put_ip(struct nl_msg *m, int attribute, const struct ip *ip)
{
    rtnl_put(m, attribute, ip->bytes, ip_size(ip));
}

struct nlattr *rtnl_nest(struct nl_msg *m, int attribute)
{
    struct nlattr *nest = nla_nest_start(m, attribute | NLA_F_NESTED);

    if (!nest)
        abort();
    return nest;
}

void rtnl_nest_end(struct nl_msg *m, struct nlattr *nest)
{
    nla_nest_end(m, nest);
}

bool rtnl_get_ip(struct nlattr *attribute, int family, struct ip *ret)
{
    struct ip ip = {.family = family};

    if (!attribute || (size_t)nla_len(attribute) != ip_size(&ip))
        return false;
    memcpy(ip.bytes, nla_data(attribute), ip_size(&ip));
    *ret = ip;
    return true;
}

/* ---- Sending -------------------------------------------------------------------------------- */

/* The kernel's sentence behind an error, or NULL. */
static const char *extended_text(struct nlmsghdr *h)
{
    struct nlmsgerr *error = nlmsg_data(h);
    size_t skip = sizeof(*error);

    if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
        return NULL;
    if (!(h->nlmsg_flags & NLM_F_CAPPED))
        skip += error->msg.nlmsg_len - NLMSG_HDRLEN;
    if (h->nlmsg_len < NLMSG_HDRLEN + NLMSG_ALIGN(skip))
        return NULL;
    struct nlattr *text =
        nla_find((struct nlattr *)((char *)error + NLMSG_ALIGN(skip)),
                 (int)(h->nlmsg_len - NLMSG_HDRLEN - NLMSG_ALIGN(skip)), NLMSGERR_ATTR_MSG);
    if (!text || nla_len(text) < 1 || nla_get_string(text)[nla_len(text) - 1] != '\0')
        return NULL;
    return nla_get_string(text);
}

/* ERR_FAILED_PRECONDITION for what only another kernel or another set-up would answer. */
static int set_kernel_error(struct err *e, int errnum, const char *what, const char *object,
                            const char *text)
{
    if (errnum == EOPNOTSUPP || errnum == EAFNOSUPPORT)
        return err_set(e, ERR_FAILED_PRECONDITION, "%s %s: this kernel does not support it%s%s",
                       what, object, text ? ": " : "", text ? text : "");
    err_errno(e, errnum, "%s %s", what, object);
    if (text) {
        char *longer = xasprintf("%s (%s)", e->message, text);
        free(e->message);
        e->message = longer;
    }
    return -1;
}

static int send_requests(struct rtnl *r, struct rtnl_batch *b, struct err *e)
{
    struct iovec iov[RTNL_BATCH_MAX];
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct msghdr msg = {
        .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = iov, .msg_iovlen = b->count};

    for (size_t i = 0; i < b->count; i++) {
        struct nlmsghdr *h = nlmsg_hdr(b->requests[i].msg);
        h->nlmsg_seq = ++r->seq;
        iov[i] = (struct iovec){h, NLMSG_ALIGN(h->nlmsg_len)};
    }
    if (TEMP_FAILURE_RETRY(sendmsg(r->fd, &msg, 0)) < 0)
        return err_errno(e, errno, "send a rtnetlink request");
    return 0;
}

static int set_request_error(struct err *e, int errnum, const struct rtnl_request *request,
                             const char *object, const char *text)
{
    if (request->needs && (errnum == ENOENT || errnum == EOPNOTSUPP))
        return err_set(e, ERR_FAILED_PRECONDITION, "%s %s: this kernel lacks %s", request->what,
                       object, request->needs);
    return set_kernel_error(e, errnum, request->what, object, text);
}

/* Takes one answer; *e gets the first failure. Returns whether it was the last request's. */
static bool take_ack(struct rtnl_batch *b, uint32_t first_seq, struct nlmsghdr *h,
                     const char *object, struct err *e)
{
    uint32_t index = h->nlmsg_seq - first_seq;

    if (h->nlmsg_type != NLMSG_ERROR || index >= b->count)
        return false;
    const struct nlmsgerr *error = nlmsg_data(h);
    const struct rtnl_request *request = &b->requests[index];
    if (error->error != 0 && -error->error != request->tolerated && e->code == ERR_OK)
        set_request_error(e, -error->error, request, object, extended_text(h));
    return index + 1 == b->count;
}

int rtnl_send(struct rtnl *r, struct rtnl_batch *b, const char *object, struct err *e)
{
    char buffer[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
    _cleanup_err_ struct err failure = ERR_INIT;
    bool last = false;

    /* Errors are answered anyhow, and this answer says that there are no more. */
    nlmsg_hdr(b->requests[b->count - 1].msg)->nlmsg_flags |= NLM_F_ACK;
    if (send_requests(r, b, e) < 0)
        return -1;
    uint32_t first_seq = r->seq - (uint32_t)b->count + 1;
    while (!last) {
        ssize_t len = TEMP_FAILURE_RETRY(recv(r->fd, buffer, sizeof(buffer), 0));
        if (len < 0)
            return err_errno(e, errno, "receive a rtnetlink answer");
        int rest = (int)len;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; nlmsg_ok(h, rest);
             h = nlmsg_next(h, &rest)) {
            if (h->nlmsg_type != NLMSG_ERROR && b->on_answer)
                b->on_answer(b->arg, h);
            last |= take_ack(b, first_seq, h, object, &failure);
        }
    }
    rtnl_batch_clear(b);
    return failure.code == ERR_OK ? 0 : err_move(e, &failure);
}

/* ---- Dumps ---------------------------------------------------------------------------------- */

/* 1 at the end of the dump, 0 when more follows, -1 with *e set. */
static int take_dump(struct rtnl *r, char *buffer, size_t len, const char *what,
                     void (*fn)(void *arg, struct nlmsghdr *h), void *arg, bool *changed,
                     struct err *e)
{
    int rest = (int)len;

    for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; nlmsg_ok(h, rest);
         h = nlmsg_next(h, &rest)) {
        if (h->nlmsg_seq != r->seq)
            continue;
        *changed |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (h->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *error = nlmsg_data(h);
            return set_kernel_error(e, -error->error, what, "", extended_text(h));
        }
        if (h->nlmsg_type == NLMSG_DONE)
            return 1;
        fn(arg, h);
    }
    return 0;
}

int rtnl_dump(struct rtnl *r, int type, const void *header, size_t header_len, const char *what,
              void (*fn)(void *arg, struct nlmsghdr *h), void *arg, struct err *e)
{
    _cleanup_free_ char *buffer = xmalloc(DUMP_BUFFER);
    _cleanup_batch_ struct rtnl_batch b = {0};
    bool changed = false;
    int r_dump = 0;

    struct nl_msg *m = rtnl_add(&b, type, NLM_F_DUMP, what);
    rtnl_put_header(m, header, header_len);
    if (send_requests(r, &b, e) < 0)
        return -1;
    while (r_dump == 0) {
        ssize_t len = TEMP_FAILURE_RETRY(recv(r->fd, buffer, DUMP_BUFFER, 0));
        if (len < 0)
            return err_errno(e, errno, "%s", what);
        r_dump = take_dump(r, buffer, (size_t)len, what, fn, arg, &changed, e);
    }
    /* The kernel says that entries may be missing or twice. What is missing was made by somebody
     * else this moment; what is ours does not change while we look. */
    if (changed)
        log_debug("net", NULL, "%s: it changed meanwhile", what);
    return r_dump < 0 ? -1 : 0;
}

static int link_ioctl(const struct rtnl *r, const char *name, unsigned long number,
                      struct ifreq *request)
{
    *request = (struct ifreq){0};
    if (strlen(name) >= sizeof(request->ifr_name))
        return -ENAMETOOLONG;
    memcpy(request->ifr_name, name, strlen(name));
    return ioctl(r->fd, number, request) < 0 ? -errno : 0;
}

int rtnl_link_index(const struct rtnl *r, const char *name)
{
    struct ifreq request;

    int error = link_ioctl(r, name, SIOCGIFINDEX, &request);
    return error < 0 ? error : request.ifr_ifindex;
}

bool rtnl_link_has(const struct rtnl *r, const char *name, int flags)
{
    struct ifreq request;

    return link_ioctl(r, name, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & flags) == flags;
}
