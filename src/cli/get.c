/*
 * get.c - get: declared pods in a list, all or those selected, with -w as they change.
 */
#include "selector.h"

#include <stdio.h>

struct get {
    struct cli *cli;
    struct selector selector;
    bool follow, no_headers;
};

struct counts {
    size_t ready, restarts;
    int64_t last_end;
};

static struct counts count_containers(const Podd__V1__PodStatus *s)
{
    struct counts counts = {0};

    for (size_t i = 0; i < s->n_containers; i++) {
        counts.ready += s->containers[i]->ready;
        counts.restarts += s->containers[i]->restart_count;
        const Podd__V1__Termination *last = s->containers[i]->last_termination;
        if (last && last->finished_at > counts.last_end)
            counts.last_end = last->finished_at;
    }
    return counts;
}

const char *pod_word(const Podd__V1__Pod *pod)
{
    const Podd__V1__PodStatus *s = pod->status;

    if (s->terminating)
        return "Terminating";
    if (!str_empty(s->reason))
        return s->reason;
    for (size_t i = 0; i < s->n_containers; i++) {
        const Podd__V1__ContainerStatus *c = s->containers[i];
        if (c->state != PODD__V1__CONTAINER_STATUS__STATE__RUNNING && !str_empty(c->reason))
            return c->reason;
    }
    return s->phase;
}

static void add_pod_row(struct table *t, const struct cli *cli, const Podd__V1__Pod *pod)
{
    const Podd__V1__PodStatus *s = pod->status;
    struct counts counts = count_containers(s);
    char ready[32], restarts[64];

    snprintf(ready, sizeof(ready), "%zu/%zu", counts.ready, s->n_containers);
    if (counts.restarts && counts.last_end)
        snprintf(restarts, sizeof(restarts), "%zu (%s ago)", counts.restarts,
                 format_age(counts.last_end));
    else
        snprintf(restarts, sizeof(restarts), "%zu", counts.restarts);
    const char *ip = s->n_ips ? s->ips[0] : s->host_network ? "(host)" : "-";
    if (cli->output == OUTPUT_WIDE)
        table_row(t, pod->name, ready, pod_word(pod), restarts, format_age(pod->created_at), ip,
                  pod->namespace_, pod->uid, NULL);
    else
        table_row(t, pod->name, ready, pod_word(pod), restarts, format_age(pod->created_at), ip,
                  NULL);
}

static struct table *pod_table(const struct get *g)
{
    struct table *t = table_new();

    table_status_column(t, 2);
    if (g->no_headers)
        return t;
    if (g->cli->output == OUTPUT_WIDE)
        table_row(t, "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NAMESPACE", "UID", NULL);
    else
        table_row(t, "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", NULL);
    return t;
}

static void print_pods(const struct get *g, Podd__V1__Pod *const *pods, size_t n)
{
    struct table *t = NULL;

    if (g->cli->output == OUTPUT_NAME) {
        for (size_t i = 0; i < n; i++)
            printf("pod/%s\n", pods[i]->name);
        return;
    }
    t = pod_table(g);
    for (size_t i = 0; i < n; i++)
        add_pod_row(t, g->cli, pods[i]);
    table_print(t);
    table_free(t);
}

static void print_change(void *arg, const ProtobufCMessage *message)
{
    struct get *g = arg;
    const Podd__V1__WatchPodsResponse *change = (const void *)message;

    if (change->pod && !selector_matches(&g->selector, change->pod))
        return;
    if (g->cli->output >= OUTPUT_JSON)
        print_message(g->cli, message);
    else if (change->pod && change->type == PODD__V1__WATCH_PODS_RESPONSE__TYPE__DELETED)
        printf("%s deleted\n", change->pod->name);
    else if (change->pod)
        print_pods(g, (Podd__V1__Pod *const *)&change->pod, 1);
}

static int watch(struct get *g, const char *name)
{
    Podd__V1__WatchPodsRequest request = PODD__V1__WATCH_PODS_REQUEST__INIT;

    request.namespace_ = (char *)g->cli->namespace_;
    request.name = (char *)(name ? name : "");
    if (g->cli->output < OUTPUT_NAME)
        print_pods(g, NULL, 0);
    fflush(stdout);
    g->no_headers = true;
    return cli_stream(g->cli, "WatchPods", &request.base, print_change, g);
}

static int get_one(const struct get *g, const char *name)
{
    int status = EXIT_OK;
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(g->cli, name, &status);

    if (!answer)
        return status;
    if (g->cli->output >= OUTPUT_JSON)
        print_message(g->cli, &answer->pod->base);
    else
        print_pods(g, &answer->pod, 1);
    return EXIT_OK;
}

static void drop_unselected(const struct get *g, Podd__V1__ListPodsResponse *answer)
{
    size_t kept = 0;

    for (size_t i = 0; i < answer->n_pods; i++) {
        if (selector_matches(&g->selector, answer->pods[i]))
            answer->pods[kept++] = answer->pods[i];
        else
            protobuf_c_message_free_unpacked(&answer->pods[i]->base, NULL);
    }
    answer->n_pods = kept;
}

static int get_all(const struct get *g)
{
    Podd__V1__ListPodsRequest request = PODD__V1__LIST_PODS_REQUEST__INIT;
    _cleanup_message_ Podd__V1__ListPodsResponse *answer = NULL;
    int status = EXIT_OK;

    request.namespace_ = (char *)g->cli->namespace_;
    answer = cli_call(g->cli, "ListPods", &request.base, &status);
    if (!answer)
        return status;
    drop_unselected(g, answer);
    if (g->cli->output >= OUTPUT_JSON)
        print_message(g->cli, &answer->base);
    else if (answer->n_pods == 0)
        fputs(g->selector.n ? "No pod is selected.\n" : "No pods are declared.\n", stderr);
    else
        print_pods(g, answer->pods, answer->n_pods);
    return EXIT_OK;
}

int cmd_get(struct cli *cli, int argc, char **argv)
{
    struct get g = {.cli = cli};
    _cleanup_err_ struct err e = ERR_INIT;
    const char *selector = NULL;
    const struct option_spec options[] = {
        {"--no-headers", .flag = &g.no_headers},
        {"--selector", 'l', .value = &selector},
        {"--watch", 'w', .flag = &g.follow},
    };

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("get: %s", err_text(&e));
    if (argc == 0)
        return cli_usage("get: what? podctl get pods [NAME]");
    const char *kind = kind_named(argv[0]);
    if (!kind)
        return cli_usage("get: unknown kind \"%s\"; there are " KINDS, argv[0]);
    if (argc > 2)
        return cli_usage("get: one name at most");
    if (argc == 2 && selector)
        return cli_usage("get: either a name or -l");
    if (!str_equal(kind, "Pod")) {
        if (selector || g.follow)
            return cli_usage("get: -l and -w are for pods");
        return get_objects(cli, kind, argc == 2 ? argv[1] : NULL);
    }
    if (selector_parse(selector, &g.selector, &e) < 0)
        return cli_usage("get: -l: %s", err_text(&e));
    int status = g.follow    ? watch(&g, argc == 2 ? argv[1] : NULL)
                 : argc == 2 ? get_one(&g, argv[1])
                             : get_all(&g);
    selector_free(&g.selector);
    return status;
}
