/*
 * quantity.h - Kubernetes quantities: "100m", "64Mi", "0.5", "2e3". Pure.
 */
#ifndef NODE_QUANTITY_H
#define NODE_QUANTITY_H

#include "podd/base.h"

struct quantity {
    bool set;
    int64_t units; /* rounded up: bytes, whole CPUs */
    int64_t milli; /* thousandths, rounded up; INT64_MAX when there are more */
};

/* 0, -EINVAL (not a quantity, or negative), -ERANGE (more than fits). */
int quantity_parse(const char *text, struct quantity *ret) MUST_CHECK;

#endif
