/*
 * metrics.c - the page: gauges are read off the rooms when it is asked for, counters are kept here.
 *
 * What happens to containers comes from pods_watch, calls from the server's own counts. The lag of
 * the loop is how late a timer of LAG_PERIOD_MS fires; it is the only thing that wakes the daemon,
 * and runs only where metrics are served.
 */
#include "metrics.h"

#include "metrics_http.h"

#define LAG_PERIOD_MS 1000

static const double lag_bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1};

struct metrics {
    struct loop *loop;
    struct metrics_sources of;
    struct metrics_http *http;
    struct pod_watch *watch;
    double started_at;
    uint64_t created, started, stopped, oom_killed;

    struct timer *lag_timer;
    int64_t lag_due;
    uint64_t lag_counts[ARRAY_SIZE(lag_bounds) + 1];
    double lag_sum;
};

/* ---- Counting -------------------------------------------------------------------------------- */

static void on_pod_event(void *arg, const struct pod_event *event)
{
    struct metrics *m = arg;

    if (!event->container)
        return;
    if (event->type == POD_CREATED)
        m->created++;
    else if (event->type == POD_STARTED)
        m->started++;
    else if (event->type == POD_STOPPED)
        m->stopped++;
    if (event->type == POD_STOPPED && str_equal(event->container->reason, "OOMKilled"))
        m->oom_killed++;
}

static void lag_wait(struct metrics *m)
{
    m->lag_due = time_mono_ns() + LAG_PERIOD_MS * NS_PER_MS;
    timer_start(m->lag_timer, LAG_PERIOD_MS);
}

static void on_lag_timer(void *arg)
{
    struct metrics *m = arg;
    int64_t late = time_mono_ns() - m->lag_due;
    double lag = late > 0 ? (double)late / NS_PER_SEC : 0;
    size_t i = 0;

    while (i < ARRAY_SIZE(lag_bounds) && lag > lag_bounds[i])
        i++;
    m->lag_counts[i]++;
    m->lag_sum += lag;
    lag_wait(m);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void head(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counter(struct strbuf *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "counter", help);
    strbuf_addf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* `labels` is "" or ends in a comma. counts[n] is what exceeds the last bound. */
static void histogram(struct strbuf *out, const char *name, const char *labels,
                      const double *bounds, size_t n, const uint64_t *counts, double sum)
{
    uint64_t total = 0;
    size_t len = strlen(labels);
    _cleanup_free_ char *braces = len > 0 ? xasprintf("{%.*s}", (int)len - 1, labels) : xstrdup("");

    for (size_t i = 0; i < n; i++) {
        total += counts[i];
        strbuf_addf(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, labels, bounds[i],
                    (unsigned long long)total);
    }
    total += counts[n];
    strbuf_addf(out, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels, (unsigned long long)total);
    strbuf_addf(out, "%s_sum%s %.9f\n", name, braces, sum);
    strbuf_addf(out, "%s_count%s %llu\n", name, braces, (unsigned long long)total);
}

struct tally {
    uint64_t ready, notready, containers[CONTAINER_UNKNOWN + 1];
};

static void count_sandbox(void *arg, const struct sandbox *s)
{
    struct tally *t = arg;

    if (s->state == SANDBOX_READY)
        t->ready++;
    else
        t->notready++;
}

static void count_container(void *arg, const struct container *c)
{
    struct tally *t = arg;

    t->containers[c->state]++;
}

static void write_pods(struct metrics *m, struct strbuf *out)
{
    static const char *const states[] = {"created", "running", "exited", "unknown"};
    struct tally t = {0};

    sandbox_for_each(m->of.pods, count_sandbox, &t);
    container_for_each(m->of.pods, count_container, &t);
    head(out, "podd_pods", "gauge", "Pods by state.");
    strbuf_addf(out, "podd_pods{state=\"ready\"} %llu\npodd_pods{state=\"notready\"} %llu\n",
                (unsigned long long)t.ready, (unsigned long long)t.notready);
    head(out, "podd_containers", "gauge", "Containers by state.");
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        strbuf_addf(out, "podd_containers{state=\"%s\"} %llu\n", states[i],
                    (unsigned long long)t.containers[i]);
    counter(out, "podd_container_creations_total", "Containers made.", m->created);
    counter(out, "podd_container_starts_total", "Containers started, restarts included.",
            m->started);
    counter(out, "podd_container_exits_total", "Containers that ended.", m->stopped);
    counter(out, "podd_container_oom_kills_total", "Containers that ended for want of memory.",
            m->oom_killed);
}

static void write_pulls(const struct metrics *m, struct strbuf *out)
{
    const struct image_pull_counts *pulls = image_pull_counts(m->of.images);

    head(out, "podd_image_pulls_total", "counter", "Pulls of images that ended, by result.");
    strbuf_addf(out,
                "podd_image_pulls_total{result=\"success\"} %llu\n"
                "podd_image_pulls_total{result=\"failure\"} %llu\n",
                (unsigned long long)pulls->succeeded, (unsigned long long)pulls->failed);
    counter(out, "podd_image_pull_bytes_total", "Bytes of layers fetched from registries.",
            pulls->bytes);
    head(out, "podd_image_pull_seconds_total", "counter", "How long all pulls took together.");
    strbuf_addf(out, "podd_image_pull_seconds_total %.6f\n", (double)pulls->took_ns / NS_PER_SEC);
}

static void write_probes(const struct metrics *m, struct strbuf *out)
{
    static const char *const kinds[PROBE_KIND_COUNT] = {[PROBE_STARTUP] = "startup",
                                                        [PROBE_LIVENESS] = "liveness",
                                                        [PROBE_READINESS] = "readiness"};
    static const char *const results[] = {"unknown", "success", "warning", "failure"};
    const struct health_counts *counts = health_counts(m->of.health);

    head(out, "podd_probe_attempts_total", "counter", "Attempts of probes, by kind and result.");
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
        for (size_t r = 0; r < ARRAY_SIZE(results); r++)
            strbuf_addf(out, "podd_probe_attempts_total{kind=\"%s\",result=\"%s\"} %llu\n",
                        kinds[k], results[r], (unsigned long long)counts->attempts[k][r]);
    head(out, "podd_probe_seconds_total", "counter", "How long all attempts took together.");
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
        strbuf_addf(out, "podd_probe_seconds_total{kind=\"%s\"} %.6f\n", kinds[k],
                    (double)counts->latency_ns[k] / NS_PER_SEC);
    counter(out, "podd_container_restarts_total",
            "Containers of declared pods that were started again.", node_restarts(m->of.node));
}

static void write_calls(void *arg, const char *path, const struct rpc_counts *counts)
{
    struct strbuf *out = arg;

    for (size_t i = 0; i < ARRAY_SIZE(counts->by_code); i++)
        if (counts->by_code[i] > 0)
            strbuf_addf(out, "podd_rpc_calls_total{method=\"%s\",code=\"%s\"} %llu\n", path,
                        err_code_name((enum err_code)i), (unsigned long long)counts->by_code[i]);
}

static void write_durations(void *arg, const char *path, const struct rpc_counts *counts)
{
    uint64_t n = 0;
    _cleanup_free_ char *labels = xasprintf("method=\"%s\",", path);

    for (size_t i = 0; i < ARRAY_SIZE(counts->by_duration); i++)
        n += counts->by_duration[i];
    if (n > 0)
        histogram(arg, "podd_rpc_duration_seconds", labels, rpc_duration_bounds,
                  RPC_DURATION_BOUNDS, counts->by_duration, (double)counts->total_ns / NS_PER_SEC);
}

static void render(void *arg, struct strbuf *out)
{
    struct metrics *m = arg;

    head(out, "podd_build_info", "gauge", "Always 1; the version is the label.");
    strbuf_addf(out, "podd_build_info{version=\"%s\"} 1\n", PODD_VERSION);
    head(out, "podd_start_time_seconds", "gauge", "When this podd started, since the epoch.");
    strbuf_addf(out, "podd_start_time_seconds %.3f\n", m->started_at);
    write_pods(m, out);
    write_pulls(m, out);
    write_probes(m, out);
    head(out, "podd_rpc_calls_total", "counter", "Calls answered, by method and gRPC status.");
    rpc_server_counts(m->of.server, write_calls, out);
    head(out, "podd_rpc_duration_seconds", "histogram",
         "From a call's arrival at its handler to its answer; streams are left out.");
    rpc_server_counts(m->of.server, write_durations, out);
    head(out, "podd_loop_lag_seconds", "histogram", "How late a timer of the event loop fires.");
    histogram(out, "podd_loop_lag_seconds", "", lag_bounds, ARRAY_SIZE(lag_bounds), m->lag_counts,
              m->lag_sum);
}

/* ---- Life ------------------------------------------------------------------------------------ */

int metrics_open(struct loop *loop, const struct metrics_sources *sources, const char *address,
                 struct metrics **ret, struct err *e)
{
    struct metrics *m = xnew(struct metrics);

    m->loop = loop;
    m->of = *sources;
    m->started_at = (double)time_now_ns() / NS_PER_SEC;
    if (metrics_http_open(loop, address, render, m, &m->http, e) < 0) {
        metrics_close(m);
        return -1;
    }
    m->watch = pods_watch(sources->pods, on_pod_event, m);
    m->lag_timer = timer_new(loop, on_lag_timer, m);
    lag_wait(m);
    *ret = m;
    return 0;
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    metrics_http_close(m->http);
    if (m->watch)
        pod_watch_free(m->watch);
    timer_free(m->lag_timer);
    free(m);
}
