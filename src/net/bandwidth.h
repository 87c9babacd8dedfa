/*
 * bandwidth.h - a pod's limits in bits per second, as queueing disciplines of its link.
 */
#ifndef PODD_NET_BANDWIDTH_H
#define PODD_NET_BANDWIDTH_H

#include <podd/net.h>

#include "rtnl.h"

/* What goes out through this link is sent at `rate` bits per second at most; in the namespace of
 * the socket. ERR_FAILED_PRECONDITION, naming the part, when the kernel was built without it. */
int bandwidth_limit(struct rtnl *r, int index, const char *link, uint64_t rate, struct err *e)
    MUST_CHECK;

#endif
