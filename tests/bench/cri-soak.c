/*
 * cri-soak.c - clients that make and remove pods while others list, at full speed.
 *
 *   cri-soak [--image REF] [--makers N] [--listers N] [--seconds N] SOCKET
 *
 * Every client has a connection of its own and one call under way at any moment. A maker takes one
 * pod after the other through its life, in one of four ways that differ in how it ends. A lister
 * goes through lists, statuses and stats; what it lists may be gone when it asks for it, so
 * NOT_FOUND is the one error that is expected of a status. Every other error is counted by method,
 * code and text, printed, and makes the program fail; so does an object that is left at the end.
 */
#include "podd/base.h"
#include "podd/rpc.h"

#include "requests.h"
#include "samples.h"

#include <stdio.h>
#include <unistd.h>

#define DEADLINE_MS 240000
#define METHODS_MAX 32
#define ERRORS_MAX 64

static const ProtobufCServiceDescriptor *const runtime = &runtime__v1__runtime_service__descriptor;

struct method {
    const char *name;
    struct durations times;
    uint64_t vanished; /* NOT_FOUND where that is expected */
};

struct failure {
    char *text; /* method, code and message; numbers and ids replaced */
    uint64_t count;
};

struct soak {
    struct loop *loop;
    const char *image;
    uint64_t n_makers, n_listers, seconds;
    bool ending;
    uint64_t active, serial, pods_made;
    struct method methods[METHODS_MAX];
    size_t n_methods;
    struct failure failures[ERRORS_MAX];
    size_t n_failures;
};

/* What a client does next: it makes the call, and the answer leads to another step. */
struct client {
    struct soak *soak;
    struct rpc_client *rpc;
    void (*next)(struct client *c, const ProtobufCMessage *answer);
    const char *method;
    int64_t since;
    struct pod pod;                            /* a maker's */
    uint64_t way;                              /* how this pod ends */
    char container_id[96], pod_sandbox_id[96]; /* a lister's */
    unsigned turn;
};

/* ---- Accounts
 * ---------------------------------------------------------------------------------- */

static struct method *method_of(struct soak *s, const char *name)
{
    for (size_t i = 0; i < s->n_methods; i++)
        if (str_equal(s->methods[i].name, name))
            return &s->methods[i];
    if (s->n_methods == METHODS_MAX)
        abort();
    s->methods[s->n_methods].name = name;
    return &s->methods[s->n_methods++];
}

/* The same trouble of different pods is one trouble: what looks like an id becomes '#'. */
static void blur(char *text)
{
    char *out = text;

    for (char *p = text; *p;) {
        size_t run = strspn(p, "0123456789abcdef");
        if (run >= 8 || (run > 0 && strcspn(p, "0123456789") < run)) {
            *out++ = '#';
            p += run;
        } else {
            *out++ = *p++;
        }
    }
    *out = '\0';
}

static void count_failure(struct soak *s, const char *method, const struct err *e)
{
    char *text = xasprintf("%s: code %d: %s", method, (int)e->code, err_text(e));

    blur(text);
    for (size_t i = 0; i < s->n_failures; i++) {
        if (str_equal(s->failures[i].text, text)) {
            s->failures[i].count++;
            free(text);
            return;
        }
    }
    if (s->n_failures == ERRORS_MAX) {
        free(text);
        s->failures[ERRORS_MAX - 1].count++;
        return;
    }
    s->failures[s->n_failures++] = (struct failure){.text = text, .count = 1};
}

/* ---- Clients
 * ----------------------------------------------------------------------------------- */

static bool may_vanish(const char *method)
{
    return str_equal(method, "ContainerStatus") || str_equal(method, "PodSandboxStatus") ||
           str_equal(method, "ContainerStats") || str_equal(method, "PodSandboxStats");
}

static void on_answer(void *arg, const ProtobufCMessage *answer, const struct err *e)
{
    struct client *c = arg;
    struct method *m = method_of(c->soak, c->method);

    if (e->code == ERR_OK)
        durations_add(&m->times, c->since);
    else if (e->code == ERR_NOT_FOUND && may_vanish(c->method))
        m->vanished++;
    else
        count_failure(c->soak, c->method, e);
    c->next(c, e->code == ERR_OK ? answer : NULL);
}

static void ask(struct client *c, const char *method, const void *request,
                void (*next)(struct client *, const ProtobufCMessage *))
{
    c->method = method;
    c->next = next;
    c->since = time_mono_ns();
    rpc_client_call(c->rpc, runtime, method, request, DEADLINE_MS, on_answer, c);
}

static void client_end(struct client *c)
{
    if (--c->soak->active == 0)
        loop_stop(c->soak->loop);
}

/* ---- A maker
 * ----------------------------------------------------------------------------------- */

static void maker_begin(struct client *c, const ProtobufCMessage *answer);

static void remove_pod(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__RemovePodSandboxRequest r = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;

    c->soak->pods_made++;
    r.pod_sandbox_id = c->pod.sandbox_id;
    ask(c, "RemovePodSandbox", &r, maker_begin);
}

static void stop_pod(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__StopPodSandboxRequest r = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;

    r.pod_sandbox_id = c->pod.sandbox_id;
    ask(c, "StopPodSandbox", &r, remove_pod);
}

static void remove_container(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__RemoveContainerRequest r = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;

    r.container_id = c->pod.container_id;
    ask(c, "RemoveContainer", &r, stop_pod);
}

static void stop_container(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__StopContainerRequest r = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;

    r.container_id = c->pod.container_id;
    r.timeout = c->way % 2 ? 10 : 0;
    ask(c, "StopContainer", &r, remove_container);
}

/* Ways 0 and 1: in order, killed or asked to end; 2: the pod is stopped under its container;
 * 3: it is removed as it runs. */
static void end_of_life(struct client *c, const ProtobufCMessage *answer)
{
    if (c->way < 2)
        stop_container(c, NULL);
    else if (c->way == 2)
        stop_pod(c, NULL);
    else
        remove_pod(c, NULL);
}

static void exec_in(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__ExecSyncRequest r = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    char *command[] = {"true"};

    if (!answer) {
        remove_pod(c, NULL);
        return;
    }
    r.container_id = c->pod.container_id;
    r.cmd = command;
    r.n_cmd = 1;
    r.timeout = 60;
    ask(c, "ExecSync", &r, end_of_life);
}

static void start_container(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__StartContainerRequest r = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;

    if (!answer) {
        remove_pod(c, NULL);
        return;
    }
    snprintf(c->pod.container_id, sizeof(c->pod.container_id), "%s",
             ((const Runtime__V1__CreateContainerResponse *)answer)->container_id);
    r.container_id = c->pod.container_id;
    ask(c, "StartContainer", &r, exec_in);
}

static void create_container(struct client *c, const ProtobufCMessage *answer)
{
    if (!answer) {
        maker_begin(c, NULL);
        return;
    }
    snprintf(c->pod.sandbox_id, sizeof(c->pod.sandbox_id), "%s",
             ((const Runtime__V1__RunPodSandboxResponse *)answer)->pod_sandbox_id);
    c->pod.container.log_path = "";
    ask(c, "CreateContainer", &c->pod.create, start_container);
}

static void maker_begin(struct client *c, const ProtobufCMessage *answer)
{
    if (c->soak->ending) {
        client_end(c);
        return;
    }
    c->way = c->soak->serial % 4;
    pod_requests(&c->pod, c->soak->serial++, c->soak->image, "");
    ask(c, "RunPodSandbox", &c->pod.run, create_container);
}

/* ---- A lister
 * ---------------------------------------------------------------------------------- */

static void lister_step(struct client *c, const ProtobufCMessage *answer);

static void keep_container(struct client *c, const ProtobufCMessage *answer)
{
    const Runtime__V1__ListContainersResponse *r = (const void *)answer;

    c->container_id[0] = '\0';
    if (r && r->n_containers > 0)
        snprintf(c->container_id, sizeof(c->container_id), "%s",
                 r->containers[c->turn % r->n_containers]->id);
    lister_step(c, NULL);
}

static void keep_sandbox(struct client *c, const ProtobufCMessage *answer)
{
    const Runtime__V1__ListPodSandboxResponse *r = (const void *)answer;

    c->pod_sandbox_id[0] = '\0';
    if (r && r->n_items > 0)
        snprintf(c->pod_sandbox_id, sizeof(c->pod_sandbox_id), "%s",
                 r->items[c->turn % r->n_items]->id);
    lister_step(c, NULL);
}

static void ask_list(struct client *c)
{
    Runtime__V1__ListContainersRequest containers = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
    Runtime__V1__ListPodSandboxRequest sandboxes = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;

    if (c->turn % 2)
        ask(c, "ListContainers", &containers, keep_container);
    else
        ask(c, "ListPodSandbox", &sandboxes, keep_sandbox);
}

static void ask_status(struct client *c)
{
    Runtime__V1__ContainerStatusRequest container = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    Runtime__V1__PodSandboxStatusRequest sandbox = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;

    container.container_id = c->container_id;
    sandbox.pod_sandbox_id = c->pod_sandbox_id;
    container.verbose = sandbox.verbose = c->turn % 16 == 0;
    if (c->turn % 2 && c->container_id[0])
        ask(c, "ContainerStatus", &container, lister_step);
    else if (c->pod_sandbox_id[0])
        ask(c, "PodSandboxStatus", &sandbox, lister_step);
    else
        ask_list(c);
}

static void ask_stats(struct client *c)
{
    Runtime__V1__ListContainerStatsRequest containers =
        RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;
    Runtime__V1__ListPodSandboxStatsRequest sandboxes =
        RUNTIME__V1__LIST_POD_SANDBOX_STATS_REQUEST__INIT;

    if (c->turn % 2)
        ask(c, "ListContainerStats", &containers, lister_step);
    else
        ask(c, "ListPodSandboxStats", &sandboxes, lister_step);
}

static void lister_step(struct client *c, const ProtobufCMessage *answer)
{
    Runtime__V1__StatusRequest status = RUNTIME__V1__STATUS_REQUEST__INIT;

    c->turn++;
    if (c->soak->ending)
        client_end(c);
    else if (c->turn % 61 == 0)
        ask_stats(c);
    else if (c->turn % 17 == 0)
        ask(c, "Status", &status, lister_step);
    else if (c->turn % 4 < 2)
        ask_list(c);
    else
        ask_status(c);
}

/* ---- All of it
 * --------------------------------------------------------------------------------- */

static void on_time(void *arg)
{
    ((struct soak *)arg)->ending = true;
}

static void run(struct soak *s, const char *address)
{
    uint64_t n = s->n_makers + s->n_listers;
    struct client *clients = xcalloc(n, sizeof(*clients));
    struct timer *timer = timer_new(s->loop, on_time, s);

    timer_start(timer, (int64_t)s->seconds * 1000);
    s->active = n;
    for (uint64_t i = 0; i < n; i++) {
        clients[i].soak = s;
        clients[i].turn = (unsigned)i;
        clients[i].rpc = rpc_client_new(s->loop, address);
        (i < s->n_makers ? maker_begin : lister_step)(&clients[i], NULL);
    }
    loop_run(s->loop);
    for (uint64_t i = 0; i < n; i++)
        rpc_client_free(clients[i].rpc);
    free(clients);
    timer_free(timer);
}

/* How many of this program's pods are still listed. */
static uint64_t pods_left(struct soak *s, const char *address)
{
    Runtime__V1__ListPodSandboxRequest request = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    struct rpc_client *client = rpc_client_new(s->loop, address);
    ProtobufCMessage *answer = NULL;
    uint64_t left = 0;

    if (rpc_client_call_sync(client, runtime, "ListPodSandbox", &request.base, DEADLINE_MS, &answer,
                             &e) < 0) {
        count_failure(s, "ListPodSandbox, at the end", &e);
    } else {
        const Runtime__V1__ListPodSandboxResponse *r = (const void *)answer;
        for (size_t i = 0; i < r->n_items; i++)
            left += str_equal(r->items[i]->metadata->namespace_, "bench");
        protobuf_c_message_free_unpacked(answer, NULL);
    }
    rpc_client_free(client);
    return left;
}

static void print_report(struct soak *s, double seconds)
{
    printf(
        "%llu makers and %llu listers for %.0f s: %llu pods made and removed (%.1f a second)\n\n",
        (unsigned long long)s->n_makers, (unsigned long long)s->n_listers, seconds,
        (unsigned long long)s->pods_made, (double)s->pods_made / seconds);
    printf("| %-20s | %9s | %9s | %9s | %9s | %8s |\n|---|---:|---:|---:|---:|---:|\n", "call",
           "answers", "median ms", "p99 ms", "max ms", "vanished");
    for (size_t i = 0; i < s->n_methods; i++) {
        struct method *m = &s->methods[i];
        printf("| %-20s | %9zu | %9.2f | %9.2f | %9.2f | %8llu |\n", m->name, m->times.n,
               durations_at(&m->times, 0.5), durations_at(&m->times, 0.99),
               durations_at(&m->times, 1), (unsigned long long)m->vanished);
        durations_free(&m->times);
    }
    puts("");
    for (size_t i = 0; i < s->n_failures; i++) {
        printf("FAILED %llu times: %s\n", (unsigned long long)s->failures[i].count,
               s->failures[i].text);
        free(s->failures[i].text);
    }
}

static const char *parse(struct soak *s, int argc, char **argv)
{
    const char *socket = NULL;

    for (int i = 1; i < argc; i++) {
        uint64_t *number = str_equal(argv[i], "--makers")    ? &s->n_makers
                           : str_equal(argv[i], "--listers") ? &s->n_listers
                           : str_equal(argv[i], "--seconds") ? &s->seconds
                                                             : NULL;
        if (number && i + 1 < argc && parse_uint(argv[i + 1], 1000000, number) == 0)
            i++;
        else if (str_equal(argv[i], "--image") && i + 1 < argc)
            s->image = argv[++i];
        else if (!socket && argv[i][0] == '/')
            socket = argv[i];
        else
            return NULL;
    }
    return s->n_makers + s->n_listers > 0 ? socket : NULL;
}

int main(int argc, char **argv)
{
    struct soak s = {.image = "busybox", .n_makers = 64, .n_listers = 64, .seconds = 10};
    const char *socket = parse(&s, argc, argv);

    if (!socket) {
        fputs("usage: cri-soak [--image REF] [--makers N] [--listers N] [--seconds N] SOCKET\n",
              stderr);
        return 2;
    }
    _cleanup_free_ char *address = xasprintf("unix://%s", socket);
    int64_t since = time_mono_ns();
    s.loop = loop_new();
    run(&s, address);
    double seconds = (double)(time_mono_ns() - since) / NS_PER_SEC;
    uint64_t left = pods_left(&s, address);
    bool failed = s.n_failures > 0 || left > 0;
    print_report(&s, seconds);
    if (left)
        printf("FAILED: %llu pods are left\n", (unsigned long long)left);
    loop_free(s.loop);
    return failed ? 1 : 0;
}
