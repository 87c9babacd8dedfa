/*
 * test-rpc-stream.c - answers in many messages: order, slow readers, and ends of every kind.
 */
#include "echo-service.h"

struct reader {
    struct echo *echo;
    struct rpc_stream *stream;
    int messages;
    int ended;
    enum err_code code;
    char text[200];
    int cancel_after; /* cancels the stream at that many messages */
    struct rpc_client *free_at_first;
};

static void on_message(void *arg, const ProtobufCMessage *message)
{
    const Podd__Test__EchoResponse *response = (const void *)message;
    struct reader *r = arg;

    assert_int_equal(r->ended, 0);
    assert_int_equal(response->number, r->messages);
    r->messages++;
    if (r->messages == r->cancel_after)
        rpc_stream_cancel(r->stream);
    rpc_client_free(take_ptr(r->free_at_first));
}

static void on_end(void *arg, const struct err *e)
{
    struct reader *r = arg;

    r->ended++;
    r->code = e->code;
    for (size_t i = 0; i + 1 < sizeof(r->text) && err_text(e)[i]; i++)
        r->text[i] = err_text(e)[i];
}

static void read_stream(struct reader *r, struct rpc_client *c, const char *text, int count,
                        int size)
{
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;

    request.text = (char *)text;
    request.count = count;
    request.size = size;
    r->stream = rpc_client_stream(c, ECHO, "Stream", &request.base, on_message, on_end, r);
}

static void every_message_arrives_in_order(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo};

    read_stream(&r, echo->client, "", 5000, 100);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 5000);
    assert_int_equal(r.code, ERR_OK);
    assert_string_equal(r.text, "");
}

static void empty_stream_just_ends(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo};

    read_stream(&r, echo->client, "", 0, 0);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 0);
    assert_int_equal(r.code, ERR_OK);
}

static void failure_comes_after_the_messages(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo};

    read_stream(&r, echo->client, "fail", 100, 10000);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 100);
    assert_int_equal(r.code, ERR_DATA_LOSS);
    assert_string_equal(r.text, "the rest is lost");
}

/* Far more than the backlog: the sender is told to wait, goes on later, and nothing is lost. */
static void sender_waits_for_a_slow_reader(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo};

    read_stream(&r, echo->client, "", 400, 64 << 10);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 400);
    assert_int_equal(r.code, ERR_OK);
    assert_true(echo->refused_sends > 0);
}

static void unknown_method_ends_the_stream(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    struct reader r = {echo};

    rpc_client_stream(echo->client, ECHO, "Missing", &request.base, on_message, on_end, &r);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.code, ERR_UNIMPLEMENTED);
}

static void cancelled_stream_ends_on_both_sides(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo, .cancel_after = 3};

    read_stream(&r, echo->client, "", 1000000, 64 << 10);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 3);
    assert_int_equal(r.code, ERR_CANCELLED);
    echo_run_until(echo, &echo->cancelled, 1);
    echo_run(echo, 20);
    assert_int_equal(r.ended, 1);
}

static void stream_may_be_cancelled_before_anything_happened(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo};

    read_stream(&r, echo->client, "", 10, 10);
    rpc_stream_cancel(r.stream);
    rpc_stream_cancel(r.stream);
    assert_int_equal(r.ended, 0);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 0);
    assert_int_equal(r.code, ERR_CANCELLED);
}

static void client_freed_in_the_midst_of_a_stream(void **state)
{
    struct echo *echo = *state;
    struct rpc_client *c = rpc_client_new(echo->loop, echo->address);
    struct reader r = {echo, .free_at_first = c}, other = {echo};

    read_stream(&other, c, "", 1000000, 64 << 10);
    read_stream(&r, c, "", 1000000, 64 << 10);
    echo_run_until(echo, &r.ended, 1);
    assert_int_equal(r.messages, 1);
    assert_int_equal(r.code, ERR_CANCELLED);
    assert_int_equal(other.ended, 1);
    echo_run_until(echo, &echo->cancelled, echo->handled);
}

static void server_that_stops_ends_the_stream(void **state)
{
    struct echo *echo = *state;
    struct reader r = {echo};

    read_stream(&r, echo->client, "", 1000000, 64 << 10);
    echo_run_until(echo, &r.messages, 2);
    rpc_server_shutdown(echo->server, 0, NULL, NULL);
    echo_run_until(echo, &r.ended, 1);
    assert_int_not_equal(r.code, ERR_OK);
    echo_run_until(echo, &echo->cancelled, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, echo_start, echo_stop)
    const struct CMUnitTest tests[] = {
        T(every_message_arrives_in_order),
        T(empty_stream_just_ends),
        T(failure_comes_after_the_messages),
        T(sender_waits_for_a_slow_reader),
        T(unknown_method_ends_the_stream),
        T(cancelled_stream_ends_on_both_sides),
        T(stream_may_be_cancelled_before_anything_happened),
        T(client_freed_in_the_midst_of_a_stream),
        T(server_that_stops_ends_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
