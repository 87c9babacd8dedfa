/*
 * events.c - GetContainerEvents: every change of a pod or container, in order, to every subscriber.
 *
 * A message is built when the change has become readable and carries the whole pod as it then was.
 * A subscriber that reads too slowly is cut off with RESOURCE_EXHAUSTED, never left with a gap: it
 * connects again and lists.
 */
#include "private.h"

struct subscriber {
    struct cri *cri;
    struct rpc_call *call;
    struct pod_watch *watch;
};

static Runtime__V1__ContainerEventType type_of(enum pod_event_type type)
{
    switch (type) {
    case POD_CREATED:
        return RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_CREATED_EVENT;
    case POD_STARTED:
        return RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STARTED_EVENT;
    case POD_STOPPED:
        return RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_STOPPED_EVENT;
    case POD_DELETED:
        break;
    }
    return RUNTIME__V1__CONTAINER_EVENT_TYPE__CONTAINER_DELETED_EVENT;
}

static void add_containers(const struct cri *cri, const struct pod_event *event,
                           Runtime__V1__ContainerEventResponse *message, struct arena *a)
{
    size_t n = 0;

    list_for_each (item, &event->sandbox->containers)
        n++;
    message->containers_statuses = arena_alloc(a, n * sizeof(*message->containers_statuses));
    list_for_each (item, &event->sandbox->containers) {
        const struct container *c = container_of_sibling(item);
        if (event->type == POD_DELETED && c == event->container)
            continue;
        message->containers_statuses[message->n_containers_statuses++] =
            container_to_status(cri, c, a);
    }
}

static void subscriber_end(struct subscriber *s)
{
    pod_watch_free(s->watch);
    free(s);
}

static void on_event(void *arg, const struct pod_event *event)
{
    struct subscriber *s = arg;
    Runtime__V1__ContainerEventResponse message = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    message.container_id = event->container ? event->container->id : event->sandbox->id;
    message.container_event_type = type_of(event->type);
    message.created_at = event->time;
    message.pod_sandbox_status = sandbox_to_status(event->sandbox, &a);
    add_containers(s->cri, event, &message, &a);
    if (rpc_send(s->call, &message.base))
        return;
    err_set(&e, ERR_RESOURCE_EXHAUSTED,
            "this client reads its events too slowly; connect again and list first");
    rpc_fail(s->call, &e);
    subscriber_end(s);
}

static void on_cancel(void *arg)
{
    struct subscriber *s = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_CANCELLED, "the client has gone");
    rpc_fail(s->call, &e);
    subscriber_end(s);
}

void cri_get_container_events(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct cri *c = ctx;

    if (!cri_accept(c, call))
        return;
    struct subscriber *s = xnew(struct subscriber);
    s->cri = c;
    s->call = call;
    s->watch = pods_watch(c->config.pods, on_event, s);
    rpc_on_cancel(call, on_cancel, s);
}
