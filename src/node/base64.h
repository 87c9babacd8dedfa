/*
 * base64.h - base64 (RFC 4648, section 4) as Secrets and binaryData carry it. Pure.
 */
#ifndef NODE_BASE64_H
#define NODE_BASE64_H

#include "podd/base.h"

/* Line breaks are skipped, for block scalars end with one. 0 or -EINVAL. */
int base64_decode(const char *text, struct bytes *ret) MUST_CHECK;
/* Caller frees. */
char *base64_encode(const void *data, size_t len);
/* NULL, or what is wrong with it ("must be ..."). */
const char *base64_check(const char *text);

#endif
