/*
 * metrics_http.h - a small HTTP server for one page: GET /metrics.
 */
#ifndef PODD_METRICS_HTTP_H
#define PODD_METRICS_HTTP_H

#include "podd/base.h"

struct metrics_http;
/* Listens on "ip:port" or "[ip]:port", checked before. `render` writes the page at each request. */
int metrics_http_open(struct loop *loop, const char *address,
                      void (*render)(void *arg, struct strbuf *out), void *arg,
                      struct metrics_http **ret, struct err *e) MUST_CHECK;
void metrics_http_close(struct metrics_http *h); /* NULL is fine; drops clients */

#endif
