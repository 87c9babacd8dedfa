/*
 * delete.c - delete: pods and other declared objects, by kind and name or by the manifests that
 * declared them.
 */
#include "cli.h"

#include <stdio.h>

struct deletion {
    struct cli *cli;
    bool has_grace, no_wait;
    int64_t grace;
};

static int delete_pod(const struct deletion *d, const char *namespace_, const char *name)
{
    Podd__V1__DeletePodRequest request = PODD__V1__DELETE_POD_REQUEST__INIT;
    int status = EXIT_OK;

    request.namespace_ = (char *)namespace_;
    request.name = (char *)name;
    request.no_wait = d->no_wait;
    request.has_grace_period = d->has_grace;
    request.grace_period = d->grace;
    _cleanup_message_ void *answer = cli_call(d->cli, "DeletePod", &request.base, &status);
    return status;
}

static int delete_object(const struct deletion *d, const char *kind, const char *namespace_,
                         const char *name)
{
    Podd__V1__DeleteObjectRequest request = PODD__V1__DELETE_OBJECT_REQUEST__INIT;
    int status = EXIT_OK;

    request.kind = (char *)kind;
    request.namespace_ = (char *)namespace_;
    request.name = (char *)name;
    request.no_wait = d->no_wait;
    _cleanup_message_ void *answer = cli_call(d->cli, "DeleteObject", &request.base, &status);
    return status;
}

static int delete_one(const struct deletion *d, const char *kind, const char *namespace_,
                      const char *name)
{
    int status = str_equal(kind, "Pod") ? delete_pod(d, namespace_, name)
                                        : delete_object(d, kind, namespace_, name);

    if (status == EXIT_OK)
        printf("%s/%s deleted\n", kind, name);
    return status;
}

/* A dry run tells what the manifests declare. Backwards: pods first, Namespaces last. */
static int delete_declared(const struct deletion *d, char **paths)
{
    int status = EXIT_OK;
    _cleanup_message_ Podd__V1__ApplyResponse *answer =
        manifests_send(d->cli, "delete", paths, true, &status);

    for (size_t i = answer ? answer->n_objects : 0; i-- > 0;) {
        const Podd__V1__Applied *o = answer->objects[i];
        if (o->action == PODD__V1__APPLIED__ACTION__CREATED) { /* it is not there */
            fprintf(stderr, "podctl: %s/%s is not declared\n", o->kind, o->name);
            status = EXIT_NO_SUCH;
            continue;
        }
        int one = delete_one(d, o->kind, o->namespace_, o->name);
        status = one != EXIT_OK ? one : status;
    }
    return status;
}

/* "pod NAME...", "configmap NAME...", or pods by name alone. */
static int delete_named(const struct deletion *d, int argc, char **argv)
{
    const char *kind = kind_named(argv[0]);
    int status = EXIT_OK;

    if (kind) {
        argc--;
        argv++;
    }
    if (argc == 0)
        return cli_usage("delete: name at least one: podctl delete %s NAME", argv[-1]);
    for (int i = 0; i < argc && status == EXIT_OK; i++) {
        const char *slash = strchr(argv[i], '/'); /* pod/web */
        _cleanup_free_ char *prefix = slash ? xstrndup(argv[i], (size_t)(slash - argv[i])) : NULL;
        const char *own = prefix ? kind_named(prefix) : kind ? kind : "Pod";
        if (!own)
            return cli_usage("delete: unknown kind \"%s\"; there are " KINDS, prefix);
        status = delete_one(d, own, d->cli->namespace_, slash ? slash + 1 : argv[i]);
    }
    return status;
}

int cmd_delete(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct deletion d = {.cli = cli};
    _cleanup_strv_ char **paths = NULL;
    const char *grace = NULL;
    const struct option_spec options[] = {
        {"--filename", 'f', .list = &paths},
        {"--grace-period", .value = &grace},
        {"--no-wait", .flag = &d.no_wait},
    };

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("delete: %s", err_text(&e));
    d.has_grace = grace != NULL;
    if (grace && parse_int(grace, 0, INT32_MAX, &d.grace) < 0)
        return cli_usage("delete: --grace-period %s is not a number of seconds", grace);
    if (paths && argc == 0)
        return delete_declared(&d, paths);
    if (paths || argc == 0)
        return cli_usage("delete: name at least one pod, podctl delete pod NAME, or manifests with "
                         "-f FILE");
    return delete_named(&d, argc, argv);
}
