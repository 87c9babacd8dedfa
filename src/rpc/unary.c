/*
 * unary.c - the client's calls with one answer: one batch there and back.
 */
#include "private.h"

struct unary {
    struct client_call call;
    struct rpc_op op;
    struct err error;
    ProtobufCMessage *response;
    ProtobufCMessage **taken; /* where the response goes instead of being freed, or NULL */
    rpc_response_fn *fn;
    void *arg;
};

static void unary_destroy(struct client_call *call)
{
    struct unary *u = container_of(call, struct unary, call);

    err_clear(&u->error);
    message_free(u->response);
    free(u);
}

/* Calls back, for the first and only time. */
static void finish(struct unary *u, const ProtobufCMessage *response, const struct err *e)
{
    client_call_close(&u->call);
    u->fn(u->arg, response, e);
    if (u->taken)
        *u->taken = take_ptr(u->response);
    client_call_unref(&u->call);
}

static void unary_cancelled(struct client_call *call, const struct err *e)
{
    finish(container_of(call, struct unary, call), NULL, e);
}

static void deliver(struct rpc_op *op)
{
    struct unary *u = container_of(op, struct unary, op);

    if (!u->call.closed)
        finish(u, u->response, &u->error);
    client_call_unref(&u->call);
}

static int read_answer(struct unary *u, struct err *e)
{
    struct client_call *c = &u->call;

    if (client_call_status(c, e) < 0)
        return -1;
    if (!c->received)
        return err_set(e, ERR_INTERNAL, "%s answered %s without a message", c->client->address,
                       c->method->name);
    return message_unpack(c->received, c->method->output, "response", &u->response, e);
}

static void on_answer(struct rpc_op *op, bool ok)
{
    struct unary *u = container_of(op, struct unary, op);
    struct client_call *c = &u->call;

    ok = read_answer(u, &u->error) == 0;
    if (!op_deliver_open(c->client->core, op, ok, deliver, &c->closed))
        client_call_unref(c);
}

static struct unary *unary_start(struct rpc_client *client,
                                 const ProtobufCServiceDescriptor *service, const char *method,
                                 const ProtobufCMessage *request, int64_t timeout_ms,
                                 rpc_response_fn *fn, void *arg)
{
    struct unary *u = xnew(struct unary);
    struct client_call *c = &u->call;
    grpc_op ops[6];

    u->fn = fn;
    u->arg = arg;
    c->cancelled = unary_cancelled;
    c->destroy = unary_destroy;
    if (!client_call_init(c, client, service, method, request, timeout_ms)) {
        err_copy(&u->error, &client->fault);
        atomic_fetch_add(&c->refs, 1);
        op_deliver(client->core, &u->op, false, deliver);
        return u;
    }
    size_t n = client_call_add_request(c, ops);
    ops[n++] = client_call_receive_op(c);
    ops[n++] = client_call_status_op(c);
    client_call_start(c, ops, n, &u->op, on_answer);
    return u;
}

void rpc_client_call(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                     const char *method, const ProtobufCMessage *request, int64_t timeout_ms,
                     rpc_response_fn *fn, void *arg)
{
    unary_start(c, service, method, request, timeout_ms, fn, arg);
}

/* ---- For programs that do one thing ---------------------------------------------------------- */

struct sync_call {
    struct loop *loop;
    ProtobufCMessage *response;
    struct err error;
};

static void on_sync_answer(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct sync_call *s = arg;

    if (!response)
        err_copy(&s->error, e);
    loop_stop(s->loop);
}

int rpc_client_call_sync(struct rpc_client *c, const ProtobufCServiceDescriptor *service,
                         const char *method, const ProtobufCMessage *request, int64_t timeout_ms,
                         ProtobufCMessage **ret, struct err *e)
{
    struct sync_call s = {.loop = c->loop};
    struct unary *u = unary_start(c, service, method, request, timeout_ms, on_sync_answer, &s);

    u->taken = &s.response;
    loop_run(c->loop);
    if (!s.response)
        return err_move(e, &s.error);
    *ret = s.response;
    return 0;
}
