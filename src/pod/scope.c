/*
 * scope.c - one call to systemd for each pod (org.freedesktop.systemd1(5)).
 *
 * A cgroup below a slice belongs to systemd unless systemd was asked to hand it over. So a pod
 * whose parent is a slice begins as a transient scope with Delegate=yes around its shim: below the
 * scope podd makes cgroups of its own, and systemd touches nothing there, whatever it reloads. The
 * scope ends by itself, with the last process in it, which is the shim.
 *
 *   StartTransientUnit(name, "fail", properties) -> a job; JobRemoved(.., name, result) -> it is
 * there
 *
 * The bus is spoken to by sd-bus on the loop, so nothing waits for it; any number of pods may be on
 * their way. The connection is made for the first pod and kept. When it is lost, those under way
 * fail, and the next pod makes a new one.
 */
#include "scope.h"

#include <poll.h>
#include <systemd/sd-bus.h>

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

enum { START_TIMEOUT_MS = 20000 };

struct systemd {
    struct loop *loop;
    sd_bus *bus; /* NULL: not connected */
    struct io *io;
    struct timer *timer;  /* of the bus */
    struct list starting; /* struct start */
};

struct start {
    struct list link; /* in starting, until it is decided */
    struct systemd *b;
    char *name;
    sd_bus_slot *call;
    struct timer *timer;
    struct err e;
    void (*fn)(void *arg, const struct err *e);
    void *arg;
};

/* ---- One scope ------------------------------------------------------------------------------ */

static void start_answer(void *arg)
{
    struct start *s = arg;

    s->fn(s->arg, &s->e);
    err_clear(&s->e);
    free(s);
}

static void start_release(struct start *s)
{
    list_remove(&s->link);
    sd_bus_slot_unref(take_ptr(s->call));
    timer_free(take_ptr(s->timer));
    free(take_ptr(s->name));
}

/* Decided: e_take is empty or the reason why not. Answered from the loop, for sd-bus may be on the
 * stack. */
static void start_finish(struct start *s, struct err *e_take)
{
    struct loop *loop = s->b->loop;

    err_move(&s->e, e_take);
    start_release(s);
    loop_post(loop, start_answer, s);
}

static void on_start_timer(void *arg)
{
    struct start *s = arg;
    struct err e = ERR_INIT;

    err_set(&e, ERR_DEADLINE_EXCEEDED, "systemd did not make scope %s within %d s", s->name,
            START_TIMEOUT_MS / 1000);
    start_finish(s, &e);
}

static enum err_code code_of(const sd_bus_error *error)
{
    if (sd_bus_error_has_name(error, SYSTEMD_NAME ".UnitExists"))
        return ERR_ALREADY_EXISTS;
    if (sd_bus_error_has_name(error, SD_BUS_ERROR_INVALID_ARGS))
        return ERR_INVALID_ARGUMENT;
    if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
        return ERR_PERMISSION_DENIED;
    return ERR_UNAVAILABLE; /* of the bus, or of systemd on its way down */
}

/* A good answer tells no more than that there is a job. */
static int on_start_reply(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
    struct start *s = arg;
    const sd_bus_error *error = sd_bus_message_get_error(m);

    if (error) {
        struct err e = ERR_INIT;
        err_set(&e, code_of(error), "systemd refuses scope %s: %s", s->name,
                error->message ? error->message : error->name);
        start_finish(s, &e);
    }
    return 0;
}

static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *unused)
{
    struct systemd *b = arg;
    const char *path, *unit, *result;
    uint32_t id;

    if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
        return 0;
    list_for_each_safe (it, &b->starting) {
        struct start *s = container_of(it, struct start, link);
        if (!str_equal(s->name, unit))
            continue;
        struct err e = ERR_INIT;
        if (!str_equal(result, "done"))
            err_set(&e, ERR_UNAVAILABLE, "systemd did not make scope %s: its job ended as \"%s\"",
                    s->name, result);
        start_finish(s, &e);
    }
    return 0;
}

/* ---- The connection ------------------------------------------------------------------------- */

static void bus_close(struct systemd *b)
{
    io_free(take_ptr(b->io)); /* before its descriptor is closed */
    timer_free(take_ptr(b->timer));
    sd_bus_close_unref(take_ptr(b->bus));
}

static void bus_lost(struct systemd *b, int error)
{
    list_for_each_safe (it, &b->starting) {
        struct start *s = container_of(it, struct start, link);
        struct err e = ERR_INIT;
        err_errno(&e, error, "make scope %s: the connection to systemd was lost", s->name);
        e.code = ERR_UNAVAILABLE;
        start_finish(s, &e);
    }
    bus_close(b);
}

/* What the bus waits for next. */
static int bus_watch(struct systemd *b)
{
    uint64_t until = UINT64_MAX; /* us, monotonic */
    int events = sd_bus_get_events(b->bus);
    int r = events < 0 ? events : sd_bus_get_timeout(b->bus, &until);

    if (r < 0)
        return r;
    io_set(b->io, (events & POLLIN ? IO_READ : 0) | (events & POLLOUT ? IO_WRITE : 0));
    if (until == UINT64_MAX) {
        timer_stop(b->timer);
    } else {
        int64_t left = (int64_t)until * 1000 - time_mono_ns();
        timer_start(b->timer, left > 0 ? left / NS_PER_MS + 1 : 0);
    }
    return 0;
}

static void bus_process(struct systemd *b)
{
    int r;

    do
        r = sd_bus_process(b->bus, NULL);
    while (r > 0);
    if (r == 0)
        r = bus_watch(b);
    if (r < 0) {
        log_warn("pod", NULL, "the connection to systemd is lost: %s", strerror(-r));
        bus_lost(b, r);
    }
}

static void on_bus_io(void *arg, unsigned events)
{
    bus_process(arg);
}

static void on_bus_timer(void *arg)
{
    bus_process(arg);
}

static int bus_open(struct systemd *b, struct err *e)
{
    if (b->bus)
        return 0;
    int r = sd_bus_open_system(&b->bus);
    if (r >= 0)
        r = sd_bus_match_signal_async(b->bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                      "JobRemoved", on_job_removed, NULL, b);
    int fd = r < 0 ? r : sd_bus_get_fd(b->bus);
    if (fd < 0) {
        bus_close(b);
        err_errno(e, fd, "connect to the system bus");
        e->code = ERR_UNAVAILABLE;
        return -1;
    }
    b->io = io_new(b->loop, fd, IO_READ, on_bus_io, b);
    b->timer = timer_new(b->loop, on_bus_timer, b);
    return 0;
}

struct systemd *systemd_new(struct loop *loop)
{
    struct systemd *b = xnew(struct systemd);

    b->loop = loop;
    list_init(&b->starting);
    return b;
}

void systemd_free(struct systemd *b)
{
    if (!b)
        return;
    list_for_each_safe (it, &b->starting) {
        struct start *s = container_of(it, struct start, link);
        start_release(s);
        free(s);
    }
    if (b->bus)
        bus_close(b);
    free(b);
}

/* ---- The call ------------------------------------------------------------------------------- */

/* The properties that differ from a scope's defaults. It is not ended with a shutdown's first stops
 * (its containers are the kubelet's to end), is forgotten even if it failed, and puts no limit of
 * systemd's own on the pod. */
static int properties_append(sd_bus_message *m, const struct scope_request *request)
{
    static const char *const accounted[] = {"CPUAccounting", "MemoryAccounting", "IOAccounting",
                                            "TasksAccounting"};
    int r = sd_bus_message_open_container(m, 'a', "(sv)");

    if (r >= 0)
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s",
                                  request->description, "Slice", "s", request->slice, "PIDs", "au",
                                  1, (uint32_t)request->pid, "Delegate", "b", 1,
                                  "DefaultDependencies", "b", 0, "CollectMode", "s",
                                  "inactive-or-failed", "TasksMax", "t", UINT64_MAX);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(accounted); i++)
        r = sd_bus_message_append(m, "(sv)", accounted[i], "b", 1);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int start_send(struct start *s, const struct scope_request *request)
{
    sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(s->b->bus, &m, SYSTEMD_NAME, SYSTEMD_PATH,
                                           SYSTEMD_MANAGER, "StartTransientUnit");

    if (r >= 0)
        r = sd_bus_message_append(m, "ss", request->name, "fail");
    if (r >= 0)
        r = properties_append(m, request);
    if (r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0); /* no other units */
    if (r >= 0)
        r = sd_bus_call_async(s->b->bus, &s->call, m, on_start_reply, s, 0);
    sd_bus_message_unref(m);
    return r < 0 ? r : bus_watch(s->b);
}

void systemd_start_scope(struct systemd *b, const struct scope_request *request,
                         void (*fn)(void *arg, const struct err *e), void *arg)
{
    struct start *s = xnew(struct start);
    struct err e = ERR_INIT;

    s->b = b;
    s->name = xstrdup(request->name);
    s->fn = fn;
    s->arg = arg;
    list_append(&b->starting, &s->link);
    s->timer = timer_new(b->loop, on_start_timer, s);
    timer_start(s->timer, START_TIMEOUT_MS);
    if (bus_open(b, &e) < 0) {
        start_finish(s, &e);
        return;
    }
    int r = start_send(s, request);
    if (r < 0)
        bus_lost(b, r); /* s is among those that fail */
}
