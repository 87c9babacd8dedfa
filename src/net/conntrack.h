/*
 * conntrack.h - forgetting connections that the kernel would go on translating the old way.
 */
#ifndef PODD_NET_CONNTRACK_H
#define PODD_NET_CONNTRACK_H

#include "addr.h"
#include "rules.h"

/* Which connections: those of any of the addresses, and UDP ones to a host port of the list. */
struct conntrack_filter {
    const struct ip *addresses;
    size_t n_addresses;
    const struct rules_port *ports;
    size_t n_ports;
};

/* Walks the whole table, which takes 10 ms when it is empty: not for the event loop. */
int conntrack_flush(const struct conntrack_filter *filter, size_t *ret_deleted, struct err *e)
    MUST_CHECK;

#endif
