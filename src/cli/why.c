/*
 * why.c - the way of a pod to where it is: each step with the time it took, and what it waits for
 * now.
 *
 * The steps are the pod's events and those conditions that have come true, put in order of time. A
 * pod that had the name before has events of its own, which are not this one's way.
 */
#include "cli.h"

#include <stdio.h>
#include <time.h>

struct step {
    int64_t time;
    size_t order; /* among those of one time */
    char *text;
};

struct timeline {
    const char *uid; /* of the pod */
    struct step *steps;
    size_t n;
};

static void add_step(struct timeline *t, int64_t time, char *text_take)
{
    size_t order = t->n;
    struct step *step = array_push(&t->steps, &t->n, sizeof(*t->steps));

    *step = (struct step){time, order, text_take};
}

static int compare_steps(const void *a, const void *b)
{
    const struct step *x = a, *y = b;

    if (x->time == y->time)
        return (x->order > y->order) - (x->order < y->order);
    return x->time > y->time ? 1 : -1;
}

static void add_event(void *arg, const ProtobufCMessage *message)
{
    const Podd__V1__Event *event = (const void *)message;
    struct timeline *t = arg;
    if (!str_equal(event->pod_uid, t->uid))
        return;
    _cleanup_free_ char *text = format_clean(event->message);
    _cleanup_free_ char *again =
        event->count > 1
            ? xasprintf(" (%u times, last %s ago)", event->count, format_age(event->last_time))
            : xstrdup("");

    add_step(t, event->first_time, xasprintf("%s%s", text, again));
}

static void add_conditions(struct timeline *t, const Podd__V1__PodStatus *s)
{
    static const struct {
        const char *type, *text;
    } known[] = {
        {"PodReadyToStartContainers", "sandbox and network are ready"},
        {"Initialized", "init containers are done"},
        {"Ready", "ready"},
    };

    for (size_t i = 0; i < s->n_conditions; i++)
        for (size_t k = 0; k < ARRAY_SIZE(known); k++)
            if (s->conditions[i]->status && str_equal(s->conditions[i]->type, known[k].type) &&
                (k != 1 || s->n_init_containers))
                add_step(t, s->conditions[i]->changed_at, xstrdup(known[k].text));
}

/* "350us", "4.2ms", "1.35s", "12m" */
static const char *duration_text(int64_t ns, char ret[32])
{
    if (ns < NS_PER_MS)
        snprintf(ret, 32, "%lldus", (long long)ns / 1000);
    else if (ns < NS_PER_SEC)
        snprintf(ret, 32, "%.1fms", (double)ns / NS_PER_MS);
    else if (ns < 120 * NS_PER_SEC)
        snprintf(ret, 32, "%.2fs", (double)ns / NS_PER_SEC);
    else
        snprintf(ret, 32, "%lldm", (long long)(ns / (60 * NS_PER_SEC)));
    return ret;
}

static void print_timeline(const struct timeline *t)
{
    struct table *table = table_new();
    char took[32], since[32], clock[32];

    table_row(table, "TIME", "SINCE START", "TOOK", "STEP", NULL);
    for (size_t i = 0; i < t->n; i++) {
        const struct step *step = &t->steps[i];
        time_t seconds = (time_t)(step->time / NS_PER_SEC);
        struct tm tm;
        strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&seconds, &tm));
        table_row(table, clock, duration_text(step->time - t->steps[0].time, since),
                  i ? duration_text(step->time - step[-1].time, took) : "-", step->text, NULL);
    }
    table_print(table);
    table_free(table);
}

/* ---- What it waits for
 * ---------------------------------------------------------------------------- */

static const Podd__V1__ProbeStatus *probe_of(const Podd__V1__ContainerStatus *c,
                                             Podd__V1__ProbeKind kind)
{
    for (size_t i = 0; i < c->n_probes; i++)
        if (c->probes[i]->kind == kind)
            return c->probes[i];
    return NULL;
}

static void print_probe_wait(const Podd__V1__ContainerStatus *c, const char *kind,
                             const Podd__V1__ProbeStatus *p)
{
    _cleanup_free_ char *message = format_clean(p->message);

    printf("  container %s: its %s probe (%s): ", c->name, kind, p->description);
    if (p->attempts)
        printf("%llu attempts, %llu failed, the last said: %s\n", (unsigned long long)p->attempts,
               (unsigned long long)p->failures, message);
    else
        puts("not asked yet");
}

/* True when the container is where it should be. */
static bool explain_container(const Podd__V1__ContainerStatus *c, bool init)
{
    _cleanup_free_ char *message = format_clean(c->message);
    const char *colon = str_empty(message) ? "" : ": ";

    if (c->state == PODD__V1__CONTAINER_STATUS__STATE__WAITING) {
        printf("  container %s: %s%s%s", c->name, c->reason, colon, message);
        if (c->backoff_until > time_now_ns())
            printf("; it is started again in %llds",
                   (long long)((c->backoff_until - time_now_ns()) / NS_PER_SEC + 1));
        if (c->last_termination)
            printf("; it ended with exit code %d, %s", c->last_termination->exit_code,
                   c->last_termination->reason);
        puts("");
        return false;
    }
    if (c->state == PODD__V1__CONTAINER_STATUS__STATE__TERMINATED) {
        if (init && c->exit_code == 0)
            return true;
        printf("  container %s has ended: exit code %d, %s%s%s\n", c->name, c->exit_code, c->reason,
               colon, message);
        return false;
    }
    const Podd__V1__ProbeStatus *startup = probe_of(c, PODD__V1__PROBE_KIND__STARTUP);
    const Podd__V1__ProbeStatus *readiness = probe_of(c, PODD__V1__PROBE_KIND__READINESS);
    if (!c->started && startup)
        print_probe_wait(c, "startup", startup);
    else if (!c->ready && readiness)
        print_probe_wait(c, "readiness", readiness);
    else if (init && !c->ready)
        printf("  init container %s is still running\n", c->name);
    else
        return true;
    return false;
}

static void explain(const Podd__V1__Pod *pod)
{
    const Podd__V1__PodStatus *s = pod->status;
    _cleanup_free_ char *message = format_clean(s->message);
    bool fine = true;

    if (!str_empty(s->reason))
        printf("  %s%s%s\n", s->reason, str_empty(message) ? "" : ": ", message);
    if (s->terminating)
        puts("  it is being deleted; its containers have their grace period to end");
    for (size_t i = 0; i < s->n_init_containers; i++)
        fine = explain_container(s->init_containers[i], true) && fine;
    bool begun = fine || s->n_init_containers == 0;
    for (size_t i = 0; begun && i < s->n_containers; i++)
        fine = explain_container(s->containers[i], false) && fine;
    if (fine && !s->terminating && str_empty(s->reason))
        puts("  nothing: all of its containers are ready");
}

/* ---- The command
 * ---------------------------------------------------------------------------------- */

int cmd_why(struct cli *cli, int argc, char **argv)
{
    Podd__V1__ListEventsRequest events = PODD__V1__LIST_EVENTS_REQUEST__INIT;
    struct timeline t = {0};
    int status = EXIT_OK;

    if (argc != 1 || argv[0][0] == '-')
        return cli_usage("why: name one pod: podctl why POD");
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, argv[0], &status);
    if (!answer)
        return status;
    const Podd__V1__Pod *pod = answer->pod;
    t.uid = pod->uid;
    add_step(&t, pod->created_at, xstrdup("declared"));
    add_conditions(&t, pod->status);
    events.namespace_ = pod->namespace_;
    events.pod = pod->name;
    status = cli_stream(cli, "ListEvents", &events.base, add_event, &t);
    qsort(t.steps, t.n, sizeof(*t.steps), compare_steps);
    if (status == EXIT_OK) {
        printf("Pod %s/%s is %s.\n\n", pod->namespace_, pod->name,
               pod->status->terminating ? "Terminating" : pod->status->phase);
        print_timeline(&t);
        puts("\nIt waits for:");
        explain(pod);
    }
    for (size_t i = 0; i < t.n; i++)
        free(t.steps[i].text);
    free(t.steps);
    return status;
}
