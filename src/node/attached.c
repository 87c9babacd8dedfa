/*
 * attached.c - probes that a master has attached to containers it started through CRI.
 *
 * podd probes and tells; it never restarts such a container. Each container is one ProbedContainer:
 * that message is what calls answer, what watchers are told, and, packed, the record on disk
 * (<root>/probes/<container id>), which is written when the probes are set, when what they amount
 * to changes, and when podd ends. A record whose container has gone is removed at the next start.
 */
#include "private.h"
#include "text.h"
#include "translate.h"

#include <dirent.h>
#include <fcntl.h>

#define RECORD_SIZE_MAX (1 << 20)
#define MESSAGE_MAX 1024

struct attached {
    struct list item;
    struct attached_table *table;
    char *id;
    Podd__V1__ProbedContainer *message; /* what was given; its status is filled in when asked */
    struct health_container *health;
    char *failure;           /* why it failed for good; NULL: it has not */
    struct rpc_call *setter; /* is answered when the record is there */
};

/* A record that is being written or removed; one at a time of each container. */
struct record {
    struct list item;
    char *id;
    bool again; /* it has changed since */
};

struct watcher {
    struct list item;
    struct rpc_call *call;
    char *id; /* "": all */
};

struct attached_table {
    struct node *node;
    char *directory;
    struct list all;      /* of struct attached, oldest first */
    struct list watchers; /* of struct watcher */
    struct list records;  /* of struct record */
};

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

/* Brings the message up to date. It stays the container's. */
static Podd__V1__ProbedContainer *refresh(struct attached *a)
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

/* ---- Telling -----------------------------------------------------------------------------------
 */

static void watcher_end(struct watcher *w, enum err_code code, const char *why)
{
    struct rpc_call *call = w->call;

    list_remove(&w->item);
    free(w->id);
    free(w);
    call_fail(call, code, "%s", why);
}

static bool send_to(struct watcher *w, Podd__V1__WatchProbesResponse__Type type,
                    Podd__V1__ProbedContainer *container)
{
    Podd__V1__WatchProbesResponse message = PODD__V1__WATCH_PROBES_RESPONSE__INIT;

    message.type = type;
    message.container = container;
    if (rpc_send(w->call, &message.base))
        return true;
    watcher_end(w, ERR_RESOURCE_EXHAUSTED,
                "this watch reads too slowly and was cut off; watch again");
    return false;
}

static void tell(struct attached *a, Podd__V1__WatchProbesResponse__Type type)
{
    Podd__V1__ProbedContainer *m = refresh(a);

    list_for_each_safe (it, &a->table->watchers) {
        struct watcher *w = container_of(it, struct watcher, item);
        if (str_empty(w->id) || str_equal(w->id, a->id))
            send_to(w, type, m);
    }
}

/* ---- The record --------------------------------------------------------------------------------
 */

struct record_job {
    struct work_job base;
    char *id, *path, *directory;
    uint8_t *data; /* NULL: remove it */
    size_t len;
};

static struct attached *find_attached(struct attached_table *t, const char *id)
{
    list_for_each (it, &t->all) {
        struct attached *a = container_of(it, struct attached, item);
        if (str_equal(a->id, id))
            return a;
    }
    return NULL;
}

static char *record_path(const struct attached_table *t, const char *id)
{
    return xasprintf("%s/%s", t->directory, id);
}

static uint8_t *pack_record(struct attached *a, size_t *ret_len)
{
    const Podd__V1__ProbedContainer *m = refresh(a);
    uint8_t *data = xmalloc(podd__v1__probed_container__get_packed_size(m) + 1);

    *ret_len = podd__v1__probed_container__pack(m, data);
    return data;
}

static void record_work(struct work_job *base)
{
    struct record_job *job = (struct record_job *)base;

    if (job->data) {
        if (dir_ensure(job->directory, 0700, &base->err) == 0)
            (void)!file_write_atomic(AT_FDCWD, job->path, job->data, job->len, 0600, true,
                                     &base->err);
    } else if (unlink(job->path) < 0 && errno != ENOENT) {
        err_errno(&base->err, errno, "remove %s", job->path);
    }
}

static void record_sync(struct attached_table *t, const char *id);

static void answer_setter(struct attached *a, const struct err *e)
{
    Podd__V1__SetProbesResponse response = PODD__V1__SET_PROBES_RESPONSE__INIT;
    struct rpc_call *call = take_ptr(a->setter);

    if (call && err_is_set(e)) {
        rpc_fail(call, e);
    } else if (call) {
        response.container_id = a->id;
        rpc_reply(call, &response.base);
    }
}

static void record_free(struct record *r)
{
    list_remove(&r->item);
    free(r->id);
    free(r);
}

static struct record *find_record(struct attached_table *t, const char *id)
{
    list_for_each (it, &t->records) {
        struct record *r = container_of(it, struct record, item);
        if (str_equal(r->id, id))
            return r;
    }
    return NULL;
}

static void record_done(struct op *op, const char *unused, const struct err *e)
{
    struct record_job *job = op->job;
    struct attached_table *t = op->node->attached;
    struct record *record = find_record(t, job->id);
    struct attached *a = find_attached(t, job->id);
    bool again = record->again;

    record_free(record);
    if (e->code != ERR_OK)
        log_warn("node", job->id, "the record of its probes: %s", err_text(e));
    if (again)
        record_sync(t, job->id);
    else if (a)
        answer_setter(a, e);
    err_clear(&job->base.err);
    free(job->id);
    free(job->path);
    free(job->directory);
    free(job->data);
    free(job);
}

/* Has the record say what is true, or be gone when nothing is attached. */
static void record_sync(struct attached_table *t, const char *id)
{
    struct attached *a = find_attached(t, id);
    struct record *busy = find_record(t, id);

    if (busy) {
        busy->again = true;
        return;
    }
    struct record *record = xnew(struct record);
    struct record_job *job = xnew(struct record_job);
    record->id = xstrdup(id);
    list_append(&t->records, &record->item);
    job->base.work = record_work;
    job->id = xstrdup(id);
    job->path = record_path(t, id);
    job->directory = xstrdup(t->directory);
    if (a)
        job->data = pack_record(a, &job->len);
    op_work(t->node->config.loop, op_new_for_node(t->node, record_done, job), &job->base);
}

/* ---- Probing -----------------------------------------------------------------------------------
 */

static void on_change(struct attached *a)
{
    tell(a, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__MODIFIED);
    record_sync(a->table, a->id);
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
    free(a->failure);
    a->failure =
        xasprintf("%s probe failed: %s", kind == PROBE_STARTUP ? "startup" : "liveness", text);
    log_info("node", a->id, "%s", a->failure);
    on_change(a);
}

static enum probe_result result_of(Podd__V1__ProbeResult number)
{
    return (int)number >= PROBE_UNKNOWN && (int)number <= PROBE_FAILURE ? (enum probe_result)number
                                                                        : PROBE_UNKNOWN;
}

static void state_of(const Podd__V1__ProbeStatus *status, struct probe_state *ret)
{
    ret->last_result = result_of(status->result);
    ret->run = status->run;
    ret->run_result = result_of(status->run_result);
    ret->last_time = status->last_time;
    ret->latency_ns = status->latency;
    ret->attempts = status->attempts;
    ret->failures = status->failures;
    memccpy(ret->message, status->message, 0, sizeof(ret->message) - 1);
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

static void attached_free(struct attached *a)
{
    list_remove(&a->item);
    health_detach(a->health);
    clear_status(a->message);
    podd__v1__probed_container__free_unpacked(a->message, NULL);
    free(a->failure);
    free(a->id);
    free(a);
}

/* Begins to probe as the message says, from its status on if it has one. Takes the message. */
static struct attached *attached_new(struct attached_table *t, const char *id,
                                     Podd__V1__ProbedContainer *message_take, struct err *e)
{
    static const struct health_events events = {on_ready, on_started, on_unhealthy, NULL};
    const struct probe_spec *specs[PROBE_KIND_COUNT] = {NULL};
    struct probe_plan plans[PROBE_KIND_COUNT] = {{{0}}};
    struct probe_state states[PROBE_KIND_COUNT] = {{0}};
    Podd__V1__ProbedContainer *m = message_take;
    struct attached *a = NULL;

    if (plan_all(m, plans, specs, e) < 0) {
        podd__v1__probed_container__free_unpacked(m, NULL);
    } else {
        bool resumes = m->n_probes > 0 && m->n_status == m->n_probes;
        for (size_t i = 0; resumes && i < m->n_status; i++)
            state_of(m->status[i], &states[m->probes[i]->kind]);
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
        a->health =
            health_attach(t->node->config.health, id, specs, resumes ? states : NULL, &events, a);
    }
    for (size_t i = 0; i < PROBE_KIND_COUNT; i++)
        probe_plan_free(&plans[i]);
    return a;
}

/* Ends the probing, and the record with it. */
static void attached_drop(struct attached *a)
{
    _cleanup_free_ char *id = xstrdup(a->id);
    struct attached_table *t = a->table;

    tell(a, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__DELETED);
    attached_free(a);
    record_sync(t, id);
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

static int restore_one(struct attached_table *t, const char *id, struct err *e)
{
    _cleanup_free_ char *path = record_path(t, id);
    const struct container *c = container_find(t->node->config.pods, id, NULL);
    _cleanup_bytes_ struct bytes data = {0};

    if (!c || !str_equal(c->id, id)) {
        if (unlink(path) < 0)
            return err_errno(e, errno, "remove %s", path);
        return 0;
    }
    if (file_read(AT_FDCWD, path, RECORD_SIZE_MAX, &data, e) < 0)
        return -1;
    Podd__V1__ProbedContainer *m =
        podd__v1__probed_container__unpack(NULL, data.len, (const uint8_t *)data.data);
    if (!m)
        return err_set(e, ERR_DATA_LOSS, "%s is not a record of probes", path);
    return attached_new(t, id, m, e) ? 0 : -1;
}

void attached_restore(struct attached_table *t)
{
    DIR *directory = opendir(t->directory);
    const struct dirent *entry;

    if (!directory && errno != ENOENT)
        log_warn("node", t->directory, "read the directory: %m");
    while (directory && (entry = readdir(directory))) {
        _cleanup_err_ struct err e = ERR_INIT;
        if (entry->d_name[0] != '.' && restore_one(t, entry->d_name, &e) < 0)
            log_warn("node", entry->d_name, "its probes are lost: %s", err_text(&e));
    }
    if (directory)
        closedir(directory);
}

/* The counts of the last attempts, so that the next podd goes on from them. The loop has ended:
 * nothing waits for this write. */
static void save_now(struct attached *a)
{
    _cleanup_free_ char *path = record_path(a->table, a->id);
    _cleanup_err_ struct err e = ERR_INIT;
    size_t len;
    _cleanup_free_ uint8_t *data = pack_record(a, &len);

    if (file_write_atomic(AT_FDCWD, path, data, len, 0600, false, &e) < 0)
        log_warn("node", a->id, "the record of its probes: %s", err_text(&e));
}

void attached_close(struct attached_table *t)
{
    if (!t)
        return;
    while (!list_empty(&t->watchers))
        watcher_end(container_of(t->watchers.next, struct watcher, item), ERR_UNAVAILABLE,
                    "podd is stopping");
    while (!list_empty(&t->all)) {
        struct attached *a = container_of(t->all.next, struct attached, item);
        if (a->setter)
            call_fail(take_ptr(a->setter), ERR_UNAVAILABLE, "podd is stopping");
        save_now(a);
        attached_free(a);
    }
    while (!list_empty(&t->records))
        record_free(container_of(t->records.next, struct record, item));
    free(t->directory);
    free(t);
}

void attached_on_event(struct attached_table *t, const struct pod_event *event)
{
    struct attached *a = find_attached(t, event->container->id);

    if (!a)
        return;
    if (event->type == POD_DELETED) {
        if (a->setter)
            call_fail(take_ptr(a->setter), ERR_NOT_FOUND, "the container was removed");
        attached_drop(a);
    } else if (event->type == POD_STOPPED) {
        on_change(a);
    }
}

/* ---- Calls -------------------------------------------------------------------------------------
 */

/* The container that probes may be attached to; NULL with *e set. */
static const struct container *find_target(struct attached_table *t, const char *id, bool clears,
                                           struct err *e)
{
    const struct container *c = container_find(t->node->config.pods, id, e);

    if (!c)
        return NULL;
    if (str_equal(c->sandbox->origin, NODE_ORIGIN)) {
        err_set(e, ERR_FAILED_PRECONDITION,
                "container %.12s belongs to a declared pod, whose manifest says how it is probed",
                c->id);
        return NULL;
    }
    if (!clears && c->state != CONTAINER_RUNNING) {
        err_set(e, ERR_FAILED_PRECONDITION, "container %.12s is not running", c->id);
        return NULL;
    }
    return c;
}

/* A copy of what was asked that lives as long as the probing. */
static Podd__V1__ProbedContainer *message_of(const Podd__V1__SetProbesRequest *request,
                                             const char *id)
{
    Podd__V1__ProbedContainer m = PODD__V1__PROBED_CONTAINER__INIT;

    m.container_id = (char *)id;
    m.probes = request->probes;
    m.n_probes = request->n_probes;
    size_t len = podd__v1__probed_container__get_packed_size(&m);
    _cleanup_free_ uint8_t *packed = xmalloc(len + 1);
    podd__v1__probed_container__pack(&m, packed);
    return podd__v1__probed_container__unpack(NULL, len, packed);
}

void attached_set(struct attached_table *t, struct rpc_call *call,
                  const Podd__V1__SetProbesRequest *request)
{
    Podd__V1__SetProbesResponse response = PODD__V1__SET_PROBES_RESPONSE__INIT;
    bool clears = request->n_probes == 0;
    _cleanup_err_ struct err e = ERR_INIT;
    const struct container *c = find_target(t, request->container_id, clears, &e);
    struct attached *old = c ? find_attached(t, c->id) : NULL;

    if (c && old && old->setter)
        err_set(&e, ERR_ABORTED, "the probes of container %.12s are being set; try again", c->id);
    struct attached *a =
        e.code == ERR_OK && !clears ? attached_new(t, c->id, message_of(request, c->id), &e) : NULL;
    if (e.code != ERR_OK) {
        rpc_fail(call, &e);
        return;
    }
    if (clears) {
        if (old)
            attached_drop(old);
        response.container_id = c->id;
        rpc_reply(call, &response.base);
        return;
    }
    if (old)
        attached_free(old);
    a->setter = call;
    tell(a, old ? PODD__V1__WATCH_PROBES_RESPONSE__TYPE__MODIFIED
                : PODD__V1__WATCH_PROBES_RESPONSE__TYPE__ADDED);
    record_sync(t, a->id);
}

void attached_list(struct attached_table *t, struct rpc_call *call,
                   const Podd__V1__ListProbesRequest *request)
{
    Podd__V1__ListProbesResponse response = PODD__V1__LIST_PROBES_RESPONSE__INIT;

    list_for_each (it, &t->all) {
        struct attached *a = container_of(it, struct attached, item);
        if (!str_empty(request->container_id) && !str_equal(request->container_id, a->id))
            continue;
        Podd__V1__ProbedContainer **slot =
            array_push(&response.containers, &response.n_containers, sizeof(*slot));
        *slot = refresh(a);
    }
    rpc_reply(call, &response.base);
    free(response.containers);
}

static void on_watcher_gone(void *arg)
{
    watcher_end(arg, ERR_CANCELLED, "the watcher has gone");
}

void attached_watch(struct attached_table *t, struct rpc_call *call,
                    const Podd__V1__WatchProbesRequest *request)
{
    struct watcher *w = xnew(struct watcher);

    w->call = call;
    w->id = xstrdup(request->container_id);
    list_append(&t->watchers, &w->item);
    rpc_on_cancel(call, on_watcher_gone, w);
    list_for_each (it, &t->all) {
        struct attached *a = container_of(it, struct attached, item);
        if ((str_empty(w->id) || str_equal(w->id, a->id)) &&
            !send_to(w, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__ADDED, refresh(a)))
            return;
    }
    send_to(w, PODD__V1__WATCH_PROBES_RESPONSE__TYPE__BOOKMARK, NULL);
}
