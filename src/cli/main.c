/*
 * main.c - podctl: finds the command and the options that all commands have.
 *
 *   podctl [--socket ADDR] [-n NAMESPACE] [-o table|wide|name|json|yaml] VERB ...
 */
#include "cli.h"

#include <stdio.h>

static const struct {
    const char *name;
    command_fn *run;
    const char *usage, *what;
} commands[] = {
    {"apply", cmd_apply, "apply -f FILE...", "declare pods; podd keeps them as declared"},
    {"diff", cmd_diff, "diff -f FILE...", "what an apply would change"},
    {"get", cmd_get, "get pods [NAME] [-l SELECTOR] [-w]",
     "list pods (or configmaps, ...), with -w as they change"},
    {"describe", cmd_describe, "describe [KIND] NAME", "everything about a pod, with its events"},
    {"delete", cmd_delete, "delete [KIND] NAME... | -f FILE", "stop pods and forget them"},
    {"why", cmd_why, "why POD", "how the pod came to be as it is, and what it waits for"},
    {"restart", cmd_restart, "restart POD...", "end pods and start them anew"},
    {"logs", cmd_logs, "logs POD [-c CONTAINER] [-f] [--previous]", "what containers printed"},
    {"exec", cmd_exec, "exec POD [-c CONTAINER] [-it] -- COMMAND...",
     "run a command in a container"},
    {"attach", cmd_attach, "attach POD [-c CONTAINER] [-it]", "join a container's first process"},
    {"port-forward", cmd_port_forward, "port-forward POD [LOCAL:]REMOTE...",
     "lead ports of this machine into a pod"},
    {"cp", cmd_cp, "cp FROM TO [-c CONTAINER]", "copy files, one side being POD:PATH"},
    {"debug", cmd_debug, "debug POD [--image IMAGE] [-it] [-- COMMAND...]",
     "add a container to a running pod, to look into it"},
    {"probe", cmd_probe, "probe POD [-c CONTAINER] [KIND | http|tcp|exec ...]",
     "run a probe once, now"},
    {"top", cmd_top, "top [POD] [--containers]", "what pods use: CPU and memory"},
    {"events", cmd_events, "events [POD] [-w]", "what happened to pods"},
    {"pull", cmd_pull, "pull IMAGE", "pull an image"},
    {"images", cmd_images, "images", "list images"},
    {"image", cmd_image, "image import|rm ...", "import an image from a tar, or remove one"},
    {"system", cmd_system, "system stop|reset", "stop every pod; reset also forgets everything"},
    {"version", cmd_version, "version [--client]", "versions of podctl and podd"},
};

static void print_help(void)
{
    puts("podctl [--socket ADDR] [-n NAMESPACE] [-o table|wide|name|json|yaml] COMMAND ...\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        printf("  %-52s %s\n", commands[i].usage, commands[i].what);
    puts("\nThe socket is --socket, else PODD_SOCKET, else unix:///run/podd/podd.sock.\n"
         "Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 podd cannot be reached,\n"
         "4 no such object.");
}

static int parse_output(const char *text, enum output *ret)
{
    static const char *const names[] = {"table", "wide", "name", "json", "yaml", NULL};

    for (int i = 0; text && names[i]; i++) {
        if (str_equal(text, names[i])) {
            *ret = (enum output)i;
            return 0;
        }
    }
    return text ? -1 : 0;
}

static int unknown_command(const char *name)
{
    const char *names[ARRAY_SIZE(commands) + 1] = {NULL};

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        names[i] = commands[i].name;
    const char *near = str_closest(name, names);
    return cli_usage("unknown command \"%s\"%s%s%s; podctl --help lists all", name,
                     near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Options before the command; the rest is the command's own. Returns how many were taken. */
static int take_common(int argc, char **argv, struct cli *cli, const char **output, bool *help)
{
    int i = 0;

    for (; i < argc && argv[i][0] == '-'; i++) {
        const char **value = NULL;
        if (str_equal(argv[i], "--help") || str_equal(argv[i], "-h"))
            *help = true;
        else if (str_equal(argv[i], "--socket"))
            value = &cli->socket;
        else if (str_equal(argv[i], "-n") || str_equal(argv[i], "--namespace"))
            value = &cli->namespace_;
        else if (str_equal(argv[i], "-o") || str_equal(argv[i], "--output"))
            value = output;
        else
            break;
        if (value && ++i < argc)
            *value = argv[i];
    }
    return i;
}

/* "podctl logs --help", as long as it is not the help of a command in a container. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && !str_equal(argv[i], "--"); i++)
        if (str_equal(argv[i], "--help") || str_equal(argv[i], "-h"))
            return true;
    return false;
}

/* The common options may stand behind the command too. */
static int run(struct cli *cli, command_fn *fn, int argc, char **argv)
{
    const char *output = NULL;
    int kept = 0, i = 0;

    for (; i < argc && !str_equal(argv[i], "--"); i++) {
        const char **value = NULL;
        if (str_equal(argv[i], "-n") || str_equal(argv[i], "--namespace"))
            value = &cli->namespace_;
        else if (str_equal(argv[i], "-o") || str_equal(argv[i], "--output"))
            value = &output;
        if (!value) {
            argv[kept++] = argv[i];
            continue;
        }
        if (++i == argc)
            return cli_usage("option %s needs a value", argv[i - 1]);
        *value = argv[i];
    }
    while (i < argc)
        argv[kept++] = argv[i++];
    if (parse_output(output, &cli->output) < 0)
        return cli_usage("-o %s: must be table, wide, name, json or yaml", output);
    return fn(cli, kept, argv);
}

int main(int argc, char **argv)
{
    const char *environment = getenv("PODD_SOCKET");
    struct cli cli = {
        .socket = str_empty(environment) ? "unix:///run/podd/podd.sock" : environment,
        .namespace_ = "",
    };
    const char *output = NULL;
    bool help = false;
    int status = EXIT_USAGE;

    int used = 1 + take_common(argc - 1, argv + 1, &cli, &output, &help);
    if (help || argc == 1) {
        print_help();
        return help ? EXIT_OK : EXIT_USAGE;
    }
    if (parse_output(output, &cli.output) < 0)
        return cli_usage("-o %s: must be table, wide, name, json or yaml", output);
    if (used == argc)
        return cli_usage("no command given; podctl --help lists all");

    size_t i = 0;
    while (i < ARRAY_SIZE(commands) && !str_equal(commands[i].name, argv[used]))
        i++;
    if (i == ARRAY_SIZE(commands))
        return unknown_command(argv[used]);
    if (wants_help(argc - used - 1, argv + used + 1)) {
        printf("podctl %s\n  %s; podctl(1) has all options\n", commands[i].usage, commands[i].what);
        return EXIT_OK;
    }
    status = run(&cli, commands[i].run, argc - used - 1, argv + used + 1);
    if (cli.client)
        rpc_client_free(cli.client);
    if (cli.loop)
        loop_free(cli.loop);
    return fflush(stdout) == 0 ? status : EXIT_FAILED;
}
