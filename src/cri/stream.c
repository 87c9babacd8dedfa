/*
 * stream.c - lists as streams, for nodes whose lists exceed what one message may hold.
 *
 * Objects are sent in the order of their making, a bounded number per message. A client that reads
 * slowly pauses the walk, which goes on behind the newest object sent: times of creation are unique
 * and grow, so every object that stays is sent exactly once, whatever comes and goes meanwhile.
 */
#include "private.h"

#define ITEMS_PER_MESSAGE 1000

struct list_stream {
    const struct cri *cri;
    struct rpc_call *call;
    Runtime__V1__StreamPodSandboxesRequest *sandboxes; /* one of the two, a copy of the request */
    Runtime__V1__StreamContainersRequest *containers;
    int64_t cursor; /* created_at of the last object sent */
    int64_t batch_cursor;
    struct arena arena; /* of the message being filled */
    void **items;
    size_t n_items;
};

static void stream_free(struct list_stream *s)
{
    if (s->sandboxes)
        protobuf_c_message_free_unpacked(&s->sandboxes->base, NULL);
    if (s->containers)
        protobuf_c_message_free_unpacked(&s->containers->base, NULL);
    arena_free(&s->arena);
    free(s->items);
    free(s);
}

static void add(struct list_stream *s, void *item, int64_t created_at)
{
    *(void **)array_push(&s->items, &s->n_items, sizeof(*s->items)) = item;
    s->batch_cursor = created_at;
}

static void add_sandbox(void *arg, const struct sandbox *found)
{
    struct list_stream *s = arg;

    if (s->n_items < ITEMS_PER_MESSAGE && found->created_at > s->cursor &&
        sandbox_is_wanted(s->cri, s->sandboxes->filter, found))
        add(s, sandbox_to_item(found, &s->arena), found->created_at);
}

static void add_container(void *arg, const struct container *found)
{
    struct list_stream *s = arg;

    if (s->n_items < ITEMS_PER_MESSAGE && found->created_at > s->cursor &&
        container_is_wanted(s->cri, s->containers->filter, found))
        add(s, container_to_item(found, &s->arena), found->created_at);
}

static bool send_batch(struct list_stream *s)
{
    if (s->sandboxes) {
        Runtime__V1__StreamPodSandboxesResponse m =
            RUNTIME__V1__STREAM_POD_SANDBOXES_RESPONSE__INIT;
        m.pod_sandboxes = (Runtime__V1__PodSandbox **)s->items;
        m.n_pod_sandboxes = s->n_items;
        return rpc_send(s->call, &m.base);
    }
    Runtime__V1__StreamContainersResponse m = RUNTIME__V1__STREAM_CONTAINERS_RESPONSE__INIT;
    m.containers = (Runtime__V1__Container **)s->items;
    m.n_containers = s->n_items;
    return rpc_send(s->call, &m.base);
}

static void stream_on(void *arg)
{
    struct list_stream *s = arg;

    for (;;) {
        s->n_items = 0;
        if (s->sandboxes)
            sandbox_for_each(s->cri->config.pods, add_sandbox, s);
        else
            container_for_each(s->cri->config.pods, add_container, s);
        bool sent = s->n_items == 0 || send_batch(s);
        arena_free(&s->arena);
        if (!sent) {
            rpc_on_writable(s->call, stream_on, s);
            return;
        }
        if (s->n_items == 0)
            break;
        s->cursor = s->batch_cursor;
    }
    rpc_finish(s->call);
    stream_free(s);
}

static void *message_copy(const ProtobufCMessage *message)
{
    _cleanup_arena_ struct arena a = {0};
    struct bytes packed = arena_pack(&a, message);

    return protobuf_c_message_unpack(message->descriptor, NULL, packed.len, packed.data);
}

void cri_stream_pod_sandboxes(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;

    if (!cri_accept(c, call))
        return;
    struct list_stream *s = xnew(struct list_stream);
    s->cri = c;
    s->call = call;
    s->sandboxes = message_copy(message);
    stream_on(s);
}

void cri_stream_containers(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;

    if (!cri_accept(c, call))
        return;
    struct list_stream *s = xnew(struct list_stream);
    s->cri = c;
    s->call = call;
    s->containers = message_copy(message);
    stream_on(s);
}
