/*
 * test-rpc-server.c - the server's sockets, its end, its health, and the client without a server.
 */
#include "echo-service.h"
#include "health.pb-c.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static void on_done(void *arg)
{
    int *done = arg;

    (*done)++;
}

static char *socket_path(struct echo *echo, const char *name)
{
    return xasprintf("%s/%s", echo->dir, name);
}

static int listen_on(struct echo *echo, const char *path, struct rpc_server **ret, struct err *e)
{
    _cleanup_free_ char *address = xasprintf("unix://%s", path);

    *ret = rpc_server_new(echo->loop);
    return rpc_server_listen(*ret, address, e);
}

/* ---- Sockets --------------------------------------------------------------------------------- */

static void socket_is_private_from_birth(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "s");
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
}

static void socket_of_a_live_server_is_refused(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "s");
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *text = xasprintf("socket %s is in use by a running server", path);
    struct rpc_server *s;

    assert_int_equal(listen_on(echo, path, &s, &e), -1);
    assert_int_equal(e.code, ERR_ALREADY_EXISTS);
    assert_string_equal(err_text(&e), text);
    rpc_server_free(s);
    /* and the first one still answers */
    request.text = (char *)"";
    err_clear(&e);
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), 0);
    echo_response_free(response);
}

static void stale_socket_is_replaced(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "stale");
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    _cleanup_err_ struct err e = ERR_INIT;
    struct rpc_server *s;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(sun.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(listen_on(echo, path, &s, &e), 0);
    rpc_server_free(s);
    assert_int_equal(access(path, F_OK), -1);
}

static void file_that_is_no_socket_is_left_alone(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "file");
    _cleanup_err_ struct err e = ERR_INIT;
    struct rpc_server *s;
    struct stat st;

    assert_int_equal(file_write_atomic(AT_FDCWD, path, "keep", 4, 0644, false, &e), 0);
    assert_int_equal(listen_on(echo, path, &s, &e), -1);
    assert_int_equal(e.code, ERR_ALREADY_EXISTS);
    assert_non_null(strstr(err_text(&e), "is not a socket"));
    rpc_server_free(s);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(unlink(path), 0);
}

static void refuse_address(struct echo *echo, const char *address, const char *text)
{
    struct rpc_server *s = rpc_server_new(echo->loop);
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(rpc_server_listen(s, address, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err_text(&e), text));
    rpc_server_free(s);
}

static void only_sane_unix_addresses_are_listened_on(void **state)
{
    struct echo *echo = *state;
    char path[200] = "unix:///tmp/";

    memset(path + strlen(path), 'x', 103); /* 108 bytes of path */
    refuse_address(echo, path, "the kernel takes at most 107");
    refuse_address(echo, "ipv4:127.0.0.1:9999", "not of the form unix:///path");
    refuse_address(echo, "unix://relative/path", "not of the form unix:///path");
    refuse_address(echo, "/run/x.sock", "not of the form unix:///path");
    refuse_address(echo, "unix:@abstract", "not of the form unix:///path");
}

static void missing_directory_is_an_error_that_names_the_path(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "missing/s");
    _cleanup_err_ struct err e = ERR_INIT;
    struct rpc_server *s;

    assert_int_equal(listen_on(echo, path, &s, &e), -1);
    assert_non_null(strstr(err_text(&e), path));
    rpc_server_free(s);
}

/* The file now belongs to someone else: it is not ours to remove. */
static void socket_replaced_by_another_survives(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "moved");
    _cleanup_err_ struct err e = ERR_INIT;
    struct rpc_server *first, *second;

    assert_int_equal(listen_on(echo, path, &first, &e), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(listen_on(echo, path, &second, &e), 0);
    rpc_server_free(first);
    assert_int_equal(access(path, F_OK), 0);
    rpc_server_free(second);
    assert_int_equal(access(path, F_OK), -1);
}

/* A connection that never speaks HTTP/2 disturbs nobody, not even the end. */
static void silent_and_babbling_connections_do_no_harm(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "s");
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;
    int fds[40];

    memcpy(sun.sun_path, path, strlen(path));
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&sun, sizeof(sun)), 0);
        if (i % 2)
            assert_int_equal(fd_write_all(fds[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27), 0);
    }
    request.text = (char *)"";
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), 0);
    echo_response_free(response);
    int done = 0;
    rpc_server_shutdown(echo->server, 50, on_done, &done);
    echo_run_until(echo, &done, 1);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

/* ---- The end --------------------------------------------------------------------------------- */

struct answer {
    int count;
    enum err_code code;
};

static void note_answer(void *arg, const ProtobufCMessage *response, const struct err *e)
{
    struct answer *a = arg;

    a->count++;
    a->code = e->code;
}

static void shutdown_lets_calls_finish_within_the_grace(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    struct answer a = {0};
    int done = 0;

    request.text = (char *)"";
    request.delay_ms = 100;
    rpc_client_call(echo->client, ECHO, "Unary", &request.base, 0, note_answer, &a);
    echo_run_until(echo, &echo->handled, 1);
    rpc_server_shutdown(echo->server, 5000, on_done, &done);
    echo_run_until(echo, &done, 1);
    echo_run_until(echo, &a.count, 1);
    assert_int_equal(a.code, ERR_OK);
    assert_int_equal(echo->cancelled, 0);
}

static void shutdown_cancels_after_the_grace_and_needs_no_handler(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    struct answer a = {0}, b = {0};
    int done = 0;

    rpc_client_call(echo->client, ECHO, "Hang", &request.base, 0, note_answer, &a);
    echo_run_until(echo, &echo->held, 1);
    int64_t begin = time_mono_ns();
    rpc_server_shutdown(echo->server, 100, on_done, &done);
    echo_run_until(echo, &done, 1); /* although the handler still holds its call */
    assert_true(time_mono_ns() - begin >= 99 * NS_PER_MS);
    assert_int_equal(echo->cancelled, 1);
    echo_run_until(echo, &a.count, 1);
    assert_int_not_equal(a.code, ERR_OK);

    rpc_client_call(echo->client, ECHO, "Hang", &request.base, 0, note_answer, &b);
    echo_run_until(echo, &b.count, 1);
    assert_int_equal(b.code, ERR_UNAVAILABLE);
    echo_let_go(echo);
}

static void call_may_be_consumed_after_its_server_is_gone(void **state)
{
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    struct answer a = {0};

    rpc_client_call(echo->client, ECHO, "Hang", &request.base, 0, note_answer, &a);
    echo_run_until(echo, &echo->held, 1);
    rpc_server_free(take_ptr(echo->server));
    assert_int_equal(echo->cancelled, 1);
    assert_string_equal(rpc_method_name(echo->hung), "/podd.test.Echo/Hang");
    echo_let_go(echo);
}

static void server_that_never_started_shuts_down(void **state)
{
    struct echo *echo = *state;
    struct rpc_server *s = rpc_server_new(echo->loop);
    int done = 0;

    rpc_server_shutdown(s, 1000, on_done, &done);
    assert_int_equal(done, 0);
    echo_run_until(echo, &done, 1);
    rpc_server_free(s);
}

/* ---- The client alone ------------------------------------------------------------------------ */

static void fail_to_reach(struct echo *echo, const char *address, enum err_code code,
                          const char *text)
{
    struct rpc_client *c = rpc_client_new(echo->loop, address);
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(rpc_client_call_sync(c, ECHO, "Unary", &request.base, 5000, &response, &e),
                     -1);
    assert_int_equal(e.code, code);
    assert_string_equal(err_text(&e), text);
    rpc_client_free(c);
}

static void unreachable_server_is_named(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "none");
    _cleanup_free_ char *address = xasprintf("unix://%s", path);
    _cleanup_free_ char *text =
        xasprintf("cannot reach %s: No such file or directory; is the server running?", address);
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    fail_to_reach(echo, address, ERR_UNAVAILABLE, text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(sun.sun_path, path, strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    free(take_ptr(text));
    text = xasprintf("cannot reach %s: Connection refused; is the server running?", address);
    fail_to_reach(echo, address, ERR_UNAVAILABLE, text);
    unlink(path);
    fail_to_reach(echo, "ipv4:127.0.0.1:1", ERR_UNAVAILABLE,
                  "cannot reach ipv4:127.0.0.1:1: Connection refused; is the server running?");
    fail_to_reach(echo, "podd.example", ERR_INVALID_ARGUMENT,
                  "address \"podd.example\" is not of the form unix:///path/to/socket");
}

static void client_comes_back_to_a_restarted_server(void **state)
{
    static const struct rpc_method methods[] = {{"Unary", handle_unary, false}};
    struct echo *echo = *state;
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    Podd__Test__EchoResponse *response;
    _cleanup_err_ struct err e = ERR_INIT;

    request.text = (char *)"";
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), 0);
    echo_response_free(response);
    rpc_server_free(take_ptr(echo->server));
    assert_int_equal(echo_call(echo, "Unary", &request, 5000, &response, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    err_clear(&e);

    echo->server = rpc_server_new(echo->loop);
    rpc_server_add_service(echo->server, ECHO, methods, 1, echo);
    assert_int_equal(rpc_server_listen(echo->server, echo->address, &e), 0);
    assert_int_equal(rpc_server_start(echo->server, &e), 0);
    for (int i = 0; i < 100; i++) {
        err_clear(&e);
        if (echo_call(echo, "Unary", &request, 5000, &response, &e) == 0)
            break;
        echo_run(echo, 50);
    }
    assert_non_null(response);
    echo_response_free(response);
}

static void client_on_a_given_socket_closes_it_in_the_end(void **state)
{
    struct echo *echo = *state;
    _cleanup_free_ char *path = socket_path(echo, "s");
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    Podd__Test__EchoRequest request = PODD__TEST__ECHO_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(sun.sun_path, path, strlen(path));
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    struct rpc_client *c = rpc_client_new_on_socket(echo->loop, "10.0.0.1:80", fd);
    request.text = (char *)"";
    assert_int_equal(rpc_client_call_sync(c, ECHO, "Unary", &request.base, 5000, &response, &e), 0);
    protobuf_c_message_free_unpacked(response, NULL);
    rpc_client_free(c);
    for (int i = 0; i < 200 && fcntl(fd, F_GETFD) >= 0; i++)
        echo_run(echo, 10);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* ---- Health ---------------------------------------------------------------------------------- */

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

static int check(struct echo *echo, const char *service, struct err *e)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *m = NULL;

    request.service = (char *)service;
    if (rpc_client_call_sync(echo->client, &grpc__health__v1__health__descriptor, "Check",
                             &request.base, 5000, &m, e) < 0)
        return -1;
    int status = (int)((Grpc__Health__V1__HealthCheckResponse *)m)->status;
    protobuf_c_message_free_unpacked(m, NULL);
    return status;
}

static void health_is_what_was_set(void **state)
{
    struct echo *echo = *state;
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(check(echo, "", &e), STATUS(NOT_SERVING));
    assert_int_equal(check(echo, "x", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    err_clear(&e);
    rpc_server_set_health(echo->server, "", true);
    rpc_server_set_health(echo->server, "x", true);
    assert_int_equal(check(echo, "", &e), STATUS(SERVING));
    assert_int_equal(check(echo, "x", &e), STATUS(SERVING));
    rpc_server_set_health(echo->server, "x", false);
    assert_int_equal(check(echo, "x", &e), STATUS(NOT_SERVING));
}

struct watcher {
    int count;
    int seen[8];
    int ended;
    enum err_code code;
};

static void on_health(void *arg, const ProtobufCMessage *m)
{
    struct watcher *w = arg;

    w->seen[w->count++ % 8] = (int)((const Grpc__Health__V1__HealthCheckResponse *)m)->status;
}

static void on_health_end(void *arg, const struct err *e)
{
    struct watcher *w = arg;

    w->ended++;
    w->code = e->code;
}

static void health_watch_tells_each_change_until_shutdown(void **state)
{
    struct echo *echo = *state;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct watcher w = {0}, gone = {0};
    int done = 0;

    request.service = (char *)"x";
    rpc_client_stream(echo->client, &grpc__health__v1__health__descriptor, "Watch", &request.base,
                      on_health, on_health_end, &w);
    struct rpc_stream *s =
        rpc_client_stream(echo->client, &grpc__health__v1__health__descriptor, "Watch",
                          &request.base, on_health, on_health_end, &gone);
    echo_run_until(echo, &w.count, 1);
    echo_run_until(echo, &gone.count, 1);
    rpc_stream_cancel(s);
    echo_run_until(echo, &gone.ended, 1);
    rpc_server_set_health(echo->server, "x", true);
    rpc_server_set_health(echo->server, "x", true);
    rpc_server_set_health(echo->server, "", true);
    rpc_server_set_health(echo->server, "x", false);
    echo_run_until(echo, &w.count, 3);
    echo_run(echo, 20);
    assert_int_equal(w.count, 3);
    assert_int_equal(w.seen[0], STATUS(SERVICE_UNKNOWN));
    assert_int_equal(w.seen[1], STATUS(SERVING));
    assert_int_equal(w.seen[2], STATUS(NOT_SERVING));
    assert_int_equal(gone.count, 1);

    int64_t begin = time_mono_ns();
    rpc_server_shutdown(echo->server, 60000, on_done, &done);
    echo_run_until(echo, &done, 1);
    echo_run_until(echo, &w.ended, 1);
    assert_int_equal(w.code, ERR_UNAVAILABLE);
    assert_true(time_mono_ns() - begin < 5 * NS_PER_SEC);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, echo_start, echo_stop)
    const struct CMUnitTest tests[] = {
        T(socket_is_private_from_birth),
        T(socket_of_a_live_server_is_refused),
        T(stale_socket_is_replaced),
        T(file_that_is_no_socket_is_left_alone),
        T(only_sane_unix_addresses_are_listened_on),
        T(missing_directory_is_an_error_that_names_the_path),
        T(socket_replaced_by_another_survives),
        T(silent_and_babbling_connections_do_no_harm),
        T(shutdown_lets_calls_finish_within_the_grace),
        T(shutdown_cancels_after_the_grace_and_needs_no_handler),
        T(call_may_be_consumed_after_its_server_is_gone),
        T(server_that_never_started_shuts_down),
        T(unreachable_server_is_named),
        T(client_comes_back_to_a_restarted_server),
        T(client_on_a_given_socket_closes_it_in_the_end),
        T(health_is_what_was_set),
        T(health_watch_tells_each_change_until_shutdown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
