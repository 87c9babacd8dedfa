/*
 * client.c - the client's channel, and what unary calls and streams have in common.
 *
 * A call that is over, or whose client was freed, is closed: its callback has run and nothing of
 * it is delivered any more. What gRPC still has to finish is then let go on gRPC's thread, so a
 * client may be freed at any moment, also in a callback of its own.
 */
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "private.h"

/* ---- The channel ----------------------------------------------------------------------------- */

static grpc_arg int_arg(const char *key, int value)
{
    grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = (char *)key};

    a.value.integer = value;
    return a;
}

static grpc_arg string_arg(const char *key, const char *value)
{
    grpc_arg a = {.type = GRPC_ARG_STRING, .key = (char *)key};

    a.value.string = (char *)value;
    return a;
}

/* With an fd (taken): on that connection; else to the address, when the first call comes. */
static grpc_channel *create_channel(const char *address, bool local, int fd)
{
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, MESSAGE_MAX),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        /* One address, one connection of our own; nothing asked of DNS, proxies or statistics. */
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        /* Long lists come in one go, not in rounds of 64 KiB that wait for our word in between. */
        int_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4 << 20),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, INT32_MAX),
        int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
        /* A server that restarts is back within a second. */
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000),
        string_arg(GRPC_ARG_DEFAULT_AUTHORITY, "localhost"),
    };
    /* A TCP server is told the address that was asked for. */
    grpc_channel_args all = {.num_args = ARRAY_SIZE(args) - (local ? 0 : 1), .args = args};
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    grpc_channel *channel = fd >= 0 ? grpc_channel_create_from_fd(address, fd, insecure, &all)
                                    : grpc_channel_create(address, insecure, &all);

    grpc_channel_credentials_release(insecure);
    return channel;
}

static struct rpc_client *client_alloc(struct loop *loop, const char *address)
{
    struct rpc_client *c = xnew(struct rpc_client);

    atomic_store(&c->refs, 1);
    c->loop = loop;
    c->core = core_get(loop);
    c->address = xstrdup(address);
    list_init(&c->calls);
    return c;
}

struct rpc_client *rpc_client_new_on_socket(struct loop *loop, const char *name, int fd_take)
{
    struct rpc_client *c = client_alloc(loop, name);

    c->channel = create_channel(name, false, fd_take);
    return c;
}

struct rpc_client *rpc_client_new(struct loop *loop, const char *address)
{
    struct rpc_client *c = client_alloc(loop, address);
    bool tcp = str_starts_with(address, "ipv4:") || str_starts_with(address, "ipv6:");
    const char *path;

    if (tcp || unix_address_path(address, &path, &c->fault) == 0)
        c->channel = create_channel(address, !tcp, -1);
    return c;
}

static void client_unref(struct rpc_client *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    err_clear(&c->fault);
    free(c->address);
    free(c);
}

void rpc_client_free(struct rpc_client *c)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (!c)
        return;
    err_set(&e, ERR_CANCELLED, "the connection to %s was closed", c->address);
    while (!list_empty(&c->calls)) {
        struct client_call *call = container_of(c->calls.next, struct client_call, link);
        if (call->grpc)
            grpc_call_cancel(call->grpc, NULL);
        call->cancelled(call, &e); /* closes it */
    }
    if (c->channel)
        grpc_channel_destroy(c->channel);
    core_release(c->core);
    client_unref(c);
}

/* ---- One call -------------------------------------------------------------------------------- */

static const ProtobufCMethodDescriptor *find_method(const ProtobufCServiceDescriptor *service,
                                                    const char *method)
{
    const ProtobufCMethodDescriptor *m =
        protobuf_c_service_descriptor_get_method_by_name(service, method);

    if (!m) {
        log_error("rpc", service->name, "has no method %s", method);
        abort();
    }
    return m;
}

static gpr_timespec deadline_of(int64_t timeout_ms)
{
    if (timeout_ms <= 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

bool client_call_init(struct client_call *c, struct rpc_client *client,
                      const ProtobufCServiceDescriptor *service, const char *method,
                      const ProtobufCMessage *request, int64_t timeout_ms)
{
    atomic_store(&c->refs, 1);
    atomic_fetch_add(&client->refs, 1);
    c->client = client;
    list_append(&client->calls, &c->link);
    c->method = find_method(service, method);
    c->path = xasprintf("/%s/%s", service->name, method);
    c->timeout_ms = timeout_ms;
    c->status_text = grpc_empty_slice();
    grpc_metadata_array_init(&c->headers);
    grpc_metadata_array_init(&c->trailers);
    if (!client->channel)
        return false;
    c->request = message_pack(request);
    grpc_slice path = grpc_slice_from_copied_string(c->path);
    c->grpc = grpc_channel_create_call(client->channel, NULL, 0, core_queue(client->core), path,
                                       NULL, deadline_of(timeout_ms), NULL);
    grpc_slice_unref(path);
    return true;
}

void client_call_unref(struct client_call *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (c->grpc)
        grpc_call_unref(c->grpc);
    if (c->request)
        grpc_byte_buffer_destroy(c->request);
    if (c->received)
        grpc_byte_buffer_destroy(c->received);
    grpc_metadata_array_destroy(&c->headers);
    grpc_metadata_array_destroy(&c->trailers);
    grpc_slice_unref(c->status_text);
    client_unref(c->client);
    free(c->path);
    c->destroy(c);
}

size_t client_call_add_request(struct client_call *c, grpc_op *ops)
{
    ops[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    ops[1] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    ops[1].data.send_message.send_message = c->request;
    ops[2] = (grpc_op){.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    ops[3] = (grpc_op){.op = GRPC_OP_RECV_INITIAL_METADATA};
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->headers;
    return 4;
}

grpc_op client_call_receive_op(struct client_call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &c->received;
    return op;
}

grpc_op client_call_status_op(struct client_call *c)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    op.data.recv_status_on_client.trailing_metadata = &c->trailers;
    op.data.recv_status_on_client.status = &c->status;
    op.data.recv_status_on_client.status_details = &c->status_text;
    return op;
}

void client_call_start(struct client_call *c, const grpc_op *ops, size_t n, struct rpc_op *op,
                       void (*event)(struct rpc_op *op, bool ok))
{
    atomic_fetch_add(&c->refs, 1);
    op_arm(op, event);
    grpc_call_error r = grpc_call_start_batch(c->grpc, ops, n, op, NULL);
    if (r != GRPC_CALL_OK) {
        log_error("rpc", c->path, "start a batch: %s", grpc_call_error_to_string(r));
        abort();
    }
}

void client_call_close(struct client_call *c)
{
    core_close(c->client->core, &c->closed);
    list_remove(&c->link);
}

/* ---- What went wrong ------------------------------------------------------------------------- */

static bool starts_with_any(const char *s, const char *const *prefixes)
{
    for (; *prefixes; prefixes++)
        if (str_starts_with(s, *prefixes))
            return true;
    return false;
}

/* gRPC's texts for what happens to connections, in words that name the address. */
static int unavailable(const struct client_call *c, const char *text, struct err *e)
{
    static const char *const lost[] = {"Socket closed",        "recvmsg:", "sendmsg:", "GOAWAY",
                                       "Endpoint read failed", NULL};
    const char *address = c->client->address;

    if (str_starts_with(text, "failed to connect to all addresses")) {
        /* "...; last error: UNKNOWN: unix:/run/x.sock: No such file or directory" */
        const char *reason = strrchr(text, ':');
        return err_set(e, ERR_UNAVAILABLE, "cannot reach %s: %s; is the server running?", address,
                       reason ? reason + strspn(reason, ": ") : text);
    }
    if (starts_with_any(text, lost))
        return err_set(e, ERR_UNAVAILABLE, "the connection to %s was lost before %s was answered",
                       address, c->method->name);
    return err_set(e, ERR_UNAVAILABLE, "%s", text);
}

int client_call_status(const struct client_call *c, struct err *e)
{
    _cleanup_free_ char *text = xstrndup((const char *)GRPC_SLICE_START_PTR(c->status_text),
                                         GRPC_SLICE_LENGTH(c->status_text));

    if (c->status == GRPC_STATUS_OK)
        return 0;
    if (c->status == GRPC_STATUS_DEADLINE_EXCEEDED && str_equal(text, "Deadline Exceeded"))
        return err_set(e, ERR_DEADLINE_EXCEEDED, "%s gave no answer to %s within %lld ms",
                       c->client->address, c->method->name, (long long)c->timeout_ms);
    if (text[0] == '\0')
        return err_set(e, (enum err_code)c->status, "%s failed with %s", c->method->name,
                       err_code_name((enum err_code)c->status));
    if (c->status == GRPC_STATUS_UNAVAILABLE)
        return unavailable(c, text, e);
    return err_set(e, (enum err_code)c->status, "%s", text);
}
