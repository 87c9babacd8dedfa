/*
 * podd/rpc.h - gRPC by protobuf-c descriptors: a server, a client, and calls that answer later.
 *
 * Generic: nothing here knows a service. A service is its ProtobufCServiceDescriptor plus a table
 * of handlers by method name; a method without a row answers UNIMPLEMENTED, so a new RPC is one
 * more row. gRPC core's threads only move bytes: requests are unpacked and handed to the loop, and
 * every handler and callback runs there. Messages of more than 16 MiB are refused in both
 * directions; strings are UTF-8 without NUL, or the message is refused.
 */
#ifndef PODD_RPC_H
#define PODD_RPC_H

#include "podd/base.h"

#include <protobuf-c/protobuf-c.h>

/* ---- Server ---------------------------------------------------------------------------------- */

/* One call of a client. Lives until rpc_reply, rpc_fail or rpc_finish consumes it; each handler
 * must reach exactly one of them, at once or later, also after the client has gone. */
struct rpc_call;

/* `request` is valid until the call is consumed. ctx is the service's. */
typedef void rpc_handler_fn(struct rpc_call *call, const ProtobufCMessage *request, void *ctx);

struct rpc_method {
    const char *name; /* as in the .proto: "RunPodSandbox" */
    rpc_handler_fn *handler;
    bool streaming; /* answers with a stream of messages */
    bool reads; /* changes nothing and tells no secret: clients that may only read may call it */
};

struct rpc_server;
struct rpc_server *rpc_server_new(struct loop *loop);
/* Before rpc_server_start. `methods` is copied; ctx must outlive the server. A name that the
 * descriptor lacks is a programming error (abort). */
void rpc_server_add_service(struct rpc_server *s, const ProtobufCServiceDescriptor *service,
                            const struct rpc_method *methods, size_t n_methods, void *ctx);
/* "unix:///path", and nothing else: a socket 0600 that only root and the server's own user may
 * use; a stale socket file is replaced, one that a live server answers on is ERR_ALREADY_EXISTS,
 * and so is a file that is no socket. The directory must be there. May be called several times. */
int rpc_server_listen(struct rpc_server *s, const char *address, struct err *e) MUST_CHECK;
int rpc_server_start(struct rpc_server *s, struct err *e) MUST_CHECK;

/* A TCP port for remote clients: TLS 1.3, and a client certificate of the CA. What the client may
 * do follows from the common name in it: everything (`full`), methods that read (`readers`), and
 * nothing when it is in neither list. The files (PEM) are read again at every handshake. Clients of
 * the unix socket are local and may do everything. */
struct rpc_tls {
    const char *address; /* "0.0.0.0:9443", "[::]:9443" */
    const char *cert, *key, *client_ca;
    char *const *readers, *const *full; /* strv of common names */
};
/* Before rpc_server_start, which opens the port; once. ERR_INVALID_ARGUMENT names the file that
 * cannot be used. */
int rpc_server_listen_tls(struct rpc_server *s, const struct rpc_tls *tls, struct err *e)
    MUST_CHECK;
/* Refuses new calls, cancels what still runs after grace_ms (at once if 0), then calls done. Socket
 * files are removed at once. Once. Calls that handlers still hold by then are harmless, but must be
 * consumed as ever. */
void rpc_server_shutdown(struct rpc_server *s, int64_t grace_ms, void (*done)(void *arg),
                         void *arg);
/* After `done`, or before the start, or outside of the loop's callbacks: a server that still runs
 * is then shut down without grace, and what its cancelled calls do runs inside this call. */
void rpc_server_free(struct rpc_server *s);

/* Adds grpc.health.v1.Health. Before rpc_server_start. The server as a whole ("") is NOT_SERVING
 * until it is said to serve; other names are unknown until they are set. A shutdown ends watches.
 */
void rpc_server_add_health(struct rpc_server *s);
void rpc_server_set_health(struct rpc_server *s, const char *service, bool serving);

/* What became of the calls that reached a handler, and how long unary ones took from there. Calls
 * that were refused before it (roles, broken requests, no such method) are not in here. */
#define RPC_DURATION_BOUNDS 9
extern const double rpc_duration_bounds[RPC_DURATION_BOUNDS]; /* seconds, rising */
struct rpc_counts {
    uint64_t by_code[ERR_UNAUTHENTICATED + 1];
    uint64_t by_duration[RPC_DURATION_BOUNDS + 1]; /* the last: longer than all bounds */
    int64_t total_ns;                              /* of what is in by_duration */
};
/* Calls fn for every method, in no order. */
void rpc_server_counts(struct rpc_server *s,
                       void (*fn)(void *arg, const char *path, const struct rpc_counts *counts),
                       void *arg);

/* Answers a unary call and consumes it. The response is packed before return. */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response);
/* Ends any call with a status, a stream after what it has taken. err_code is the gRPC code; the
 * text is cut to what every client takes (7 KiB). */
void rpc_fail(struct rpc_call *call, const struct err *e);
/* Streams: sends one more message, packed before return. False when the client reads too slowly:
 * more than RPC_STREAM_BACKLOG bytes wait; the message was then not taken. True, and for nothing,
 * once the client is gone. */
#define RPC_STREAM_BACKLOG (4 << 20)
bool rpc_send(struct rpc_call *call, const ProtobufCMessage *message);
/* Calls fn once, when a stream whose rpc_send said false can take messages again, and also, after
 * what rpc_on_cancel has set, when the client goes away: who waits for room is never forgotten. */
void rpc_on_writable(struct rpc_call *call, void (*fn)(void *arg), void *arg);
void rpc_finish(struct rpc_call *call); /* ends a stream with OK */

/* Calls fn once if the client cancels, vanishes or its deadline passes while the call is open;
 * soon, never inside this function, when that has happened already. The call must still be consumed
 * (rpc_fail is then silent), be it by fn. NULL unsets. */
void rpc_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg);
/* Time left to the client's deadline in ms; INT64_MAX without one. */
int64_t rpc_time_left(const struct rpc_call *call);
const char *rpc_method_name(const struct rpc_call *call); /* "/runtime.v1.RuntimeService/Version" */

/* ---- Client ---------------------------------------------------------------------------------- */

struct rpc_client;
/* Connects lazily. address: "unix:///path" or "ipv4:127.0.0.1:80". */
struct rpc_client *rpc_client_new(struct loop *loop, const char *address);
/* On a connected socket of the caller's making, which is taken; `name` is for messages and the
 * server ("10.85.0.2:9000"). It does not connect again once the connection has ended. */
struct rpc_client *rpc_client_new_on_socket(struct loop *loop, const char *name, int fd_take);
/* Pending calls are cancelled and their callbacks called. */
void rpc_client_free(struct rpc_client *c);

/* `response` is NULL on error and valid during the callback only. Called exactly once. */
typedef void rpc_response_fn(void *arg, const ProtobufCMessage *response, const struct err *e);
/* method: index into service->methods by name. timeout_ms 0: none. */
void rpc_client_call(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                     const char *method, const ProtobufCMessage *request, int64_t timeout_ms,
                     rpc_response_fn *fn, void *arg);

/* A stream of answers: on_message for each, then on_end once (zeroed error: the server ended it).
 */
struct rpc_stream;
struct rpc_stream *rpc_client_stream(struct rpc_client *c,
                                     const ProtobufCServiceDescriptor *service, const char *method,
                                     const ProtobufCMessage *request,
                                     void (*on_message)(void *arg, const ProtobufCMessage *message),
                                     void (*on_end)(void *arg, const struct err *e), void *arg);
void rpc_stream_cancel(struct rpc_stream *s); /* on_end follows with ERR_CANCELLED */

/* For programs that do one thing: runs the loop until the answer is there. *ret is the caller's
 * (protobuf_c_message_free_unpacked). */
int rpc_client_call_sync(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                         const char *method, const ProtobufCMessage *request, int64_t timeout_ms,
                         ProtobufCMessage **ret, struct err *e) MUST_CHECK;

/* ---- Showing messages ----------------------------------------------------------------------- */

/* The message as a JSON object with the field names of the .proto; absent messages are left out.
 * The caller's (json_decref, jansson). */
struct json_t;
struct json_t *message_to_json(const ProtobufCMessage *message);

#endif
