/*
 * watch.c - somebody else changes our table: `nft flush ruleset`, a firewall that reloads.
 *
 * The kernel tells every change of nf_tables to those who listen, with the port number of the
 * socket that asked for it, so that our own are told apart. A foreign change of our table, other
 * than in the user's chains, starts a timer of a few tens of milliseconds (such changes come in
 * bursts), and then the table is made anew from the files, in one transaction. When changes come
 * faster than we read, the kernel drops some and says so, which counts as a change of everything.
 * Changes of other tables are passed on to the lookout.
 */
#include <assert.h>
#include <netinet/in.h> /* before any header of the kernel's that defines the same */

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "room.h"

enum { SETTLE_MS = 30 };

struct watch {
    struct net *net;
    struct mnl_socket *socket;
    struct io *io;
    struct timer *timer;
    bool armed;
};

struct restore_job {
    struct job job; /* first */
    struct net *net;
};

static void restore_run(struct job *j)
{
    struct net *n = container_of(j, struct restore_job, job)->net;
    _cleanup_free_ struct rules_port *ports = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    size_t count;

    pthread_mutex_lock(&n->state);
    ports_all(&n->ports, &ports, &count);
    if (rules_sync(&n->rules, &n->nft, ports, count, &e) < 0)
        log_error("net", n->rules.table, "cannot restore the table: %s", err_text(&e));
    else
        log_warn("net", n->rules.table, "somebody changed the table; it is restored");
    pthread_mutex_unlock(&n->state);
}

static void restore_finish(struct job *j)
{
    free(container_of(j, struct restore_job, job));
}

static void on_timer(void *arg)
{
    struct watch *w = arg;
    struct restore_job *job = xnew(struct restore_job);

    w->armed = false;
    *job =
        (struct restore_job){.job = {.run = restore_run, .finish = restore_finish}, .net = w->net};
    queue_push(&w->net->jobs, &job->job);
}

static void arm(struct watch *w)
{
    if (!w->armed)
        timer_start(w->timer, SETTLE_MS);
    w->armed = true;
}

/* The attributes that name table and chain have the same two numbers in all of these. */
static_assert(NFTA_RULE_TABLE == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_SET_TABLE == 1 &&
                  NFTA_SET_ELEM_LIST_TABLE == 1 && NFTA_TABLE_NAME == 1,
              "the table's name is attribute 1");

static const char *get_string(const struct nlmsghdr *h, int wanted)
{
    const struct nlattr *attribute;

    mnl_attr_for_each(attribute, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(attribute) == wanted &&
            mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
            return mnl_attr_get_str(attribute);
    }
    return "";
}

static bool is_of_our_table(const struct watch *w, const struct nlmsghdr *h)
{
    const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(h);

    return nfg->nfgen_family == NFPROTO_INET &&
           str_equal(get_string(h, NFTA_TABLE_NAME), w->net->rules.table);
}

static bool damages_our_table(const struct nlmsghdr *h)
{
    switch (h->nlmsg_type & 0xff) {
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
        return rules_own_chain(get_string(h, NFTA_RULE_CHAIN));
    case NFT_MSG_DELTABLE:
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
    case NFT_MSG_DELSET:
    case NFT_MSG_NEWSETELEM:
    case NFT_MSG_DELSETELEM:
        return true;
    default:
        return false; /* sets, counters and what else people may add: not ours, and no harm */
    }
}

static void on_event(void *arg, unsigned events)
{
    char buffer[65536] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct watch *w = arg;
    uint32_t own = mnl_socket_get_portid(w->net->nft.socket);

    (void)events;
    ssize_t len = recv(mnl_socket_get_fd(w->socket), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (len < 0) {
        if (errno == ENOBUFS) {
            arm(w);
            lookout_on_change(w->net->lookout);
        }
        return;
    }
    int rest = (int)len;
    for (const struct nlmsghdr *h = (const struct nlmsghdr *)buffer; mnl_nlmsg_ok(h, rest);
         h = mnl_nlmsg_next(h, &rest)) {
        if (h->nlmsg_pid == own || h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
            h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
            continue;
        if (!is_of_our_table(w, h))
            lookout_on_change(w->net->lookout);
        else if (damages_our_table(h))
            arm(w);
    }
}

int watch_new(struct net *n, struct watch **ret, struct err *e)
{
    struct watch *w = xnew(struct watch);
    int group = NFNLGRP_NFTABLES;

    w->net = n;
    w->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!w->socket || mnl_socket_bind(w->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_setsockopt(w->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
        err_errno(e, errno, "watch the changes of nf_tables");
        watch_free(w);
        return -1;
    }
    w->timer = timer_new(n->loop, on_timer, w);
    w->io = io_new(n->loop, mnl_socket_get_fd(w->socket), IO_READ, on_event, w);
    *ret = w;
    return 0;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    io_free(w->io);
    timer_free(w->timer);
    if (w->socket)
        mnl_socket_close(w->socket);
    free(w);
}
