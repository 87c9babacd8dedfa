/*
 * ephemeral.c - containers that are added to a running pod, to look into it (podctl debug).
 *
 * One is started once and never again, counts for nothing in the pod's phase, and ends with the
 * pod's sandbox. It is on record before it is started, so that the next podd knows it.
 */
#include "private.h"

#define EPHEMERAL_MAX 64 /* per pod */

static void add(struct declared *d, struct manifest_container *spec_take, char *json_take)
{
    struct ephemeral **slot = array_push(&d->ephemeral, &d->n_ephemeral, sizeof(*slot));
    struct ephemeral *added = xnew(struct ephemeral);

    added->spec = spec_take;
    added->json = json_take;
    added->member.pod = d;
    added->member.spec = spec_take;
    added->member.ephemeral = true;
    *slot = added;
}

static void free_last(struct declared *d)
{
    struct ephemeral *last = d->ephemeral[--d->n_ephemeral];

    member_clear(&last->member);
    ephemeral_free(last->spec);
    free(last->json);
    free(last);
}

void ephemeral_forget(struct declared *d)
{
    while (d->n_ephemeral > 0)
        free_last(d);
    free(take_ptr(d->ephemeral));
}

int ephemeral_load(struct declared *d, const char *json, struct err *e)
{
    struct manifest_container *spec;
    char *text;

    if (ephemeral_parse(json, strlen(json), d->manifest->spec, &spec, &text, e) < 0)
        return -1;
    add(d, spec, text);
    return 0;
}

void ephemeral_sync(struct declared *d)
{
    for (size_t i = 0; i < d->n_ephemeral; i++) {
        struct member *m = &d->ephemeral[i]->member;
        if (m->id || m->attempt == 0)
            member_sync(m);
    }
}

/* ---- The call ----------------------------------------------------------------------------------
 */

static void added(struct declared *d, const struct err *e, void *arg)
{
    const Podd__V1__AddEphemeralContainerResponse response =
        PODD__V1__ADD_EPHEMERAL_CONTAINER_RESPONSE__INIT;
    struct rpc_call *call = arg;

    d->saved = true;
    if (e->code != ERR_OK) {
        free_last(d);
        rpc_fail(call, e);
        return;
    }
    rpc_reply(call, &response.base);
    declared_touch(d);
}

static int check_pod(const struct declared *d, struct err *e)
{
    const struct sandbox *s = declared_sandbox(d);

    if (d->deleting || d->finished || !s || s->state != SANDBOX_READY)
        return err_set(e, ERR_FAILED_PRECONDITION, "pod %s does not run", d->key);
    if (d->on_saved || !d->saved)
        return err_set(e, ERR_ABORTED, "pod %s is being changed by another call; try again",
                       d->key);
    if (d->n_ephemeral == EPHEMERAL_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "pod %s has %d ephemeral containers already",
                       d->key, EPHEMERAL_MAX);
    return 0;
}

static int try_add(struct declared *d, const Podd__V1__AddEphemeralContainerRequest *request,
                   struct err *e)
{
    struct manifest_container *spec;
    char *json;

    if (check_pod(d, e) < 0 || ephemeral_parse(request->container.data, request->container.len,
                                               d->manifest->spec, &spec, &json, e) < 0)
        return -1;
    if (declared_member(d, spec->name)) {
        err_set(e, ERR_ALREADY_EXISTS, "pod %s has an ephemeral container %s already", d->key,
                spec->name);
        ephemeral_free(spec);
        free(json);
        return -1;
    }
    add(d, spec, json);
    return 0;
}

void ephemeral_add(struct node *n, struct rpc_call *call,
                   const Podd__V1__AddEphemeralContainerRequest *request)
{
    struct declared *d = declared_find(n, namespace_or_default(request->namespace_), request->pod);
    _cleanup_err_ struct err e = ERR_INIT;

    if (!d) {
        call_fail(call, ERR_NOT_FOUND, "there is no declared pod %s/%s",
                  namespace_or_default(request->namespace_), request->pod);
        return;
    }
    if (try_add(d, request, &e) < 0) {
        rpc_fail(call, &e);
        return;
    }
    d->saved = false; /* nothing is started before it is on record */
    d->on_saved = added;
    d->on_saved_arg = call;
    store_save(d);
}
