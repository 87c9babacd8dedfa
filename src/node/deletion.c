/*
 * deletion.c - ends a pod: its containers with grace, its sidecars after them, its sandbox, its
 * files, its record.
 *
 * The mark is on disk before anything is stopped, so that a restart of podd goes on with it. Each
 * step is found again by looking at what is left; what fails is tried again.
 */
#include "object.h"
#include "private.h"
#include "translate.h"

#define RETRY_NS (5 * NS_PER_SEC)

/* ---- Beginning ---------------------------------------------------------------------------------
 */

static void cancel_pull(struct member *m)
{
    const struct err cancelled = {.code = ERR_CANCELLED};

    if (!m->pull)
        return;
    image_pull_cancel(take_ptr(m->pull));
    op_on_done(m->op, &cancelled);
}

void declared_cancel_pulls(struct declared *d)
{
    for (size_t i = 0; i < d->n_members; i++) {
        cancel_pull(&d->members[i]);
        d->members[i].kill = false;
        d->members[i].due = 0;
    }
    for (size_t i = 0; i < d->n_ephemeral; i++)
        cancel_pull(&d->ephemeral[i]->member);
}

static void mark_saved(struct declared *d, const struct err *e, void *arg)
{
    d->saved = true; /* or it could not be written: ending it counts more than the mark */
}

void declared_delete(struct declared *d, int64_t grace)
{
    bool sooner = d->deleting && grace >= 0 && grace < d->grace;

    if (d->deleting && !sooner)
        return;
    if (grace >= 0)
        d->grace = grace;
    if (sooner && d->stop_deadline > time_mono_ns() + grace * NS_PER_SEC) {
        d->stop_deadline = time_mono_ns() + grace * NS_PER_SEC;
        d->hasten = true;
    }
    d->deleting = true;
    declared_cancel_pulls(d);
    if (!d->superseded) {
        d->saved = false;
        if (!d->on_saved) /* else an apply waits for its record, and says when */
            d->on_saved = mark_saved;
        store_save(d);
    }
    declared_touch(d);
    declared_kick(d);
}

void declared_answer_deletion(struct declared *d, struct rpc_call *call, bool wait)
{
    const Podd__V1__DeletePodResponse response = PODD__V1__DELETE_POD_RESPONSE__INIT;

    if (wait)
        calls_add(&d->waiting, call);
    else if (d->superseded || !(d->record_busy || d->write_again))
        rpc_reply(call, &response.base);
    else
        calls_add(&d->marking, call);
}

void declared_marked(struct declared *d, const struct err *e)
{
    const Podd__V1__DeletePodResponse response = PODD__V1__DELETE_POD_RESPONSE__INIT;

    calls_answer(&d->marking, &response.base, e);
}

/* ---- The steps ---------------------------------------------------------------------------------
 */

static void step_failed(struct declared *d, const char *what, const struct err *e)
{
    event_add(d, NULL, true, "FailedKillPod", "%s: %s", what, err_text(e));
    log_warn("node", d->key, "%s: %s; trying again", what, err_text(e));
    d->retry_at = time_now_ns() + RETRY_NS;
}

static void stopped(struct op *op, const char *id, const struct err *e)
{
    if (e->code != ERR_OK)
        step_failed(op->pod, "stop a container", e);
}

static bool is_init(const struct declared *d, const char *name)
{
    for (size_t i = 0; i < d->n_init; i++)
        if (str_equal(d->members[i].spec->name, name))
            return true;
    return false;
}

static void stop_container(struct declared *d, const struct container *c, int64_t grace_ms)
{
    struct op *op = op_new(d, NULL, stopped, NULL);

    event_add(d, NULL, false, "Killing", "Stopping container %s", c->name);
    container_stop(d->node->config.pods, c->id, grace_ms, op_on_done, op);
}

/* What is left of the pod's grace, which begins with the first call. */
static int64_t grace_left_ms(struct declared *d)
{
    if (!d->stop_deadline)
        d->stop_deadline = time_mono_ns() + d->grace * NS_PER_SEC;
    return (d->stop_deadline - time_mono_ns()) / NS_PER_MS;
}

/* Its preStop hook, which gets no more than the grace, then the stop itself. */
static void end_container(struct declared *d, const struct container *c)
{
    struct member *m = declared_member(d, c->name);
    int64_t left_ms = grace_left_ms(d);

    if (m && str_equal(m->id, c->id) && !member_pre_stop(m, left_ms))
        return;
    if (left_ms < GRACE_MIN_MS && d->grace > 0)
        left_ms = GRACE_MIN_MS;
    stop_container(d, c, left_ms > 0 ? left_ms : 0);
}

/* Stops all but the init containers; true when none of them runs. */
static bool stop_main(struct declared *d)
{
    struct sandbox *s = declared_sandbox(d);
    bool down = true;

    if (!s)
        return true;
    list_for_each_safe (it, &s->containers) {
        struct container *c = container_of_sibling(it);
        if (c->state != CONTAINER_RUNNING || is_init(d, c->name))
            continue;
        down = false;
        end_container(d, c);
    }
    return down;
}

/* Sidecars end one after the other, the last first: what was started later may need the earlier. */
static bool stop_init(struct declared *d)
{
    for (size_t i = d->n_init; i-- > 0;) {
        const struct container *c = member_container(&d->members[i]);
        if (c && c->state == CONTAINER_RUNNING) {
            end_container(d, c);
            return false;
        }
    }
    return true;
}

bool declared_stop_containers(struct declared *d)
{
    if (d->retry_at > time_now_ns()) {
        declared_wake_at(d, d->retry_at);
        return false;
    }
    return d->ops == 0 && stop_main(d) && stop_init(d);
}

static void removed(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;

    if (e->code != ERR_OK) {
        step_failed(d, "remove the sandbox", e);
        return;
    }
    free(take_ptr(d->sandbox_id));
}

struct left {
    const struct declared *d;
    char *id;
};

static void find_left(void *arg, const struct sandbox *s)
{
    struct left *left = arg;

    if (!left->id && str_equal(s->origin, NODE_ORIGIN) && str_equal(s->uid, left->d->uid))
        left->id = xstrdup(s->id);
}

/* Removes one sandbox of the pod; true when there is none left. */
static bool remove_sandbox(struct declared *d)
{
    struct left left = {.d = d};

    for (size_t i = 0; i < d->n_members; i++) {
        health_detach(take_ptr(d->members[i].health));
        member_reset_hooks(&d->members[i]);
        free(take_ptr(d->members[i].id));
    }
    ephemeral_forget(d);
    sandbox_for_each(d->node->config.pods, find_left, &left);
    if (!left.id)
        return true;
    d->sandbox_op = op_new(d, NULL, removed, NULL);
    sandbox_remove(d->node->config.pods, left.id, op_on_done, d->sandbox_op);
    free(left.id);
    return false;
}

/* ---- The end -----------------------------------------------------------------------------------
 */

static void declared_gone(struct declared *d)
{
    const Podd__V1__DeletePodResponse response = PODD__V1__DELETE_POD_RESPONSE__INIT;
    struct node *n = d->node;
    struct declared *successor = d->successor;

    if (d->manifest)
        log_info("node", d->key, "is gone");
    if (d->replaced_by)
        d->replaced_by->replaces = NULL;
    watch_deleted(d);
    calls_answer(&d->marking, &response.base, NULL);
    calls_answer(&d->waiting, &response.base, NULL);
    declared_free(d);
    if (successor) {
        successor->blockers--;
        declared_kick(successor);
    }
    stop_all_check(n);
    namespaces_check(n);
}

static void files_removed(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;

    if (e->code != ERR_OK) {
        step_failed(d, "remove the pod's files", e);
        return;
    }
    d->gone = true; /* freed by the next pass, when nothing is under way */
}

/* ---- The pass ----------------------------------------------------------------------------------
 */

/* Containers may be told twice to stop, for the earliest deadline counts; else one at a time. */
static bool may_step(const struct declared *d)
{
    return d->ops == 0 && d->saved && d->blockers == 0;
}

void deletion_sync(struct declared *d)
{
    if (d->retry_at > time_now_ns()) {
        declared_wake_at(d, d->retry_at);
        return;
    }
    if (d->hasten) {
        d->hasten = false;
        if (d->step == DELETION_STOP_MAIN)
            stop_main(d);
        else if (d->step == DELETION_STOP_INIT)
            stop_init(d);
    }
    if (!may_step(d))
        return;
    if (d->gone) {
        declared_gone(d);
        return;
    }
    switch (d->step) {
    case DELETION_STOP_MAIN:
        if (!stop_main(d))
            return;
        d->step = DELETION_STOP_INIT;
        /* fall through */
    case DELETION_STOP_INIT:
        if (!stop_init(d))
            return;
        d->step = DELETION_SANDBOX;
        /* fall through */
    case DELETION_SANDBOX:
        if (!remove_sandbox(d))
            return;
        d->step = DELETION_FILES;
        /* fall through */
    case DELETION_FILES:
        store_remove(d, files_removed);
        break;
    }
}
