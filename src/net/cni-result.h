/*
 * cni-result.h - what plugins print: results and errors. Pure.
 */
#ifndef PODD_NET_CNI_RESULT_H
#define PODD_NET_CNI_RESULT_H

#include <podd/net.h>

#include "cni-conf.h"

/* A result of ADD, checked, and brought to the version of the network (the next plugin gets it).
 * ERR_UNKNOWN: it is none, and why. The caller owns *ret. */
int cni_result_parse(const void *data, size_t len, enum cni_version version, json_t **ret,
                     struct err *e) MUST_CHECK;
/* The addresses of the pod's interface, in the result's order. ERR_UNKNOWN: there are none. */
int cni_result_addresses(const json_t *result, const char *interface, struct net_addresses *ret,
                         struct err *e) MUST_CHECK;

/* How a plugin failed: its error object on stdout where there is one, else what it wrote to stderr
 * and how it ended (`status`, as of waitpid(2)). Always sets *e; returns -1. */
int cni_failure(const struct bytes *out, const struct bytes *err_out, int status, struct err *e);

#endif
