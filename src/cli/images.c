/*
 * images.c - images: list, pull with progress, import, remove.
 */
#include "cli.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static const char *short_id(const char *id, char ret[13])
{
    const char *colon = strchr(id, ':');

    snprintf(ret, 13, "%s", colon ? colon + 1 : id);
    return ret;
}

int cmd_images(struct cli *cli, int argc, char **argv)
{
    Runtime__V1__ListImagesRequest request = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    int status = EXIT_OK;
    char id[13];

    if (argc > 0)
        return cli_usage("images: takes no arguments");
    _cleanup_message_ Runtime__V1__ListImagesResponse *answer =
        cli_call_images(cli, "ListImages", &request.base, &status);
    if (!answer)
        return status;
    if (cli->output >= OUTPUT_JSON) {
        print_message(cli, &answer->base);
        return EXIT_OK;
    }
    struct table *t = table_new();
    table_row(t, "IMAGE", "ID", "SIZE", NULL);
    for (size_t i = 0; i < answer->n_images; i++) {
        const Runtime__V1__Image *image = answer->images[i];
        const char *size = format_bytes(image->size);
        for (size_t tag = 0; tag < image->n_repo_tags; tag++)
            table_row(t, image->repo_tags[tag], short_id(image->id, id), size, NULL);
        if (image->n_repo_tags == 0)
            table_row(t, image->n_repo_digests ? image->repo_digests[0] : "<none>",
                      short_id(image->id, id), size, NULL);
    }
    table_print(t);
    table_free(t);
    return EXIT_OK;
}

/* ---- pull
 * -------------------------------------------------------------------------------------------- */

struct pull {
    bool terminal;
    char image_id[128];
};

static void on_progress(void *arg, const ProtobufCMessage *message)
{
    const Podd__V1__PullImageProgress *p = (const void *)message;
    struct pull *pull = arg;

    if (!str_empty(p->image_id))
        snprintf(pull->image_id, sizeof(pull->image_id), "%s", p->image_id);
    if (!pull->terminal)
        return;
    fprintf(stderr, "\r\033[K%s", p->phase);
    if (p->layers_total)
        fprintf(stderr, "  layers %u/%u", p->layers_done, p->layers_total);
    if (p->bytes_total)
        fprintf(stderr, "  %s of %s (%llu %%)", format_bytes(p->bytes_done),
                format_bytes(p->bytes_total),
                (unsigned long long)(p->bytes_done * 100 / p->bytes_total));
}

int cmd_pull(struct cli *cli, int argc, char **argv)
{
    Podd__V1__PullImageRequest request = PODD__V1__PULL_IMAGE_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    struct pull pull = {.terminal = isatty(STDERR_FILENO)};
    const char *user = NULL;
    const struct option_spec options[] = {{"--user", 'u', .value = &user}};

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("pull: %s", err_text(&e));
    if (argc != 1)
        return cli_usage("pull: podctl pull IMAGE [-u USER:PASSWORD]");
    request.image = argv[0];
    _cleanup_free_ char *name = user ? xstrndup(user, strcspn(user, ":")) : NULL;
    if (user) {
        request.username = name;
        request.password = (char *)(user + strcspn(user, ":") + (strchr(user, ':') != NULL));
    }
    int status = cli_stream(cli, "PullImage", &request.base, on_progress, &pull);
    if (pull.terminal)
        fputs("\r\033[K", stderr);
    if (status == EXIT_OK)
        puts(pull.image_id);
    return status;
}

/* ---- image import, image rm
 * ------------------------------------------------------------------------------ */

static int import(struct cli *cli, int argc, char **argv)
{
    Podd__V1__ImportImageRequest request = PODD__V1__IMPORT_IMAGE_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    const char *name = "";
    char path[PATH_MAX];
    const struct option_spec options[] = {{"--name", .value = &name}};
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("image import: %s", err_text(&e));
    int command = argc;
    for (int i = 0; i < argc && command == argc; i++)
        if (str_equal(argv[i], "--"))
            command = i;
    if (command != 1)
        return cli_usage("image import: podctl image import [--name NAME] FILE [-- COMMAND...]");
    if (!realpath(argv[0], path)) {
        err_errno(&e, errno, "%s", argv[0]);
        return cli_fail(&e);
    }
    request.path = path;
    request.name = (char *)name;
    if (command < argc) {
        request.command = argv + command + 1;
        request.n_command = (size_t)(argc - command - 1);
    }
    _cleanup_message_ Podd__V1__ImportImageResponse *answer =
        cli_call(cli, "ImportImage", &request.base, &status);
    if (!answer)
        return status;
    for (size_t i = 0; i < answer->n_names; i++)
        printf("%s ", answer->names[i]);
    puts(answer->image_id);
    return EXIT_OK;
}

static int remove_images(struct cli *cli, int argc, char **argv)
{
    if (argc == 0)
        return cli_usage("image rm: podctl image rm IMAGE...");
    for (int i = 0; i < argc; i++) {
        Runtime__V1__RemoveImageRequest request = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
        Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
        int status = EXIT_OK;

        image.image = argv[i];
        request.image = &image;
        _cleanup_message_ void *answer =
            cli_call_images(cli, "RemoveImage", &request.base, &status);
        if (!answer)
            return status;
        printf("%s removed\n", argv[i]);
    }
    return EXIT_OK;
}

int cmd_image(struct cli *cli, int argc, char **argv)
{
    if (argc > 0 && str_equal(argv[0], "import"))
        return import(cli, argc - 1, argv + 1);
    if (argc > 0 && (str_equal(argv[0], "rm") || str_equal(argv[0], "remove")))
        return remove_images(cli, argc - 1, argv + 1);
    if (argc > 0 && str_equal(argv[0], "list"))
        return cmd_images(cli, argc - 1, argv + 1);
    return cli_usage("image: podctl image import|rm|list ...");
}
