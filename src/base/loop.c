/*
 * loop.c - the event loop: libuv behind our own names.
 *
 * libuv closes a handle in two steps: uv_close() silences it at once, and a later turn of the loop
 * calls back when its memory may go. Every handle therefore is the first member of a heap object,
 * x_free() calls uv_close(), and the object is freed in that callback; so x_free() is allowed in
 * the object's own callback. uv_close() of a poll handle takes the fd out of epoll before it
 * returns, so the caller may close the fd right after, and its number may be watched anew.
 *
 * One async handle is the only way in from other threads: it carries the queue of loop_post() and
 * the wish of loop_stop(). It also keeps the loop alive when there is nothing else. Nothing here
 * wakes up by itself.
 */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <uv.h>

#include <podd/base.h>

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t async;
    atomic_bool stop;
    struct list signals; /* struct on_signal */
    struct list exits;   /* struct on_exit */

    pthread_mutex_t lock; /* protects the two below */
    struct post *first;
    struct post **last;
};

/* For what only a wrong argument or exhausted kernel memory can make fail. libuv itself aborts
 * when epoll_ctl() fails later. */
static void must(int r, const char *what)
{
    if (r == 0)
        return;
    log_error("loop", NULL, "%s: %s", what, uv_strerror(r));
    abort();
}

static void free_handle(uv_handle_t *h)
{
    free(h); /* the first member of its object */
}

/* ---- The loop, posts and work --------------------------------------------------------------- */

static void run_posts(struct loop *l)
{
    /* Only those that are there now: a post that posts again must not starve the fds. */
    pthread_mutex_lock(&l->lock);
    struct post *p = l->first;
    l->first = NULL;
    l->last = &l->first;
    pthread_mutex_unlock(&l->lock);

    while (p) {
        struct post *next = p->next;
        p->fn(p->arg);
        free(p);
        p = next;
    }
}

static void on_async(uv_async_t *async)
{
    struct loop *l = container_of(async, struct loop, async);
    /* Read before the queue: what was posted before loop_stop() still runs. */
    bool stop = atomic_exchange(&l->stop, false);

    run_posts(l);
    if (stop)
        uv_stop(&l->uv);
}

struct loop *loop_new(void)
{
    struct loop *l = xnew(struct loop);

    must(uv_loop_init(&l->uv), "uv_loop_init");
    must(uv_async_init(&l->uv, &l->async, on_async), "uv_async_init");
    list_init(&l->signals);
    list_init(&l->exits);
    pthread_mutex_init(&l->lock, NULL);
    l->last = &l->first;
    return l;
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    uv_async_send(&l->async);
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct post *p = xnew(struct post);

    p->fn = fn;
    p->arg = arg;
    pthread_mutex_lock(&l->lock);
    *l->last = p;
    l->last = &p->next;
    pthread_mutex_unlock(&l->lock);
    uv_async_send(&l->async);
}

struct work {
    uv_work_t req;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void work_run(uv_work_t *req)
{
    struct work *w = container_of(req, struct work, req);

    w->work(w->arg);
}

static void work_done(uv_work_t *req, int status)
{
    struct work *w = container_of(req, struct work, req);

    (void)status; /* never cancelled */
    w->done(w->arg);
    free(w);
}

void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct work *w = xnew(struct work);

    w->work = work;
    w->done = done;
    w->arg = arg;
    must(uv_queue_work(&l->uv, &w->req, work_run, work_done), "uv_queue_work");
}

/* ---- Timers --------------------------------------------------------------------------------- */

struct timer {
    uv_timer_t uv; /* first: free_handle() */
    void (*fn)(void *arg);
    void *arg;
};

static void on_timer(uv_timer_t *uv)
{
    struct timer *t = container_of(uv, struct timer, uv);

    t->fn(t->arg);
}

struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct timer *t = xnew(struct timer);

    must(uv_timer_init(&l->uv, &t->uv), "uv_timer_init");
    t->fn = fn;
    t->arg = arg;
    return t;
}

void timer_start(struct timer *t, int64_t delay_ms)
{
    /* libuv counts from the beginning of this turn of the loop, which may be a while ago. */
    uv_update_time(t->uv.loop);
    must(uv_timer_start(&t->uv, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0),
         "uv_timer_start");
}

void timer_stop(struct timer *t)
{
    uv_timer_stop(&t->uv);
}

void timer_free(struct timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->uv, free_handle);
}

/* ---- Fds ------------------------------------------------------------------------------------ */

struct io {
    uv_poll_t uv;    /* first: free_handle() */
    unsigned events; /* IO_* as asked for */
    void (*fn)(void *arg, unsigned events);
    void *arg;
};

static void on_poll(uv_poll_t *uv, int status, int uv_events)
{
    struct io *io = container_of(uv, struct io, uv);
    unsigned events = 0;

    if (status < 0) {
        /* EPOLLERR: libuv has stopped the handle. The owner's next read or write will tell what it
         * is, so it hears of all that it waits for, and watching goes on as for any event. */
        events = io->events;
        io_set(io, events);
    }
    if (uv_events & UV_READABLE)
        events |= IO_READ;
    if (uv_events & UV_WRITABLE)
        events |= IO_WRITE;
    if (uv_events & UV_DISCONNECT)
        events |= IO_HANGUP;
    if (events)
        io->fn(io->arg, events);
}

struct io *io_new(struct loop *l, int fd, unsigned events, void (*fn)(void *arg, unsigned events),
                  void *arg)
{
    struct io *io = xnew(struct io);

    must(uv_poll_init(&l->uv, &io->uv, fd), "uv_poll_init");
    io->fn = fn;
    io->arg = arg;
    io_set(io, events);
    return io;
}

void io_set(struct io *io, unsigned events)
{
    int uv_events = 0;

    if (events & IO_READ)
        uv_events |= UV_READABLE;
    if (events & IO_WRITE)
        uv_events |= UV_WRITABLE;
    if (events & IO_HANGUP)
        uv_events |= UV_DISCONNECT;
    io->events = events;
    if (uv_events)
        must(uv_poll_start(&io->uv, uv_events, on_poll), "uv_poll_start");
    else
        uv_poll_stop(&io->uv);
}

void io_free(struct io *io)
{
    if (!io)
        return;
    uv_poll_stop(&io->uv);
    uv_close((uv_handle_t *)&io->uv, free_handle);
}

/* ---- Signals -------------------------------------------------------------------------------- */

struct on_signal {
    uv_signal_t uv; /* first: free_handle() */
    struct list link;
    int signo;
    void (*fn)(void *arg, int signo);
    void *arg;
};

static void on_signal(uv_signal_t *uv, int signo)
{
    struct on_signal *s = container_of(uv, struct on_signal, uv);

    s->fn(s->arg, signo);
}

static struct on_signal *find_signal(struct loop *l, int signo)
{
    list_for_each (it, &l->signals) {
        struct on_signal *s = container_of(it, struct on_signal, link);
        if (s->signo == signo)
            return s;
    }
    return NULL;
}

void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    struct on_signal *s = find_signal(l, signo);

    if (!fn) {
        if (s) {
            list_remove(&s->link);
            uv_close((uv_handle_t *)&s->uv, free_handle); /* the last one sets SIG_DFL */
        } else {
            signal(signo, SIG_DFL);
        }
        return;
    }
    if (!s) {
        s = xnew(struct on_signal);
        s->signo = signo;
        list_append(&l->signals, &s->link);
        must(uv_signal_init(&l->uv, &s->uv), "uv_signal_init");
        must(uv_signal_start(&s->uv, on_signal, signo), "uv_signal_start");
    }
    s->fn = fn;
    s->arg = arg;
}

/* ---- Children ------------------------------------------------------------------------------- */

struct on_exit {
    struct list link;
    int pidfd; /* owned */
    struct io *io;
    void (*fn)(void *arg, int status);
    void *arg;
};

static int wait_status(const siginfo_t *si)
{
    switch (si->si_code) {
    case CLD_EXITED:
        return W_EXITCODE(si->si_status & 0xff, 0);
    case CLD_DUMPED:
        return W_EXITCODE(0, si->si_status) | WCOREFLAG;
    default:
        return W_EXITCODE(0, si->si_status);
    }
}

static void on_pidfd(void *arg, unsigned events)
{
    struct on_exit *x = arg;
    siginfo_t si = {0};

    (void)events;
    if (waitid(P_PIDFD, (id_t)x->pidfd, &si, WEXITED | WNOHANG) < 0) {
        if (errno != ECHILD)
            return;
        /* Gone, but not our child (any more): nobody can know how. */
        si.si_code = 0;
    } else if (si.si_pid == 0) {
        return;
    }
    int status = si.si_code ? wait_status(&si) : -1;
    void (*fn)(void *, int) = x->fn;
    void *fn_arg = x->arg;

    list_remove(&x->link);
    io_free(x->io);
    fd_close(x->pidfd);
    free(x);
    fn(fn_arg, status);
}

void loop_on_exit(struct loop *l, int pidfd_take, void (*fn)(void *arg, int status), void *arg)
{
    struct on_exit *x = xnew(struct on_exit);

    x->pidfd = pidfd_take;
    x->fn = fn;
    x->arg = arg;
    x->io = io_new(l, pidfd_take, IO_READ, on_pidfd, x);
    list_append(&l->exits, &x->link);
}

/* ---- The end -------------------------------------------------------------------------------- */

static void close_leftover(uv_handle_t *h, void *arg)
{
    struct loop *l = arg;

    if (!uv_is_closing(h))
        uv_close(h, h == (uv_handle_t *)&l->async ? NULL : free_handle);
}

/* What was promised before still happens: posts run, and work in flight is waited for and
 * finished. Timers, fds and children that are left are forgotten without a call. */
void loop_free(struct loop *l)
{
    if (!l)
        return;
    list_for_each_safe (it, &l->exits) {
        struct on_exit *x = container_of(it, struct on_exit, link);
        io_free(x->io);
        fd_close(x->pidfd);
        free(x);
    }
    do {
        run_posts(l);
        uv_walk(&l->uv, close_leftover, l);
        uv_run(&l->uv, UV_RUN_DEFAULT);
        /* Finished work may have posted, and posts may have begun something new. */
    } while (l->first || uv_loop_close(&l->uv) == UV_EBUSY);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
