/*
 * http.c - curl's multi interface driven by the event loop.
 *
 * curl says which sockets it waits for (on_socket) and when it wants to be called at the latest
 * (on_timeout); both become watches of the loop. Finished transfers are collected after each call
 * into curl and told from a posted callback, so that no caller's code runs inside curl.
 */
#include "podd/http.h"

struct http {
    struct loop *loop;
    CURLM *multi;
    struct timer *timer;
    bool collecting; /* a collect() is posted */
    bool freed;
};

/* One running transfer; hangs on CURLOPT_PRIVATE. */
struct transfer {
    http_done_fn *fn;
    void *arg;
};

struct socket_watch {
    struct http *http;
    struct io *io;
    curl_socket_t fd;
};

static void collect(void *arg)
{
    struct http *h = arg;
    int left;

    h->collecting = false;
    if (h->freed) {
        free(h);
        return;
    }
    for (CURLMsg *message; (message = curl_multi_info_read(h->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        char *private = NULL;

        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        struct transfer *t = (struct transfer *)private;
        curl_multi_remove_handle(h->multi, easy);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
        http_done_fn *fn = t->fn;
        void *fn_arg = t->arg;
        free(t);
        fn(fn_arg, easy, result);
    }
}

static void collect_soon(struct http *h)
{
    if (h->collecting)
        return;
    h->collecting = true;
    loop_post(h->loop, collect, h);
}

static void on_io(void *arg, unsigned events)
{
    struct socket_watch *w = arg;
    struct http *h = w->http;
    int mask = 0, running;

    if (events & (IO_READ | IO_HANGUP))
        mask |= CURL_CSELECT_IN;
    if (events & IO_WRITE)
        mask |= CURL_CSELECT_OUT;
    curl_multi_socket_action(h->multi, w->fd, mask, &running);
    collect_soon(h);
}

/* CURLMOPT_SOCKETFUNCTION: curl's interest in a socket has changed. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *http, void *watch)
{
    struct http *h = http;
    struct socket_watch *w = watch;

    if (what == CURL_POLL_REMOVE) {
        if (w)
            io_free(w->io);
        free(w);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    unsigned events = (what & CURL_POLL_IN ? IO_READ : 0) | (what & CURL_POLL_OUT ? IO_WRITE : 0);
    if (w) {
        io_set(w->io, events);
        return 0;
    }
    w = xnew(struct socket_watch);
    w->http = h;
    w->fd = fd;
    w->io = io_new(h->loop, fd, events, on_io, w);
    curl_multi_assign(h->multi, fd, w);
    return 0;
}

static void on_timer(void *arg)
{
    struct http *h = arg;
    int running;

    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect_soon(h);
}

/* CURLMOPT_TIMERFUNCTION: curl wants to be called after this many milliseconds, or (-1) not. */
static int on_timeout(CURLM *multi, long ms, void *http)
{
    struct http *h = http;

    if (ms < 0)
        timer_stop(h->timer);
    else
        timer_start(h->timer, ms);
    return 0;
}

struct http *http_new(struct loop *loop)
{
    struct http *h = xnew(struct http);

    curl_global_init(CURL_GLOBAL_DEFAULT);
    h->loop = loop;
    h->multi = curl_multi_init();
    h->timer = timer_new(loop, on_timer, h);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    curl_multi_cleanup(h->multi); /* may still stop the timer */
    timer_free(h->timer);
    h->freed = true;
    if (!h->collecting)
        free(h);
}

void http_start(struct http *h, CURL *easy, http_done_fn *fn, void *arg)
{
    struct transfer *t = xnew(struct transfer);

    t->fn = fn;
    t->arg = arg;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_multi_add_handle(h->multi, easy); /* arms the timer for at once */
}

void http_cancel(struct http *h, CURL *easy)
{
    char *private = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    if (!private)
        return;
    curl_multi_remove_handle(h->multi, easy);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
    free(private);
}

void http_resume(struct http *h, CURL *easy)
{
    curl_easy_pause(easy, CURLPAUSE_CONT);
}
