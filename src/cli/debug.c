/*
 * debug.c - debug: a container that is added to a running pod to look into it; and restart, which
 * ends a pod and starts it anew from what was applied.
 */
#include "command.h"

#include <jansson.h>
#include <stdio.h>

#define LOOK_AGAIN_US 50000

/* ---- debug
 * ---------------------------------------------------------------------------------------- */

struct debug {
    const char *name, *image, *target;
    bool with_input, tty;
    char **command;
    int n_command;
};

/* An EphemeralContainer in JSON; the caller's. */
static char *container_text(const struct debug *d)
{
    /* What is here already does: who looks into a sick pod does not want to wait for a registry. */
    json_t *container =
        json_pack("{s:s, s:s, s:s, s:b, s:b}", "name", d->name, "image", d->image,
                  "imagePullPolicy", "IfNotPresent", "stdin", d->with_input, "tty", d->tty);

    if (d->target)
        json_object_set_new(container, "targetContainerName", json_string(d->target));
    if (d->n_command) {
        json_t *command = json_array();
        for (int i = 0; i < d->n_command; i++)
            json_array_append_new(command, json_string(d->command[i]));
        json_object_set_new(container, "command", command);
    }
    char *text = json_dumps(container, 0);
    json_decref(container);
    return text;
}

static int add(struct cli *cli, const Podd__V1__Pod *pod, const struct debug *d)
{
    Podd__V1__AddEphemeralContainerRequest request =
        PODD__V1__ADD_EPHEMERAL_CONTAINER_REQUEST__INIT;
    _cleanup_free_ char *text = container_text(d);
    int status = EXIT_OK;

    if (!text)
        return cli_usage("debug: the command is not UTF-8");
    request.namespace_ = pod->namespace_;
    request.pod = pod->name;
    request.container = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    _cleanup_message_ void *answer = cli_call(cli, "AddEphemeralContainer", &request.base, &status);
    return status;
}

/* Waits until it runs or has ended; says what it waits for when that changes. */
static int wait_running(struct cli *cli, const char *pod, const char *name, char **ret_id)
{
    _cleanup_free_ char *said = NULL;

    for (;; usleep(LOOK_AGAIN_US)) {
        int status = EXIT_OK;
        _cleanup_message_ Podd__V1__GetPodResponse *now = get_pod(cli, pod, &status);
        const Podd__V1__ContainerStatus *c = now ? find_container(now->pod, name) : NULL;
        if (!now)
            return status;
        if (c && c->state != PODD__V1__CONTAINER_STATUS__STATE__WAITING) {
            *ret_id = c->state == PODD__V1__CONTAINER_STATUS__STATE__RUNNING
                          ? xstrdup(c->container_id)
                          : NULL;
            return EXIT_OK;
        }
        if (c && !str_empty(c->message) && !str_equal(c->message, said)) {
            _cleanup_free_ char *clean = format_clean(c->message);
            fprintf(stderr, "podctl: container %s waits: %s: %s\n", name, c->reason, clean);
            free(said);
            said = xstrdup(c->message);
        }
    }
}

static int join(struct cli *cli, const Podd__V1__Pod *pod, const struct debug *d)
{
    _cleanup_free_ char *id = NULL;
    int status = wait_running(cli, pod->name, d->name, &id);

    if (status != EXIT_OK)
        return status;
    if (!d->with_input || !id) {
        printf("Container %s %s in pod %s; podctl logs %s -c %s shows its output\n", d->name,
               id ? "runs" : "has ended", pod->name, pod->name, d->name);
        return EXIT_OK;
    }
    if (d->tty)
        fputs("podctl: press enter when no prompt is to be seen\n", stderr);
    return command_run(cli, &(struct command){
                                .container_id = id,
                                .tty = d->tty,
                                .stdin_fd = STDIN_FILENO,
                                .stdout_fd = STDOUT_FILENO,
                                .stderr_fd = STDERR_FILENO,
                            });
}

int cmd_debug(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct debug d = {0};
    const struct option_spec options[] = {
        {"--container", 'c', .value = &d.name},  {"--image", .value = &d.image},
        {"--stdin", 'i', .flag = &d.with_input}, {"--target", .value = &d.target},
        {"--tty", 't', .flag = &d.tty},
    };
    int n = find_dashes(argc, argv), status = EXIT_OK;
    char name[32];

    d.command = argv + n + 1;
    d.n_command = n < argc ? argc - n - 1 : 0;
    if (options_parse(argv, &n, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("debug: %s", err_text(&e));
    if (n != 1)
        return cli_usage("debug: podctl debug POD [--image IMAGE] [--target CONTAINER] [-it] "
                         "[-- COMMAND...]");
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, argv[0], &status);
    if (!answer)
        return status;
    const Podd__V1__Pod *pod = answer->pod;
    if (!d.image) {
        const Podd__V1__ContainerStatus *c = pick_container(pod, d.target, &status);
        if (!c)
            return status;
        d.image = c->image;
    }
    if (!d.name) {
        snprintf(name, sizeof(name), "debugger-%zu", pod->status->n_ephemeral_containers + 1);
        d.name = name;
    }
    status = add(cli, pod, &d);
    return status == EXIT_OK ? join(cli, pod, &d) : status;
}

/* ---- restart
 * -------------------------------------------------------------------------------------- */

static int restart_one(struct cli *cli, const char *name)
{
    Podd__V1__ApplyRequest request = PODD__V1__APPLY_REQUEST__INIT;
    int status = EXIT_OK;
    _cleanup_message_ Podd__V1__GetPodResponse *pod = get_pod(cli, name, &status);

    if (!pod)
        return status;
    request.manifest =
        (ProtobufCBinaryData){strlen(pod->pod->manifest), (uint8_t *)pod->pod->manifest};
    request.file_name = pod->pod->name;
    request.namespace_ = pod->pod->namespace_;
    request.restart = true;
    _cleanup_message_ void *answer = cli_call(cli, "Apply", &request.base, &status);
    if (answer)
        printf("Pod/%s restarted\n", pod->pod->name);
    return status;
}

int cmd_restart(struct cli *cli, int argc, char **argv)
{
    int status = EXIT_OK;

    if (argc == 0 || argv[0][0] == '-')
        return cli_usage("restart: name at least one pod: podctl restart POD...");
    for (int i = 0; i < argc && status == EXIT_OK; i++)
        status = restart_one(cli, argv[i]);
    return status;
}
