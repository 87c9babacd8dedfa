/*
 * stream_forward.h - port forwarding: pairs of a client's stream and a connection to a server in
 * the pod.
 */
#ifndef CRI_STREAM_FORWARD_H
#define CRI_STREAM_FORWARD_H

#include "stream_duct.h"
#include "stream_server.h"
#include "stream_wire.h"

struct forward;
struct forward_pair;

/* How a protocol carries pairs. */
struct forward_ops {
    void (*send)(struct forward_pair *p, const void *data, size_t len);
    void (*send_end)(struct forward_pair *p); /* the server sends no more */
    /* The pair is over, for `failure` if there was no connection; broken: it was cut. Frees it. */
    void (*over)(struct forward_pair *p, const char *failure, bool broken);
    void (*finish)(struct forward *f); /* podd is ending: says so and ends the session */
};

/* Part of the session of each protocol. */
struct forward {
    struct session session;
    const struct forward_ops *ops;
    struct stream_request *request;
    struct wire wire;
    struct list pairs;
    size_t n_pairs;
    size_t waiting; /* bytes of the client that servers have not taken */
    bool paused, over;
};
void forward_init(struct forward *f, struct stream_server *server, struct link *link_take,
                  bool websocket, struct stream_request *request_take,
                  const struct forward_ops *ops);
/* Ends the session; the link, unless it has been let go, is cut. The pairs must be gone. */
void forward_end(struct forward *f);
/* The link has room again. */
void forward_resume(struct forward *f);

/* Part of the pair of each protocol. */
struct forward_pair {
    struct list siblings;
    struct forward *forward;
    uint16_t port;
    struct duct duct;
    struct strbuf early; /* what came before there was a connection */
    size_t counted;      /* of forward->waiting */
    bool connected, client_ended, server_ended, can_half_close;

    /* dialling */
    int fd;
    struct io *io;
    int attempt; /* 0: IPv4 loopback, 1: IPv6's */
    struct strbuf failures;

    struct timer *timer; /* dialling; then silence, once one side has ended */
    int64_t moved;
};
void forward_pair_init(struct forward_pair *p, struct forward *f, uint16_t port);
/* Frees what the pair holds, not itself. */
void forward_pair_clear(struct forward_pair *p);
/* May call ops->over, as may the two below. */
void forward_dial(struct forward_pair *p);
void forward_input(struct forward_pair *p, const uint8_t *data, size_t len);
void forward_input_end(struct forward_pair *p);

#endif
