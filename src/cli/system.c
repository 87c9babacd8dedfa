/*
 * system.c - the daemon as a whole: its version, and stopping everything.
 */
#include "cli.h"

#include <stdio.h>

int cmd_version(struct cli *cli, int argc, char **argv)
{
    Podd__V1__GetNodeRequest request = PODD__V1__GET_NODE_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    bool client_only = false;
    const struct option_spec options[] = {{"--client", .flag = &client_only}};
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("version: %s", err_text(&e));
    if (cli->output < OUTPUT_JSON)
        printf("podctl %s\n", PODD_VERSION);
    if (client_only)
        return EXIT_OK;
    fflush(stdout);
    _cleanup_message_ Podd__V1__GetNodeResponse *node =
        cli_call(cli, "GetNode", &request.base, &status);
    if (!node)
        return status;
    if (cli->output >= OUTPUT_JSON)
        print_message(cli, &node->base);
    else
        printf("podd   %s on %s, kernel %s, up %s\n", node->version, node->name,
               node->kernel_version, format_age(node->started_at));
    return EXIT_OK;
}

int cmd_system(struct cli *cli, int argc, char **argv)
{
    Podd__V1__StopAllRequest request = PODD__V1__STOP_ALL_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    bool quit = false;
    const struct option_spec options[] = {{"--exit", .flag = &quit}};
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("system: %s", err_text(&e));
    if (argc != 1 || (!str_equal(argv[0], "stop") && !str_equal(argv[0], "reset")))
        return cli_usage("system: podctl system stop [--exit] | reset");
    bool reset = str_equal(argv[0], "reset");
    request.reset = reset;
    request.forget_declared = reset;
    request.exit = reset || quit;
    _cleanup_message_ Podd__V1__StopAllResponse *answer =
        cli_call(cli, "StopAll", &request.base, &status);
    if (!answer)
        return status;
    printf("%u pods stopped%s\n", answer->pods_stopped,
           reset ? "; podd's network, records and declared pods are gone, and podd ends" : "");
    return EXIT_OK;
}
