/*
 * test-rpc-unary.c - calls with one answer, over a real socket: good, failing, late, abandoned,
 * unknown, broken and too big.
 */
#include "echo-service.h"

static void answers_what_was_asked(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;

    request.text = (char *)"grüß dich";
    request.payload.data = (uint8_t *)"a\0b";
    request.payload.len = 3;
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), 0);
    assert_string_equal(response->text, "grüß dich");
    assert_int_equal(response->payload.len, 3);
    assert_memory_equal(response->payload.data, "a\0b", 3);
    echo_response_free(response);
}

static void failure_keeps_code_and_text(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;

    for (int code = ERR_CANCELLED; code <= ERR_UNAUTHENTICATED; code++) {
        _cleanup_err_ struct err e = ERR_INIT;
        request.fail_code = code;
        request.text = (char *)"image \"a:b\" — 100 % wrong\n";
        assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), -1);
        assert_int_equal(e.code, code);
        assert_string_equal(err_text(&e), "image \"a:b\" — 100 % wrong\n");
    }
}

static void long_failure_text_is_cut_between_characters(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_strbuf_ struct strbuf text = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    while (text.len < 20000)
        strbuf_adds(&text, "日本");
    request.fail_code = ERR_NOT_FOUND;
    request.text = text.data;
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    size_t len = strlen(err_text(&e));
    assert_true(len > 2000 && len < 8192);
    assert_int_equal(len % 3, 0);
    assert_memory_equal(err_text(&e), text.data, len);
}

/* A byte that is no UTF-8 in an error's text must not cost the client the whole status. */
static void handle_bad_text(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
    _cleanup_err_ struct err e = ERR_INIT;

    err_set(&e, ERR_ABORTED, "file \xff\xc3 is bad");
    rpc_fail(call, &e);
}

static void failure_text_is_made_utf8(void **state)
{
    static const struct rpc_method methods[] = {{"Unary", handle_bad_text, false}};
    struct echo *echo = *state;
    _cleanup_free_ char *address = xasprintf("unix://%s/bad", echo->dir);
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    struct rpc_server *s = rpc_server_new(echo->loop);
    rpc_server_add_service(s, ECHO, methods, 1, NULL);
    assert_int_equal(rpc_server_listen(s, address, &e), 0);
    assert_int_equal(rpc_server_start(s, &e), 0);
    struct rpc_client *c = rpc_client_new(echo->loop, address);
    assert_int_equal(rpc_client_call_sync(c, ECHO, "Unary", &request.base, 5000, &response, &e),
                     -1);
    assert_int_equal(e.code, ERR_ABORTED);
    assert_string_equal(err_text(&e), "file ?? is bad");
    rpc_client_free(c);
    rpc_server_free(s);
}

struct arrival {
    int *count;
    int place;
    char text[16];
};

static void note_arrival(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    const Podd__Test__EchoResponse *r = (const void *)response;
    struct arrival *a = arg;

    assert_non_null(response);
    a->place = ++*a->count;
    memcpy(a->text, r->text, strlen(r->text));
}

static void answers_later_and_out_of_order(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    int count = 0;
    struct arrival slow = {&count}, fast = {&count};

    int64_t begin = time_mono_ns();
    request.text = (char *)"slow";
    request.delay_ms = 60;
    rpc_client_call(echo->client, ECHO, "Unary", &request.base, 5000, note_arrival, &slow);
    request.text = (char *)"fast";
    request.delay_ms = 10;
    rpc_client_call(echo->client, ECHO, "Unary", &request.base, 5000, note_arrival, &fast);
    echo_run_until(echo, &count, 2);
    assert_true(time_mono_ns() - begin >= 59 * NS_PER_MS);
    assert_int_equal(fast.place, 1);
    assert_int_equal(slow.place, 2);
    assert_string_equal(fast.text, "fast");
    assert_string_equal(slow.text, "slow");
}

static void deadline_ends_the_call_on_both_sides(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;

    request.delay_ms = 60000;
    request.text = (char *)"";
    assert_int_equal(echo_call(echo, "Unary", &request, 80, &response, &e), -1);
    assert_int_equal(e.code, ERR_DEADLINE_EXCEEDED);
    assert_non_null(strstr(err_text(&e), "no answer to Unary within 80 ms"));
    echo_run_until(echo, &echo->cancelled, 1);
}

static void handle_deadline(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
    int64_t *left = ctx;

    *left = rpc_time_left(call);
    assert_string_equal(rpc_method_name(call), "/podd.test.Echo/Unary");
    echo_answer(call, "", NULL, 0);
}

static void handler_sees_the_deadline(void **state)
{
    static const struct rpc_method methods[] = {{"Unary", handle_deadline, false}};
    struct echo *echo = *state;
    _cleanup_free_ char *address = xasprintf("unix://%s/deadline", echo->dir);
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t left = -1;

    struct rpc_server *s = rpc_server_new(echo->loop);
    rpc_server_add_service(s, ECHO, methods, 1, &left);
    assert_int_equal(rpc_server_listen(s, address, &e), 0);
    assert_int_equal(rpc_server_start(s, &e), 0);
    struct rpc_client *c = rpc_client_new(echo->loop, address);
    assert_int_equal(rpc_client_call_sync(c, ECHO, "Unary", &request.base, 7000, &response, &e), 0);
    /* The client rounds it up to hundredths of its size on the wire. */
    assert_true(left > 5000 && left <= 7100);
    protobuf_c_message_free_unpacked(response, NULL);
    assert_int_equal(rpc_client_call_sync(c, ECHO, "Unary", &request.base, 0, &response, &e), 0);
    assert_true(left == INT64_MAX);
    protobuf_c_message_free_unpacked(response, NULL);
    rpc_client_free(c);
    rpc_server_free(s);
}

/* ---- Abandoned calls ------------------------------------------------------------------------- */

struct answer {
    int count;
    enum err_code code;
    struct rpc_client *free_in_callback;
};

static void note_answer(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct answer *a = arg;

    a->count++;
    a->code = e->code;
    assert_true((response != NULL) == (e->code == ERR_OK));
    rpc_client_free(take_ptr(a->free_in_callback));
}

static void freed_client_calls_back_at_once_and_tells_the_server(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    struct answer a = {0}, b = {0};
    struct rpc_client *c = rpc_client_new(echo->loop, echo->address);

    rpc_client_call(c, ECHO, "Hang", &request.base, 0, note_answer, &a);
    echo_run_until(echo, &echo->held, 1);
    rpc_client_call(c, ECHO, "Unary", &request.base, 0, note_answer, &b);
    rpc_client_free(c);
    assert_int_equal(a.count, 1);
    assert_int_equal(a.code, ERR_CANCELLED);
    assert_int_equal(b.count, 1);
    echo_run_until(echo, &echo->cancelled, 1);
    echo_let_go(echo);
    echo_run(echo, 20);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 1);
}

static void client_may_be_freed_in_its_callback(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    struct answer a = {0}, b = {0};

    a.free_in_callback = rpc_client_new(echo->loop, echo->address);
    request.text = (char *)"";
    struct rpc_client *c = a.free_in_callback;
    rpc_client_call(c, ECHO, "Unary", &request.base, 0, note_answer, &a);
    rpc_client_call(c, ECHO, "Hang", &request.base, 0, note_answer, &b);
    echo_run_until(echo, &a.count, 1);
    assert_int_equal(a.code, ERR_OK);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.code, ERR_CANCELLED);
    echo_run(echo, 20);
    if (echo->hung)
        echo_let_go(echo);
}

static void note_late_cancel(void *arg)
{
    int *n = arg;

    (*n)++;
}

static void cancel_is_told_also_to_who_asks_late(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;
    int late = 0;

    assert_int_equal(echo_call(echo, "Hang", &request, 50, &response, &e), -1);
    echo_run_until(echo, &echo->cancelled, 1);
    rpc_on_cancel(echo->hung, note_late_cancel, &late);
    assert_int_equal(late, 0);
    echo_run_until(echo, &late, 1);
    rpc_on_cancel(echo->hung, note_late_cancel, &late);
    echo_let_go(echo); /* consumed: no more is told */
    echo_run(echo, 10);
    assert_int_equal(late, 1);
}

/* ---- Calls that no handler sees -------------------------------------------------------------- */

static void method_without_handler_is_unimplemented(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(echo_call(echo, "Missing", &request, 5000, &response, &e), -1);
    assert_int_equal(e.code, ERR_UNIMPLEMENTED);
    assert_string_equal(err_text(&e), "method /podd.test.Echo/Missing is not implemented");
}

static void method_of_no_service_is_unimplemented(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    ProtobufCServiceDescriptor other = podd__test__echo__descriptor;
    ProtobufCMessage *response = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    other.name = "podd.test.Ech";
    assert_int_equal(
        rpc_client_call_sync(echo->client, &other, "Unary", &request.base, 5000, &response, &e),
        -1);
    assert_int_equal(e.code, ERR_UNIMPLEMENTED);
    assert_string_equal(err_text(&e), "unknown method /podd.test.Ech/Unary");
}

/* Sends `len` bytes as field `number` of a request, whatever they are. */
static void send_raw(struct echo *echo, uint32_t number, ProtobufCWireType type, const void *data,
                     size_t len, enum err_code code, const char *text)
{
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    ProtobufCMessageUnknownField field = {number, type, len, (uint8_t *)data};
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;
    int handled = echo->handled;

    request.base.n_unknown_fields = 1;
    request.base.unknown_fields = &field;
    int r = echo_call(echo, "Unary", &request, 5000, &response, &e);
    assert_int_equal(e.code, code);
    assert_int_equal(r, code == ERR_OK ? 0 : -1);
    if (text)
        assert_string_equal(err_text(&e), text);
    if (code != ERR_OK)
        assert_int_equal(echo->handled, handled);
    echo_response_free(response);
}

static void broken_bytes_are_refused(void **state)
{
    struct echo *echo = *state;

    send_raw(echo, 1, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
             "\x7f"
             "abc",
             4, ERR_INVALID_ARGUMENT,
             "request podd.test.EchoRequest: the bytes are not a protobuf message");
    send_raw(echo, 3, PROTOBUF_C_WIRE_TYPE_VARINT, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
             11, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 9, PROTOBUF_C_WIRE_TYPE_64BIT, "abc", 3, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 3, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
             "\x03"
             "abc",
             4, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 99, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, "\x03\xff\xff\xff", 4, ERR_OK, NULL);
}

static void strings_are_utf8_without_nul(void **state)
{
    struct echo *echo = *state;
    const ProtobufCWireType delimited = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;

    send_raw(echo, 1, delimited,
             "\x03"
             "a\0b",
             4, ERR_INVALID_ARGUMENT,
             "request podd.test.EchoRequest: field text: the string has a NUL character");
    send_raw(echo, 1, delimited, "\x02\xc0\x80", 3, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 1, delimited, "\x03\xed\xa0\x80", 4, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 1, delimited, "\x04\xf4\x90\x80\x80", 5, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 1, delimited, "\x02\xe2\x82", 3, ERR_INVALID_ARGUMENT, NULL);
    send_raw(echo, 1, delimited, "\x04\xf4\x8f\xbf\xbf", 5, ERR_OK, NULL);
    send_raw(echo, 2, delimited, "\x02\xc0\x00", 3, ERR_OK, NULL); /* bytes are bytes */
    send_raw(echo, 7, delimited, "\x04\x3a\x02\x0a\x7f", 5, ERR_INVALID_ARGUMENT,
             "request podd.test.EchoRequest: field nested.nested: the bytes are not a protobuf "
             "message");
    send_raw(echo, 8, delimited, "\x03\x12\x01\xff", 4, ERR_INVALID_ARGUMENT,
             "request podd.test.EchoRequest: field labels.value: the string is not valid UTF-8");
}

static void nesting_is_bounded(void **state)
{
    struct echo *echo = *state;
    uint8_t deep[2 * 100];
    size_t at = sizeof(deep);

    deep[--at] = 0;
    for (int depth = 1; depth <= 40; depth++) {
        uint8_t inner = (uint8_t)(sizeof(deep) - at);
        if (depth == 20)
            send_raw(echo, 7, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, deep + at, sizeof(deep) - at,
                     ERR_OK, NULL);
        deep[--at] = 7 << 3 | 2;
        deep[--at] = (uint8_t)(inner + 1);
    }
    send_raw(echo, 7, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, deep + at, sizeof(deep) - at,
             ERR_INVALID_ARGUMENT, NULL);
}

/* Two bytes on the wire, more than a hundred in memory. */
static void blown_up_message_is_refused(void **state)
{
    struct echo *echo = *state;
    size_t n = 4 << 20;
    _cleanup_free_ uint8_t *data = xmalloc(2 * n + 1);

    data[0] = 0;
    for (size_t i = 0; i < n; i++) {
        data[1 + 2 * i] = 7 << 3 | 2;
        data[2 + 2 * i] = 0;
    }
    send_raw(echo, 7, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, data, 2 * n + 1, ERR_RESOURCE_EXHAUSTED,
             NULL);
}

static void messages_up_to_16_mib_pass(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;
    size_t big = (16 << 20) - 64;
    _cleanup_free_ uint8_t *data = xcalloc(1, 17 << 20);

    request.text = (char *)"";
    request.payload.data = data;
    request.payload.len = big;
    data[big - 1] = 42;
    assert_int_equal(echo_call(echo, "Unary", &request, 20000, &response, &e), 0);
    assert_int_equal(response->payload.len, big);
    assert_int_equal(response->payload.data[big - 1], 42);
    echo_response_free(response);

    request.payload.len = 17 << 20;
    assert_int_equal(echo_call(echo, "Unary", &request, 20000, &response, &e), -1);
    assert_int_equal(e.code, ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(echo->handled, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, echo_start, echo_stop)
    const struct CMUnitTest tests[] = {
        T(answers_what_was_asked),
        T(failure_keeps_code_and_text),
        T(long_failure_text_is_cut_between_characters),
        T(failure_text_is_made_utf8),
        T(answers_later_and_out_of_order),
        T(deadline_ends_the_call_on_both_sides),
        T(handler_sees_the_deadline),
        T(freed_client_calls_back_at_once_and_tells_the_server),
        T(client_may_be_freed_in_its_callback),
        T(cancel_is_told_also_to_who_asks_late),
        T(method_without_handler_is_unimplemented),
        T(method_of_no_service_is_unimplemented),
        T(broken_bytes_are_refused),
        T(strings_are_utf8_without_nul),
        T(nesting_is_bounded),
        T(blown_up_message_is_refused),
        T(messages_up_to_16_mib_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
