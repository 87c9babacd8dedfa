/*
 * stream.c - the client's calls that are answered with a stream.
 *
 * Three batches: the request; the status, which is there when the server has ended the stream; and
 * one message after the other, the next asked for when the callback of the last has returned, so
 * that a slow reader slows the server down. The stream is over when both the status and the "no
 * more messages" have been delivered, in whatever order.
 */
#include "private.h"

struct rpc_stream {
    struct client_call call;
    struct rpc_op request_op;
    struct rpc_op message_op;
    struct rpc_op status_op;
    ProtobufCMessage *message; /* on its way to the loop */
    struct err broken;         /* it was none */

    bool cancelled;
    bool no_more;
    bool has_status;
    struct err fault; /* ours: what on_end gets, whatever the server says */
    void (*on_message)(void *arg, const ProtobufCMessage *message);
    void (*on_end)(void *arg, const struct err *e);
    void *arg;
};

static void stream_destroy(struct client_call *call)
{
    struct rpc_stream *s = container_of(call, struct rpc_stream, call);

    message_free(s->message);
    err_clear(&s->broken);
    err_clear(&s->fault);
    free(s);
}

static void finish(struct rpc_stream *s, const struct err *e)
{
    client_call_close(&s->call);
    s->on_end(s->arg, e);
    client_call_unref(&s->call);
}

static void stream_cancelled(struct client_call *call, const struct err *e)
{
    finish(container_of(call, struct rpc_stream, call), e);
}

static void finish_if_over(struct rpc_stream *s)
{
    _cleanup_err_ struct err status = ERR_INIT;

    if (!s->no_more || !s->has_status || s->call.closed)
        return;
    if (s->fault.code == ERR_OK)
        client_call_status(&s->call, &s->fault);
    err_copy(&status, &s->fault);
    finish(s, &status);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void receive_next(struct rpc_stream *s);

static void deliver_message(struct rpc_op *op)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, message_op);
    ProtobufCMessage *message = take_ptr(s->message);

    if (s->broken.code != ERR_OK && s->fault.code == ERR_OK) {
        err_move(&s->fault, &s->broken);
        grpc_call_cancel(s->call.grpc, NULL);
    }
    if (message && !s->call.closed && !s->cancelled)
        s->on_message(s->arg, message);
    if (s->call.closed) {
        /* nobody is left to read */
    } else if (message) {
        receive_next(s);
    } else {
        s->no_more = true;
        finish_if_over(s);
    }
    message_free(message);
    client_call_unref(&s->call);
}

static void on_received(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, message_op);
    struct client_call *c = &s->call;

    if (c->received) {
        ok = message_unpack(c->received, c->method->output, "response", &s->message, &s->broken) ==
             0;
        grpc_byte_buffer_destroy(take_ptr(c->received));
    }
    if (!op_deliver_open(c->client->core, op, ok, deliver_message, &c->closed))
        client_call_unref(c);
}

static void receive_next(struct rpc_stream *s)
{
    grpc_op op = client_call_receive_op(&s->call);

    client_call_start(&s->call, &op, 1, &s->message_op, on_received);
}

/* ---- Beginning and end ----------------------------------------------------------------------- */

static void deliver_status(struct rpc_op *op)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, status_op);

    s->has_status = true;
    finish_if_over(s);
    client_call_unref(&s->call);
}

static void on_status(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, status_op);

    if (!op_deliver_open(s->call.client->core, op, ok, deliver_status, &s->call.closed))
        client_call_unref(&s->call);
}

static void on_request_sent(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, request_op);

    client_call_unref(&s->call);
}

static void start(struct rpc_stream *s)
{
    grpc_op ops[4];
    size_t n = client_call_add_request(&s->call, ops);
    grpc_op status = client_call_status_op(&s->call);

    client_call_start(&s->call, ops, n, &s->request_op, on_request_sent);
    client_call_start(&s->call, &status, 1, &s->status_op, on_status);
    receive_next(s);
}

struct rpc_stream *rpc_client_stream(struct rpc_client *client,
                                     const ProtobufCServiceDescriptor *service, const char *method,
                                     const ProtobufCMessage *request,
                                     void (*on_message)(void *arg, const ProtobufCMessage *message),
                                     void (*on_end)(void *arg, const struct err *e), void *arg)
{
    struct rpc_stream *s = xnew(struct rpc_stream);
    struct client_call *c = &s->call;

    s->on_message = on_message;
    s->on_end = on_end;
    s->arg = arg;
    c->cancelled = stream_cancelled;
    c->destroy = stream_destroy;
    if (client_call_init(c, client, service, method, request, 0)) {
        start(s);
        return s;
    }
    err_copy(&s->fault, &client->fault);
    s->no_more = true;
    atomic_fetch_add(&c->refs, 1);
    op_deliver(client->core, &s->status_op, false, deliver_status);
    return s;
}

void rpc_stream_cancel(struct rpc_stream *s)
{
    if (s->cancelled)
        return;
    s->cancelled = true;
    if (s->fault.code == ERR_OK)
        err_set(&s->fault, ERR_CANCELLED, "%s was cancelled", s->call.method->name);
    if (s->call.grpc)
        grpc_call_cancel(s->call.grpc, NULL);
}
