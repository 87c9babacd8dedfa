/*
 * grpc.c - the gRPC probe: grpc.health.v1.Health/Check over plaintext HTTP/2, SERVING is success.
 *
 * The connection is made from inside the pod, and then handed to an rpc client of its own.
 */
#include "dial.h"

#include "podd/rpc.h"

#include "health.pb-c.h"

struct grpc_state {
    struct probe_attempt *attempt; /* NULL once nobody waits for the answer */
    struct dial *dial;
    struct rpc_client *client;
};

static void on_answer(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct probe_attempt *a = ((struct grpc_state *)arg)->attempt;
    const Grpc__Health__V1__HealthCheckResponse *answer = (const void *)response;

    if (!a)
        return; /* told because the client is being freed */
    if (e->code == ERR_UNIMPLEMENTED) {
        attempt_finish(a, PROBE_FAILURE, "the server has no grpc.health.v1.Health service");
    } else if (e->code != ERR_OK) {
        attempt_finish(a, PROBE_FAILURE, "%s", err_text(e));
    } else if (answer->status != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING) {
        attempt_finish(a, PROBE_FAILURE, "service \"%s\" is not serving (status %d)",
                       a->spec->grpc_service ? a->spec->grpc_service : "", answer->status);
    } else {
        attempt_finish(a, PROBE_SUCCESS, "service serves");
    }
}

static void on_dialled(void *arg, int fd_take, enum probe_result verdict, const char *message)
{
    struct probe_attempt *a = arg;
    struct grpc_state *g = a->state;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    g->dial = NULL;
    if (fd_take < 0) {
        attempt_finish(a, verdict, "%s", message);
        return;
    }
    _cleanup_free_ char *name = xasprintf("%s:%u", a->host, a->spec->port);
    g->client = rpc_client_new_on_socket(a->health->loop, name, fd_take);
    request.service = a->spec->grpc_service ? (char *)a->spec->grpc_service : (char *)"";
    rpc_client_call(g->client, &grpc__health__v1__health__descriptor, "Check", &request.base,
                    (int64_t)a->spec->timeout * 1000, on_answer, g);
}

static void grpc_start(struct probe_attempt *a)
{
    struct grpc_state *g = xnew(struct grpc_state);

    a->state = g;
    g->attempt = a;
    g->dial = dial_start(a->health->loop, a->netns, a->host, a->spec->port, on_dialled, a);
}

static void grpc_cancel(struct probe_attempt *a)
{
    struct grpc_state *g = a->state;

    a->state = NULL;
    g->attempt = NULL;
    if (g->dial)
        dial_cancel(g->dial);
    rpc_client_free(g->client);
    free(g);
}

const struct probe_way probe_way_grpc = {grpc_start, grpc_cancel};
