/*
 * status.c - a declared pod as podd.v1 tells it: phase, conditions, and each container's state,
 * reason, last end and probes, as kubectl users know them.
 *
 * The message owns all it points to, so that it can outlive the pod.
 */
#include "private.h"
#include "text.h"
#include "translate.h"

#define CONDITION_COUNT 4
static const char *const condition_names[CONDITION_COUNT] = {
    "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"};

static void set_text(char **field, const char *text)
{
    if (!str_empty(text))
        *field = xstrdup(text);
}

/* ---- Probes ------------------------------------------------------------------------------------
 */

static Podd__V1__ProbeKind kind_number(enum probe_kind kind)
{
    switch (kind) {
    case PROBE_READINESS:
        return PODD__V1__PROBE_KIND__READINESS;
    case PROBE_LIVENESS:
        return PODD__V1__PROBE_KIND__LIVENESS;
    case PROBE_STARTUP:
    case PROBE_KIND_COUNT:
        break;
    }
    return PODD__V1__PROBE_KIND__STARTUP;
}

Podd__V1__ProbeResult probe_result_number(enum probe_result result)
{
    switch (result) {
    case PROBE_SUCCESS:
        return PODD__V1__PROBE_RESULT__PROBE_RESULT_SUCCESS;
    case PROBE_WARNING:
        return PODD__V1__PROBE_RESULT__PROBE_RESULT_WARNING;
    case PROBE_FAILURE:
        return PODD__V1__PROBE_RESULT__PROBE_RESULT_FAILURE;
    case PROBE_UNKNOWN:
        break;
    }
    return PODD__V1__PROBE_RESULT__PROBE_RESULT_UNKNOWN;
}

static Podd__V1__ProbeStatus *probe_message(const struct member *m, enum probe_kind kind)
{
    Podd__V1__ProbeStatus *status = xmalloc(sizeof(*status));
    struct probe_state state;

    podd__v1__probe_status__init(status);
    status->kind = kind_number(kind);
    status->description = probe_describe(m->spec, member_probe(m, kind));
    if (!health_probe_state(m->health, kind, &state))
        return status;
    status->result = probe_result_number(state.last_result);
    status->message = text_clean(state.message, strlen(state.message), sizeof(state.message));
    status->last_time = state.last_time;
    status->latency = state.latency_ns;
    status->attempts = state.attempts;
    status->failures = state.failures;
    status->run = state.run;
    status->run_result = probe_result_number(state.run_result);
    return status;
}

static void add_probes(const struct member *m, Podd__V1__ContainerStatus *to)
{
    to->probes = xcalloc(PROBE_KIND_COUNT, sizeof(*to->probes));
    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++)
        if (member_probe(m, kind))
            to->probes[to->n_probes++] = probe_message(m, kind);
}

/* ---- Containers --------------------------------------------------------------------------------
 */

static Podd__V1__Termination *termination_message(const struct termination *t)
{
    Podd__V1__Termination *message = xmalloc(sizeof(*message));

    podd__v1__termination__init(message);
    message->exit_code = t->exit_code;
    set_text(&message->reason, t->reason);
    set_text(&message->message, t->message);
    message->started_at = t->started_at;
    message->finished_at = t->finished_at;
    return message;
}

static void fill_waiting(const struct member *m, const struct container *c,
                         Podd__V1__ContainerStatus *to)
{
    const char *reason = m->waiting;

    to->state = PODD__V1__CONTAINER_STATUS__STATE__WAITING;
    if (!reason)
        reason = !m->init && m->pod->n_init && !m->pod->initialized ? "PodInitializing"
                                                                    : "ContainerCreating";
    set_text(&to->reason, reason);
    set_text(&to->message, m->waiting_message);
    if (m->pod->trouble && !m->waiting)
        set_text(&to->message, m->pod->trouble);
    to->backoff_until = str_equal(reason, "CrashLoopBackOff") ? m->due : 0;
    if (c) { /* its life has ended, and the next one waits */
        struct termination ended = {0};
        termination_of(&ended, m, c);
        to->last_termination = termination_message(&ended);
        termination_clear(&ended);
    }
}

static void fill_ended(const struct member *m, const struct container *c,
                       Podd__V1__ContainerStatus *to)
{
    if (member_restarts(m, c) && !m->pod->finished && !m->pod->deleting) {
        fill_waiting(m, c, to);
        return;
    }
    to->state = PODD__V1__CONTAINER_STATUS__STATE__TERMINATED;
    set_text(&to->reason, c->reason);
    set_text(&to->message, m->end_noted ? m->end_message : c->message);
    to->exit_code = c->exit_code;
    to->started_at = c->started_at;
    to->finished_at = c->finished_at;
    to->ready = m->init && !m->sidecar && c->exit_code == 0;
}

static void fill_state(const struct member *m, const struct container *c,
                       Podd__V1__ContainerStatus *to)
{
    if (!c || c->state == CONTAINER_CREATED) {
        fill_waiting(m, NULL, to);
    } else if (c->state == CONTAINER_RUNNING) {
        to->state = PODD__V1__CONTAINER_STATUS__STATE__RUNNING;
        to->started_at = c->started_at;
        to->started = health_is_started(m->health);
        to->ready = health_is_ready(m->health);
        to->pid = c->pid;
    } else {
        fill_ended(m, c, to);
    }
    if (!to->last_termination && m->last.set)
        to->last_termination = termination_message(&m->last);
}

static char *log_path(const struct member *m, uint32_t attempt)
{
    _cleanup_free_ char *dir = declared_log_dir(m->pod);

    return xasprintf("%s/%s/%u.log", dir, m->spec->name, attempt);
}

static Podd__V1__ContainerStatus *container_message(const struct member *m, bool with_probes)
{
    const struct container *c = member_container(m);
    Podd__V1__ContainerStatus *to = xmalloc(sizeof(*to));

    podd__v1__container_status__init(to);
    to->name = xstrdup(m->spec->name);
    to->image = xstrdup(m->spec->image);
    to->restart_count = m->attempt;
    to->log_path = log_path(m, m->attempt);
    if (m->attempt > 0)
        to->previous_log_path = log_path(m, m->attempt - 1);
    if (c) {
        to->container_id = xstrdup(c->id);
        set_text(&to->image_id, c->image_id);
    }
    fill_state(m, c, to);
    if (with_probes)
        add_probes(m, to);
    return to;
}

/* ---- Conditions --------------------------------------------------------------------------------
 */

static bool containers_are_ready(const struct declared *d)
{
    for (size_t i = 0; i < d->n_members; i++) {
        const struct member *m = &d->members[i];
        const struct container *c = member_container(m);
        if (m->init && !m->sidecar)
            continue;
        if (!c || c->state != CONTAINER_RUNNING || !health_is_ready(m->health))
            return false;
    }
    return true;
}

static void add_conditions(struct declared *d, Podd__V1__PodStatus *to)
{
    const struct sandbox *s = declared_sandbox(d);
    bool ready = d->initialized && containers_are_ready(d);
    const bool now[CONDITION_COUNT] = {s && s->state == SANDBOX_READY, d->initialized, ready,
                                       ready};

    to->conditions = xcalloc(CONDITION_COUNT, sizeof(*to->conditions));
    to->n_conditions = CONDITION_COUNT;
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        if (d->condition_state[i] != now[i] || d->condition_time[i] == 0) {
            d->condition_state[i] = now[i];
            d->condition_time[i] = time_now_ns();
        }
        Podd__V1__Condition *condition = xmalloc(sizeof(*condition));
        podd__v1__condition__init(condition);
        condition->type = xstrdup(condition_names[i]);
        condition->status = now[i];
        condition->changed_at = d->condition_time[i];
        if (i >= 2 && !now[i])
            condition->reason = xstrdup(d->finished ? "PodCompleted" : "ContainersNotReady");
        to->conditions[i] = condition;
    }
}

/* ---- The pod -----------------------------------------------------------------------------------
 */

static int64_t first_start(const struct declared *d)
{
    const struct sandbox *s = declared_sandbox(d);

    return s ? s->created_at : 0;
}

static Podd__V1__PodStatus *status_message(struct declared *d, bool with_probes)
{
    Podd__V1__PodStatus *to = xmalloc(sizeof(*to));
    const struct sandbox *s = declared_sandbox(d);

    podd__v1__pod_status__init(to);
    to->phase = xstrdup(phase_name(declared_phase(d)));
    set_text(&to->message, d->trouble);
    if (d->expired) {
        set_text(&to->reason, "DeadlineExceeded");
        set_text(&to->message, "was active on the node for longer than activeDeadlineSeconds");
    }
    if (d->evicted) {
        set_text(&to->reason, "Evicted");
        set_text(&to->message, d->evicted);
    }
    if (d->blockers) {
        set_text(&to->reason, "Replacing");
        set_text(&to->message, "waits for the pod of this name before it to end");
    }
    to->host_network = d->manifest->spec->host_network.value;
    set_text(&to->sandbox_id, d->sandbox_id);
    to->started_at = first_start(d);
    to->terminating = d->deleting;
    to->ips = xcalloc(NET_ADDRESSES_MAX, sizeof(*to->ips));
    for (size_t i = 0; s && i < s->addresses.count; i++)
        to->ips[to->n_ips++] = xstrdup(s->addresses.text[i]);
    add_conditions(d, to);
    to->init_containers = xcalloc(d->n_init + 1, sizeof(*to->init_containers));
    to->containers = xcalloc(d->n_members + 1, sizeof(*to->containers));
    for (size_t i = 0; i < d->n_init; i++)
        to->init_containers[to->n_init_containers++] =
            container_message(&d->members[i], with_probes);
    for (size_t i = d->n_init; i < d->n_members; i++)
        to->containers[to->n_containers++] = container_message(&d->members[i], with_probes);
    to->ephemeral_containers = xcalloc(d->n_ephemeral + 1, sizeof(*to->ephemeral_containers));
    for (size_t i = 0; i < d->n_ephemeral; i++)
        to->ephemeral_containers[to->n_ephemeral_containers++] =
            container_message(&d->ephemeral[i]->member, with_probes);
    return to;
}

static Podd__V1__Pod__LabelsEntry **labels_message(const struct pair_list *pairs, size_t *ret_n)
{
    Podd__V1__Pod__LabelsEntry **entries = xcalloc(pairs->count + 1, sizeof(*entries));

    for (size_t i = 0; i < pairs->count; i++) {
        entries[i] = xmalloc(sizeof(**entries));
        podd__v1__pod__labels_entry__init(entries[i]);
        entries[i]->key = xstrdup(pairs->items[i].key);
        entries[i]->value = xstrdup(pairs->items[i].value);
    }
    *ret_n = pairs->count;
    return entries;
}

static Podd__V1__Pod__AnnotationsEntry **annotations_message(const struct pair_list *pairs,
                                                             size_t *ret_n)
{
    Podd__V1__Pod__AnnotationsEntry **entries = xcalloc(pairs->count + 1, sizeof(*entries));

    for (size_t i = 0; i < pairs->count; i++) {
        entries[i] = xmalloc(sizeof(**entries));
        podd__v1__pod__annotations_entry__init(entries[i]);
        entries[i]->key = xstrdup(pairs->items[i].key);
        entries[i]->value = xstrdup(pairs->items[i].value);
    }
    *ret_n = pairs->count;
    return entries;
}

Podd__V1__Pod *declared_to_message(struct declared *d, bool with_probes)
{
    static const char *const policies[] = {"Always", "Always", "OnFailure", "Never"};
    Podd__V1__Pod *to = xmalloc(sizeof(*to));

    podd__v1__pod__init(to);
    to->namespace_ = xstrdup(d->namespace_);
    to->name = xstrdup(d->name);
    to->uid = xstrdup(d->uid);
    to->labels = labels_message(&d->manifest->metadata->labels, &to->n_labels);
    to->annotations = annotations_message(&d->manifest->metadata->annotations, &to->n_annotations);
    to->resource_version = d->version;
    to->created_at = d->created_at;
    to->manifest = xstrdup(d->manifest->json);
    to->restart_policy = xstrdup(policies[d->manifest->spec->restart]);
    if (d->source)
        to->manifest_file = xstrdup(d->source);
    to->status = status_message(d, with_probes);
    return to;
}
