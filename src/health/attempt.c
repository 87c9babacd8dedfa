/*
 * attempt.c - one attempt of a probe: finds its target, starts the way that the action names, and
 * sees to it that there is one verdict, at the latest when the timeout has passed.
 *
 * Verdicts known before anything was started (no such container, no address) are told from the
 * timer, so that the callback never runs inside probe_run().
 */
#include "private.h"

#include <stdio.h>

static const struct probe_way *const ways[] = {
    [PROBE_EXEC] = &probe_way_exec,
    [PROBE_HTTP] = &probe_way_http,
    [PROBE_TCP] = &probe_way_tcp,
    [PROBE_GRPC] = &probe_way_grpc,
};

static bool container_exists(void *arg, const char *id)
{
    const struct health *h = arg;

    return container_find(h->pods, id, NULL) != NULL;
}

struct health *health_new(struct loop *loop, struct pods *pods, const char *state)
{
    struct health *h = xnew(struct health);
    _cleanup_free_ char *path = xasprintf("%s/probe-states", state);

    h->loop = loop;
    h->pods = pods;
    h->opened_at = time_now_ns();
    h->http = http_new(loop);
    h->table = probe_table_open(path, container_exists, h);
    return h;
}

void health_free(struct health *h)
{
    if (!h)
        return;
    http_free(h->http);
    probe_table_close(h->table);
    free(h);
}

static void attempt_free(struct probe_attempt *a)
{
    if (a->state)
        a->way->cancel(a);
    timer_free(a->timer);
    fd_close(a->netns);
    probe_spec_free(a->spec);
    free(a->host);
    free(a->container_id);
    free(a->early_message);
    free(a);
}

void attempt_finish(struct probe_attempt *a, enum probe_result result, const char *fmt, ...)
{
    _cleanup_free_ char *message = NULL;
    int64_t latency = time_mono_ns() - a->started_ns;
    probe_done_fn *fn = a->fn;
    void *arg = a->arg;
    va_list ap;

    va_start(ap, fmt);
    message = xvasprintf(fmt, ap);
    va_end(ap);
    attempt_free(a);
    fn(arg, result, message, latency);
}

static void on_timer(void *arg)
{
    struct probe_attempt *a = arg;

    if (a->early_message) {
        _cleanup_free_ char *message = take_ptr(a->early_message);
        attempt_finish(a, a->early_result, "%s", message);
        return;
    }
    /* Ends with what is behind the comma, whatever the way was busy with. */
    attempt_finish(a, PROBE_FAILURE, "timed out after %d s", a->spec->timeout);
}

/* Finds the container's network and address. False: there is nothing to ask. */
static bool attempt_aim(struct probe_attempt *a)
{
    const struct container *c = container_find(a->health->pods, a->container_id, NULL);
    if (!c || c->state != CONTAINER_RUNNING) {
        a->early_result = PROBE_UNKNOWN;
        a->early_message = xasprintf("container %.12s is not running", a->container_id);
        return false;
    }
    if (a->spec->action == PROBE_EXEC)
        return true;

    const struct sandbox *s = c->sandbox;
    if (!s->host_network) {
        a->netns = fd_dup(sandbox_netns(s));
        if (a->netns < 0) {
            a->early_result = PROBE_UNKNOWN;
            a->early_message = xstrdup("the pod's network is gone");
            return false;
        }
    }
    if (!str_empty(a->spec->host))
        a->host = xstrdup(a->spec->host);
    else
        a->host = xstrdup(s->addresses.count ? s->addresses.text[0] : "127.0.0.1");
    return true;
}

struct probe_attempt *probe_run(struct health *h, const char *container_id,
                                const struct probe_spec *spec, probe_done_fn *fn, void *arg)
{
    struct probe_attempt *a = xnew(struct probe_attempt);

    a->health = h;
    a->spec = probe_spec_copy(spec);
    a->way = ways[spec->action];
    a->netns = -1;
    a->container_id = xstrdup(container_id);
    a->timer = timer_new(h->loop, on_timer, a);
    a->started_ns = time_mono_ns();
    a->fn = fn;
    a->arg = arg;
    if (a->spec->timeout < 1)
        a->spec->timeout = 1;
    if (attempt_aim(a)) {
        timer_start(a->timer, (int64_t)a->spec->timeout * 1000);
        a->way->start(a);
    }
    if (a->early_message)
        timer_start(a->timer, 0);
    return a;
}

void probe_cancel(struct probe_attempt *a)
{
    if (a)
        attempt_free(a);
}
