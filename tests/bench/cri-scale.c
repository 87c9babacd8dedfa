/*
 * cri-scale.c - what lists and statuses cost on a node with thousands of containers.
 *
 *   cri-scale [--image REF] [--pods N] [--containers N] [--running N] [--workers N]
 *             [--poll SECONDS] [--only-create] [--pause-at FILE] SOCKET
 *
 * Makes N pods and, spread over them, N containers, of which all but --running have exited (with
 * --only-create they are never started, which is quicker for very many). Then it measures lists and
 * statuses one after the other, plays a kubelet that polls once a second and says what that costs
 * the daemon, and removes everything. With --pause-at it makes FILE when lists and statuses are
 * about to be measured, and again when they have been, and waits each time until somebody has
 * removed it: so strace can see just that. The image must be known or in a registry that the
 * runtime reaches, and have a shell.
 */
#include "podd/base.h"
#include "podd/rpc.h"

#include "proc.h"
#include "requests.h"
#include "samples.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#define DEADLINE_MS 120000

static const ProtobufCServiceDescriptor *const runtime = &runtime__v1__runtime_service__descriptor;
static const ProtobufCServiceDescriptor *const images = &runtime__v1__image_service__descriptor;

struct bench {
    struct loop *loop;
    struct rpc_client *client;
    pid_t daemon;
    const char *image, *pause_at;
    uint64_t n_pods, n_containers, n_running, n_workers, poll_s;
    bool only_create;
    struct pod *pods;
    uint64_t next, done;
    char **containers; /* their ids, in the order of their starts */
    size_t n_ids;
};

/* A worker's pod and how far it has come with it. */
struct work {
    struct bench *bench;
    struct pod *pod;
    uint64_t first, left; /* number of its next container, and how many are to be made */
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "cri-scale: %s: %s\n", what, err_text(e));
    exit(1);
}

/* ---- Making the pods
 * --------------------------------------------------------------------------- */

static void work_next(struct bench *b);

static void ask(struct work *w, const char *method, const ProtobufCMessage *request,
                rpc_response_fn *fn)
{
    rpc_client_call(w->bench->client, runtime, method, request, DEADLINE_MS, fn, w);
}

static void make_container(struct work *w);

static void container_made(struct work *w);

static void on_started(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct work *w = arg;

    if (e->code != ERR_OK)
        die("StartContainer", e);
    container_made(w);
}

static void container_made(struct work *w)
{
    *(char **)array_push(&w->bench->containers, &w->bench->n_ids, sizeof(char *)) =
        xstrdup(w->pod->container_id);
    w->first++;
    w->left--;
    make_container(w);
}

static void on_created(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct work *w = arg;
    Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;

    if (e->code != ERR_OK)
        die("CreateContainer", e);
    snprintf(w->pod->container_id, sizeof(w->pod->container_id), "%s",
             ((const Runtime__V1__CreateContainerResponse *)response)->container_id);
    start.container_id = w->pod->container_id;
    if (w->bench->only_create)
        container_made(w);
    else
        ask(w, "StartContainer", &start.base, on_started);
}

static void make_container(struct work *w)
{
    struct bench *b = w->bench;
    char name[32];

    if (w->left == 0) {
        free(w);
        if (++b->done == b->n_pods)
            loop_stop(b->loop);
        else
            work_next(b);
        return;
    }
    snprintf(name, sizeof(name), "c%llu", (unsigned long long)w->first);
    w->pod->container_metadata.name = name; /* packed before ask() returns */
    w->pod->container.log_path = "";
    w->pod->command[2] =
        w->first < b->n_running ? "trap 'exit 0' TERM; sleep 100000 & wait" : "exit 0";
    ask(w, "CreateContainer", &w->pod->create.base, on_created);
}

static void on_run(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct work *w = arg;

    if (e->code != ERR_OK)
        die("RunPodSandbox", e);
    snprintf(w->pod->sandbox_id, sizeof(w->pod->sandbox_id), "%s",
             ((const Runtime__V1__RunPodSandboxResponse *)response)->pod_sandbox_id);
    make_container(w);
}

static void work_next(struct bench *b)
{
    if (b->next == b->n_pods)
        return;
    struct work *w = xnew(struct work);
    uint64_t i = b->next++;
    w->bench = b;
    w->pod = &b->pods[i];
    w->first = i * b->n_containers / b->n_pods;
    w->left = (i + 1) * b->n_containers / b->n_pods - w->first;
    ask(w, "RunPodSandbox", &w->pod->run.base, on_run);
}

static void make_all(struct bench *b)
{
    int64_t since = time_mono_ns();

    b->pods = xcalloc(b->n_pods, sizeof(*b->pods));
    for (uint64_t i = 0; i < b->n_pods; i++)
        pod_requests(&b->pods[i], i, b->image, "");
    for (uint64_t i = 0; i < b->n_workers; i++)
        work_next(b);
    loop_run(b->loop);
    printf(
        "%llu pods and %llu containers made in %.1f s; the daemon's memory is %.1f MiB (PSS)\n\n",
        (unsigned long long)b->n_pods, (unsigned long long)b->n_containers,
        (double)(time_mono_ns() - since) / NS_PER_SEC, (double)proc_pss_kib(b->daemon) / 1024);
}

/* ---- Calls one after the other
 * ----------------------------------------------------------------- */

/* The answer is the caller's. */
static void *must_call(struct bench *b, const ProtobufCServiceDescriptor *service,
                       const char *method, const void *request)
{
    _cleanup_err_ struct err e = ERR_INIT;
    ProtobufCMessage *answer = NULL;

    if (rpc_client_call_sync(b->client, service, method, request, DEADLINE_MS, &answer, &e) < 0)
        die(method, &e);
    return answer;
}

static void timed(struct bench *b, const ProtobufCServiceDescriptor *service, const char *method,
                  const void *request, struct durations *d)
{
    int64_t since = time_mono_ns();
    ProtobufCMessage *answer = must_call(b, service, method, request);

    durations_add(d, since);
    protobuf_c_message_free_unpacked(answer, NULL);
}

static void print_row(const char *what, struct durations *d)
{
    printf("| %-44s | %8.3f | %8.3f | %8.3f |\n", what, durations_at(d, 0.5), durations_at(d, 0.99),
           durations_at(d, 1));
    durations_free(d);
}

static void measure_list(struct bench *b, const char *what, const char *method, const void *request)
{
    struct durations d = {0};

    for (int i = 0; i < 200; i++)
        timed(b, runtime, method, request, &d);
    print_row(what, &d);
}

static void measure_statuses(struct bench *b)
{
    struct durations containers = {0}, sandboxes = {0};
    Runtime__V1__ContainerStatusRequest c = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    Runtime__V1__PodSandboxStatusRequest s = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;

    for (size_t i = 0; i < b->n_ids; i++) {
        c.container_id = b->containers[i];
        timed(b, runtime, "ContainerStatus", &c, &containers);
    }
    for (uint64_t i = 0; i < b->n_pods; i++) {
        s.pod_sandbox_id = b->pods[i].sandbox_id;
        timed(b, runtime, "PodSandboxStatus", &s, &sandboxes);
    }
    print_row("ContainerStatus, of each container", &containers);
    print_row("PodSandboxStatus, of each pod", &sandboxes);
}

/* ---- A list as a stream
 * ------------------------------------------------------------------------ */

struct streamed {
    struct bench *bench;
    size_t messages, items;
};

static void on_items(void *arg, const ProtobufCMessage *message)
{
    struct streamed *s = arg;

    s->messages++;
    s->items += ((const Runtime__V1__StreamContainersResponse *)message)->n_containers;
}

static void on_stream_end(void *arg, const struct err *e)
{
    struct streamed *s = arg;

    if (e->code != ERR_OK)
        die("StreamContainers", e);
    loop_stop(s->bench->loop);
}

static void measure_stream(struct bench *b)
{
    Runtime__V1__StreamContainersRequest request = RUNTIME__V1__STREAM_CONTAINERS_REQUEST__INIT;
    struct durations d = {0};
    struct streamed s = {0};

    for (int i = 0; i < 20; i++) {
        int64_t since = time_mono_ns();
        s = (struct streamed){.bench = b};
        rpc_client_stream(b->client, runtime, "StreamContainers", &request.base, on_items,
                          on_stream_end, &s);
        loop_run(b->loop);
        durations_add(&d, since);
        if (s.items != b->n_containers) {
            fprintf(stderr, "cri-scale: %zu containers were streamed\n", s.items);
            exit(1);
        }
    }
    print_row("StreamContainers, whole", &d);
}

static void measure_calls(struct bench *b)
{
    Runtime__V1__ListContainersRequest containers = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    Runtime__V1__ListPodSandboxRequest sandboxes = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
    Runtime__V1__ContainerStateValue state = RUNTIME__V1__CONTAINER_STATE_VALUE__INIT;

    printf("| %-44s | %8s | %8s | %8s |\n|---|---:|---:|---:|\n", "call", "median", "p99",
           "max ms");
    measure_list(b, "ListContainers", "ListContainers", &containers);
    state.state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
    filter.state = &state;
    containers.filter = &filter;
    measure_list(b, "ListContainers, those that run", "ListContainers", &containers);
    measure_list(b, "ListPodSandbox", "ListPodSandbox", &sandboxes);
    measure_statuses(b);
    measure_stream(b);
    puts("");
}

/* ---- A kubelet that polls
 * ---------------------------------------------------------------------- */

/* What kubelet asks in a second without events: its PLEG lists everything; every fifth second it
 * asks for the node's status, every tenth for the image file system. */
static void poll_once(struct bench *b, uint64_t second, struct durations *d)
{
    Runtime__V1__ListContainersRequest containers = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    Runtime__V1__ListPodSandboxRequest sandboxes = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__StatusRequest status = RUNTIME__V1__STATUS_REQUEST__INIT;
    Runtime__V1__ImageFsInfoRequest fs = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;

    timed(b, runtime, "ListPodSandbox", &sandboxes, d);
    timed(b, runtime, "ListContainers", &containers, d);
    if (second % 5 == 0)
        timed(b, runtime, "Status", &status, d);
    if (second % 10 == 0)
        timed(b, images, "ImageFsInfo", &fs, d);
}

static void measure_poll(struct bench *b)
{
    struct durations d = {0};
    uint64_t ticks = proc_cpu_ticks(b->daemon);
    int64_t begin = time_mono_ns();

    for (uint64_t second = 0; second < b->poll_s; second++) {
        poll_once(b, second, &d);
        int64_t rest = begin + (int64_t)(second + 1) * NS_PER_SEC - time_mono_ns();
        if (rest > 0)
            usleep((useconds_t)(rest / 1000));
    }
    double seconds = (double)(time_mono_ns() - begin) / NS_PER_SEC;
    printf("a kubelet-like poll at 1 Hz for %.0f s: %.2f %% of a core in the daemon\n", seconds,
           (double)(proc_cpu_ticks(b->daemon) - ticks) * 100 / (double)sysconf(_SC_CLK_TCK) /
               seconds);
    durations_free(&d);
}

/* ---- All of it
 * --------------------------------------------------------------------------------- */

static void wait_for_observer(const struct bench *b)
{
    if (!b->pause_at)
        return;
    fd_close(open(b->pause_at, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    while (access(b->pause_at, F_OK) == 0)
        usleep(100000);
}

static void remove_all(struct bench *b)
{
    Runtime__V1__StopPodSandboxRequest stop = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest remove = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;

    for (uint64_t i = 0; i < b->n_pods; i++) {
        stop.pod_sandbox_id = remove.pod_sandbox_id = b->pods[i].sandbox_id;
        protobuf_c_message_free_unpacked(must_call(b, runtime, "StopPodSandbox", &stop), NULL);
        protobuf_c_message_free_unpacked(must_call(b, runtime, "RemovePodSandbox", &remove), NULL);
    }
}

static const char *parse(struct bench *b, int argc, char **argv)
{
    const char *socket = NULL;

    for (int i = 1; i < argc; i++) {
        uint64_t *number = str_equal(argv[i], "--pods")         ? &b->n_pods
                           : str_equal(argv[i], "--containers") ? &b->n_containers
                           : str_equal(argv[i], "--running")    ? &b->n_running
                           : str_equal(argv[i], "--workers")    ? &b->n_workers
                           : str_equal(argv[i], "--poll")       ? &b->poll_s
                                                                : NULL;
        const char **text = str_equal(argv[i], "--image")      ? &b->image
                            : str_equal(argv[i], "--pause-at") ? &b->pause_at
                                                               : NULL;
        if (str_equal(argv[i], "--only-create"))
            b->only_create = true;
        else if (number && i + 1 < argc && parse_uint(argv[i + 1], 1000000, number) == 0)
            i++;
        else if (text && i + 1 < argc)
            *text = argv[++i];
        else if (!socket && argv[i][0] == '/')
            socket = argv[i];
        else
            return NULL;
    }
    return b->n_pods > 0 && b->n_workers > 0 ? socket : NULL;
}

int main(int argc, char **argv)
{
    struct bench b = {.image = "busybox",
                      .n_pods = 1000,
                      .n_containers = 3000,
                      .n_running = 100,
                      .n_workers = 8,
                      .poll_s = 30};
    const char *socket = parse(&b, argc, argv);

    if (!socket) {
        fputs("usage: cri-scale [--image REF] [--pods N] [--containers N] [--running N] "
              "[--workers N] [--poll SECONDS] [--only-create] [--pause-at FILE] SOCKET\n",
              stderr);
        return 2;
    }
    /* Memory for long answers is kept: giving it back and faulting it in again would be measured.
     */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, INT32_MAX);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    _cleanup_free_ char *address = xasprintf("unix://%s", socket);
    b.loop = loop_new();
    b.client = rpc_client_new(b.loop, address);
    b.daemon = proc_of_socket(socket);
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_all(&b);
    wait_for_observer(&b);
    measure_calls(&b);
    wait_for_observer(&b);
    measure_poll(&b);
    remove_all(&b);
    for (size_t i = 0; i < b.n_ids; i++)
        free(b.containers[i]);
    free(b.containers);
    free(b.pods);
    rpc_client_free(b.client);
    loop_free(b.loop);
    return 0;
}
