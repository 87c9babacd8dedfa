/*
 * exec.c - exec and attach: a command in a container, or the container's own first process, with
 * this terminal as theirs.
 */
#include "command.h"

#include <jansson.h>
#include <stdio.h>

/* A terminal over there is of use only with one here. */
static bool want_terminal(bool asked, bool with_input)
{
    if (asked && with_input && !isatty(STDIN_FILENO)) {
        fputs("podctl: standard input is no terminal, so the command gets none\n", stderr);
        return false;
    }
    return asked;
}

/* ---- exec
 * --------------------------------------------------------------------------------------- */

/* With a time limit podd runs the command and answers with all of its output at once. */
static int exec_with_timeout(struct cli *cli, const char *container_id, char **command, size_t n,
                             const char *timeout)
{
    Runtime__V1__ExecSyncRequest request = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    int status = EXIT_OK;

    request.container_id = (char *)container_id;
    request.cmd = command;
    request.n_cmd = n;
    if (parse_int(timeout, 0, INT32_MAX, &request.timeout) < 0)
        return cli_usage("exec: --timeout %s is not a number of seconds", timeout);
    _cleanup_message_ Runtime__V1__ExecSyncResponse *answer =
        cli_call_runtime(cli, "ExecSync", &request.base, &status);
    if (!answer)
        return status;
    if (fd_write_all(STDOUT_FILENO, answer->stdout.data, answer->stdout.len) < 0 ||
        fd_write_all(STDERR_FILENO, answer->stderr.data, answer->stderr.len) < 0)
        return EXIT_FAILED;
    return answer->exit_code;
}

int cmd_exec(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    const char *container = NULL, *timeout = NULL;
    bool with_input = false, tty = false;
    const struct option_spec options[] = {
        {"--container", 'c', .value = &container},
        {"--stdin", 'i', .flag = &with_input},
        {"--tty", 't', .flag = &tty},
        {"--timeout", .value = &timeout},
    };
    int dashes = find_dashes(argc, argv);
    int n = dashes, status = EXIT_OK;

    if (options_parse(argv, &n, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("exec: %s", err_text(&e));
    if (n != 1 || dashes + 1 >= argc)
        return cli_usage("exec: podctl exec POD [-c CONTAINER] [-it] -- COMMAND...");
    if (timeout && (with_input || tty))
        return cli_usage("exec: --timeout goes without -i and -t");
    _cleanup_message_ Podd__V1__GetPodResponse *pod = get_pod(cli, argv[0], &status);
    if (!pod)
        return status;
    const Podd__V1__ContainerStatus *c = pick_container(pod->pod, container, &status);
    if (!c)
        return status;
    struct command command = {
        .container_id = c->container_id,
        .argv = argv + dashes + 1,
        .argc = (size_t)(argc - dashes - 1),
        .tty = want_terminal(tty, with_input),
        .stdin_fd = with_input ? STDIN_FILENO : -1,
        .stdout_fd = STDOUT_FILENO,
        .stderr_fd = STDERR_FILENO,
    };
    if (timeout)
        return exec_with_timeout(cli, c->container_id, command.argv, command.argc, timeout);
    return command_run(cli, &command);
}

/* ---- attach
 * ------------------------------------------------------------------------------------- */

/* Whether a container's manifest says true to `key`. */
static bool is_declared(const Podd__V1__Pod *pod, const char *container, const char *key)
{
    json_t *manifest = json_loads(pod->manifest, 0, NULL);
    json_t *list = json_object_get(json_object_get(manifest, "spec"), "containers");
    bool found = false;

    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        if (str_equal(json_string_value(json_object_get(entry, "name")), container))
            found = json_is_true(json_object_get(entry, key));
    }
    json_decref(manifest);
    return found;
}

int cmd_attach(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    const char *container = NULL;
    bool with_input = false, tty = false;
    const struct option_spec options[] = {
        {"--container", 'c', .value = &container},
        {"--stdin", 'i', .flag = &with_input},
        {"--tty", 't', .flag = &tty},
    };
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("attach: %s", err_text(&e));
    if (argc != 1)
        return cli_usage("attach: podctl attach POD [-c CONTAINER] [-it]");
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, argv[0], &status);
    if (!answer)
        return status;
    const Podd__V1__ContainerStatus *c = pick_container(answer->pod, container, &status);
    if (!c)
        return status;
    /* CRI wants to hear what the container has, whatever is asked for here. */
    bool has_tty = is_declared(answer->pod, c->name, "tty");
    if (tty && !has_tty)
        fprintf(stderr, "podctl: container %s has no terminal (tty: true), going on without\n",
                c->name);
    if (with_input && !is_declared(answer->pod, c->name, "stdin")) {
        fprintf(stderr, "podctl: container %s reads no input (stdin: true)\n", c->name);
        return EXIT_FAILED;
    }
    return command_run(cli, &(struct command){
                                .container_id = c->container_id,
                                .tty = has_tty,
                                .stdin_fd = with_input ? STDIN_FILENO : -1,
                                .stdout_fd = STDOUT_FILENO,
                                .stderr_fd = STDERR_FILENO,
                            });
}
