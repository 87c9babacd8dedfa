/*
 * core.c - gRPC's library, one completion queue and the one thread that empties it.
 *
 * All servers and clients of a loop share one core. Its thread sleeps in
 * grpc_completion_queue_next(), which also is what moves the bytes: whoever waits there polls the
 * sockets. An event is handled at once if it needs no state, or appended to a list that one
 * loop_post() empties, so a burst of events wakes the loop once.
 *
 * Two counts: `users` (servers and clients) keep the thread, `refs` (the users and a posted drain)
 * the memory and the library. So objects of gRPC may still be let go by what was delivered before
 * the last user left.
 */
#include <pthread.h>
#include <signal.h>

#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "private.h"

struct rpc_core {
    struct rpc_core *next; /* in `cores` */
    struct loop *loop;
    grpc_completion_queue *queue;
    pthread_t thread;
    unsigned users; /* under cores_lock */

    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t delivered;
    unsigned refs;
    bool posted;
    struct rpc_op *first;
    struct rpc_op **last;
};

/* A loop is not told of its core, so that base knows nothing of gRPC: hence this list, which has
 * one entry in every real program. */
static pthread_mutex_t cores_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rpc_core *cores;

/* gRPC's own messages repeat, with noise, what calls answer: they are for debugging only. */
static void forward_log(gpr_log_func_args *args)
{
    log_debug("rpc", "grpc", "%s", args->message);
}

/* The library reads these at its first start. A program's own environment wins. */
static void prepare_library(void)
{
    /* No timer behind each client channel: our thread always polls. */
    setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "0", 0);
    /* Addresses are never names, so no resolver library needs to wake up. */
    setenv("GRPC_DNS_RESOLVER", "native", 0);
    setenv("GRPC_ENABLE_FORK_SUPPORT", "0", 0);
    /* TLS 1.3 or nothing. gRPC has no option for that, but this one, which names suites of TLS 1.2
     * and not those of 1.3: without pre-shared keys, none is left that 1.2 could agree on. */
    setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
    gpr_set_log_function(forward_log);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

static void *core_main(void *arg)
{
    struct rpc_core *core = arg;

    for (;;) {
        grpc_event ev =
            grpc_completion_queue_next(core->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (ev.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (ev.type != GRPC_OP_COMPLETE)
            continue;
        struct rpc_op *op = ev.tag;
        /* Pairs with op_arm(): what its thread wrote before is seen here. */
        if (!atomic_exchange(&op->armed, false))
            abort();
        op->event(op, ev.success != 0);
    }
}

/* Signals belong to the loop: gRPC's threads are born with all of them blocked. */
static struct rpc_core *core_new(struct loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct rpc_core *core = xnew(struct rpc_core);
    sigset_t all, old;

    core->loop = loop;
    core->refs = 1;
    core->last = &core->first;
    pthread_mutex_init(&core->lock, NULL);
    pthread_cond_init(&core->delivered, NULL);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_once(&once, prepare_library);
    grpc_init();
    core->queue = grpc_completion_queue_create_for_next(NULL);
    int r = pthread_create(&core->thread, NULL, core_main, core);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        log_error("rpc", NULL, "start the thread of gRPC: %s", strerror(r));
        abort();
    }
    pthread_setname_np(core->thread, "podd-rpc");
    return core;
}

struct rpc_core *core_get(struct loop *loop)
{
    pthread_mutex_lock(&cores_lock);
    struct rpc_core *core = cores;
    while (core && core->loop != loop)
        core = core->next;
    if (!core) {
        core = core_new(loop);
        core->next = cores;
        cores = core;
    }
    core->users++;
    pthread_mutex_unlock(&cores_lock);
    return core;
}

static void core_unref(struct rpc_core *core)
{
    pthread_mutex_lock(&core->lock);
    bool last = --core->refs == 0;
    pthread_mutex_unlock(&core->lock);
    if (!last)
        return;
    grpc_shutdown();
    pthread_cond_destroy(&core->delivered);
    pthread_mutex_destroy(&core->lock);
    free(core);
}

void core_release(struct rpc_core *core)
{
    pthread_mutex_lock(&cores_lock);
    bool last = --core->users == 0;
    if (last) {
        struct rpc_core **at = &cores;
        while (*at != core)
            at = &(*at)->next;
        *at = core->next;
    }
    pthread_mutex_unlock(&cores_lock);
    if (!last)
        return;
    grpc_completion_queue_shutdown(core->queue);
    pthread_join(core->thread, NULL);
    grpc_completion_queue_destroy(core->queue);
    core_unref(core);
}

grpc_completion_queue *core_queue(struct rpc_core *core)
{
    return core->queue;
}

/* ---- The way to the loop --------------------------------------------------------------------- */

static struct rpc_op *take_delivered(struct rpc_core *core)
{
    struct rpc_op *op = core->first;

    core->first = NULL;
    core->last = &core->first;
    return op;
}

static void run_delivered(struct rpc_op *op)
{
    while (op) {
        struct rpc_op *next = op->next;
        op->deliver(op); /* may free or arm it */
        op = next;
    }
}

static void drain(void *arg)
{
    struct rpc_core *core = arg;

    pthread_mutex_lock(&core->lock);
    core->posted = false;
    struct rpc_op *op = take_delivered(core);
    pthread_mutex_unlock(&core->lock);
    run_delivered(op);
    core_unref(core);
}

void core_wait(struct rpc_core *core)
{
    pthread_mutex_lock(&core->lock);
    while (!core->first)
        pthread_cond_wait(&core->delivered, &core->lock);
    struct rpc_op *op = take_delivered(core);
    pthread_mutex_unlock(&core->lock);
    run_delivered(op);
}

void op_arm(struct rpc_op *op, void (*event)(struct rpc_op *op, bool ok))
{
    op->event = event;
    if (atomic_exchange(&op->armed, true))
        abort(); /* one batch at a time */
}

static bool append(struct rpc_core *core, struct rpc_op *op, bool ok,
                   void (*deliver)(struct rpc_op *op), const bool *closed)
{
    op->ok = ok;
    op->deliver = deliver;
    op->next = NULL;
    pthread_mutex_lock(&core->lock);
    bool taken = !closed || !*closed;
    bool post = taken && !core->posted;
    if (taken) {
        *core->last = op;
        core->last = &op->next;
    }
    if (post) {
        core->posted = true;
        core->refs++;
        /* Under the lock: whoever closes and frees the loop after this sees the post. */
        loop_post(core->loop, drain, core);
    }
    pthread_cond_signal(&core->delivered);
    pthread_mutex_unlock(&core->lock);
    return taken;
}

void op_deliver(struct rpc_core *core, struct rpc_op *op, bool ok,
                void (*deliver)(struct rpc_op *op))
{
    append(core, op, ok, deliver, NULL);
}

bool op_deliver_open(struct rpc_core *core, struct rpc_op *op, bool ok,
                     void (*deliver)(struct rpc_op *op), const bool *closed)
{
    return append(core, op, ok, deliver, closed);
}

void core_close(struct rpc_core *core, bool *closed)
{
    pthread_mutex_lock(&core->lock);
    *closed = true;
    pthread_mutex_unlock(&core->lock);
}
