/*
 * call.c - one call of a client, on the server's side.
 *
 * The way of a call: gRPC's thread gets it, finds its row, reads its one request message, unpacks
 * it and hands it to the loop; what is wrong up to there is answered without waking the loop. From
 * then on only the loop's thread touches the call, until its last batch is back.
 *
 * Two counts, because the two lives end at different times. `holds` keeps the grpc_call: one while
 * the call is open, one per batch in flight. `refs` keeps the memory: one until the handler's side
 * has consumed the call, one per batch and per delivery. A client that goes away ends the first at
 * once, whatever the handler is still waiting for.
 *
 * A call is `open` until its status is on the way or the client is gone. Only one batch that sends
 * is in flight at a time; a stream's further messages wait in `queue`.
 */
#include <grpc/support/time.h>

#include "private.h"

/* What a waiting message costs beside its bytes. */
#define MESSAGE_OVERHEAD 64

struct outgoing {
    struct outgoing *next;
    grpc_byte_buffer *buffer;
    size_t cost;
};

struct rpc_call {
    atomic_uint refs;
    atomic_uint holds;
    struct rpc_server *server; /* a reference */
    const struct rpc_row *row;
    grpc_call *grpc;
    gpr_timespec deadline;

    /* What gRPC fills in. */
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *received;
    int client_gone;

    struct rpc_op start; /* asks for the call, then for its message */
    struct rpc_op close;
    struct rpc_op send;
    struct outgoing *sending; /* lent to gRPC until `send` is back */
    grpc_slice status_text;

    /* The loop's. */
    ProtobufCMessage *request;
    int64_t started; /* monotonic: when the handler was called */
    bool open;
    bool consumed;
    bool cancelled;
    bool headers_sent;
    struct outgoing *queue;
    struct outgoing **queue_end;
    size_t backlog; /* bytes in `sending` and `queue` */
    struct err status;
    void (*on_cancel)(void *arg);
    void *on_cancel_arg;
    void (*on_writable)(void *arg);
    void *on_writable_arg;
};

/* ---- Counts ---------------------------------------------------------------------------------- */

static void outgoing_free(struct outgoing *o)
{
    if (!o)
        return;
    grpc_byte_buffer_destroy(o->buffer);
    free(o);
}

static void drop_queue(struct rpc_call *call)
{
    while (call->queue) {
        struct outgoing *o = call->queue;
        call->queue = o->next;
        call->backlog -= o->cost;
        outgoing_free(o);
    }
    call->queue_end = &call->queue;
}

static void call_unref(struct rpc_call *call)
{
    if (atomic_fetch_sub(&call->refs, 1) != 1)
        return;
    drop_queue(call);
    outgoing_free(call->sending);
    message_free(call->request);
    grpc_slice_unref(call->status_text);
    err_clear(&call->status);
    server_unref(call->server);
    free(call);
}

/* Lets go of the grpc_call. */
static void call_release(struct rpc_call *call)
{
    if (atomic_fetch_sub(&call->holds, 1) == 1)
        grpc_call_unref(call->grpc);
}

/* Starts a batch with op as its tag; a failure is a wrong use of gRPC. */
static void start_batch(struct rpc_call *call, const grpc_op *ops, size_t n, struct rpc_op *op,
                        void (*event)(struct rpc_op *op, bool ok))
{
    atomic_fetch_add(&call->refs, 1);
    atomic_fetch_add(&call->holds, 1);
    op_arm(op, event);
    grpc_call_error r = grpc_call_start_batch(call->grpc, ops, n, op, NULL);
    if (r != GRPC_CALL_OK) {
        log_error("rpc", call->row ? call->row->path : NULL, "start a batch: %s",
                  grpc_call_error_to_string(r));
        abort();
    }
}

/* The batch of op is back and wants nothing of the loop. */
static void batch_done(struct rpc_call *call)
{
    call_release(call);
    call_unref(call);
}

/* The batch of op is back; deliver() gets its reference. */
static void batch_deliver(struct rpc_call *call, struct rpc_op *op, bool ok,
                          void (*deliver)(struct rpc_op *op))
{
    /* In this order: the server counts as running until the call is released, so its end is
     * delivered after this. */
    atomic_fetch_add(&call->refs, 1);
    op_deliver(call->server->core, op, ok, deliver);
    batch_done(call);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static size_t add_headers(struct rpc_call *call, grpc_op *ops, size_t n)
{
    if (call->headers_sent)
        return n;
    call->headers_sent = true;
    ops[n] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    return n + 1;
}

static size_t add_message(struct rpc_call *call, grpc_op *ops, size_t n)
{
    ops[n] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[n].data.send_message.send_message = call->sending->buffer;
    return n + 1;
}

static size_t add_status(struct rpc_call *call, grpc_op *ops, size_t n, const struct err *e)
{
    call->status_text = status_slice(err_text(e));
    ops[n] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[n].data.send_status_from_server.status = (grpc_status_code)e->code;
    ops[n].data.send_status_from_server.status_details =
        GRPC_SLICE_LENGTH(call->status_text) > 0 ? &call->status_text : NULL;
    return n + 1;
}

static void on_ended(struct rpc_op *op, bool ok)
{
    batch_done(container_of(op, struct rpc_call, send));
}

/* Ends an open call: the last use of its grpc_call but for what is in flight. */
static void send_end(struct rpc_call *call, const struct err *e)
{
    grpc_op ops[3];
    size_t n = add_headers(call, ops, 0);

    if (call->sending)
        n = add_message(call, ops, n);
    n = add_status(call, ops, n, e);
    call->open = false;
    start_batch(call, ops, n, &call->send, on_ended);
    call_release(call);
}

static void on_sent(struct rpc_op *op, bool ok);

/* Starts what is to be sent next, if anything. */
static void send_next(struct rpc_call *call)
{
    grpc_op ops[2];
    size_t n;

    if (!call->open || call->sending)
        return;
    if (!call->queue) {
        if (call->consumed)
            send_end(call, &call->status);
        return;
    }
    call->sending = call->queue;
    call->queue = call->sending->next;
    if (!call->queue)
        call->queue_end = &call->queue;
    n = add_headers(call, ops, 0);
    n = add_message(call, ops, n);
    start_batch(call, ops, n, &call->send, on_sent);
}

static void tell_writable(struct rpc_call *call)
{
    void (*fn)(void *) = take_ptr(call->on_writable);

    if (fn)
        fn(call->on_writable_arg);
}

static void deliver_sent(struct rpc_op *op)
{
    struct rpc_call *call = container_of(op, struct rpc_call, send);

    call->backlog -= call->sending->cost;
    outgoing_free(take_ptr(call->sending));
    if (op->ok) /* otherwise the client is gone, as `close` is about to tell */
        send_next(call);
    if (call->open && call->backlog <= RPC_STREAM_BACKLOG / 2)
        tell_writable(call);
    call_unref(call);
}

static void on_sent(struct rpc_op *op, bool ok)
{
    batch_deliver(container_of(op, struct rpc_call, send), op, ok, deliver_sent);
}

/* ---- The client goes away -------------------------------------------------------------------- */

static void deliver_close(struct rpc_op *op)
{
    struct rpc_call *call = container_of(op, struct rpc_call, close);

    call->cancelled = true;
    if (call->open) {
        call->open = false;
        drop_queue(call);
        call_release(call);
    }
    void (*fn)(void *) = take_ptr(call->on_cancel);
    if (fn)
        fn(call->on_cancel_arg);
    tell_writable(call); /* who waits for room must go on */
    call_unref(call);
}

static void on_close(struct rpc_op *op, bool ok)
{
    struct rpc_call *call = container_of(op, struct rpc_call, close);

    if (call->client_gone)
        batch_deliver(call, op, ok, deliver_close);
    else
        batch_done(call);
}

static void watch_close(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

    op.data.recv_close_on_server.cancelled = &call->client_gone;
    start_batch(call, &op, 1, &call->close, on_close);
}

/* ---- From the request to the handler, on gRPC's thread --------------------------------------- */

/* Answers a call that the loop never sees. */
static void reject(struct rpc_call *call, const struct err *e)
{
    send_end(call, e);
    call_unref(call);
}

static void deliver_start(struct rpc_op *op)
{
    struct rpc_call *call = container_of(op, struct rpc_call, start);

    call->started = time_mono_ns();
    call->row->handler(call, call->request, call->row->ctx);
    call_unref(call);
}

static void on_message(struct rpc_op *op, bool ok)
{
    struct rpc_call *call = container_of(op, struct rpc_call, start);
    grpc_byte_buffer *received = take_ptr(call->received);
    _cleanup_err_ struct err e = ERR_INIT;

    if (!ok || !received) {
        err_set(&e, ERR_INVALID_ARGUMENT, "%s: the call has no request message", call->row->path);
    } else if (message_unpack(received, call->row->method->input, "request", &call->request, &e) ==
               0) {
        /* Delivered before the close is watched, so the handler is the first to see the call. */
        atomic_fetch_add(&call->refs, 1);
        op_deliver(call->server->core, op, ok, deliver_start);
        watch_close(call);
    }
    if (received)
        grpc_byte_buffer_destroy(received);
    if (e.code != ERR_OK)
        reject(call, &e);
    batch_done(call);
}

static void receive_message(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &call->received;
    start_batch(call, &op, 1, &call->start, on_message);
}

/* The row of this path, or *e as the client shall see it. */
static const struct rpc_row *find_row(struct rpc_server *s, grpc_slice path, struct err *e)
{
    _cleanup_free_ char *name =
        xstrndup((const char *)GRPC_SLICE_START_PTR(path), GRPC_SLICE_LENGTH(path));
    const struct rpc_row *row = map_get(s->rows, name);

    if (!row)
        err_set(e, ERR_UNIMPLEMENTED, "unknown method %s", name);
    else if (!row->handler)
        err_set(e, ERR_UNIMPLEMENTED, "method %s is not implemented", name);
    return row;
}

static void on_call(struct rpc_op *op, bool ok)
{
    struct rpc_call *call = container_of(op, struct rpc_call, start);
    _cleanup_err_ struct err e = ERR_INIT;

    if (ok) {
        call_request(call->server);
        call->row = find_row(call->server, call->details.method, &e);
        if (e.code == ERR_OK && call->server->tls &&
            tls_check_role(call->server->tls, call->grpc, call->row, &e) < 0)
            call->row = NULL;
        call->deadline = call->details.deadline;
    }
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    if (!ok) { /* the server is shutting down */
        call_unref(call);
        return;
    }
    call->open = true;
    atomic_store(&call->holds, 1);
    if (e.code != ERR_OK)
        reject(call, &e);
    else
        receive_message(call);
}

void call_request(struct rpc_server *s)
{
    struct rpc_call *call = xnew(struct rpc_call);

    atomic_store(&call->refs, 1);
    atomic_fetch_add(&s->refs, 1);
    call->server = s;
    call->queue_end = &call->queue;
    call->status_text = grpc_empty_slice();
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    op_arm(&call->start, on_call);
    grpc_completion_queue *queue = core_queue(s->core);
    grpc_call_error r = grpc_server_request_call(s->grpc, &call->grpc, &call->details,
                                                 &call->metadata, queue, queue, &call->start);
    if (r != GRPC_CALL_OK) {
        log_error("rpc", NULL, "ask for a call: %s", grpc_call_error_to_string(r));
        abort();
    }
}

/* ---- What handlers use ----------------------------------------------------------------------- */

const double rpc_duration_bounds[RPC_DURATION_BOUNDS] = {0.001, 0.005, 0.01, 0.05, 0.1,
                                                         0.5,   1,     5,    30};

static void count(const struct rpc_call *call, enum err_code code)
{
    struct rpc_counts *counts = call->row->counts;
    int64_t took = time_mono_ns() - call->started;
    size_t i = 0;

    if (code < ARRAY_SIZE(counts->by_code))
        counts->by_code[code]++;
    if (call->row->streaming)
        return;
    while (i < RPC_DURATION_BOUNDS && (double)took > rpc_duration_bounds[i] * NS_PER_SEC)
        i++;
    counts->by_duration[i]++;
    counts->total_ns += took;
}

static void consume(struct rpc_call *call, enum err_code code)
{
    if (call->consumed) {
        log_error("rpc", call->row->path, "a call was answered twice");
        abort();
    }
    call->consumed = true;
    count(call, code);
    call->on_cancel = NULL;
    call->on_writable = NULL;
}

static void expect_streaming(const struct rpc_call *call, bool streaming)
{
    if (call->row->streaming == streaming)
        return;
    log_error("rpc", call->row->path, "is answered as a %s, but is none",
              streaming ? "stream" : "single message");
    abort();
}

static struct outgoing *outgoing_new(const ProtobufCMessage *message)
{
    struct outgoing *o = xnew(struct outgoing);

    o->buffer = message_pack(message);
    o->cost = grpc_byte_buffer_length(o->buffer) + MESSAGE_OVERHEAD;
    return o;
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    const struct err none = ERR_INIT;

    expect_streaming(call, false);
    consume(call, ERR_OK);
    if (call->open) {
        call->sending = outgoing_new(response);
        send_end(call, &none);
    }
    call_unref(call);
}

void rpc_fail(struct rpc_call *call, const struct err *e)
{
    consume(call, e->code == ERR_OK ? ERR_INTERNAL : e->code);
    if (e->code == ERR_OK)
        err_set(&call->status, ERR_INTERNAL, "%s failed without saying why", call->row->path);
    else
        err_copy(&call->status, e);
    send_next(call);
    call_unref(call);
}

void rpc_finish(struct rpc_call *call)
{
    expect_streaming(call, true);
    consume(call, ERR_OK);
    send_next(call);
    call_unref(call);
}

bool rpc_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    expect_streaming(call, true);
    if (!call->open)
        return true;
    if (call->backlog > RPC_STREAM_BACKLOG)
        return false;
    struct outgoing *o = outgoing_new(message);
    call->backlog += o->cost;
    *call->queue_end = o;
    call->queue_end = &o->next;
    send_next(call);
    return true;
}

void rpc_on_writable(struct rpc_call *call, void (*fn)(void *arg), void *arg)
{
    call->on_writable = fn;
    call->on_writable_arg = arg;
}

/* For who asks when it has happened already. */
static void tell_cancel_late(void *arg)
{
    struct rpc_call *call = arg;
    void (*fn)(void *) = take_ptr(call->on_cancel);

    if (fn)
        fn(call->on_cancel_arg);
    call_unref(call);
}

void rpc_on_cancel(struct rpc_call *call, void (*fn)(void *arg), void *arg)
{
    bool late = fn && call->cancelled && !call->on_cancel;

    call->on_cancel = fn;
    call->on_cancel_arg = arg;
    if (late) {
        atomic_fetch_add(&call->refs, 1);
        loop_post(call->server->loop, tell_cancel_late, call);
    }
}

int64_t rpc_time_left(const struct rpc_call *call)
{
    gpr_timespec never = gpr_inf_future(call->deadline.clock_type);

    if (gpr_time_cmp(call->deadline, never) == 0)
        return INT64_MAX;
    gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
    int64_t ms = left.tv_sec * 1000 + left.tv_nsec / NS_PER_MS;
    return ms > 0 ? ms : 0;
}

const char *rpc_method_name(const struct rpc_call *call)
{
    return call->row->path;
}
