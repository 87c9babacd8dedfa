/*
 * probe.c - a probe of a running container, once, now: a declared one or one of the caller's own.
 */
#include "cli.h"

#include <stdio.h>

/* A probe of one's own, told on the command line. The messages are the caller's. */
struct adhoc {
    Podd__V1__Probe probe;
    Podd__V1__ExecProbe exec;
    Podd__V1__HttpProbe http;
    Podd__V1__TcpProbe tcp;
};

static int parse_port(const char *text, uint32_t *ret)
{
    uint64_t port;

    if (parse_uint(text, 65535, &port) < 0 || port == 0)
        return cli_usage("probe: \"%s\" is not a port", text);
    *ret = (uint32_t)port;
    return EXIT_OK;
}

/* "http PORT [PATH]", "tcp PORT", or "exec -- COMMAND..." */
static int parse_adhoc(int argc, char **argv, struct adhoc *ret)
{
    *ret = (struct adhoc){PODD__V1__PROBE__INIT, PODD__V1__EXEC_PROBE__INIT,
                          PODD__V1__HTTP_PROBE__INIT, PODD__V1__TCP_PROBE__INIT};
    if (str_equal(argv[0], "exec") && argc > 2 && str_equal(argv[1], "--")) {
        ret->exec.command = argv + 2;
        ret->exec.n_command = (size_t)argc - 2;
        ret->probe.action_case = PODD__V1__PROBE__ACTION_EXEC;
        ret->probe.exec = &ret->exec;
        return EXIT_OK;
    }
    if (str_equal(argv[0], "http") && (argc == 2 || argc == 3)) {
        ret->http.path = argc == 3 ? argv[2] : "/";
        ret->probe.action_case = PODD__V1__PROBE__ACTION_HTTP;
        ret->probe.http = &ret->http;
        return parse_port(argv[1], &ret->http.port);
    }
    if (str_equal(argv[0], "tcp") && argc == 2) {
        ret->probe.action_case = PODD__V1__PROBE__ACTION_TCP;
        ret->probe.tcp = &ret->tcp;
        return parse_port(argv[1], &ret->tcp.port);
    }
    return cli_usage("probe: podctl probe POD [-c CONTAINER] startup|readiness|liveness | "
                     "http PORT [PATH] | tcp PORT | exec -- COMMAND...");
}

static int parse_kind(const char *text, Podd__V1__ProbeKind *ret)
{
    static const char *const kinds[] = {"startup", "readiness", "liveness"};

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (str_equal(text, kinds[i])) {
            *ret = (Podd__V1__ProbeKind)i;
            return 0;
        }
    }
    return -1;
}

static int print_probe(const struct cli *cli, const Podd__V1__RunProbeResponse *answer)
{
    _cleanup_free_ char *message = format_clean(answer->message);
    bool good = answer->result == PODD__V1__PROBE_RESULT__PROBE_RESULT_SUCCESS ||
                answer->result == PODD__V1__PROBE_RESULT__PROBE_RESULT_WARNING;

    if (cli->output >= OUTPUT_JSON)
        print_message(cli, &answer->base);
    else
        printf("%s in %.1f ms: %s\n", probe_result_text(answer->result),
               (double)answer->latency / NS_PER_MS, message);
    return good ? EXIT_OK : EXIT_FAILED;
}

int cmd_probe(struct cli *cli, int argc, char **argv)
{
    Podd__V1__RunProbeRequest request = PODD__V1__RUN_PROBE_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    const char *container = NULL, *id = NULL, *timeout = NULL;
    const struct option_spec options[] = {
        {"--container", 'c', .value = &container},
        {"--id", .value = &id},
        {"--timeout", .value = &timeout},
    };
    struct adhoc adhoc;
    int64_t seconds = 1;
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("probe: %s", err_text(&e));
    if (timeout && parse_int(timeout, 1, INT32_MAX, &seconds) < 0)
        return cli_usage("probe: --timeout %s is not a number of seconds", timeout);
    if (!id && argc > 0) {
        request.pod = argv[0];
        argc--;
        argv++;
    }
    if (argc == 0)
        return cli_usage("probe: which? podctl probe POD readiness, or --help");
    request.namespace_ = (char *)cli->namespace_;
    request.container = (char *)(container ? container : "");
    request.container_id = (char *)(id ? id : "");
    if (argc != 1 || parse_kind(argv[0], &request.declared) < 0) {
        status = parse_adhoc(argc, argv, &adhoc);
        if (status != EXIT_OK)
            return status;
        adhoc.probe.timeout_seconds = (int32_t)seconds;
        request.probe = &adhoc.probe;
    }
    _cleanup_message_ Podd__V1__RunProbeResponse *answer =
        cli_call(cli, "RunProbe", &request.base, &status);
    return answer ? print_probe(cli, answer) : status;
}
