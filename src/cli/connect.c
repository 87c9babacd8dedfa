/*
 * connect.c - podctl's side of the API: one connection, calls that wait, errors in one line.
 */
#include "cli.h"

#include <stdio.h>
#include <unistd.h>

void cli_connect(struct cli *cli)
{
    if (cli->client)
        return;
    cli->loop = loop_new();
    cli->client = rpc_client_new(cli->loop, cli->socket);
}

int cli_fail(const struct err *e)
{
    fprintf(stderr, "podctl: %s\n", err_text(e));
    switch ((int)e->code) {
    case ERR_UNAVAILABLE:
        return EXIT_UNREACHABLE;
    case ERR_NOT_FOUND:
        return EXIT_NO_SUCH;
    case ERR_INVALID_ARGUMENT:
        return EXIT_USAGE;
    default:
        return EXIT_FAILED;
    }
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;

    fputs("podctl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\n", stderr);
    return EXIT_USAGE;
}

void message_freep(void *message_ptr)
{
    ProtobufCMessage *message = *(ProtobufCMessage **)message_ptr;

    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

static void *call(struct cli *cli, const ProtobufCServiceDescriptor *service, const char *method,
                  const ProtobufCMessage *request, int *status)
{
    _cleanup_err_ struct err e = ERR_INIT;
    ProtobufCMessage *answer = NULL;

    cli_connect(cli);
    if (rpc_client_call_sync(cli->client, service, method, request, 0, &answer, &e) < 0) {
        *status = cli_fail(&e);
        return NULL;
    }
    return answer;
}

void *cli_call(struct cli *cli, const char *method, const ProtobufCMessage *request, int *status)
{
    return call(cli, &podd__v1__podd__descriptor, method, request, status);
}

void *cli_call_runtime(struct cli *cli, const char *method, const ProtobufCMessage *request,
                       int *status)
{
    return call(cli, &runtime__v1__runtime_service__descriptor, method, request, status);
}

void *cli_call_images(struct cli *cli, const char *method, const ProtobufCMessage *request,
                      int *status)
{
    return call(cli, &runtime__v1__image_service__descriptor, method, request, status);
}

/* ---- Streams
 * -------------------------------------------------------------------------------------- */

struct stream {
    struct cli *cli;
    void (*on_message)(void *arg, const ProtobufCMessage *message);
    void *arg;
    int status;
};

static void on_message(void *arg, const ProtobufCMessage *message)
{
    struct stream *s = arg;

    s->on_message(s->arg, message);
    fflush(stdout);
}

static void on_end(void *arg, const struct err *e)
{
    struct stream *s = arg;

    if (e->code != ERR_OK)
        s->status = cli_fail(e);
    loop_stop(s->cli->loop);
}

int cli_stream(struct cli *cli, const char *method, const ProtobufCMessage *request,
               void (*fn)(void *arg, const ProtobufCMessage *message), void *arg)
{
    struct stream s = {.cli = cli, .on_message = fn, .arg = arg};

    cli_connect(cli);
    rpc_client_stream(cli->client, &podd__v1__podd__descriptor, method, request, on_message, on_end,
                      &s);
    loop_run(cli->loop);
    return s.status;
}
