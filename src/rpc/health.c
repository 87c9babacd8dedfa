/*
 * health.c - grpc.health.v1.Health of a server: what it tells about itself.
 *
 * Check answers at once; Watch answers now and at each change. A watcher that reads slowly is not
 * sent every change: when it can take messages again it gets the status of that moment.
 */
#include "health.pb-c.h"
#include "private.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct service {
    health_status status;
};

struct watch {
    struct list link;
    struct rpc_health *health;
    struct rpc_call *call;
    char *service;
    health_status sent;
};

struct rpc_health {
    struct map *services; /* name -> struct service */
    struct list watches;
};

static void fill(Grpc__Health__V1__HealthCheckResponse *response, health_status status)
{
    grpc__health__v1__health_check_response__init(response);
    response->status = status;
}

static void handle_check(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
    struct rpc_health *h = ctx;
    const struct service *service = map_get(h->services, request->service);
    Grpc__Health__V1__HealthCheckResponse response;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!service) {
        err_set(&e, ERR_NOT_FOUND, "no service \"%s\" here", request->service);
        rpc_fail(call, &e);
        return;
    }
    fill(&response, service->status);
    rpc_reply(call, &response.base);
}

/* ---- Watch ----------------------------------------------------------------------------------- */

static void watch_end(struct watch *w, enum err_code code, const char *why)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, code, "%s", why);
    list_remove(&w->link);
    rpc_fail(w->call, &e);
    free(w->service);
    free(w);
}

static void on_watch_cancel(void *arg)
{
    watch_end(arg, ERR_CANCELLED, "the client is gone");
}

/* Sends the status if it is another than the last one sent. */
static void watch_update(void *arg)
{
    struct watch *w = arg;
    const struct service *service = map_get(w->health->services, w->service);
    health_status status = service ? service->status : STATUS(SERVICE_UNKNOWN);
    Grpc__Health__V1__HealthCheckResponse response;

    if (status == w->sent)
        return;
    fill(&response, status);
    if (rpc_send(w->call, &response.base))
        w->sent = status;
    else
        rpc_on_writable(w->call, watch_update, w);
}

static void handle_watch(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
    struct watch *w = xnew(struct watch);

    w->health = ctx;
    w->call = call;
    w->service = xstrdup(request->service);
    w->sent = STATUS(UNKNOWN); /* never a status of ours */
    list_append(&w->health->watches, &w->link);
    rpc_on_cancel(call, on_watch_cancel, w);
    watch_update(w);
}

/* ---- What the server uses -------------------------------------------------------------------- */

static const struct rpc_method methods[] = {
    {"Check", handle_check, false, true},
    {"Watch", handle_watch, true, true},
};

void rpc_server_add_health(struct rpc_server *s)
{
    struct rpc_health *h = xnew(struct rpc_health);

    h->services = map_new();
    list_init(&h->watches);
    s->health = h;
    rpc_server_add_service(s, &grpc__health__v1__health__descriptor, methods, ARRAY_SIZE(methods),
                           h);
    rpc_server_set_health(s, "", false);
}

void rpc_server_set_health(struct rpc_server *s, const char *service, bool serving)
{
    struct rpc_health *h = s->health;
    struct service *known = map_get(h->services, service);

    if (!known) {
        known = xnew(struct service);
        map_put(h->services, service, known);
    }
    known->status = serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
    list_for_each_safe (it, &h->watches)
        watch_update(container_of(it, struct watch, link));
}

void health_end(struct rpc_health *h)
{
    if (!h)
        return;
    list_for_each_safe (it, &h->watches)
        watch_end(container_of(it, struct watch, link), ERR_UNAVAILABLE,
                  "the server is shutting down");
}

void health_service_free(struct rpc_health *h)
{
    size_t cursor = 0;
    void *value;

    if (!h)
        return;
    health_end(h);
    while (map_next(h->services, &cursor, NULL, &value))
        free(value);
    map_free(h->services);
    free(h);
}
