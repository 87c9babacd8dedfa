/*
 * cri-bench.c - measures CRI runtimes side by side, in one run on one machine.
 *
 *   cri-bench [--image REF] [--pods N] [--workers W] [--rounds R] NAME=SOCKET[,HANDLER]...
 *
 * Each NAME is a column. Rounds of the targets alternate, so that a machine whose speed drifts
 * slows all of them. What is printed are medians, with ratios to the first column. The image must
 * be known to every target, or be in a registry that they reach, and have a shell.
 */
#include "podd/base.h"
#include "podd/rpc.h"

#include "proc.h"
#include "requests.h"

#include <stdio.h>
#include <unistd.h>

#define TARGETS_MAX 8
#define SAMPLES_MAX 4096

struct target {
    const char *name, *handler;
    char *socket;
    struct rpc_client *client;
    pid_t daemon;
};

struct samples {
    double ms[SAMPLES_MAX];
    size_t n;
};

/* One line of the table: a value for each target; negative: not available. */
struct row {
    const char *what, *unit;
    double values[TARGETS_MAX];
};

struct bench {
    struct loop *loop;
    struct target targets[TARGETS_MAX];
    size_t n_targets;
    const char *image;
    uint64_t pods, workers, rounds;
    struct row *rows;
    size_t n_rows;
    uint64_t serial; /* makes every pod's name its own */
};

/* ---- Samples and rows
 * ---------------------------------------------------------------------------- */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(struct samples *s)
{
    if (s->n == 0)
        return -1;
    qsort(s->ms, s->n, sizeof(s->ms[0]), compare_double);
    return s->ms[s->n / 2];
}

static void add_sample(struct samples *s, int64_t since)
{
    if (s->n < SAMPLES_MAX)
        s->ms[s->n++] = (double)(time_mono_ns() - since) / NS_PER_MS;
}

static struct row *row_of(struct bench *b, const char *what, const char *unit)
{
    for (size_t i = 0; i < b->n_rows; i++)
        if (str_equal(b->rows[i].what, what))
            return &b->rows[i];
    struct row *row = array_push(&b->rows, &b->n_rows, sizeof(*b->rows));
    row->what = what;
    row->unit = unit;
    for (size_t i = 0; i < TARGETS_MAX; i++)
        row->values[i] = -1;
    return row;
}

static void set_value(struct bench *b, const char *what, const char *unit, size_t target,
                      double value)
{
    row_of(b, what, unit)->values[target] = value;
}

/* ---- Calls
 * ------------------------------------------------------------------------------------------- */

static const ProtobufCServiceDescriptor *const runtime = &runtime__v1__runtime_service__descriptor;

/* The answer is the caller's. A failure ends the benchmark: a runtime that fails is not measured.
 */
static void *must_call(struct target *t, const ProtobufCServiceDescriptor *service,
                       const char *method, const void *request)
{
    _cleanup_err_ struct err e = ERR_INIT;
    ProtobufCMessage *answer = NULL;

    if (rpc_client_call_sync(t->client, service, method, request, 120000, &answer, &e) < 0) {
        fprintf(stderr, "cri-bench: %s: %s: %s\n", t->name, method, err_text(&e));
        exit(1);
    }
    return answer;
}

static void call(struct target *t, const char *method, const void *request)
{
    protobuf_c_message_free_unpacked(must_call(t, runtime, method, request), NULL);
}

/* Calls and measures; false when the runtime does not have the method. */
static bool timed_call(struct target *t, const char *method, const void *request, struct samples *s)
{
    _cleanup_err_ struct err e = ERR_INIT;
    ProtobufCMessage *answer = NULL;
    int64_t since = time_mono_ns();

    if (rpc_client_call_sync(t->client, runtime, method, request, 120000, &answer, &e) < 0) {
        if (e.code == ERR_UNIMPLEMENTED)
            return false;
        fprintf(stderr, "cri-bench: %s: %s: %s\n", t->name, method, err_text(&e));
        exit(1);
    }
    add_sample(s, since);
    protobuf_c_message_free_unpacked(answer, NULL);
    return true;
}

/* ---- A pod with one container
 * ---------------------------------------------------------------------------- */

static void pod_prepare(struct bench *b, struct target *t, struct pod *p)
{
    pod_requests(p, b->serial++, b->image, t->handler);
}

/* Times of the calls that make up a pod's life. */
struct life {
    struct samples run, create, start, up, stop, remove, stop_pod, remove_pod, down, exec;
};

static void pod_up(struct target *t, struct pod *p, struct life *life)
{
    int64_t begin = time_mono_ns(), since = begin;

    Runtime__V1__RunPodSandboxResponse *sandbox = must_call(t, runtime, "RunPodSandbox", &p->run);
    add_sample(&life->run, since);
    snprintf(p->sandbox_id, sizeof(p->sandbox_id), "%s", sandbox->pod_sandbox_id);
    protobuf_c_message_free_unpacked(&sandbox->base, NULL);

    since = time_mono_ns();
    Runtime__V1__CreateContainerResponse *created =
        must_call(t, runtime, "CreateContainer", &p->create);
    add_sample(&life->create, since);
    snprintf(p->container_id, sizeof(p->container_id), "%s", created->container_id);
    protobuf_c_message_free_unpacked(&created->base, NULL);

    since = time_mono_ns();
    Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
    start.container_id = p->container_id;
    call(t, "StartContainer", &start);
    add_sample(&life->start, since);
    add_sample(&life->up, begin);
}

static void pod_down(struct target *t, struct pod *p, struct life *life)
{
    Runtime__V1__StopContainerRequest stop = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
    Runtime__V1__RemoveContainerRequest remove = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
    Runtime__V1__StopPodSandboxRequest stop_pod = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest remove_pod = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
    char log[128];

    stop.container_id = remove.container_id = p->container_id;
    stop_pod.pod_sandbox_id = remove_pod.pod_sandbox_id = p->sandbox_id;
    int64_t begin = time_mono_ns();
    timed_call(t, "StopContainer", &stop, &life->stop);
    timed_call(t, "RemoveContainer", &remove, &life->remove);
    timed_call(t, "StopPodSandbox", &stop_pod, &life->stop_pod);
    timed_call(t, "RemovePodSandbox", &remove_pod, &life->remove_pod);
    add_sample(&life->down, begin);
    snprintf(log, sizeof(log), "/tmp/%s", p->log);
    unlink(log);
}

static void pod_exec(struct target *t, struct pod *p, struct life *life, int count)
{
    Runtime__V1__ExecSyncRequest exec = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    char *command[] = {"true"};

    exec.container_id = p->container_id;
    exec.cmd = command;
    exec.n_cmd = 1;
    exec.timeout = 10;
    for (int i = 0; i < count; i++)
        timed_call(t, "ExecSync", &exec, &life->exec);
}

static void measure_life(struct bench *b)
{
    struct life *lives = xcalloc(b->n_targets, sizeof(*lives));

    for (uint64_t round = 0; round < b->rounds + 1; round++) {
        for (size_t i = 0; i < b->n_targets; i++) {
            struct target *t = &b->targets[i];
            struct pod p;

            pod_prepare(b, t, &p);
            pod_up(t, &p, &lives[i]);
            pod_exec(t, &p, &lives[i], 10);
            pod_down(t, &p, &lives[i]);
            if (round == 0) /* a warm-up is not counted */
                lives[i] = (struct life){0};
        }
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        struct life *l = &lives[i];
        set_value(b, "pod + container up (3 calls)", "ms", i, median(&l->up));
        set_value(b, "  RunPodSandbox", "ms", i, median(&l->run));
        set_value(b, "  CreateContainer", "ms", i, median(&l->create));
        set_value(b, "  StartContainer", "ms", i, median(&l->start));
        set_value(b, "pod + container down (4 calls)", "ms", i, median(&l->down));
        set_value(b, "  StopContainer", "ms", i, median(&l->stop));
        set_value(b, "  RemoveContainer", "ms", i, median(&l->remove));
        set_value(b, "  StopPodSandbox", "ms", i, median(&l->stop_pod));
        set_value(b, "  RemovePodSandbox", "ms", i, median(&l->remove_pod));
        set_value(b, "ExecSync of true", "ms", i, median(&l->exec));
    }
    free(lives);
}

/* ---- Many pods at once
 * ----------------------------------------------------------------------------------------- */

struct many {
    struct bench *bench;
    struct target *target;
    struct pod *pods;
    uint64_t next, done;
};

struct step {
    struct many *many;
    struct pod *pod;
};

static void worker_next(struct many *m);

static void must_answer(const struct many *m, const struct err *e)
{
    if (e->code == ERR_OK)
        return;
    fprintf(stderr, "cri-bench: %s: %s\n", m->target->name, err_text(e));
    exit(1);
}

static void on_started(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct step *s = arg;
    struct many *m = s->many;

    must_answer(m, e);
    free(s);
    if (++m->done == m->bench->pods)
        loop_stop(m->bench->loop);
    else
        worker_next(m);
}

static void on_created(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct step *s = arg;
    Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;

    must_answer(s->many, e);
    snprintf(s->pod->container_id, sizeof(s->pod->container_id), "%s",
             ((const Runtime__V1__CreateContainerResponse *)response)->container_id);
    start.container_id = s->pod->container_id;
    rpc_client_call(s->many->target->client, runtime, "StartContainer", &start.base, 120000,
                    on_started, s);
}

static void on_run(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct step *s = arg;

    must_answer(s->many, e);
    snprintf(s->pod->sandbox_id, sizeof(s->pod->sandbox_id), "%s",
             ((const Runtime__V1__RunPodSandboxResponse *)response)->pod_sandbox_id);
    rpc_client_call(s->many->target->client, runtime, "CreateContainer", &s->pod->create.base,
                    120000, on_created, s);
}

static void worker_next(struct many *m)
{
    if (m->next == m->bench->pods)
        return;
    struct step *s = xnew(struct step);
    s->many = m;
    s->pod = &m->pods[m->next++];
    rpc_client_call(m->target->client, runtime, "RunPodSandbox", &s->pod->run.base, 120000, on_run,
                    s);
}

static void measure_lists(struct bench *b, size_t i)
{
    Runtime__V1__ListPodSandboxRequest sandboxes = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__ListContainersRequest containers = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    Runtime__V1__ListContainerStatsRequest stats = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
    Runtime__V1__VersionRequest version = RUNTIME__V1__VERSION_REQUEST__INIT;
    struct samples s[4] = {0};

    for (int n = 0; n < 20; n++) {
        timed_call(&b->targets[i], "Version", &version, &s[0]);
        timed_call(&b->targets[i], "ListPodSandbox", &sandboxes, &s[1]);
        timed_call(&b->targets[i], "ListContainers", &containers, &s[2]);
        timed_call(&b->targets[i], "ListContainerStats", &stats, &s[3]);
    }
    set_value(b, "Version", "ms", i, median(&s[0]));
    set_value(b, "ListPodSandbox, all pods", "ms", i, median(&s[1]));
    set_value(b, "ListContainers, all pods", "ms", i, median(&s[2]));
    set_value(b, "ListContainerStats, all pods", "ms", i, median(&s[3]));
}

static void measure_memory(struct bench *b, size_t i, const struct proc_set *before)
{
    struct proc_usage machinery =
        proc_usage_since(before, b->targets[i].daemon); /* shims, monitors, pause */
    int64_t daemon_kib = proc_pss_kib(b->targets[i].daemon);
    uint64_t cpu = machinery.cpu_ticks + proc_cpu_ticks(b->targets[i].daemon);

    set_value(b, "memory per pod beyond the workload (PSS)", "KiB", i,
              (double)machinery.pss_kib / (double)b->pods);
    set_value(b, "daemon with all pods (PSS)", "MiB", i, (double)daemon_kib / 1024);
    sleep(10);
    machinery = proc_usage_since(before, b->targets[i].daemon);
    cpu = machinery.cpu_ticks + proc_cpu_ticks(b->targets[i].daemon) - cpu;
    set_value(b, "idle CPU with all pods", "%", i,
              (double)cpu * 100 / (double)sysconf(_SC_CLK_TCK) / 10);
}

static void measure_many(struct bench *b, size_t i)
{
    struct target *t = &b->targets[i];
    struct many m = {.bench = b, .target = t, .pods = xcalloc(b->pods, sizeof(*m.pods))};
    struct proc_set before;
    struct life *life = xnew(struct life);

    proc_set_read(&before);
    for (uint64_t n = 0; n < b->pods; n++)
        pod_prepare(b, t, &m.pods[n]);
    int64_t since = time_mono_ns();
    for (uint64_t n = 0; n < b->workers; n++)
        worker_next(&m);
    loop_run(b->loop);
    set_value(b, "all pods up, by the workers", "ms", i,
              (double)(time_mono_ns() - since) / NS_PER_MS);
    measure_lists(b, i);
    measure_memory(b, i, &before);
    since = time_mono_ns();
    for (uint64_t n = 0; n < b->pods; n++)
        pod_down(t, &m.pods[n], life);
    set_value(b, "all pods down, one by one", "ms", i,
              (double)(time_mono_ns() - since) / NS_PER_MS);
    proc_set_free(&before);
    free(life);
    free(m.pods);
}

/* ---- The table
 * ------------------------------------------------------------------------------------------------------
 */

static void print_table(const struct bench *b)
{
    printf("%llu pods, %llu workers, medians of %llu rounds\n\n", (unsigned long long)b->pods,
           (unsigned long long)b->workers, (unsigned long long)b->rounds);
    printf("| %-42s |", "what");
    for (size_t i = 0; i < b->n_targets; i++)
        printf(" %18s |", b->targets[i].name);
    printf("\n|%s|", "---");
    for (size_t i = 0; i < b->n_targets; i++)
        printf("---:|");
    puts("");
    for (size_t r = 0; r < b->n_rows; r++) {
        const struct row *row = &b->rows[r];
        printf("| %-42s |", row->what);
        for (size_t i = 0; i < b->n_targets; i++) {
            char cell[64] = "-";
            if (row->values[i] >= 0 && i > 0 && row->values[0] > 0)
                snprintf(cell, sizeof(cell), "%.2f %s (%.1fx)", row->values[i], row->unit,
                         row->values[i] / row->values[0]);
            else if (row->values[i] >= 0)
                snprintf(cell, sizeof(cell), "%.2f %s", row->values[i], row->unit);
            printf(" %18s |", cell);
        }
        puts("");
    }
}

/* ---- Arguments
 * --------------------------------------------------------------------------------------------------------
 */

static void add_target(struct bench *b, char *argument)
{
    char *socket = strchr(argument, '=');
    struct target *t = &b->targets[b->n_targets];

    if (!socket || b->n_targets == TARGETS_MAX) {
        fprintf(stderr, "cri-bench: %s: must be NAME=SOCKET[,HANDLER]\n", argument);
        exit(2);
    }
    *socket++ = '\0';
    char *handler = strchr(socket, ',');
    if (handler)
        *handler++ = '\0';
    t->name = argument;
    t->handler = handler ? handler : "";
    t->socket = xasprintf("unix://%s", str_starts_with(socket, "unix://") ? socket + 7 : socket);
    t->client = rpc_client_new(b->loop, t->socket);
    t->daemon = proc_of_socket(t->socket + strlen("unix://"));
    b->n_targets++;
}

static void pull_image(struct bench *b)
{
    for (size_t i = 0; i < b->n_targets; i++) {
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__ImageStatusRequest status = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
        Runtime__V1__PullImageRequest pull = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
        const ProtobufCServiceDescriptor *images = &runtime__v1__image_service__descriptor;

        spec.image = (char *)b->image;
        status.image = pull.image = &spec;
        Runtime__V1__ImageStatusResponse *known =
            must_call(&b->targets[i], images, "ImageStatus", &status);
        if (!known->image)
            protobuf_c_message_free_unpacked(must_call(&b->targets[i], images, "PullImage", &pull),
                                             NULL);
        protobuf_c_message_free_unpacked(&known->base, NULL);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.image = "busybox", .pods = 50, .workers = 10, .rounds = 20};

    b.loop = loop_new();
    for (int i = 1; i < argc; i++) {
        uint64_t *number = str_equal(argv[i], "--pods")      ? &b.pods
                           : str_equal(argv[i], "--workers") ? &b.workers
                           : str_equal(argv[i], "--rounds")  ? &b.rounds
                                                             : NULL;
        if (number && i + 1 < argc && parse_uint(argv[++i], 1000, number) == 0)
            continue;
        if (str_equal(argv[i], "--image") && i + 1 < argc)
            b.image = argv[++i];
        else
            add_target(&b, argv[i]);
    }
    if (b.n_targets == 0) {
        fputs("usage: cri-bench [--image REF] [--pods N] [--workers W] [--rounds R] "
              "NAME=SOCKET[,HANDLER]...\n",
              stderr);
        return 2;
    }
    pull_image(&b);
    measure_life(&b);
    for (size_t i = 0; i < b.n_targets; i++)
        measure_many(&b, i);
    print_table(&b);
    for (size_t i = 0; i < b.n_targets; i++) {
        rpc_client_free(b.targets[i].client);
        free(b.targets[i].socket);
    }
    free(b.rows);
    loop_free(b.loop);
    return 0;
}
