/* url.h - URLs of registries: what two of them have in common decides who sees credentials. */
#ifndef IMAGE_URL_H
#define IMAGE_URL_H

#include "podd/base.h"

struct url {
    char *text;   /* the whole, normalised */
    char *scheme; /* "http" or "https" */
    char *host;   /* lower-case */
    unsigned port;
};

/* Absolute, or relative to `base` (NULL: none). Only http and https; no user:password@, no
 * fragment, no control characters. */
int url_parse(const char *text, const char *base, struct url *ret, struct err *e) MUST_CHECK;
void url_clear(struct url *u);
/* The same scheme, host and port. */
bool url_same_origin(const struct url *a, const struct url *b);
/* localhost, 127.0.0.0/8 or ::1; `host` may have a port. */
bool host_is_loopback(const char *host);
/* Percent-encodes for a query. Caller frees. */
char *url_escape(const char *text);

#define _cleanup_url_ CLEANUP(url_clear)

#endif
