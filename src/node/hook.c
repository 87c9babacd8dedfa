/*
 * hook.c - lifecycle hooks of a container: postStart once it has started, preStop before podd stops
 * it.
 *
 * A hook that is an exec or an HTTP request is one attempt of the health room, a sleep is a timer;
 * no more than one is under way for a container. postStart has no time limit; when it fails the
 * container is killed. preStop has what is left of the grace period, which goes on meanwhile, and
 * its failure is only told: the container is to end anyway.
 */
#include "private.h"
#include "translate.h"

struct hook {
    struct member *member;
    bool pre_stop;
    struct probe_attempt *attempt; /* NULL: a sleep */
    struct timer *timer;           /* the sleep, and the end of the grace */
    int64_t limit;                 /* monotonic ns; 0: none */
    bool is_sleep;
    int64_t wake; /* monotonic ns: the end of the sleep */
};

static void hook_free(struct hook *h)
{
    if (h->attempt)
        probe_cancel(h->attempt);
    timer_free(h->timer);
    free(h);
}

/* It is over; `failure` says how it went wrong, NULL: it did not. */
static void hook_end(struct hook *h, const char *failure)
{
    struct member *m = h->member;
    bool pre_stop = h->pre_stop;

    m->hook = NULL;
    if (pre_stop)
        m->pre_stopped = true;
    else
        m->post_started = true;
    if (failure)
        event_add(m->pod, m, true, pre_stop ? "FailedPreStopHook" : "FailedPostStartHook", "%s: %s",
                  pre_stop ? "PreStopHook failed" : "PostStartHook failed", failure);
    if (failure && !pre_stop) {
        m->kill = true;
        m->kill_grace = -1;
        m->due = 0;
    }
    /* Others of the pod may be on their way down for long: this one does not wait for them. */
    if (m->pod->deleting)
        m->pod->hasten = true;
    hook_free(h);
    declared_touch(m->pod);
    declared_kick(m->pod);
}

static void on_attempt(void *arg, enum probe_result result, const char *message, int64_t latency_ns)
{
    struct hook *h = arg;

    h->attempt = NULL;
    hook_end(h, result == PROBE_FAILURE || result == PROBE_UNKNOWN ? message : NULL);
}

static void on_timer(void *arg)
{
    struct hook *h = arg;
    bool slept = h->is_sleep && time_mono_ns() >= h->wake;

    hook_end(h, slept ? NULL : "it was still running when the grace period ended");
}

/* One timer for both: the sleep's end, or that of the grace if it comes first. */
static void set_timer(struct hook *h)
{
    int64_t now = time_mono_ns();
    int64_t at = h->is_sleep && (h->limit == 0 || h->wake < h->limit) ? h->wake : h->limit;

    if (at)
        timer_start(h->timer, at > now ? (at - now + NS_PER_MS - 1) / NS_PER_MS : 0);
}

static void hook_begin(struct member *m, const struct manifest_hook *spec, bool pre_stop,
                       int64_t limit)
{
    struct hook *h = xnew(struct hook);

    *h = (struct hook){.member = m, .pre_stop = pre_stop, .limit = limit};
    h->timer = timer_new(m->pod->node->config.loop, on_timer, h);
    m->hook = h;
    if (spec->sleep) {
        h->is_sleep = true;
        h->wake = time_mono_ns() + spec->sleep->seconds.value * NS_PER_SEC;
    } else {
        struct pair_list env = {0};
        struct probe_plan plan;
        member_environment(m, &env);
        hook_plan_make(m->spec, spec, &env, &plan);
        h->attempt = probe_run(m->pod->node->config.health, m->id, &plan.spec, on_attempt, h);
        probe_plan_free(&plan);
        pair_list_free(&env);
    }
    set_timer(h);
}

bool member_post_start(struct member *m)
{
    const struct manifest_lifecycle *l = m->spec->lifecycle;

    if (m->post_started || !l || !l->post_start)
        return true;
    if (!m->hook)
        hook_begin(m, l->post_start, false, 0);
    return false;
}

bool member_pre_stop(struct member *m, int64_t left_ms)
{
    const struct manifest_lifecycle *l = m->spec->lifecycle;
    int64_t limit = time_mono_ns() + left_ms * NS_PER_MS;

    if (m->pre_stopped || !l || !l->pre_stop || left_ms <= 0) {
        if (m->hook)
            hook_free(take_ptr(m->hook));
        return true;
    }
    if (m->hook && !m->hook->pre_stop) { /* it is to end before it has quite begun */
        hook_free(take_ptr(m->hook));
        m->post_started = true;
    }
    if (!m->hook) {
        hook_begin(m, l->pre_stop, true, limit);
    } else if (limit < m->hook->limit) { /* the grace has become shorter */
        m->hook->limit = limit;
        set_timer(m->hook);
    }
    return false;
}

void member_reset_hooks(struct member *m)
{
    if (m->hook)
        hook_free(take_ptr(m->hook));
    m->post_started = m->pre_stopped = false;
}
