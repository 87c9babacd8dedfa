/*
 * test-cri-stream-http.c - the request that begins a stream: which heads are taken, and which
 * protocol is chosen or why none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/cri/stream_http.h"

/* The answer's status to a request of the kind; *ret_answer is the whole of it. */
static int ask(const char *request, enum stream_kind kind, char **ret_answer)
{
    _cleanup_free_ char *data = xstrdup(request);
    _cleanup_err_ struct err e = ERR_INIT;
    struct http_head head = {0};
    struct strbuf out = {0};
    struct upgrade u;

    assert_int_equal(http_head_parse(data, strlen(data), &head, &e), 1);
    upgrade_decide(&head, kind, &u);
    upgrade_answer(&u, kind, &out);
    int status = atoi(out.data + strlen("HTTP/1.1 "));
    free(*ret_answer);
    *ret_answer = strbuf_take(&out);
    return status;
}

static int parse(const char *request)
{
    _cleanup_free_ char *data = xstrdup(request);
    _cleanup_err_ struct err e = ERR_INIT;
    struct http_head head = {0};

    return http_head_parse(data, strlen(data), &head, &e);
}

static void a_head_comes_whole_or_not_at_all(void **state)
{
    const char *request = "GET /exec/x HTTP/1.1\r\nHost: a\r\n\r\n";

    for (size_t i = 0; i < strlen(request); i++) {
        _cleanup_free_ char *part = xstrndup(request, i);
        assert_int_equal(parse(part), 0);
    }
    assert_int_equal(parse(request), 1);
}

static void what_follows_the_head_is_left_alone(void **state)
{
    char data[] = "POST /exec/abc?x=1 HTTP/1.1\r\nA: b \r\n\r\n\x80\x03";
    struct http_head head = {0};
    struct err e = ERR_INIT;
    enum stream_kind kind;

    assert_int_equal(http_head_parse(data, sizeof(data) - 1, &head, &e), 1);
    assert_int_equal(head.len, sizeof(data) - 1 - 2);
    assert_string_equal(head.headers[0].value, "b");
    assert_string_equal(http_path_parse(head.path, &kind), "abc");
    assert_int_equal(kind, STREAM_EXEC);
    assert_null(http_path_parse("/execs/abc", &kind));
}

static void malformed_heads_are_refused(void **state)
{
    static const char *const requests[] = {
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /exec/x\r\n\r\n",
        "GET /exec/x HTTP/1.0\r\n\r\n",
        "GET exec HTTP/1.1\r\n\r\n",
        "G ET /exec/x HTTP/1.1\r\n\r\n",
        "GET /exec/x HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /exec/x HTTP/1.1\r\n: no name\r\n\r\n",
        "GET /exec/x HTTP/1.1\r\nA : space\r\n\r\n",
        "GET /exec/x HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        "GET /exec/x HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        "\x80\x03\x01\r\n\r\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
        assert_int_equal(parse(requests[i]), -1);
}

static void endless_heads_are_refused(void **state)
{
    _cleanup_strbuf_ struct strbuf long_head = {0}, many = {0};

    strbuf_adds(&long_head, "GET / HTTP/1.1\r\n");
    while (long_head.len < HTTP_HEAD_MAX)
        strbuf_adds(&long_head, "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    assert_int_equal(parse(long_head.data), -1);
    strbuf_adds(&many, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX + 1; i++)
        strbuf_adds(&many, "A: b\r\n");
    strbuf_adds(&many, "\r\n");
    assert_int_equal(parse(many.data), -1);
}

#define SPDY "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
#define POST "POST /exec/x HTTP/1.1\r\n"

static void the_first_version_of_the_client_that_we_speak_is_chosen(void **state)
{
    _cleanup_free_ char *answer = NULL;

    assert_int_equal(ask(POST SPDY "X-Stream-Protocol-Version: v5.channel.k8s.io\r\n"
                                   "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
                                   "X-Stream-Protocol-Version: v3.channel.k8s.io\r\n\r\n",
                         STREAM_EXEC, &answer),
                     101);
    assert_non_null(strstr(answer, "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"));
    assert_int_equal(ask(POST "connection: keep-alive, upgrade\r\nupgrade: spdy/3.1\r\n"
                              "x-stream-protocol-version: v2.channel.k8s.io, v4.channel.k8s.io"
                              "\r\n\r\n",
                         STREAM_ATTACH, &answer),
                     101);
    assert_non_null(strstr(answer, "X-Stream-Protocol-Version: v2.channel.k8s.io\r\n"));
    assert_int_equal(ask(POST SPDY "X-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n",
                         STREAM_PORT_FORWARD, &answer),
                     101);
}

static void spdy_is_refused_with_the_reason(void **state)
{
    _cleanup_free_ char *answer = NULL;

    assert_int_equal(ask(POST SPDY "\r\n", STREAM_EXEC, &answer), 400);
    assert_int_equal(ask(POST SPDY "X-Stream-Protocol-Version: \r\n\r\n", STREAM_EXEC, &answer),
                     400);
    assert_int_equal(
        ask(POST "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n", STREAM_EXEC, &answer),
        400);
    assert_int_equal(ask(POST SPDY "X-Stream-Protocol-Version: v9\r\n\r\n", STREAM_EXEC, &answer),
                     403);
    assert_non_null(strstr(answer, "X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io\r\n"));
    assert_non_null(strstr(answer, "X-Accepted-Stream-Protocol-Versions: channel.k8s.io\r\n"));
    assert_null(strstr(answer, "portforward"));
    assert_int_equal(ask(POST SPDY "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n",
                         STREAM_PORT_FORWARD, &answer),
                     403);
}

#define GET "GET /exec/x HTTP/1.1\r\n"
#define WS "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"

static int offer(const char *protocols, enum stream_kind kind, char **answer)
{
    _cleanup_free_ char *request =
        xasprintf(GET WS KEY V13 "%s%s\r\n\r\n", protocols ? "Sec-WebSocket-Protocol: " : "A: b",
                  protocols ? protocols : "");

    return ask(request, kind, answer);
}

static void websockets_choose_in_the_clients_order(void **state)
{
    _cleanup_free_ char *answer = NULL;

    assert_int_equal(offer("v5.channel.k8s.io", STREAM_EXEC, &answer), 101);
    /* The sample of RFC 6455. */
    assert_non_null(strstr(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_int_equal(offer("v3.channel.k8s.io, v4.channel.k8s.io", STREAM_EXEC, &answer), 101);
    assert_non_null(strstr(answer, "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"));
    assert_int_equal(offer("v5.channel.k8s.io,v4.channel.k8s.io", STREAM_PORT_FORWARD, &answer),
                     101);
    assert_non_null(strstr(answer, "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"));
    assert_int_equal(offer("SPDY/3.1+portforward.k8s.io", STREAM_PORT_FORWARD, &answer), 101);
    assert_int_equal(offer(NULL, STREAM_EXEC, &answer), 101);
    assert_null(strstr(answer, "Sec-WebSocket-Protocol"));
}

static void websockets_are_refused_with_the_reason(void **state)
{
    _cleanup_free_ char *answer = NULL;

    assert_int_equal(offer("v3.channel.k8s.io", STREAM_EXEC, &answer), 403);
    assert_int_equal(offer("portforward.k8s.io", STREAM_PORT_FORWARD, &answer), 403);
    assert_int_equal(offer("channel.k8s.io", STREAM_PORT_FORWARD, &answer), 403);
    assert_int_equal(offer("SPDY/3.1+portforward.k8s.io", STREAM_EXEC, &answer), 403);
    assert_int_equal(ask(GET WS V13 "\r\n", STREAM_EXEC, &answer), 400);
    assert_int_equal(ask(GET WS KEY "Sec-WebSocket-Version: 8\r\n\r\n", STREAM_EXEC, &answer), 400);
    assert_non_null(strstr(answer, "\r\nSec-WebSocket-Version: 13\r\n"));
    assert_int_equal(ask(POST WS KEY V13 "\r\n", STREAM_EXEC, &answer), 405);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_comes_whole_or_not_at_all),
        cmocka_unit_test(what_follows_the_head_is_left_alone),
        cmocka_unit_test(malformed_heads_are_refused),
        cmocka_unit_test(endless_heads_are_refused),
        cmocka_unit_test(the_first_version_of_the_client_that_we_speak_is_chosen),
        cmocka_unit_test(spdy_is_refused_with_the_reason),
        cmocka_unit_test(websockets_choose_in_the_clients_order),
        cmocka_unit_test(websockets_are_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
