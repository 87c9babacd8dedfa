/*
 * diff.h - what differs between two normalised manifests, field by field. Pure.
 */
#ifndef NODE_DIFF_H
#define NODE_DIFF_H

#include "podd.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

/* before: NULL when there is nothing yet. With `secret` the values below `data` are "***". The
 * array and its messages are the caller's. */
void diff_manifests(const char *before, const char *after, bool secret,
                    Podd__V1__FieldChange ***ret, size_t *ret_n);

#endif
