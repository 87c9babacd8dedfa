/*
 * manifests.c - apply and delete: manifests from files, directories or standard input.
 *
 * podctl does not look into them: what is right or wrong about a manifest is said by podd, with the
 * file's name, line and column.
 */
#include "cli.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST_MAX (50u << 20)

static int read_stdin(struct bytes *ret, struct err *e)
{
    struct strbuf b = {0};
    char chunk[65536];
    ssize_t got;

    while ((got = fd_read_full(STDIN_FILENO, chunk, sizeof(chunk))) > 0 && b.len <= MANIFEST_MAX)
        strbuf_add(&b, chunk, (size_t)got);
    size_t len = b.len;
    char *data = strbuf_take(&b);
    if (got < 0 || len > MANIFEST_MAX) {
        free(data);
        return got < 0 ? err_errno(e, (int)got, "read standard input")
                       : err_set(e, ERR_INVALID_ARGUMENT, "standard input is longer than %u MiB",
                                 MANIFEST_MAX >> 20);
    }
    *ret = (struct bytes){(uint8_t *)data, len};
    return 0;
}

static bool is_manifest_name(const char *name)
{
    return str_ends_with(name, ".yaml") || str_ends_with(name, ".yml") ||
           str_ends_with(name, ".json");
}

/* The files that an argument of -f stands for: itself, or those of a directory in order. */
static int expand(const char *path, char ***files, struct err *e)
{
    struct dirent **entries = NULL;
    struct stat st;

    if (str_equal(path, "-")) {
        strv_push(files, path);
        return 0;
    }
    if (stat(path, &st) < 0)
        return err_errno(e, errno, "%s", path);
    if (!S_ISDIR(st.st_mode)) {
        strv_push(files, path);
        return 0;
    }
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return err_errno(e, errno, "read directory %s", path);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.' && is_manifest_name(entries[i]->d_name)) {
            _cleanup_free_ char *file = xasprintf("%s/%s", path, entries[i]->d_name);
            strv_push(files, file);
        }
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static const char *action_text(Podd__V1__Applied__Action action)
{
    switch (action) {
    case PODD__V1__APPLIED__ACTION__CREATED:
        return "created";
    case PODD__V1__APPLIED__ACTION__CONFIGURED:
        return "configured";
    case PODD__V1__APPLIED__ACTION__UNCHANGED:
    case _PODD__V1__APPLIED__ACTION_IS_INT_SIZE:
        break;
    }
    return "unchanged";
}

static int apply_file(struct cli *cli, const char *file)
{
    Podd__V1__ApplyRequest request = PODD__V1__APPLY_REQUEST__INIT;
    _cleanup_message_ Podd__V1__ApplyResponse *answer = NULL;
    _cleanup_bytes_ struct bytes text = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    bool from_stdin = str_equal(file, "-");
    int status = EXIT_OK;

    if ((from_stdin ? read_stdin(&text, &e) : file_read(AT_FDCWD, file, MANIFEST_MAX, &text, &e)) <
        0)
        return cli_fail(&e);
    request.manifest = (ProtobufCBinaryData){text.len, text.data};
    request.file_name = from_stdin ? "(standard input)" : (char *)file;
    request.namespace_ = (char *)cli->namespace_;
    answer = cli_call(cli, "Apply", &request.base, &status);
    if (!answer)
        return status;
    if (cli->output >= OUTPUT_JSON) {
        print_message(cli, &answer->base);
        return EXIT_OK;
    }
    for (size_t i = 0; i < answer->n_objects; i++) {
        const Podd__V1__Applied *o = answer->objects[i];
        printf("%s/%s %s\n", o->kind, o->name, action_text(o->action));
    }
    return EXIT_OK;
}

int cmd_apply(struct cli *cli, int argc, char **argv)
{
    _cleanup_strv_ char **paths = NULL, **files = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    const struct option_spec options[] = {{"--filename", 'f', .list = &paths}};

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("apply: %s", err_text(&e));
    if (argc > 0 || !paths)
        return cli_usage("apply: name the manifests with -f FILE (or -f - for standard input)");
    for (size_t i = 0; paths[i]; i++)
        if (expand(paths[i], &files, &e) < 0)
            return cli_fail(&e);
    if (!files)
        return cli_usage("apply: no .yaml, .yml or .json file in %s", paths[0]);
    for (size_t i = 0; files[i]; i++) {
        int status = apply_file(cli, files[i]);
        if (status != EXIT_OK)
            return status;
    }
    return EXIT_OK;
}

/* ---- Deleting
 * --------------------------------------------------------------------------------------- */

static int delete_pod(struct cli *cli, const char *name, const char *grace, bool no_wait)
{
    Podd__V1__DeletePodRequest request = PODD__V1__DELETE_POD_REQUEST__INIT;
    int status = EXIT_OK;

    request.namespace_ = (char *)cli->namespace_;
    request.name = (char *)name;
    request.no_wait = no_wait;
    if (grace) {
        request.has_grace_period = true;
        if (parse_int(grace, 0, INT32_MAX, &request.grace_period) < 0)
            return cli_usage("delete: --grace-period %s is not a number of seconds", grace);
    }
    _cleanup_message_ void *answer = cli_call(cli, "DeletePod", &request.base, &status);
    if (answer)
        printf("Pod/%s deleted\n", name);
    return status;
}

int cmd_delete(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    const char *grace = NULL;
    bool no_wait = false;
    const struct option_spec options[] = {
        {"--grace-period", .value = &grace},
        {"--no-wait", .flag = &no_wait},
    };

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("delete: %s", err_text(&e));
    if (argc > 0 && (str_equal(argv[0], "pod") || str_equal(argv[0], "pods"))) {
        argc--;
        argv++;
    }
    if (argc == 0)
        return cli_usage("delete: name at least one pod: podctl delete pod NAME");
    for (int i = 0; i < argc; i++) {
        const char *name = str_starts_with(argv[i], "pod/") ? argv[i] + 4 : argv[i];
        int status = delete_pod(cli, name, grace, no_wait);
        if (status != EXIT_OK)
            return status;
    }
    return EXIT_OK;
}
