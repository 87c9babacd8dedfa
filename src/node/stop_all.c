/*
 * stop_all.c - the StopAll call: every pod on this podd ends, with grace; declared ones are
 * forgotten when asked; then podd itself, when asked.
 *
 * Forgotten pods go the way of deletion.c. All other sandboxes, CRI's too, are stopped here and
 * keep their records, or lose them with `reset`. A declared pod that is not forgotten is not
 * started again before the next start of podd.
 */
#include "private.h"
#include "translate.h"

#define CRI_GRACE_MS 10000 /* CRI does not say; what docker gives */

enum stop_step { STOP_DECLARED, STOP_SANDBOXES, STOP_DONE };

struct stop_all {
    struct node *node;
    struct rpc_call *call;
    bool forget, exit, reset;
    enum stop_step step;
    size_t pending;
    uint32_t stopped;
    struct err failed;
};

struct stop_one {
    struct stop_all *all; /* NULL: the node has closed */
    struct node *node;
    char *id;
    size_t pending; /* containers */
};

static void stop_next(struct stop_all *s);

/* ---- The end -----------------------------------------------------------------------------------
 */

static void shut_down(void *arg)
{
    struct node *n = arg;
    n->config.on_shutdown(n->config.on_shutdown_arg);
}

static void stop_end(struct stop_all *s)
{
    struct node *n = s->node;
    Podd__V1__StopAllResponse response = PODD__V1__STOP_ALL_RESPONSE__INIT;
    bool exit = s->exit;

    if (s->reset && s->failed.code == ERR_OK && net_destroy(n->config.net, &s->failed) < 0)
        err_wrap(&s->failed, "remove podd's network");
    if (s->failed.code != ERR_OK) {
        rpc_fail(s->call, &s->failed);
        exit = false; /* whoever asked can look at it, and try again */
    } else {
        response.pods_stopped = s->stopped;
        rpc_reply(s->call, &response.base);
    }
    if (s->forget && !exit)
        n->halted = false; /* nothing is left that would come back */
    n->stopping = NULL;
    err_clear(&s->failed);
    free(s);
    if (exit && n->config.on_shutdown)
        loop_post(n->config.loop, shut_down, n);
}

/* ---- Sandboxes ---------------------------------------------------------------------------------
 */

static void sandbox_ended(void *arg, const struct err *e)
{
    struct stop_one *one = arg;
    struct stop_all *s = one->all;

    if (err_is_set(e)) {
        log_warn("node", one->id, "stop the sandbox: %s", err_text(e));
        if (s->failed.code == ERR_OK)
            err_copy(&s->failed, e);
    }
    free(one->id);
    free(one);
    if (--s->pending == 0)
        stop_next(s);
}

static void container_ended(void *arg, const struct err *e)
{
    struct stop_one *one = arg;

    if (err_is_set(e)) /* ending the sandbox kills what is left */
        log_warn("node", one->id, "stop a container: %s", err_text(e));
    if (--one->pending > 0)
        return;
    if (one->all->reset)
        sandbox_remove(one->node->config.pods, one->id, sandbox_ended, one);
    else
        sandbox_stop(one->node->config.pods, one->id, sandbox_ended, one);
}

static int64_t grace_ms(struct node *n, const struct sandbox *s)
{
    const struct declared *d = map_get(n->uids, s->uid);

    return d && str_equal(s->origin, NODE_ORIGIN) ? d->grace * 1000 : CRI_GRACE_MS;
}

static void stop_sandbox(struct stop_all *all, const char *id)
{
    const struct err none = ERR_INIT;
    struct sandbox *s = sandbox_find(all->node->config.pods, id, NULL);
    char **containers = NULL;

    if (!s || (s->state != SANDBOX_READY && !all->reset))
        return;
    struct stop_one *one = xnew(struct stop_one);
    one->all = all;
    one->node = all->node;
    one->id = xstrdup(id);
    one->pending = 1;
    all->pending++;
    int64_t grace = grace_ms(all->node, s);
    list_for_each (it, &s->containers)
        strv_push(&containers, container_of_sibling(it)->id);
    for (char **c = containers; c && *c; c++) {
        one->pending++;
        container_stop(all->node->config.pods, *c, grace, container_ended, one);
    }
    strv_free(containers);
    container_ended(one, &none);
}

static void collect(void *arg, const struct sandbox *s)
{
    char ***ids = arg;
    strv_push(ids, s->id);
}

static void stop_sandboxes(struct stop_all *s)
{
    char **ids = NULL;

    s->pending = 1;
    sandbox_for_each(s->node->config.pods, collect, &ids);
    for (char **id = ids; id && *id; id++)
        stop_sandbox(s, *id);
    strv_free(ids);
    if (--s->pending == 0)
        stop_next(s);
}

/* ---- Declared pods -----------------------------------------------------------------------------
 */

static void quiet(struct declared *d)
{
    for (size_t i = 0; i < d->n_members; i++)
        d->members[i].kill = false;
}

static void forget_declared(struct stop_all *s)
{
    list_for_each_safe (it, &s->node->declared)
        declared_delete(container_of(it, struct declared, item), -1);
    stop_all_check(s->node);
}

void stop_all_check(struct node *n)
{
    struct stop_all *s = n->stopping;

    if (s && s->step == STOP_DECLARED && list_empty(&n->declared))
        stop_next(s);
}

static void stop_next(struct stop_all *s)
{
    switch (s->step) {
    case STOP_DECLARED:
        s->step = STOP_SANDBOXES;
        stop_sandboxes(s);
        break;
    case STOP_SANDBOXES:
        s->step = STOP_DONE;
        stop_end(s);
        break;
    case STOP_DONE:
        break;
    }
}

/* ---- The call ----------------------------------------------------------------------------------
 */

static void count_ready(void *arg, const struct sandbox *s)
{
    uint32_t *count = arg;
    *count += s->state == SANDBOX_READY;
}

void stop_all_run(struct node *n, struct rpc_call *call, const Podd__V1__StopAllRequest *request)
{
    if (n->stopping) {
        call_fail(call, ERR_ABORTED, "all pods are being stopped by another call");
        return;
    }
    if (!n->started) {
        call_fail(call, ERR_UNAVAILABLE, "podd is still finding out what runs; try again");
        return;
    }
    struct stop_all *s = xnew(struct stop_all);
    s->node = n;
    s->call = call;
    s->reset = request->reset;
    s->forget = request->forget_declared || request->reset;
    s->exit = request->exit || request->reset;
    n->stopping = s;
    n->halted = true;
    sandbox_for_each(n->config.pods, count_ready, &s->stopped);
    log_info("node", NULL, "stopping every pod%s%s", s->forget ? ", declared ones for good" : "",
             s->exit ? ", then podd" : "");
    if (s->forget) {
        forget_declared(s);
        return;
    }
    list_for_each (it, &n->declared)
        quiet(container_of(it, struct declared, item));
    stop_next(s);
}

void stop_all_close(struct node *n)
{
    struct stop_all *s = n->stopping;

    if (!s)
        return;
    call_fail(s->call, ERR_UNAVAILABLE, "podd is stopping");
    n->stopping = NULL;
    err_clear(&s->failed);
    /* The rooms below may still call back: what they would find stays. */
}
