/*
 * echo-service.h - a server of echo.proto and a client of it on one loop, for the tests of rpc.
 */
#ifndef ECHO_SERVICE_H
#define ECHO_SERVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <podd/rpc.h>

#include "echo.pb-c.h"

#define ECHO (&podd__test__echo__descriptor)

struct echo {
    struct loop *loop;
    struct rpc_server *server;
    struct rpc_client *client;
    char dir[32];
    char *address;

    /* What the handlers saw. */
    int handled;
    int cancelled;
    int refused_sends; /* rpc_send() said no */
    int held;          /* calls of Hang that are open */
    struct rpc_call *hung;
};

struct echo_work {
    struct echo *echo;
    struct rpc_call *call;
    struct timer *timer;
    char *text;
    int32_t next, count;
    struct bytes payload;
};

static inline void echo_work_free(struct echo_work *w)
{
    timer_free(w->timer);
    free(w->text);
    bytes_free(&w->payload);
    free(w);
}

static inline void echo_answer(struct rpc_call *call, const char *text, const uint8_t *data,
                               size_t len)
{
    Podd__Test__EchoResponse response = PODD__TEST__ECHO_RESPONSE__INIT;

    response.text = (char *)text;
    response.payload.data = (uint8_t *)data;
    response.payload.len = len;
    rpc_reply(call, &response.base);
}

static inline void echo_later(void *arg)
{
    struct echo_work *w = arg;

    echo_answer(w->call, w->text, NULL, 0);
    echo_work_free(w);
}

static inline void echo_gone(void *arg)
{
    struct echo_work *w = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    w->echo->cancelled++;
    err_set(&e, ERR_CANCELLED, "nobody listens");
    rpc_fail(w->call, &e);
    echo_work_free(w);
}

static inline void handle_unary(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__Test__EchoRequest *request = (const void *)message;
    struct echo *echo = ctx;
    _cleanup_err_ struct err e = ERR_INIT;

    echo->handled++;
    if (request->fail_code != 0) {
        err_set(&e, (enum err_code)request->fail_code, "%s", request->text);
        rpc_fail(call, &e);
    } else if (request->delay_ms > 0) {
        struct echo_work *w = xnew(struct echo_work);
        w->echo = echo;
        w->call = call;
        w->text = xstrdup(request->text);
        w->timer = timer_new(echo->loop, echo_later, w);
        timer_start(w->timer, request->delay_ms);
        rpc_on_cancel(call, echo_gone, w);
    } else {
        echo_answer(call, request->text, request->payload.data, request->payload.len);
    }
}

static inline void echo_stream_on(void *arg)
{
    struct echo_work *w = arg;
    Podd__Test__EchoResponse response = PODD__TEST__ECHO_RESPONSE__INIT;
    _cleanup_err_ struct err e = ERR_INIT;

    response.text = w->text;
    response.payload.data = w->payload.data;
    response.payload.len = w->payload.len;
    for (; w->next < w->count; w->next++) {
        response.number = w->next;
        if (!rpc_send(w->call, &response.base)) {
            w->echo->refused_sends++;
            rpc_on_writable(w->call, echo_stream_on, w);
            return;
        }
    }
    if (str_starts_with(w->text, "fail")) {
        err_set(&e, ERR_DATA_LOSS, "the rest is lost");
        rpc_fail(w->call, &e);
    } else {
        rpc_finish(w->call);
    }
    echo_work_free(w);
}

static inline void handle_stream(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const Podd__Test__EchoRequest *request = (const void *)message;
    struct echo *echo = ctx;
    struct echo_work *w = xnew(struct echo_work);

    echo->handled++;
    w->echo = echo;
    w->call = call;
    w->text = xstrdup(request->text);
    w->count = request->count;
    w->payload.len = (size_t)request->size;
    w->payload.data = xcalloc(1, (size_t)request->size + 1);
    rpc_on_cancel(call, echo_gone, w);
    echo_stream_on(w);
}

static inline void echo_hang_gone(void *arg)
{
    struct echo *echo = arg;

    echo->cancelled++;
}

/* Notes the cancel, but answers only when the test says so. */
static inline void handle_hang(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct echo *echo = ctx;

    echo->held++;
    echo->hung = call;
    rpc_on_cancel(call, echo_hang_gone, echo);
}

static inline void echo_let_go(struct echo *echo)
{
    echo_answer(take_ptr(echo->hung), "late", NULL, 0);
    echo->held--;
}

/* ---- Set-up ---------------------------------------------------------------------------------- */

static inline int echo_start(void **state)
{
    static const struct rpc_method methods[] = {
        {"Unary", handle_unary, false},
        {"Stream", handle_stream, true},
        {"Hang", handle_hang, false},
    };
    struct echo *echo = xnew(struct echo);
    struct err e = ERR_INIT;

    memcpy(echo->dir, "/tmp/podd-rpc-XXXXXX", sizeof("/tmp/podd-rpc-XXXXXX"));
    if (!mkdtemp(echo->dir))
        return -1;
    echo->address = xasprintf("unix://%s/s", echo->dir);
    echo->loop = loop_new();
    echo->server = rpc_server_new(echo->loop);
    rpc_server_add_service(echo->server, ECHO, methods, ARRAY_SIZE(methods), echo);
    rpc_server_add_health(echo->server);
    if (rpc_server_listen(echo->server, echo->address, &e) < 0 ||
        rpc_server_start(echo->server, &e) < 0) {
        log_error("test", NULL, "%s", err_text(&e));
        return -1;
    }
    echo->client = rpc_client_new(echo->loop, echo->address);
    *state = echo;
    return 0;
}

static inline int echo_stop(void **state)
{
    struct echo *echo = *state;

    rpc_client_free(echo->client);
    rpc_server_free(echo->server);
    loop_free(echo->loop);
    if (rmdir(echo->dir) < 0) /* also: the socket is gone */
        return -1;
    free(echo->address);
    free(echo);
    return 0;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static inline void echo_stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Runs the loop for a while. */
static inline void echo_run(struct echo *echo, int64_t ms)
{
    struct timer *t = timer_new(echo->loop, echo_stop_loop, echo->loop);

    timer_start(t, ms);
    loop_run(echo->loop);
    timer_free(t);
}

/* Runs the loop until *value is at least `wanted`; fails after ten seconds. */
static inline void echo_run_until(struct echo *echo, const int *value, int wanted)
{
    for (int i = 0; i < 2000 && *value < wanted; i++)
        echo_run(echo, 5);
    assert_true(*value >= wanted);
}

static inline int echo_call(struct echo *echo, const char *method,
                            const Podd__Test__EchoRequest *request, int64_t timeout_ms,
                            Podd__Test__EchoResponse **ret, struct err *e)
{
    ProtobufCMessage *response = NULL;

    *ret = NULL;
    if (rpc_client_call_sync(echo->client, ECHO, method, &request->base, timeout_ms, &response, e) <
        0)
        return -1;
    *ret = (Podd__Test__EchoResponse *)response;
    return 0;
}

static inline void echo_response_free(Podd__Test__EchoResponse *r)
{
    podd__test__echo_response__free_unpacked(r, NULL);
}

#endif
