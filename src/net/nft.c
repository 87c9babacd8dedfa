/*
 * nft.c - nf_tables transactions: all of it or nothing.
 *
 * The kernel takes a whole transaction in one message of messages and answers, before sendmsg(2)
 * returns, with one error per refused message, or with the acknowledgement that was asked for with
 * the first. Each message has a label here, so that an error can say which part of the rules the
 * kernel refused: mostly it means that it was built without one feature.
 */
#include <sys/uio.h> /* first: libnftnl/batch.h needs it and does not include it */

#include <libnftnl/batch.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "nft.h"

enum {
    PAGE_BYTES = 128 * 1024,
    MESSAGE_BYTES = 32 * 1024, /* no single message is larger */
    SEND_BYTES = 16 * 1024 * 1024,
    RECEIVE_BYTES = 1024 * 1024,
};

int nft_open(struct nft *n, struct err *e)
{
    int send_bytes = SEND_BYTES, receive_bytes = RECEIVE_BYTES;

    n->seq = 0;
    n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!n->socket)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "this kernel has no netfilter netlink (CONFIG_NETFILTER_NETLINK): %m");
    if (mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int saved = errno;
        nft_close(n);
        return err_errno(e, saved, "bind a netfilter socket");
    }
    int fd = mnl_socket_get_fd(n->socket);
    /* A table with thousands of port mappings is restored in one transaction. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_bytes, sizeof(send_bytes));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof(receive_bytes));
    return 0;
}

void nft_close(struct nft *n)
{
    if (n->socket)
        mnl_socket_close(n->socket);
    n->socket = NULL;
}

/* ---- Putting together ----------------------------------------------------------------------- */

static uint32_t batch_seq(const struct nft_batch *b)
{
    return b->first_seq + (uint32_t)b->count;
}

static void push_label(struct nft_batch *b, const char *what)
{
    const char **slot = array_push(&b->labels, &b->count, sizeof(*b->labels));

    *slot = what;
}

void nft_batch_next(struct nft_batch *b)
{
    if (nftnl_batch_update(b->pages) < 0)
        abort(); /* out of memory */
}

void nft_batch_init(struct nft_batch *b, struct nft *n)
{
    *b = (struct nft_batch){.first_seq = n->seq + 1};
    b->pages = nftnl_batch_alloc(PAGE_BYTES, MESSAGE_BYTES);
    if (!b->pages)
        abort();
    nftnl_batch_begin(nftnl_batch_buffer(b->pages), batch_seq(b));
    push_label(b, "begin a transaction");
    nft_batch_next(b);
}

void nft_batch_clear(struct nft_batch *b)
{
    if (b->pages)
        nftnl_batch_free(b->pages);
    free(b->labels);
    *b = (struct nft_batch){0};
}

struct nlmsghdr *nft_batch_message(struct nft_batch *b, uint16_t type, uint16_t flags,
                                   const char *what)
{
    /* The first message asks to be acknowledged: the kernel does so after the commit. */
    uint16_t ack = b->count == 1 ? NLM_F_ACK : 0;
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(nftnl_batch_buffer(b->pages), type, NFPROTO_INET,
                                               (uint16_t)(flags | ack), batch_seq(b));

    push_label(b, what);
    return h;
}

/* ---- Committing ----------------------------------------------------------------------------- */

static int send_batch(struct nft_batch *b, struct nft *n, struct err *e)
{
    nftnl_batch_end(nftnl_batch_buffer(b->pages), batch_seq(b));
    push_label(b, "end a transaction");
    nft_batch_next(b);

    int pages = nftnl_batch_iovec_len(b->pages);
    _cleanup_free_ struct iovec *iov = xcalloc((size_t)pages, sizeof(*iov));
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct msghdr msg = {.msg_name = &kernel,
                         .msg_namelen = sizeof(kernel),
                         .msg_iov = iov,
                         .msg_iovlen = (size_t)pages};
    nftnl_batch_iovec(b->pages, iov, (uint32_t)pages);
    n->seq = b->first_seq + (uint32_t)b->count;
    if (TEMP_FAILURE_RETRY(sendmsg(mnl_socket_get_fd(n->socket), &msg, 0)) < 0)
        return err_errno(e, errno, "send a netfilter transaction");
    return 0;
}

/* ENOENT and EOPNOTSUPP for an expression or a chain type that the kernel does not know. */
static int set_refusal(struct err *e, int errnum, const char *what)
{
    if (errnum == ENOENT || errnum == EOPNOTSUPP || errnum == EAFNOSUPPORT)
        return err_set(e, ERR_FAILED_PRECONDITION, "this kernel's nf_tables cannot %s: %s", what,
                       strerror(errnum));
    return err_errno(e, errnum, "nf_tables: %s", what);
}

static void take_answer(struct nft_batch *b, const struct nlmsghdr *h, bool *acked, struct err *e)
{
    uint32_t index = h->nlmsg_seq - b->first_seq;

    if (h->nlmsg_type != NLMSG_ERROR || index >= b->count)
        return;
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(h);
    if (error->error == 0)
        *acked = true;
    else if (e->code == ERR_OK)
        set_refusal(e, -error->error, b->labels[index]);
}

int nft_batch_commit(struct nft_batch *b, struct nft *n, struct err *e)
{
    char buffer[16384] __attribute__((aligned(NLMSG_ALIGNTO)));
    _cleanup_err_ struct err failure = ERR_INIT;
    bool acked = false;

    if (send_batch(b, n, e) < 0)
        return -1;
    for (;;) {
        ssize_t len = TEMP_FAILURE_RETRY(
            recv(mnl_socket_get_fd(n->socket), buffer, sizeof(buffer), MSG_DONTWAIT));
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (len < 0)
            return err_errno(e, errno, "receive the answer to a netfilter transaction");
        int rest = (int)len;
        for (const struct nlmsghdr *h = (const struct nlmsghdr *)buffer; mnl_nlmsg_ok(h, rest);
             h = mnl_nlmsg_next(h, &rest))
            take_answer(b, h, &acked, &failure);
    }
    if (failure.code != ERR_OK)
        return err_move(e, &failure);
    if (!acked)
        return err_set(e, ERR_INTERNAL, "the kernel did not answer a netfilter transaction");
    return 0;
}

int nft_table_exists(struct nft *n, const char *table, bool *ret, struct err *e)
{
    char buffer[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct nftnl_table *t = nftnl_table_alloc();

    if (!t)
        abort();
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, table);
    struct nlmsghdr *h =
        nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETTABLE, NFPROTO_INET, NLM_F_ACK, ++n->seq);
    nftnl_table_nlmsg_build_payload(h, t);
    nftnl_table_free(t);
    if (mnl_socket_sendto(n->socket, h, h->nlmsg_len) < 0)
        return err_errno(e, errno, "ask for nf_tables table %s", table);
    for (;;) {
        ssize_t len = mnl_socket_recvfrom(n->socket, buffer, sizeof(buffer));
        if (len < 0)
            return err_errno(e, errno, "ask for nf_tables table %s", table);
        int r =
            mnl_cb_run(buffer, (size_t)len, n->seq, mnl_socket_get_portid(n->socket), NULL, NULL);
        if (r > MNL_CB_STOP)
            continue;
        if (r < 0 && errno != ENOENT)
            return err_errno(e, errno, "ask for nf_tables table %s", table);
        *ret = r == MNL_CB_STOP;
        return 0;
    }
}
