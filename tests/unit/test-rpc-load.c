/*
 * test-rpc-load.c - many clients at once, many calls that wait, and what neither may cost:
 * threads, file descriptors, or one client's answer in another's hands.
 */
#include "echo-service.h"

#include <dirent.h>
#include <stdio.h>

#define CLIENTS 64
#define CALLS_EACH 1000

static int count_entries(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

struct caller {
    struct echo *echo;
    struct rpc_client *client;
    int number, calls;
    int *finished;
};

static void call_again(struct caller *c);

static void on_answer(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    const Podd__Test__EchoResponse *r = (const void *)response;
    struct caller *c = arg;
    char expected[32];

    if (!response)
        log_error("test", NULL, "%s", err_text(e));
    assert_non_null(response);
    snprintf(expected, sizeof(expected), "%d/%d", c->number, c->calls);
    assert_string_equal(r->text, expected);
    if (++c->calls == CALLS_EACH)
        (*c->finished)++;
    else
        call_again(c);
}

static void call_again(struct caller *c)
{
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    char text[32];

    snprintf(text, sizeof(text), "%d/%d", c->number, c->calls);
    request.text = text;
    rpc_client_call(c->client, ECHO, "Unary", &request.base, 30000, on_answer, c);
}

static void sixty_four_clients_get_their_own_answers(void **state)
{
    struct echo *echo = *state;
    struct caller callers[CLIENTS];
    int finished = 0;

    for (int i = 0; i < CLIENTS; i++) {
        struct rpc_client *client = rpc_client_new(echo->loop, echo->address);
        callers[i] = (struct caller){echo, client, i, 0, &finished};
        call_again(&callers[i]);
    }
    for (int i = 0; i < 600 && finished < CLIENTS; i++)
        echo_run(echo, 100);
    assert_int_equal(finished, CLIENTS);
    assert_int_equal(echo->handled, CLIENTS * CALLS_EACH);
    for (int i = 0; i < CLIENTS; i++)
        rpc_client_free(callers[i].client);
}

static void count_answer(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    int *n = arg;

    assert_int_equal(e->code, ERR_OK);
    (*n)++;
}

static void pending_calls_take_no_threads(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;
    int answers = 0;

    request.text = (char *)"x";
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), 0);
    echo_response_free(response);
    int threads = count_entries("/proc/self/task");
    request.delay_ms = 700;
    for (int i = 0; i < 500; i++)
        rpc_client_call(echo->client, ECHO, "Unary", &request.base, 20000, count_answer, &answers);
    echo_run_until(echo, &echo->handled, 501);
    /* gRPC has some threads of its own, which it splits when they are busy. */
    assert_in_range(count_entries("/proc/self/task"), 1, threads + 8);
    echo_run_until(echo, &answers, 500);
}

static void connections_that_end_give_back_their_descriptors(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    int before = 0;

    request.text = (char *)"";
    for (int i = 0; i < 40; i++) {
        struct rpc_client *c = rpc_client_new(echo->loop, echo->address);
        ProtobufCMessage *response = NULL;
        _cleanup_err_ struct err e = ERR_INIT;
        assert_int_equal(rpc_client_call_sync(c, ECHO, "Unary", &request.base, 5000, &response, &e),
                         0);
        protobuf_c_message_free_unpacked(response, NULL);
        rpc_client_free(c);
        if (i == 0) {
            echo_run(echo, 100);
            before = count_entries("/proc/self/fd");
        }
    }
    for (int i = 0; i < 100 && count_entries("/proc/self/fd") > before; i++)
        echo_run(echo, 20);
    assert_true(count_entries("/proc/self/fd") <= before);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, echo_start, echo_stop)
    const struct CMUnitTest tests[] = {
        T(sixty_four_clients_get_their_own_answers),
        T(pending_calls_take_no_threads),
        T(connections_that_end_give_back_their_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
