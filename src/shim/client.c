/*
 * client.c - the daemon's connection to one shim: requests, answers, events, and its end.
 *
 * CONNECTING until the shim answered Info, then READY: the owner has its `struct shim`
 * (client_connect.c). When the socket ends although the process lives (the shim drops whoever does
 * not read), the state is LOST and we connect anew. When the pidfd says that the process ended it
 * is GONE for good.
 *
 * Who is called, and when: answers and events are called from where the socket is read. Failures
 * are never told from inside the call that caused them but from a job posted to the loop; it also
 * tells on_gone, after every failure. Any of these callbacks may free the shim. shim_free() ends
 * what is pending at once, so that nothing is called after it; the memory stays until the last
 * frame on the stack and the last posted job have let go of it (refs).
 */
#include <fcntl.h>

#include "client.h"
#include "exit_record.h"

enum { RECEIVES_PER_TURN = 64 };

static void run_job(void *arg);

/* ---- References, failing soon --------------------------------------------------------------- */

void client_unref(struct shim *s)
{
    if (--s->refs > 0)
        return;
    if (s->info)
        podd__shim__info_response__free_unpacked(s->info, NULL);
    free(s->directory);
    free(s);
}

static void post_job(struct shim *s)
{
    if (s->job_posted)
        return;
    s->job_posted = true;
    s->refs++;
    loop_post(s->loop, run_job, s);
}

static void call_fail(struct call *c, const struct err *e)
{
    list_remove(&c->link);
    c->finish(c, NULL, NULL, c->why.code ? &c->why : e);
    err_clear(&c->why);
    free(c);
}

/* Every callback may free the shim, which empties the lists: each turn looks at them anew. */
static void fail_calls(struct list *calls, enum err_code code, const char *why)
{
    while (!list_empty(calls)) {
        _cleanup_err_ struct err e = ERR_INIT;
        err_set(&e, code, "%s", why);
        call_fail(container_of(calls->next, struct call, link), &e);
    }
}

static void finish_execs(struct list *execs)
{
    while (!list_empty(execs))
        exec_finish(container_of(execs->next, struct exec, link), NULL);
}

static void run_job(void *arg)
{
    struct shim *s = arg;

    s->job_posted = false;
    fail_calls(&s->failed, ERR_UNAVAILABLE,
               s->state == SHIM_GONE ? "the pod's shim is gone"
                                     : "the connection to the pod's shim was lost");
    finish_execs(&s->lost_execs);
    if (s->state == SHIM_GONE && !s->freed && !s->gone_told) {
        s->gone_told = true;
        if (s->events.on_gone)
            s->events.on_gone(s->events_arg);
    }
    client_unref(s);
}

static void move_all(struct list *to, struct list *from)
{
    list_for_each_safe (it, from) {
        list_remove(it);
        list_append(to, it);
    }
}

/* ---- The connection ------------------------------------------------------------------------- */

static void disconnect(struct shim *s)
{
    io_free(take_ptr(s->ch_io));
    channel_close(&s->ch);
    s->ch_wants_write = false;
    move_all(&s->failed, &s->calls);
    move_all(&s->lost_execs, &s->execs);
    if (!list_empty(&s->failed) || !list_empty(&s->lost_execs))
        post_job(s);
}

/* Stops everything that could call back, and calls what is pending. */
static void shut(struct shim *s, enum err_code code, const char *why)
{
    s->freed = true;
    disconnect(s);
    io_free(take_ptr(s->pidfd_io));
    timer_free(take_ptr(s->timer));
    fail_calls(&s->failed, code, why);
    finish_execs(&s->lost_execs);
    fd_close(take_fd(&s->pidfd));
    fd_close(take_fd(&s->netns));
    fd_close(take_fd(&s->user_ns));
}

void shim_free(struct shim *s)
{
    if (!s || s->freed)
        return;
    shut(s, ERR_CANCELLED, "the call was given up");
    client_unref(s);
}

void client_ready_failed(struct shim *s, const struct err *e)
{
    shim_ready_fn *ready = s->ready;
    void *arg = s->ready_arg;

    s->refs++;
    shim_free(s);
    ready(arg, NULL, e);
    client_unref(s);
}

void client_lost(struct shim *s, const char *why)
{
    if (s->state == SHIM_CONNECTING) {
        _cleanup_err_ struct err e = ERR_INIT;
        err_set(&e, ERR_UNAVAILABLE, "connect to the shim in %s: %s", s->directory, why);
        client_ready_failed(s, &e);
        return;
    }
    if (s->state == SHIM_GONE)
        return;
    log_debug("shim", s->directory, "connection lost: %s", why);
    s->state = SHIM_LOST;
    disconnect(s);
    timer_start(s->timer, CLIENT_RECONNECT_MS);
}

static void send_queued(struct shim *s)
{
    int r = channel_flush(&s->ch);
    bool wants = r > 0;

    /* A broken socket is told by the next read. */
    if (wants != s->ch_wants_write) {
        s->ch_wants_write = wants;
        io_set(s->ch_io, wants ? IO_READ | IO_WRITE : IO_READ);
    }
}

static struct call *call_new(call_finish_fn *finish, void (*fn)(void), void *arg)
{
    struct call *c = xnew(struct call);

    c->finish = finish;
    c->fn = fn;
    c->arg = arg;
    return c;
}

void call_fail_soon(struct shim *s, call_finish_fn *finish, void (*fn)(void), void *arg,
                    struct err *why)
{
    struct call *c = call_new(finish, fn, arg);

    if (why)
        err_move(&c->why, why);
    list_append(&s->failed, &c->link);
    post_job(s);
}

void call_send(struct shim *s, body_case_t body_case, void *body, const int *fds_take, size_t n_fds,
               body_case_t expected, call_finish_fn *finish, void (*fn)(void), void *arg)
{
    if (s->ch.fd < 0) {
        for (size_t i = 0; i < n_fds; i++)
            fd_close(fds_take[i]);
        call_fail_soon(s, finish, fn, arg, NULL);
        return;
    }
    struct call *c = call_new(finish, fn, arg);
    c->id = ++s->last_call;
    c->expected = expected;
    envelope_t env = envelope_of(c->id, body_case, body);
    list_append(&s->calls, &c->link);
    channel_send(&s->ch, &env, fds_take, n_fds);
    send_queued(s);
}

/* ---- What the shim says --------------------------------------------------------------------- */

void failure_to_err(const Podd__Shim__Failure *failure, struct err *e)
{
    bool known = failure->code > ERR_OK && failure->code <= ERR_UNAUTHENTICATED;

    err_set(e, known ? (enum err_code)failure->code : ERR_UNKNOWN, "%s", failure->message);
}

static struct exec *find_exec(struct shim *s, const char *id)
{
    list_for_each (it, &s->execs) {
        struct exec *x = container_of(it, struct exec, link);
        if (str_equal(x->id, id))
            return x;
    }
    return NULL;
}

static int handle_event(struct shim *s, const envelope_t *env)
{
    /* Until Info is answered an event tells nothing that the answer will not contain. */
    if (s->state != SHIM_READY)
        return 0;
    if (env->body_case == PODD__SHIM__ENVELOPE__BODY_CONTAINER_EXIT) {
        if (!env->container_exit->exit)
            return -EPROTO;
        if (s->events.on_container_exit)
            s->events.on_container_exit(s->events_arg, env->container_exit->id,
                                        env->container_exit->exit);
        return 0;
    }
    if (env->body_case == PODD__SHIM__ENVELOPE__BODY_EXEC_EXIT) {
        struct exec *x = find_exec(s, env->exec_exit->exec_id);
        if (!env->exec_exit->exit)
            return -EPROTO;
        if (x)
            exec_finish(x, env->exec_exit->exit);
        return 0;
    }
    return 0; /* an event of a newer shim */
}

static int handle_answer(struct shim *s, const envelope_t *env)
{
    struct call *c = NULL;

    list_for_each (it, &s->calls) {
        c = container_of(it, struct call, link);
        if (c->id == env->call)
            break;
        c = NULL;
    }
    if (!c)
        return -EPROTO;
    if (env->body_case == PODD__SHIM__ENVELOPE__BODY_FAILURE) {
        _cleanup_err_ struct err e = ERR_INIT;
        failure_to_err(env->failure, &e);
        call_fail(c, &e);
        return 0;
    }
    if (env->body_case != c->expected)
        return -EPROTO;
    list_remove(&c->link);
    int r = c->finish(c, &s->ch, env, NULL);
    free(c);
    return r;
}

static int handle_frames(struct shim *s)
{
    const uint8_t *data;
    size_t len;
    int r;

    while ((r = channel_next(&s->ch, &data, &len)) > 0) {
        envelope_t *env = podd__shim__envelope__unpack(NULL, len, data);
        if (!env)
            return -EPROTO;
        r = env->call ? handle_answer(s, env) : handle_event(s, env);
        podd__shim__envelope__free_unpacked(env, NULL);
        if (r < 0 || s->ch.fd < 0)
            return r;
        if (channel_has_stray_fds(&s->ch))
            return -EPROTO;
    }
    return r;
}

/* Reads until there is nothing more or `turns` are over. The caller holds a reference. */
static void receive(struct shim *s, int turns)
{
    while (turns-- > 0 && s->ch.fd >= 0) {
        int r = channel_receive(&s->ch);
        if (r == -EAGAIN)
            return;
        if (r == 0) {
            client_lost(s, "the shim closed the connection");
            return;
        }
        if (r > 0)
            r = handle_frames(s);
        if (r < 0 && s->ch.fd >= 0) {
            client_lost(s, strerror(-r));
            return;
        }
    }
}

void client_on_socket(void *arg, unsigned events)
{
    struct shim *s = arg;

    s->refs++;
    if (events & IO_WRITE)
        send_queued(s);
    receive(s, RECEIVES_PER_TURN);
    client_unref(s);
}

void client_on_pidfd(void *arg, unsigned events)
{
    struct shim *s = arg;

    s->refs++;
    /* What it said last is still in the socket. */
    receive(s, INT32_MAX);
    if (!s->freed && s->state == SHIM_CONNECTING)
        client_lost(s, "the shim has died");
    if (!s->freed) {
        s->state = SHIM_GONE;
        io_free(take_ptr(s->pidfd_io));
        timer_stop(s->timer);
        disconnect(s);
        post_job(s);
    }
    client_unref(s);
}

/* ---- What is known of it --------------------------------------------------------------------- */

pid_t shim_pid(const struct shim *s)
{
    return s->pid;
}

uint64_t shim_start_time(const struct shim *s)
{
    return s->start_time;
}

int shim_netns(const struct shim *s)
{
    return s->netns;
}

int shim_user_ns(const struct shim *s)
{
    return s->user_ns;
}

const Podd__Shim__InfoResponse *shim_info(const struct shim *s)
{
    return s->info;
}

int shim_read_exit(const char *directory, const char *container_id, exit_info_t **ret,
                   struct err *e)
{
    _cleanup_close_ int dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0) {
        if (errno == ENOENT)
            return err_set(e, ERR_NOT_FOUND, "exit record of container %s: no directory %s",
                           container_id, directory);
        return err_errno(e, errno, "open %s", directory);
    }
    return exit_record_read(dir, container_id, ret, e);
}
