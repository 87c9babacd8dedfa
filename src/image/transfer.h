/* transfer.h - HTTP requests to servers that are not trusted. */
#ifndef IMAGE_TRANSFER_H
#define IMAGE_TRANSFER_H

#include "podd/base.h"

struct transfers;
struct transfer;

/* Times and sizes after which a peer is given up. */
struct transfer_limits {
    long connect_seconds;
    long slow_bytes_per_second; /* less than this ... */
    long slow_seconds;          /* ... for so long */
    size_t header_bytes;
};

struct transfers *transfers_new(struct loop *loop);
/* Ends all transfers without a call. */
void transfers_free(struct transfers *ts);
struct transfer_limits *transfers_limits(struct transfers *ts);
struct loop *transfers_loop(struct transfers *ts);

struct transfer_request {
    const char *url;      /* http or https */
    char *const *headers; /* strv: "Name: value" */
    const char *form;     /* POST this, URL-encoded; NULL: GET */
    const char *ca;       /* PEM file instead of the system's, or NULL */
};

enum transfer_verdict { TRANSFER_GO_ON, TRANSFER_PAUSE, TRANSFER_ABORT };

enum transfer_failure {
    TRANSFER_OK,          /* a whole answer, whatever its status */
    TRANSFER_UNREACHABLE, /* no connection */
    TRANSFER_BROKEN,      /* the connection ended or stalled in between */
    TRANSFER_TLS,         /* the peer could not prove who it is */
    TRANSFER_REFUSED,     /* our own limits, or an answer that is not HTTP */
};

struct transfer_events {
    /* Pieces of the body. TRANSFER_PAUSE: the same piece comes again after transfer_resume().
     * TRANSFER_ABORT: on_done follows, with TRANSFER_REFUSED. Must not cancel any transfer. */
    enum transfer_verdict (*on_data)(void *arg, const void *data, size_t len);
    /* Once; the transfer is gone afterwards. `why` is for people, NULL with TRANSFER_OK. */
    void (*on_done)(void *arg, enum transfer_failure failure, const char *why);
};

/* Follows no redirects, uses no proxy, decodes nothing. Calls back later, never at once. */
struct transfer *transfer_start(struct transfers *ts, const struct transfer_request *request,
                                const struct transfer_events *events, void *arg);
void transfer_resume(struct transfer *t);
/* No calls afterwards. NULL is fine. */
void transfer_cancel(struct transfer *t);

/* Of the answer, in on_data and on_done. 0 and NULL: there is none. `index` counts headers of the
 * same name. */
long transfer_status(struct transfer *t);
const char *transfer_header(struct transfer *t, const char *name, size_t index);

#endif
