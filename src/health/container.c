/*
 * container.c - the probes of one container's life.
 *
 * Each kind of probe is a worker: a timer that is due at the next attempt, at most one attempt
 * under way, and a machine (machine.c) that says what the outcomes amount to. The startup worker
 * gates the others: until it has succeeded they do not run, and its success starts them at once.
 *
 * Attempts start `initial_delay` after the container did, then every `period`, measured from start
 * to start; one that takes longer than a period is followed at once. How each probe stands is kept
 * on disk (table.h), so that the next podd goes on where this one ends: with the same counts, and
 * at the same points of each period, which also spreads the attempts. Of a container that it knows
 * nothing about it begins at a random point.
 */
#include "machine.h"
#include "private.h"

#include <sys/random.h>

struct worker {
    struct health_container *owner;
    enum probe_kind kind;
    struct probe_spec *spec;
    struct machine machine;
    struct timer *timer;
    struct probe_attempt *attempt;
    int64_t due;     /* wall-clock ns of the attempt under way or next */
    size_t slot;     /* in the table */
    bool tell_again; /* an earlier podd saw it fail for good: what follows may not have happened */
};

struct health_container {
    struct health *health;
    char *id;
    struct worker *workers[PROBE_KIND_COUNT]; /* NULL where there is no probe */
    bool started, ready;
    struct health_events events;
    void *arg;
};

static void worker_schedule(struct worker *w);
static void worker_attempt(struct worker *w);

static int64_t worker_period_ns(const struct worker *w)
{
    return (int64_t)(w->spec->period > 0 ? w->spec->period : 10) * NS_PER_SEC;
}

/* ---- What follows from a verdict ---------------------------------------------------------------
 */

static void update_ready(struct health_container *hc)
{
    const struct worker *r = hc->workers[PROBE_READINESS];
    bool ready = hc->started && (!r || r->machine.state.last_result == PROBE_SUCCESS);

    if (ready == hc->ready)
        return;
    hc->ready = ready;
    if (hc->events.on_ready)
        hc->events.on_ready(hc->arg, ready);
}

static void set_started(struct health_container *hc)
{
    hc->started = true;
    for (int kind = PROBE_READINESS; kind <= PROBE_LIVENESS; kind++) {
        struct worker *w = hc->workers[kind];
        if (w && !w->attempt)
            worker_schedule(w);
    }
    if (hc->events.on_started)
        hc->events.on_started(hc->arg);
    update_ready(hc);
}

/* Acts on a change. The last thing done with the container: the owner may detach from inside. */
static void worker_apply(struct worker *w, enum machine_change change)
{
    struct health_container *hc = w->owner;

    if (w->kind == PROBE_STARTUP && change == MACHINE_HEALTHY)
        set_started(hc);
    else if (w->kind == PROBE_READINESS)
        update_ready(hc);
    else if (change == MACHINE_FAILING && hc->events.on_unhealthy)
        hc->events.on_unhealthy(hc->arg, w->kind, w->spec->termination_grace,
                                w->machine.state.message);
}

static void worker_keep(const struct worker *w)
{
    const struct kept_probe kept = {
        .on_hold = w->machine.on_hold, .due = w->due, .state = w->machine.state};

    probe_table_put(w->owner->health->table, w->slot, w->owner->id, w->kind, &kept);
}

const struct health_counts *health_counts(const struct health *h)
{
    return &h->counts;
}

static void on_attempt_done(void *arg, enum probe_result result, const char *message,
                            int64_t latency_ns)
{
    struct worker *w = arg;
    struct health_container *hc = w->owner;

    w->attempt = NULL;
    enum machine_change change =
        machine_feed(&w->machine, result, message, time_now_ns(), latency_ns);
    if (change == MACHINE_RETRY) {
        worker_attempt(w);
        return;
    }
    w->due += worker_period_ns(w);
    worker_schedule(w);
    worker_keep(w);
    hc->health->counts.attempts[w->kind][result]++;
    hc->health->counts.latency_ns[w->kind] += latency_ns;
    if (hc->events.on_attempt)
        hc->events.on_attempt(hc->arg, w->kind, result, message, latency_ns);
    if (change != MACHINE_SAME)
        worker_apply(w, change);
}

/* ---- The schedule
 * --------------------------------------------------------------------------------- */

static void worker_attempt(struct worker *w)
{
    w->attempt = probe_run(w->owner->health, w->owner->id, w->spec, on_attempt_done, w);
}

static void on_due(void *arg)
{
    struct worker *w = arg;
    const struct container *c = container_find(w->owner->health->pods, w->owner->id, NULL);

    /* Its end is told by others; until they detach there is nothing to ask. */
    if (!c || c->state != CONTAINER_RUNNING)
        return;
    if (w->tell_again) {
        w->tell_again = false;
        worker_apply(w, MACHINE_FAILING);
        return;
    }
    worker_attempt(w);
}

static void worker_schedule(struct worker *w)
{
    int64_t now = time_now_ns();

    if (w->tell_again)
        timer_start(w->timer, 0);
    if (w->machine.on_hold || (w->kind != PROBE_STARTUP && !w->owner->started))
        return;
    if (w->due < now)
        w->due = now;
    timer_start(w->timer, (w->due - now + NS_PER_MS - 1) / NS_PER_MS);
}

static int64_t random_below(int64_t limit)
{
    uint64_t value = 0;

    if (getrandom(&value, sizeof(value), 0) != sizeof(value))
        return 0;
    return (int64_t)(value % (uint64_t)limit);
}

/* When the first attempt is due: after the delay, or in step with what went before. */
static int64_t first_due(const struct worker *w, const struct container *c, bool resume)
{
    int64_t earliest = c->started_at + (int64_t)w->spec->initial_delay * NS_PER_SEC;
    int64_t now = time_now_ns(), period = worker_period_ns(w);

    if (w->due > now + period + (earliest > now ? earliest - now : 0))
        return now + random_below(period); /* the clock was set back */
    if (w->due)
        return w->due >= now ? w->due : w->due + ((now - w->due) / period + 1) * period;
    if (resume && earliest < now && c->started_at < w->owner->health->opened_at)
        return now + random_below(period);
    return earliest;
}

/* ---- Attaching
 * --------------------------------------------------------------------------------------- */

static struct worker *worker_new(struct health_container *hc, enum probe_kind kind,
                                 const struct probe_spec *spec, bool resume)
{
    struct kept_probe kept;
    struct worker *w = xnew(struct worker);

    w->owner = hc;
    w->kind = kind;
    w->spec = probe_spec_copy(spec);
    w->timer = timer_new(hc->health->loop, on_due, w);
    machine_init(&w->machine, kind, spec);
    bool known = probe_table_claim(hc->health->table, hc->id, kind, &w->slot, &kept);
    if (known && resume) {
        w->machine.state = kept.state;
        w->machine.on_hold = kept.on_hold;
        w->due = kept.due;
        w->tell_again = kept.on_hold && kept.state.last_result == PROBE_FAILURE;
    }
    return w;
}

static void worker_free(struct worker *w)
{
    if (!w)
        return;
    probe_cancel(w->attempt);
    timer_free(w->timer);
    probe_spec_free(w->spec);
    free(w);
}

struct health_container *health_attach(struct health *h, const char *container_id,
                                       const struct probe_spec *const specs[PROBE_KIND_COUNT],
                                       bool resume, const struct health_events *events, void *arg)
{
    struct health_container *hc = xnew(struct health_container);
    const struct container *c = container_find(h->pods, container_id, NULL);

    hc->health = h;
    hc->id = xstrdup(container_id);
    hc->events = *events;
    hc->arg = arg;
    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++)
        if (specs[kind])
            hc->workers[kind] = worker_new(hc, kind, specs[kind], resume);

    const struct worker *startup = hc->workers[PROBE_STARTUP];
    const struct worker *readiness = hc->workers[PROBE_READINESS];
    hc->started = !startup || startup->machine.state.last_result == PROBE_SUCCESS;
    hc->ready =
        hc->started && (!readiness || readiness->machine.state.last_result == PROBE_SUCCESS);
    for (int kind = 0; c && kind < PROBE_KIND_COUNT; kind++) {
        struct worker *w = hc->workers[kind];
        if (w) {
            w->due = first_due(w, c, resume);
            worker_keep(w);
            worker_schedule(w);
        }
    }
    return hc;
}

void health_detach(struct health_container *hc)
{
    if (!hc)
        return;
    for (int kind = 0; kind < PROBE_KIND_COUNT; kind++)
        worker_free(hc->workers[kind]);
    free(hc->id);
    free(hc);
}

/* ---- Looking
 * -------------------------------------------------------------------------------------------- */

bool health_is_ready(const struct health_container *hc)
{
    return hc && hc->ready;
}

bool health_is_started(const struct health_container *hc)
{
    return hc && hc->started;
}

bool health_probe_state(const struct health_container *hc, enum probe_kind kind,
                        struct probe_state *ret)
{
    if (!hc || !hc->workers[kind])
        return false;
    *ret = hc->workers[kind]->machine.state;
    return true;
}
