/*
 * top.c - what pods and containers use, from two samples of CRI's statistics a moment apart.
 */
#include "cli.h"

#include <stdio.h>

enum { INTERVAL_MS = 500 };

struct usage {
    uint64_t cpu_ns, memory;
    int64_t time;
};

static uint64_t number_of(const Runtime__V1__UInt64Value *value)
{
    return value ? value->value : 0;
}

static struct usage usage_of(const Runtime__V1__ContainerStats *stats)
{
    struct usage u = {0};

    if (stats->cpu) {
        u.cpu_ns = number_of(stats->cpu->usage_core_nano_seconds);
        u.time = stats->cpu->timestamp;
    }
    if (stats->memory)
        u.memory = number_of(stats->memory->working_set_bytes);
    return u;
}

static const char *label_of(const Runtime__V1__ContainerStats *stats, const char *key)
{
    const Runtime__V1__ContainerAttributes *a = stats->attributes;

    for (size_t i = 0; i < a->n_labels; i++)
        if (str_equal(a->labels[i]->key, key))
            return a->labels[i]->value;
    return "";
}

static Runtime__V1__ListContainerStatsResponse *sample(struct cli *cli, int *status)
{
    Runtime__V1__ListContainerStatsRequest request =
        RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;

    return cli_call_runtime(cli, "ListContainerStats", &request.base, status);
}

static const Runtime__V1__ContainerStats *
find_sample(const Runtime__V1__ListContainerStatsResponse *samples, const char *id)
{
    for (size_t i = 0; i < samples->n_stats; i++)
        if (str_equal(samples->stats[i]->attributes->id, id))
            return samples->stats[i];
    return NULL;
}

/* Thousandths of a CPU between two samples. */
static uint64_t millicores(struct usage before, struct usage after)
{
    if (after.time <= before.time || after.cpu_ns < before.cpu_ns)
        return 0;
    return (after.cpu_ns - before.cpu_ns) * 1000 / (uint64_t)(after.time - before.time);
}

/* ---- Lines: one for a pod, or one for each of its containers
 * -------------------------------------- */

struct line {
    char *namespace_, *pod, *container;
    uint64_t millicores, memory;
};

struct lines {
    struct line *items;
    size_t n;
    bool by_container;
};

static struct line *line_for(struct lines *lines, const char *namespace_, const char *pod,
                             const char *container)
{
    for (size_t i = 0; i < lines->n; i++) {
        struct line *line = &lines->items[i];
        if (str_equal(line->namespace_, namespace_) && str_equal(line->pod, pod) &&
            (!lines->by_container || str_equal(line->container, container)))
            return line;
    }
    struct line *line = array_push(&lines->items, &lines->n, sizeof(*lines->items));
    *line = (struct line){xstrdup(namespace_), xstrdup(pod), xstrdup(container), 0, 0};
    return line;
}

static int compare_lines(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    int r = strcmp(x->namespace_, y->namespace_);

    if (r == 0)
        r = strcmp(x->pod, y->pod);
    return r ? r : strcmp(x->container, y->container);
}

static void print_lines(const struct lines *lines)
{
    struct table *t = table_new();

    if (lines->by_container)
        table_row(t, "NAMESPACE", "POD", "CONTAINER", "CPU", "MEMORY", NULL);
    else
        table_row(t, "NAMESPACE", "POD", "CPU", "MEMORY", NULL);
    for (size_t i = 0; i < lines->n; i++) {
        const struct line *line = &lines->items[i];
        char cpu[32];
        snprintf(cpu, sizeof(cpu), "%llum", (unsigned long long)line->millicores);
        if (lines->by_container)
            table_row(t, line->namespace_, line->pod, line->container, cpu,
                      format_bytes(line->memory), NULL);
        else
            table_row(t, line->namespace_, line->pod, cpu, format_bytes(line->memory), NULL);
    }
    table_print(t);
    table_free(t);
}

static void lines_free(struct lines *lines)
{
    for (size_t i = 0; i < lines->n; i++) {
        free(lines->items[i].namespace_);
        free(lines->items[i].pod);
        free(lines->items[i].container);
    }
    free(lines->items);
}

/* ---- The command
 * ---------------------------------------------------------------------------------- */

static void add_up(const struct cli *cli, const char *pod,
                   const Runtime__V1__ListContainerStatsResponse *before,
                   const Runtime__V1__ListContainerStatsResponse *after, struct lines *lines)
{
    for (size_t i = 0; i < after->n_stats; i++) {
        const Runtime__V1__ContainerStats *now = after->stats[i];
        const Runtime__V1__ContainerStats *then = find_sample(before, now->attributes->id);
        const char *name = label_of(now, "io.kubernetes.pod.name");
        const char *namespace_ = label_of(now, "io.kubernetes.pod.namespace");
        if (!then || !now->cpu || (pod && !str_equal(name, pod)) ||
            (!str_empty(cli->namespace_) && !str_equal(namespace_, cli->namespace_)))
            continue;
        struct line *line = line_for(lines, namespace_, name, now->attributes->metadata->name);
        line->millicores += millicores(usage_of(then), usage_of(now));
        line->memory += usage_of(now).memory;
    }
}

int cmd_top(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct lines lines = {0};
    const struct option_spec options[] = {{"--containers", .flag = &lines.by_container}};
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("top: %s", err_text(&e));
    if (argc > 0 && (str_equal(argv[0], "pod") || str_equal(argv[0], "pods"))) {
        argc--;
        argv++;
    }
    if (argc > 1)
        return cli_usage("top: one pod at most: podctl top [POD] [--containers]");
    _cleanup_message_ Runtime__V1__ListContainerStatsResponse *before = sample(cli, &status);
    if (!before)
        return status;
    usleep(INTERVAL_MS * 1000);
    _cleanup_message_ Runtime__V1__ListContainerStatsResponse *after = sample(cli, &status);
    if (!after)
        return status;
    add_up(cli, argc ? argv[0] : NULL, before, after, &lines);
    if (argc && lines.n == 0) {
        fprintf(stderr, "podctl: no container of pod \"%s\" is running\n", argv[0]);
        return EXIT_NO_SUCH;
    }
    if (lines.n)
        qsort(lines.items, lines.n, sizeof(*lines.items), compare_lines);
    print_lines(&lines);
    lines_free(&lines);
    return EXIT_OK;
}
