/*
 * bandwidth.c - a pod's limits in bits per second, as queueing disciplines of its link.
 *
 * A token bucket (tbf) is the root queue of both ends of the pair: the host end's holds what goes
 * into the pod, the pod end's what comes out of it. Both end with the link, so there is nothing to
 * clean up. The usual other way for what comes out is a second device (ifb) per pod that the host
 * end's traffic is redirected to; it must be named and removed, and since a sender in the pod no
 * longer sees that queue, it fills it and loses packets, where here a socket simply waits. What the
 * other way can and this cannot: hold a container that has CAP_NET_ADMIN, which may change its own
 * end. Containers do not have it unless they ask.
 *
 * The bucket holds 10 ms of traffic, but at least what one send hands down in a piece, or the
 * kernel would cut it up; the queue 50 ms more, after which packets are dropped and TCP slows down.
 */
#include <linux/pkt_sched.h>
#include <stdio.h>

#include "bandwidth.h"

/* The limits of Kubernetes: 1 kbit/s to 1 Pbit/s. */
#define RATE_MIN 1000ll
#define RATE_MAX 1000000000000000ll

enum { BURST_MIN = 64 << 10, BURST_MAX = 64 << 20, BURST_PER_SECOND = 100, QUEUE_PER_SECOND = 20 };

/* ---- Annotations ----------------------------------------------------------------------------- */

static int parse_rate(const struct key_value *annotation, uint64_t *ret, struct err *e)
{
    struct quantity q;

    int r = quantity_parse(annotation->value, &q);
    if (r == -EINVAL)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s: %.100s is not a number of bits per second such as 10M or 1500k",
                       annotation->key, annotation->value);
    if (r < 0 || q.units < RATE_MIN || q.units > RATE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%s: %.100s is not between 1k and 1P bits per second", annotation->key,
                       annotation->value);
    *ret = (uint64_t)q.units;
    return 0;
}

int net_bandwidth_parse(const struct key_value *annotations, size_t n, struct net_bandwidth *ret,
                        struct err *e)
{
    struct net_bandwidth found = {0};

    for (size_t i = 0; i < n; i++) {
        uint64_t *rate = str_equal(annotations[i].key, NET_INGRESS_ANNOTATION)  ? &found.ingress
                         : str_equal(annotations[i].key, NET_EGRESS_ANNOTATION) ? &found.egress
                                                                                : NULL;
        if (rate && parse_rate(&annotations[i], rate, e) < 0)
            return -1;
    }
    *ret = found;
    return 0;
}

/* ---- The kernel ------------------------------------------------------------------------------ */

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void put_bucket(struct nl_msg *m, uint64_t rate)
{
    uint64_t bytes = rate / 8;
    uint32_t burst = (uint32_t)clamp(bytes / BURST_PER_SECOND, BURST_MIN, BURST_MAX);
    uint64_t limit = burst + clamp(bytes / QUEUE_PER_SECOND, BURST_MIN, UINT32_MAX / 2);
    struct tc_tbf_qopt bucket = {
        .rate = {.linklayer = TC_LINKLAYER_ETHERNET, .rate = (uint32_t)clamp(bytes, 1, UINT32_MAX)},
        .limit = (uint32_t)limit,
    };

    struct nlattr *options = rtnl_nest(m, TCA_OPTIONS);
    rtnl_put(m, TCA_TBF_PARMS, &bucket, sizeof(bucket));
    rtnl_put_u32(m, TCA_TBF_BURST, burst);
    if (bytes > UINT32_MAX)
        rtnl_put(m, TCA_TBF_RATE64, &bytes, sizeof(bytes));
    rtnl_nest_end(m, options);
}

int bandwidth_limit(struct rtnl *r, int index, const char *link, uint64_t rate, struct err *e)
{
    _cleanup_batch_ struct rtnl_batch b = {0};
    struct tcmsg tcm = {.tcm_family = AF_UNSPEC,
                        .tcm_ifindex = index,
                        .tcm_parent = TC_H_ROOT,
                        .tcm_handle = TC_H_MAKE(1u << 16, 0)};

    struct nl_msg *m =
        rtnl_add_needing(&b, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, "limit the bandwidth of",
                         "the token bucket filter (CONFIG_NET_SCH_TBF, module sch_tbf)");
    rtnl_put_header(m, &tcm, sizeof(tcm));
    rtnl_put_string(m, TCA_KIND, "tbf");
    put_bucket(m, rate);
    return rtnl_send(r, &b, link, e);
}
