/*
 * manifests.c - apply and diff: manifests from files, directories or standard input, all of them
 * in one request, so that all are taken or none.
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

/* What podd takes: of one file, and of all in one request. */
#define MANIFEST_MAX ((size_t)YAML_MAX_SIZE)
#define MANIFESTS_MAX ((size_t)15 << 20)

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
                       : err_set(e, ERR_INVALID_ARGUMENT,
                                 "standard input is longer than %zu bytes, the most "
                                 "that podd takes of one file; split it",
                                 MANIFEST_MAX);
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

/* ---- Sending them
 * --------------------------------------------------------------------------------- */

static int read_one(const char *file, Podd__V1__ManifestFile *to, struct err *e)
{
    bool from_stdin = str_equal(file, "-");
    struct bytes text = {0};

    if ((from_stdin ? read_stdin(&text, e) : file_read(AT_FDCWD, file, MANIFEST_MAX, &text, e)) < 0)
        return -1;
    podd__v1__manifest_file__init(to);
    to->manifest = (ProtobufCBinaryData){text.len, text.data};
    to->file_name = from_stdin ? "(standard input)" : (char *)file;
    return 0;
}

static int read_all(char **files, Podd__V1__ApplyRequest *request, struct err *e)
{
    size_t n = strv_len(files), total = 0;

    request->files = xcalloc(n, sizeof(*request->files));
    for (; request->n_files < n; request->n_files++) {
        request->files[request->n_files] = xnew(Podd__V1__ManifestFile);
        if (read_one(files[request->n_files], request->files[request->n_files], e) < 0) {
            free(request->files[request->n_files]);
            return -1;
        }
        total += request->files[request->n_files]->manifest.len;
        if (total > MANIFESTS_MAX) {
            request->n_files++;
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "up to %s the files are %zu bytes, more than podd takes at once; apply "
                           "them in parts",
                           files[request->n_files - 1], total);
        }
    }
    return 0;
}

static void files_free(Podd__V1__ApplyRequest *request)
{
    for (size_t i = 0; i < request->n_files; i++) {
        free(request->files[i]->manifest.data);
        free(request->files[i]);
    }
    free(request->files);
}

Podd__V1__ApplyResponse *manifests_send(struct cli *cli, const char *command, char **paths,
                                        bool dry_run, int *status)
{
    Podd__V1__ApplyRequest request = PODD__V1__APPLY_REQUEST__INIT;
    _cleanup_strv_ char **files = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    Podd__V1__ApplyResponse *answer = NULL;

    for (size_t i = 0; paths[i]; i++) {
        if (expand(paths[i], &files, &e) < 0) {
            *status = cli_fail(&e);
            return NULL;
        }
    }
    if (!files) {
        *status = cli_usage("%s: no .yaml, .yml or .json file in %s", command, paths[0]);
        return NULL;
    }
    if (read_all(files, &request, &e) < 0) {
        *status = cli_fail(&e);
    } else {
        request.namespace_ = (char *)cli->namespace_;
        request.dry_run = dry_run;
        answer = cli_call(cli, "Apply", &request.base, status);
    }
    files_free(&request);
    return answer;
}

/* Takes -f out of the arguments; nothing else may be left. */
static int take_paths(const char *command, int argc, char **argv, char ***ret_paths)
{
    _cleanup_err_ struct err e = ERR_INIT;
    const struct option_spec options[] = {{"--filename", 'f', .list = ret_paths}};

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("%s: %s", command, err_text(&e));
    if (argc > 0 || !*ret_paths)
        return cli_usage("%s: name the manifests with -f FILE (or -f - for standard input)",
                         command);
    return EXIT_OK;
}

/* ---- apply
 * ---------------------------------------------------------------------------------------- */

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

int cmd_apply(struct cli *cli, int argc, char **argv)
{
    _cleanup_strv_ char **paths = NULL;
    int status = take_paths("apply", argc, argv, &paths);

    if (status != EXIT_OK)
        return status;
    _cleanup_message_ Podd__V1__ApplyResponse *answer =
        manifests_send(cli, "apply", paths, false, &status);
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

/* ---- diff
 * ----------------------------------------------------------------------------------------- */

static void print_colored(const char *color, char mark, const char *path, const char *value)
{
    _cleanup_free_ char *clean = format_clean(value);
    bool colors = terminal_has_colors();

    printf("  %s%c %s: %s%s\n", colors ? color : "", mark, path, clean, colors ? "\033[0m" : "");
}

static void print_difference(const Podd__V1__Applied *o)
{
    printf("%s/%s %s%s\n", o->kind, o->name,
           o->action == PODD__V1__APPLIED__ACTION__CREATED ? "would be created" : "would change",
           o->replaces ? "; its containers would be ended and started anew" : "");
    for (size_t i = 0; i < o->n_changes; i++) {
        const Podd__V1__FieldChange *c = o->changes[i];
        if (!str_empty(c->before))
            print_colored("\033[31m", '-', c->path, c->before);
        if (!str_empty(c->after))
            print_colored("\033[32m", '+', c->path, c->after);
    }
}

/* Like diff(1): 0 when nothing would change, 1 when something would. */
int cmd_diff(struct cli *cli, int argc, char **argv)
{
    _cleanup_strv_ char **paths = NULL;
    int status = take_paths("diff", argc, argv, &paths);
    bool differs = false;

    if (status != EXIT_OK)
        return status;
    _cleanup_message_ Podd__V1__ApplyResponse *answer =
        manifests_send(cli, "diff", paths, true, &status);
    if (!answer)
        return status == EXIT_FAILED ? EXIT_USAGE : status;
    for (size_t i = 0; i < answer->n_objects; i++) {
        if (answer->objects[i]->action == PODD__V1__APPLIED__ACTION__UNCHANGED)
            continue;
        differs = true;
        if (cli->output < OUTPUT_JSON)
            print_difference(answer->objects[i]);
    }
    if (cli->output >= OUTPUT_JSON)
        print_message(cli, &answer->base);
    return differs ? EXIT_FAILED : EXIT_OK;
}
