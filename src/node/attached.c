/*
 * attached.c - probes that a master has attached to containers it started through CRI.
 *
 * podd probes and tells; it never restarts such a container. Each container is one ProbedContainer:
 * that message is what calls answer, what watchers are told, and what the record is made of. How
 * the probes stand the health room keeps itself.
 */
#include "attached.h"
#include "text.h"
#include "translate.h"

#define MESSAGE_MAX 1024

/* ---- What it looks like ------------------------------------------------------------------------
 */

static void fill_status(const struct attached *a, const Podd__V1__ScheduledProbe *probe,
                        Podd__V1__ProbeStatus *status)
{
    struct probe_state state;

    status->kind = probe->kind;
    if (!health_probe_state(a->health, (enum probe_kind)probe->kind, &state))
        return;
    status->result = probe_result_number(state.last_result);
    status->message = text_clean(state.message, strlen(state.message), sizeof(state.message));
    status->last_time = state.last_time;
    status->latency = state.latency_ns;
    status->attempts = state.attempts;
    status->failures = state.failures;
    status->run = state.run;
    status->run_result = probe_result_number(state.run_result);
}

static void clear_status(Podd__V1__ProbedContainer *m)
{
    for (size_t i = 0; i < m->n_status; i++)
        podd__v1__probe_status__free_unpacked(m->status[i], NULL);
    free(take_ptr(m->status));
    m->n_status = 0;
    m->message = NULL; /* borrowed */
}

Podd__V1__ProbedContainer *attached_refresh(struct attached *a)
{
    const struct container *c = container_find(a->table->node->config.pods, a->id, NULL);
    Podd__V1__ProbedContainer *m = a->message;

    clear_status(m);
    m->status = m->n_probes ? xcalloc(m->n_probes, sizeof(*m->status)) : NULL;
    for (; m->n_status < m->n_probes; m->n_status++) {
        Podd__V1__ProbeStatus *status = xmalloc(sizeof(*status));
        podd__v1__probe_status__init(status);
        fill_status(a, m->probes[m->n_status], status);
        m->status[m->n_status] = status;
    }
    m->running = c && c->state == CONTAINER_RUNNING;
    m->started = health_is_started(a->health);
    m->ready = m->running && health_is_ready(a->health);
    m->failed = a->failure != NULL;
    m->message = a->failure ? a->failure : (char *)"";
    return m;
}

struct attached *attached_find(struct attached_table *t, const char *id)
{
    list_for_each (it, &t->all) {
        struct attached *a = container_of(it, struct attached, item);
        if (str_equal(a->id, id))
            return a;
    }
    return NULL;
}

/* ---- Probing -----------------------------------------------------------------------------------
 */

static void on_change(struct attached *a)
{
    attached_tell(a, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__MODIFIED);
}

static void on_ready(void *arg, bool ready)
{
    on_change(arg);
}

static void on_started(void *arg)
{
    on_change(arg);
}

static void on_unhealthy(void *arg, enum probe_kind kind, int64_t grace, const char *message)
{
    struct attached *a = arg;

    _cleanup_free_ char *text = text_clean(message, strlen(message), MESSAGE_MAX);
    _cleanup_free_ char *failure =
        xasprintf("%s probe failed: %s", kind == PROBE_STARTUP ? "startup" : "liveness", text);
    if (str_equal(failure, a->failure))
        return; /* told before podd was started again */
    free(a->failure);
    a->failure = take_ptr(failure);
    log_info("node", a->id, "%s", a->failure);
    attached_record_sync(a->table, a->id, NULL);
    on_change(a);
}

static int check_range(const char *name, int32_t value, int32_t max, struct err *e)
{
    if (value >= 0 && value <= max)
        return 0;
    return err_set(e, ERR_INVALID_ARGUMENT, "the probe's %s must be 0 to %d, not %d", name, max,
                   value);
}

static int plan_scheduled(const Podd__V1__ScheduledProbe *p, struct probe_plan *plan, struct err *e)
{
    bool ends = p->kind != PODD__V1__PROBE_KIND__READINESS;

    if (!p->probe)
        return err_set(e, ERR_INVALID_ARGUMENT, "a probe says when, but not what");
    if (probe_plan_given(p->probe, plan, e) < 0 ||
        check_range("initial_delay_seconds", p->initial_delay_seconds, INT32_MAX, e) < 0 ||
        check_range("period_seconds", p->period_seconds, INT32_MAX, e) < 0 ||
        check_range("success_threshold", p->success_threshold, ends ? 1 : INT32_MAX, e) < 0 ||
        check_range("failure_threshold", p->failure_threshold, INT32_MAX, e) < 0)
        return -1;
    plan->spec.initial_delay = p->initial_delay_seconds;
    plan->spec.period = p->period_seconds ? p->period_seconds : 10;
    plan->spec.success_threshold = p->success_threshold ? p->success_threshold : 1;
    plan->spec.failure_threshold = p->failure_threshold ? p->failure_threshold : 3;
    return 0;
}

static int plan_all(const Podd__V1__ProbedContainer *m, struct probe_plan plans[PROBE_KIND_COUNT],
                    const struct probe_spec *specs[PROBE_KIND_COUNT], struct err *e)
{
    for (size_t i = 0; i < m->n_probes; i++) {
        unsigned kind = (unsigned)m->probes[i]->kind;
        if (kind >= PROBE_KIND_COUNT)
            return err_set(e, ERR_INVALID_ARGUMENT, "there is no probe of kind %u", kind);
        if (specs[kind])
            return err_set(e, ERR_INVALID_ARGUMENT, "there are two probes of one kind");
        if (plan_scheduled(m->probes[i], &plans[kind], e) < 0)
            return -1;
        specs[kind] = &plans[kind].spec;
    }
    return 0;
}

void attached_free(struct attached *a)
{
    list_remove(&a->item);
    health_detach(a->health);
    clear_status(a->message);
    podd__v1__probed_container__free_unpacked(a->message, NULL);
    free(a->failure);
    free(a->id);
    free(a);
}

struct attached *attached_new(struct attached_table *t, const char *id,
                              Podd__V1__ProbedContainer *message_take, bool resume, struct err *e)
{
    static const struct health_events events = {on_ready, on_started, on_unhealthy, NULL};
    const struct probe_spec *specs[PROBE_KIND_COUNT] = {NULL};
    struct probe_plan plans[PROBE_KIND_COUNT] = {{{0}}};
    Podd__V1__ProbedContainer *m = message_take;
    struct attached *a = NULL;

    if (plan_all(m, plans, specs, e) < 0) {
        podd__v1__probed_container__free_unpacked(m, NULL);
    } else {
        a = xnew(struct attached);
        a->table = t;
        a->id = xstrdup(id);
        a->message = m;
        if (m->failed)
            a->failure = xstrdup(m->message);
        if (!str_empty(m->message))
            free(m->message);
        m->message = NULL; /* from now on borrowed from `failure` */
        list_append(&t->all, &a->item);
        a->health = health_attach(t->node->config.health, id, specs, resume, &events, a);
    }
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++)
        probe_plan_free(&plans[i]);
    return a;
}

void attached_drop(struct attached *a, struct rpc_call *call)
{
    _cleanup_free_ char *id = xstrdup(a->id);
    struct attached_table *t = a->table;

    attached_tell(a, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__DELETED);
    attached_free(a);
    attached_record_sync(t, id, call);
}

/* ---- The room's life ---------------------------------------------------------------------------
 */

struct attached_table *attached_open(struct node *n)
{
    struct attached_table *t = xnew(struct attached_table);

    t->node = n;
    t->directory = xasprintf("%s/probes", n->config.root);
    list_init(&t->all);
    list_init(&t->watchers);
    list_init(&t->records);
    return t;
}

void attached_close(struct attached_table *t)
{
    if (!t)
        return;
    attached_watchers_close(t);
    while (!list_empty(&t->all))
        attached_free(container_of(t->all.next, struct attached, item));
    attached_record_close(t);
    free(t->directory);
    free(t);
}

void attached_on_event(struct attached_table *t, const struct pod_event *event)
{
    struct attached *a = attached_find(t, event->container->id);

    if (!a)
        return;
    if (event->type == POD_DELETED) {
        struct rpc_call *call = attached_record_take_call(t, a->id);
        if (call)
            call_fail(call, ERR_NOT_FOUND, "the container was removed");
        attached_drop(a, NULL);
    } else if (event->type == POD_STOPPED) {
        on_change(a);
    }
}
