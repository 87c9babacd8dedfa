/*
 * net-attach.c - what a pod's network costs podd, without pods: namespaces that are attached to and
 * detached from the built-in network, many at once.
 *
 *   net-attach [COUNT...]        default: 10 50 200 500
 *
 * For each count a room of its own (bridge, pools of both families or IPv4 only) in a network
 * namespace of its own: all attaches are asked for at once, as by a master that starts that many
 * pods, then all detaches. The attaches are worked off one by one, so that the time until the last
 * has come, divided by their number, is what one costs. The best of five rounds. Needs root; leaves
 * nothing.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

#include <podd/net.h>

enum { ROUNDS = 5 };

struct bench {
    struct loop *loop;
    struct net *net;
    size_t pending, failed;
};

static void finish(struct bench *b, const struct err *e)
{
    if (e->code != ERR_OK && b->failed++ == 0)
        fprintf(stderr, "%s\n", err_text(e));
    if (--b->pending == 0)
        loop_stop(b->loop);
}

static void on_attached(void *arg, const struct net_addresses *addresses, const struct err *e)
{
    (void)addresses;
    finish(arg, e);
}

static void on_detached(void *arg, const struct err *e)
{
    finish(arg, e);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int netns_new(void)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (home < 0 || unshare(CLONE_NEWNET) < 0)
        fail("make a network namespace");
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(home, CLONE_NEWNET) < 0)
        fail("return to the node's network namespace");
    close(home);
    return fd;
}

/* Milliseconds until all of it has come. */
static double run(struct bench *b, int64_t begin)
{
    loop_run(b->loop);
    return (double)(time_mono_ns() - begin) / NS_PER_MS;
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void rest(struct bench *b, int ms)
{
    struct timer *t = timer_new(b->loop, stop, b->loop);

    timer_start(t, ms);
    loop_run(b->loop);
    timer_free(t);
}

static void id_of(size_t i, bool published, char ret[32], struct net_port *port)
{
    snprintf(ret, 32, "%012zx", i);
    *port = (struct net_port){IPPROTO_TCP, 80, published ? (uint16_t)(20000 + i) : 0, NULL};
}

struct result {
    double up_ms, up_cpu_ms, down_ms;
};

/* Processor time of all threads, in milliseconds: what other work on the machine does not change.
 */
static double cpu_ms(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static struct result measure(struct bench *b, size_t count, bool published)
{
    struct result result;
    int *ns = xcalloc(count, sizeof(*ns));
    struct net_port port;
    char id[32];

    for (size_t i = 0; i < count; i++)
        ns[i] = netns_new();
    double cpu = cpu_ms();
    int64_t begin = time_mono_ns();
    for (size_t i = 0; i < count; i++) {
        id_of(i, published, id, &port);
        struct net_pod pod = {.sandbox_id = id, .netns = ns[i], .ports = &port, .n_ports = 1};
        b->pending++;
        net_attach(b->net, &pod, on_attached, b);
    }
    result.up_ms = run(b, begin);
    result.up_cpu_ms = cpu_ms() - cpu;
    begin = time_mono_ns();
    for (size_t i = 0; i < count; i++) {
        id_of(i, published, id, &port);
        b->pending++;
        net_detach(b->net, id, on_detached, b);
    }
    result.down_ms = run(b, begin);
    for (size_t i = 0; i < count; i++)
        close(ns[i]);
    free(ns);
    rest(b, 1000);
    return result;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Each figure at its best: all that disturbs makes it larger. */
static struct result best_of(struct bench *b, size_t count, bool published)
{
    struct result best = measure(b, count, published);

    for (int i = 1; i < ROUNDS; i++) {
        struct result next = measure(b, count, published);
        best.up_ms = least(best.up_ms, next.up_ms);
        best.up_cpu_ms = least(best.up_cpu_ms, next.up_cpu_ms);
        best.down_ms = least(best.down_ms, next.down_ms);
    }
    return best;
}

static int bench_pools(const char *const *pools, size_t n_pools, bool published, char **counts)
{
    char state[] = "/dev/shm/podd-bench-net.XXXXXX";
    struct bench b = {.loop = loop_new()};
    struct net_config config = {.bridge = "podd0", .n_pools = n_pools, .state_dir = state};
    _cleanup_err_ struct err e = ERR_INIT;

    for (size_t i = 0; i < n_pools; i++)
        config.pools[i] = pools[i];
    if (unshare(CLONE_NEWNET) < 0 || !mkdtemp(state))
        fail("prepare");
    if (net_open(b.loop, &config, &b.net, &e) < 0) {
        fprintf(stderr, "%s\n", err_text(&e));
        return 1;
    }
    for (; *counts; counts++) {
        size_t count = (size_t)atoi(*counts);
        struct result r = best_of(&b, count, published);
        printf("| %-28s | %5zu | %8.1f ms | %6.2f ms | %6.2f ms | %8.1f ms | %6.2f ms |\n",
               published     ? "IPv4, a published port each"
               : n_pools > 1 ? "IPv4 and IPv6"
                             : "IPv4",
               count, r.up_ms, r.up_ms / (double)count, r.up_cpu_ms / (double)count, r.down_ms,
               r.down_ms / (double)count);
        fflush(stdout);
    }
    if (net_destroy(b.net, &e) < 0)
        fprintf(stderr, "%s\n", err_text(&e));
    net_close(b.net);
    rest(&b, 200);
    loop_free(b.loop);
    return tree_remove(AT_FDCWD, state, &e) < 0 || b.failed > 0;
}

int main(int argc, char **argv)
{
    static const char *const pools[] = {"10.85.0.0/16", "fd00:85::/64"};
    static char *usual[] = {(char *)"10", (char *)"50", (char *)"200", (char *)"500", NULL};
    char **counts = argc > 1 ? argv + 1 : usual;
    struct rlimit files = {4096, 4096};

    (void)setrlimit(RLIMIT_NOFILE, &files);
    log_set_level(LOG_ERROR);
    puts("| pods with                    |  pods |    all come |      each |  CPU each |      all "
         "go "
         "|      each |\n|---|---:|---:|---:|---:|---:|---:|");
    return bench_pools(pools, 1, false, counts) | bench_pools(pools, 1, true, counts) |
           bench_pools(pools, 2, false, counts);
}
