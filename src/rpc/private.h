/*
 * rpc/private.h - what the files of src/rpc share.
 *
 * Two threads meet here. gRPC's thread (core.c) takes events off the completion queue; the loop's
 * thread runs everything that has a state. A struct rpc_op is the way from a batch of gRPC back to
 * its owner: `event` runs on gRPC's thread when the batch is done, and may hand the op on to the
 * loop with op_deliver().
 */
#ifndef PODD_RPC_PRIVATE_H
#define PODD_RPC_PRIVATE_H

#include <stdatomic.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>

#include <podd/rpc.h>

/* ---- core.c: the library, its queue and its thread ------------------------------------------ */

struct rpc_op {
    void (*event)(struct rpc_op *op, bool ok); /* gRPC's thread */
    void (*deliver)(struct rpc_op *op);        /* the loop's thread */
    struct rpc_op *next;                       /* on the way to the loop */
    bool ok;
    atomic_bool armed; /* given to gRPC and not back yet */
};

struct rpc_core;
/* The core of this loop; made at first use, shared by all servers and clients of the loop. */
struct rpc_core *core_get(struct loop *loop);
/* The last one ends gRPC's thread. Every batch must be finished or about to finish. */
void core_release(struct rpc_core *core);
grpc_completion_queue *core_queue(struct rpc_core *core);
/* Makes op ready to be the tag of one batch. */
void op_arm(struct rpc_op *op, void (*event)(struct rpc_op *op, bool ok));
/* From gRPC's thread: deliver(op) on the loop, in the order of delivery. */
void op_deliver(struct rpc_core *core, struct rpc_op *op, bool ok,
                void (*deliver)(struct rpc_op *op));
/* The same unless *closed, which core_close() sets: false, and op was not taken. */
bool op_deliver_open(struct rpc_core *core, struct rpc_op *op, bool ok,
                     void (*deliver)(struct rpc_op *op), const bool *closed) MUST_CHECK;
void core_close(struct rpc_core *core, bool *closed);
/* From the loop's thread, outside of any callback: waits until something was delivered and runs
 * it. For the end of a server that was not shut down. */
void core_wait(struct rpc_core *core);

/* ---- message.c: protobuf-c messages as gRPC's bytes ------------------------------------------ */

/* The largest message taken, and what one may cost in memory when unpacked. */
#define MESSAGE_MAX (16 << 20)
#define MESSAGE_COST_MAX (128 << 20)
grpc_byte_buffer *message_pack(const ProtobufCMessage *m);
/* Any thread. `what` ("request", "response") is for the error text. */
int message_unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type,
                   const char *what, ProtobufCMessage **ret, struct err *e) MUST_CHECK;
void message_free(ProtobufCMessage *m); /* NULL is fine */
/* An error's text as gRPC may carry it: UTF-8, and bounded also when percent-encoded. */
grpc_slice status_slice(const char *text);

/* ---- check.c: what protobuf-c does not look at ----------------------------------------------- */

/* Strings are UTF-8 without NUL, nesting is bounded, and so is the cost of unpacking. */
int message_check(const uint8_t *data, size_t len, const ProtobufCMessageDescriptor *type,
                  struct err *e) MUST_CHECK;
/* The length of the longest valid UTF-8 prefix. */
size_t utf8_prefix(const uint8_t *s, size_t len);

/* ---- socket.c: unix sockets ------------------------------------------------------------------ */

/* The path in "unix:///path" or "unix:path", checked; borrowed from `address`. */
int unix_address_path(const char *address, const char **ret, struct err *e) MUST_CHECK;
/* A listening socket of mode 0600. *ret_dev and *ret_ino tell the file later. fd or -1. */
int unix_socket_listen(const char *path, dev_t *ret_dev, ino_t *ret_ino, struct err *e) MUST_CHECK;
/* Takes the file away if it is still the same. */
void unix_socket_unlink(const char *path, dev_t dev, ino_t ino);

/* ---- server.c -------------------------------------------------------------------------------- */

/* What a path leads to. Constant once the server has started, but for the counts behind it. */
struct rpc_row {
    char *path;
    const ProtobufCMethodDescriptor *method;
    rpc_handler_fn *handler; /* NULL: known but not made */
    bool streaming, reads;
    void *ctx;
    struct rpc_counts *counts; /* the loop's */
};

struct rpc_health;
struct rpc_tls_port;

struct rpc_server {
    atomic_uint refs; /* the owner's and one per call */
    struct loop *loop;
    struct rpc_core *core;
    grpc_server *grpc; /* NULL before the start and after the end */
    struct map *rows;  /* path -> struct rpc_row */
    struct list listeners;
    struct rpc_tls_port *tls; /* NULL: none */
    struct rpc_health *health;

    struct rpc_op shutdown;
    struct timer *grace;
    bool stopping;
    void (*done)(void *arg);
    void *done_arg;
};

void server_unref(struct rpc_server *s); /* any thread */

/* ---- tls.c: the port of remote clients ------------------------------------------------------- */

int tls_port_open(struct rpc_tls_port *p, grpc_server *server, struct err *e) MUST_CHECK;
void tls_port_free(struct rpc_tls_port *p);
/* Any thread. May the client of this call use the method? */
int tls_check_role(const struct rpc_tls_port *p, grpc_call *call, const struct rpc_row *row,
                   struct err *e) MUST_CHECK;

/* ---- call.c ---------------------------------------------------------------------------------- */

/* Asks gRPC for one more call. Any thread. */
void call_request(struct rpc_server *s);

/* ---- client.c: the channel, and what all calls on it have in common ---------------------------
 */

struct rpc_client {
    atomic_uint refs; /* the owner's and one per call */
    struct loop *loop;
    struct rpc_core *core;
    char *address;
    grpc_channel *channel; /* NULL when the address is wrong, as `fault` says */
    struct err fault;
    struct list calls; /* struct client_call that have not called back yet */
};

/* `refs`: one while it is in client->calls, one per batch or delivery on its way. */
struct client_call {
    atomic_uint refs;
    struct list link;
    struct rpc_client *client; /* a reference */
    const ProtobufCMethodDescriptor *method;
    char *path;
    int64_t timeout_ms;
    grpc_call *grpc;
    bool closed; /* called back already; see core_close() */
    void (*cancelled)(struct client_call *c, const struct err *e); /* calls back */
    void (*destroy)(struct client_call *c);                        /* frees what embeds it */

    grpc_byte_buffer *request;
    grpc_byte_buffer *received;
    grpc_metadata_array headers;
    grpc_metadata_array trailers;
    grpc_status_code status;
    grpc_slice status_text;
};

/* False when the client has no channel: nothing can be started. */
bool client_call_init(struct client_call *c, struct rpc_client *client,
                      const ProtobufCServiceDescriptor *service, const char *method,
                      const ProtobufCMessage *request, int64_t timeout_ms) MUST_CHECK;
void client_call_unref(struct client_call *c); /* any thread */
/* The ops that send the request; at most four. */
size_t client_call_add_request(struct client_call *c, grpc_op *ops);
grpc_op client_call_receive_op(struct client_call *c);
grpc_op client_call_status_op(struct client_call *c);
void client_call_start(struct client_call *c, const grpc_op *ops, size_t n, struct rpc_op *op,
                       void (*event)(struct rpc_op *op, bool ok));
/* On the loop, before calling back: nothing of this call is delivered any more. */
void client_call_close(struct client_call *c);
/* What the server, or gRPC in its name, said at the end. 0 for OK. */
int client_call_status(const struct client_call *c, struct err *e);

/* ---- health.c -------------------------------------------------------------------------------- */

/* Ends the watches: the server is going. */
void health_end(struct rpc_health *h);
void health_service_free(struct rpc_health *h);

#endif
