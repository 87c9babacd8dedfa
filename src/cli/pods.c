/*
 * pods.c - describe and events: one pod with all that is known of it, and what happened.
 */
#include "cli.h"

#include <stdio.h>

/* ---- What several commands need
 * ------------------------------------------------------------------- */

Podd__V1__GetPodResponse *get_pod(struct cli *cli, const char *name, int *status)
{
    Podd__V1__GetPodRequest request = PODD__V1__GET_POD_REQUEST__INIT;

    request.namespace_ = (char *)cli->namespace_;
    request.name = (char *)(str_starts_with(name, "pod/") ? name + 4 : name);
    return cli_call(cli, "GetPod", &request.base, status);
}

size_t container_count(const Podd__V1__PodStatus *s)
{
    return s->n_init_containers + s->n_containers + s->n_ephemeral_containers;
}

const Podd__V1__ContainerStatus *container_at(const Podd__V1__PodStatus *s, size_t i)
{
    if (i < s->n_init_containers)
        return s->init_containers[i];
    i -= s->n_init_containers;
    return i < s->n_containers ? s->containers[i] : s->ephemeral_containers[i - s->n_containers];
}

const Podd__V1__ContainerStatus *find_container(const Podd__V1__Pod *pod, const char *name)
{
    for (size_t i = 0; i < container_count(pod->status); i++)
        if (str_equal(container_at(pod->status, i)->name, name))
            return container_at(pod->status, i);
    return NULL;
}

const Podd__V1__ContainerStatus *pick_container(const Podd__V1__Pod *pod, const char *name,
                                                int *status)
{
    _cleanup_strbuf_ struct strbuf names = {0};
    const Podd__V1__PodStatus *s = pod->status;
    const Podd__V1__ContainerStatus *c = name                   ? find_container(pod, name)
                                         : s->n_containers == 1 ? s->containers[0]
                                                                : NULL;

    if (c)
        return c;
    for (size_t i = 0; i < container_count(s); i++)
        strbuf_addf(&names, "%s%s", names.len ? ", " : "", container_at(s, i)->name);
    *status = name ? EXIT_NO_SUCH : EXIT_USAGE;
    if (name)
        fprintf(stderr, "podctl: pod %s has no container \"%s\"; it has: %s\n", pod->name, name,
                names.data ? names.data : "none");
    else
        fprintf(stderr, "podctl: pod %s has several containers, name one with -c: %s\n", pod->name,
                names.data ? names.data : "none");
    return NULL;
}

/* ---- describe
 * ------------------------------------------------------------------------------------------ */

static void field(const char *name, const char *value)
{
    _cleanup_free_ char *clean = format_clean(value);

    printf("%-16s %s\n", name, str_empty(clean) ? "-" : clean);
}

static void inner(const char *name, const char *value)
{
    _cleanup_free_ char *clean = format_clean(value);

    printf("    %-14s %s\n", name, clean);
}

static const char *time_text(int64_t ns)
{
    static char text[TIME_TEXT_SIZE];

    if (ns == 0)
        return "-";
    time_format(ns, text);
    memcpy(text + strlen("2006-01-02T15:04:05"), "Z", 2); /* people need no nanoseconds */
    return text;
}

static const char *state_text(const Podd__V1__ContainerStatus *c)
{
    switch (c->state) {
    case PODD__V1__CONTAINER_STATUS__STATE__RUNNING:
        return "Running";
    case PODD__V1__CONTAINER_STATUS__STATE__TERMINATED:
        return "Terminated";
    case PODD__V1__CONTAINER_STATUS__STATE__WAITING:
    case _PODD__V1__CONTAINER_STATUS__STATE_IS_INT_SIZE:
        break;
    }
    return "Waiting";
}

static const char *probe_kind_text(Podd__V1__ProbeKind kind)
{
    switch (kind) {
    case PODD__V1__PROBE_KIND__STARTUP:
        return "startup";
    case PODD__V1__PROBE_KIND__READINESS:
        return "readiness";
    case PODD__V1__PROBE_KIND__LIVENESS:
    case _PODD__V1__PROBE_KIND_IS_INT_SIZE:
        break;
    }
    return "liveness";
}

const char *probe_result_text(Podd__V1__ProbeResult result)
{
    switch (result) {
    case PODD__V1__PROBE_RESULT__PROBE_RESULT_SUCCESS:
        return "success";
    case PODD__V1__PROBE_RESULT__PROBE_RESULT_WARNING:
        return "warning";
    case PODD__V1__PROBE_RESULT__PROBE_RESULT_FAILURE:
        return "failure";
    case PODD__V1__PROBE_RESULT__PROBE_RESULT_UNKNOWN:
    case _PODD__V1__PROBE_RESULT_IS_INT_SIZE:
        break;
    }
    return "unknown";
}

static void describe_probe(const Podd__V1__ProbeStatus *p)
{
    _cleanup_free_ char *message = format_clean(p->message);

    printf("    %-14s %s\n", probe_kind_text(p->kind), p->description);
    printf("    %-14s %s; %llu attempts, %llu failed", "", probe_result_text(p->result),
           (unsigned long long)p->attempts, (unsigned long long)p->failures);
    if (p->last_time)
        printf("; last %s ago took %.1f ms: %s", format_age(p->last_time),
               (double)p->latency / NS_PER_MS, message);
    puts("");
}

static void describe_container(const Podd__V1__ContainerStatus *c)
{
    char number[32];

    printf("  %s:\n", c->name);
    inner("id", c->container_id);
    inner("image", c->image);
    inner("state", state_text(c));
    if (!str_empty(c->reason))
        inner("reason", c->reason);
    if (!str_empty(c->message))
        inner("message", c->message);
    if (c->state == PODD__V1__CONTAINER_STATUS__STATE__TERMINATED) {
        snprintf(number, sizeof(number), "%d", c->exit_code);
        inner("exit code", number);
    }
    inner("started", time_text(c->started_at));
    inner("ready", c->ready ? "yes" : "no");
    snprintf(number, sizeof(number), "%u", c->restart_count);
    inner("restarts", number);
    if (c->backoff_until > time_now_ns()) {
        snprintf(number, sizeof(number), "in %llds",
                 (long long)((c->backoff_until - time_now_ns()) / NS_PER_SEC + 1));
        inner("next start", number);
    }
    if (c->last_termination) {
        const Podd__V1__Termination *t = c->last_termination;
        _cleanup_free_ char *last = xasprintf("exit code %d, %s, %s ago", t->exit_code, t->reason,
                                              format_age(t->finished_at));
        inner("last end", last);
    }
    for (size_t i = 0; i < c->n_probes; i++)
        describe_probe(c->probes[i]);
}

static void print_event(void *arg, const ProtobufCMessage *message)
{
    const Podd__V1__Event *event = (const void *)message;
    _cleanup_free_ char *text = format_clean(event->message);
    char count[32] = "";

    if (event->count > 1)
        snprintf(count, sizeof(count), " (x%u)", event->count);
    printf("  %-8s %-8s %-18s %s%s\n", format_age(event->last_time),
           event->warning ? "Warning" : "Normal", event->reason, text, count);
}

int cmd_describe(struct cli *cli, int argc, char **argv)
{
    int status = EXIT_OK;

    const char *kind = argc > 1 ? kind_named(argv[0]) : "Pod";
    if (!kind)
        return cli_usage("describe: unknown kind \"%s\"; there are " KINDS, argv[0]);
    if (argc > 1) {
        argc--;
        argv++;
    }
    if (argc != 1)
        return cli_usage("describe: name one pod: podctl describe POD");
    if (!str_equal(kind, "Pod"))
        return describe_object(cli, kind, argv[0]);
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, argv[0], &status);
    if (!answer)
        return status;
    if (cli->output >= OUTPUT_JSON) {
        print_message(cli, &answer->pod->base);
        return EXIT_OK;
    }
    const Podd__V1__Pod *pod = answer->pod;
    const Podd__V1__PodStatus *s = pod->status;
    field("Name:", pod->name);
    field("Namespace:", pod->namespace_);
    field("UID:", pod->uid);
    field("Created:", time_text(pod->created_at));
    field("Status:", pod_word(pod));
    field("Address:", s->n_ips ? s->ips[0] : s->host_network ? "the node's" : "-");
    field("Restart policy:", pod->restart_policy);
    if (!str_empty(pod->manifest_file))
        field("Declared by:", pod->manifest_file);
    field("Sandbox:", s->sandbox_id);
    if (s->n_init_containers)
        puts("Init containers:");
    for (size_t i = 0; i < s->n_init_containers; i++)
        describe_container(s->init_containers[i]);
    puts("Containers:");
    for (size_t i = 0; i < s->n_containers; i++)
        describe_container(s->containers[i]);
    if (s->n_ephemeral_containers)
        puts("Ephemeral containers:");
    for (size_t i = 0; i < s->n_ephemeral_containers; i++)
        describe_container(s->ephemeral_containers[i]);
    puts("Conditions:");
    for (size_t i = 0; i < s->n_conditions; i++)
        printf("  %-28s %s\n", s->conditions[i]->type, s->conditions[i]->status ? "True" : "False");
    puts("Events:");
    Podd__V1__ListEventsRequest events = PODD__V1__LIST_EVENTS_REQUEST__INIT;
    events.namespace_ = pod->namespace_;
    events.pod = pod->name;
    return cli_stream(cli, "ListEvents", &events.base, print_event, cli);
}

/* ---- events
 * ---------------------------------------------------------------------------------------------- */

static void print_event_line(void *arg, const ProtobufCMessage *message)
{
    const struct cli *cli = arg;
    const Podd__V1__Event *event = (const void *)message;
    _cleanup_free_ char *text = format_clean(event->message);

    if (cli->output >= OUTPUT_JSON)
        print_message(cli, message);
    else
        printf("%s  %-8s %-20s %-18s %s\n", time_text(event->last_time),
               event->warning ? "Warning" : "Normal", event->pod, event->reason, text);
}

int cmd_events(struct cli *cli, int argc, char **argv)
{
    Podd__V1__ListEventsRequest request = PODD__V1__LIST_EVENTS_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    bool follow = false;
    const struct option_spec options[] = {{"--watch", 'w', .flag = &follow}};

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("events: %s", err_text(&e));
    if (argc > 1)
        return cli_usage("events: one pod at most");
    request.namespace_ = (char *)cli->namespace_;
    request.pod = argc ? argv[0] : "";
    request.follow = follow;
    return cli_stream(cli, "ListEvents", &request.base, print_event_line, cli);
}
