/*
 * image-driver - the image room as a command, for the tests written in Python.
 *
 *   image-driver ROOT UNPACKER [OPTION...] COMMAND ARG...
 *
 * Prints one JSON object per line. Options: --mirror PREFIX=URL, --ca PREFIX=FILE,
 * --auth-file PREFIX=FILE, --user NAME:PASSWORD, --encoded BASE64, --identity-token T, --server
 * ADDRESS,
 * --slow-seconds N, --cancel-after MS, --progress.
 * Commands: pull REFERENCE... (all at once), import FILE NAME [WORD...] ("-": no name), list,
 * find REFERENCE, remove REFERENCE, usage, rootfs ID IMAGE DIRECTORY (mounts it there).
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>

#include "podd/image.h"
#include "store.h"
#include "transfer.h"

struct driver {
    struct loop *loop;
    struct image_store *store;
    struct image_auth auth;
    bool has_auth, progress;
    struct image_config_registry registry;
    char *mirrors[8];
    size_t n_mirrors;
    int64_t cancel_after_ms;
    unsigned pending;
    struct image_pull *pulls[64];
    size_t n_pulls;
    bool failed;
};

struct job {
    struct driver *driver;
    const char *name;
    size_t index;
};

static void print(json_t *j_take)
{
    char *text = json_dumps(j_take, JSON_COMPACT | JSON_SORT_KEYS);

    puts(text);
    fflush(stdout);
    free(text);
    json_decref(j_take);
}

static json_t *describe_error(const struct err *e)
{
    return json_pack("{s:s, s:s}", "error", err_text(e), "code", err_code_name(e->code));
}

static json_t *texts(char *const *v)
{
    json_t *j = json_array();

    for (; v && *v; v++)
        json_array_append_new(j, json_string(*v));
    return j;
}

static json_t *describe_image(const struct image *i)
{
    return json_pack("{s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:s?}", "id", i->id, "tags",
                     texts(i->repo_tags), "digests", texts(i->repo_digests), "size",
                     (json_int_t)i->size, "layers", texts(i->layers), "cmd", texts(i->config.cmd),
                     "env", texts(i->config.env), "user", i->config.user);
}

static void finish_one(struct driver *d, const char *name, const char *id, const struct err *e)
{
    json_t *j = e->code ? describe_error(e) : json_pack("{s:s}", "id", id);

    json_object_set_new(j, "name", json_string(name));
    /* What is told must be visible by now. */
    if (!e->code && !image_find(d->store, id))
        json_object_set_new(j, "invisible", json_true());
    print(j);
    d->failed |= e->code != ERR_OK;
    if (--d->pending == 0)
        loop_stop(d->loop);
}

static void on_pulled(void *arg, const char *id, const struct err *e)
{
    struct job *job = arg;

    job->driver->pulls[job->index] = NULL;
    finish_one(job->driver, job->name, id, e);
    free(job);
}

static void on_progress(void *arg, const struct image_progress *p)
{
    struct job *job = arg;

    if (job->driver->progress)
        print(json_pack("{s:s, s:I, s:I, s:i, s:i}", "phase", p->phase, "done",
                        (json_int_t)p->bytes_done, "total", (json_int_t)p->bytes_total,
                        "layers_done", (int)p->layers_done, "layers", (int)p->layers_total));
}

static void on_imported(void *arg, const char *id, const struct err *e)
{
    struct job *job = arg;

    finish_one(job->driver, job->name, id, e);
    free(job);
}

static void stop_later(void *arg)
{
    loop_stop(arg);
}

static void cancel_all(void *arg)
{
    struct driver *d = arg;

    for (size_t i = 0; i < d->n_pulls; i++)
        if (d->pulls[i])
            image_pull_cancel(d->pulls[i]);
    print(json_pack("{s:b}", "cancelled", 1));
    struct timer *t = timer_new(d->loop, stop_later, d->loop); /* the child is reaped meanwhile */
    timer_start(t, 200);
}

static struct job *job_new(struct driver *d, const char *name, size_t index)
{
    struct job *job = xnew(struct job);

    job->driver = d;
    job->name = name;
    job->index = index;
    d->pending++;
    return job;
}

static void run_pull(struct driver *d, char **argv)
{
    static const struct image_pull_events EVENTS = {on_progress, on_pulled};

    for (; *argv && d->n_pulls < ARRAY_SIZE(d->pulls); argv++) {
        size_t i = d->n_pulls++;
        d->pulls[i] = image_pull_start(d->store, *argv, d->has_auth ? &d->auth : NULL, &EVENTS,
                                       job_new(d, *argv, i));
    }
    if (d->cancel_after_ms > 0)
        timer_start(timer_new(d->loop, cancel_all, d), d->cancel_after_ms);
    loop_run(d->loop);
}

static void print_image(void *arg, const struct image *i)
{
    (void)arg;
    print(describe_image(i));
}

static int run_rootfs(struct driver *d, char **argv, struct err *e)
{
    const struct image *i = image_find(d->store, argv[1]);
    int fd;

    if (!i)
        return err_set(e, ERR_NOT_FOUND, "no image %s", argv[1]);
    if (rootfs_create(d->store, argv[0], i->layers, NULL, &fd, e) < 0)
        return -1;
    if (move_mount(fd, "", AT_FDCWD, argv[2], MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, errno, "attach to %s", argv[2]);
    close(fd);
    return 0;
}

static int run(struct driver *d, const char *command, char **argv, struct err *e)
{
    struct image_fs_usage usage;

    if (str_equal(command, "pull")) {
        run_pull(d, argv);
    } else if (str_equal(command, "import")) {
        image_import(d->store, argv[0], str_equal(argv[1], "-") ? NULL : argv[1],
                     argv[2] ? argv + 2 : NULL, on_imported, job_new(d, argv[0], 0));
        loop_run(d->loop);
    } else if (str_equal(command, "list")) {
        image_for_each(d->store, print_image, NULL);
    } else if (str_equal(command, "find")) {
        const struct image *i = image_find(d->store, argv[0]);
        print(i ? describe_image(i) : json_object());
    } else if (str_equal(command, "remove")) {
        return image_remove(d->store, argv[0], e);
    } else if (str_equal(command, "usage")) {
        image_fs_usage(d->store, &usage);
        print(json_pack("{s:I, s:I}", "bytes", (json_int_t)usage.used_bytes, "inodes",
                        (json_int_t)usage.inodes_used));
    } else if (str_equal(command, "rootfs")) {
        return run_rootfs(d, argv, e);
    } else {
        return err_set(e, ERR_INVALID_ARGUMENT, "unknown command %s", command);
    }
    return 0;
}

/* "PREFIX=VALUE" of an option for a registry. */
static char *split(struct driver *d, char *text)
{
    char *equals = strchr(text, '=');

    *equals = 0;
    d->registry.prefix = text;
    return equals + 1;
}

static char **parse_options(struct driver *d, char **argv, long *ret_slow)
{
    for (; *argv && str_starts_with(*argv, "--"); argv++) {
        const char *option = *argv + 2;
        if (str_equal(option, "progress")) {
            d->progress = true;
            continue;
        }
        char *value = *++argv;
        if (str_equal(option, "mirror")) {
            d->mirrors[d->n_mirrors++] = split(d, value);
            d->registry.mirrors = d->mirrors;
        } else if (str_equal(option, "ca")) {
            d->registry.ca = split(d, value);
        } else if (str_equal(option, "auth-file")) {
            d->registry.auth_file = split(d, value);
        } else if (str_equal(option, "user")) {
            char *colon = strchr(value, ':');
            *colon = 0;
            d->auth.username = value;
            d->auth.password = colon + 1;
            d->has_auth = true;
        } else if (str_equal(option, "identity-token")) {
            d->auth.identity_token = value;
            d->has_auth = true;
        } else if (str_equal(option, "encoded")) {
            d->auth.encoded = value;
            d->has_auth = true;
        } else if (str_equal(option, "server")) {
            d->auth.server_address = value;
        } else if (str_equal(option, "slow-seconds")) {
            *ret_slow = atol(value);
        } else if (str_equal(option, "cancel-after")) {
            d->cancel_after_ms = atol(value);
        }
    }
    return argv;
}

int main(int argc, char **argv)
{
    struct driver d = {0};
    struct image_store_config config = {.registries = &d.registry};
    _cleanup_err_ struct err e = ERR_INIT;
    long slow = 0;

    if (argc < 4)
        return 2;
    config.root = argv[1];
    config.unpack_path = argv[2];
    char **rest = parse_options(&d, argv + 3, &slow);
    config.n_registries = d.registry.prefix ? 1 : 0;
    signal(SIGPIPE, SIG_IGN);
    d.loop = loop_new();
    if (image_store_open(d.loop, &config, &d.store, &e) < 0) {
        print(describe_error(&e));
        return 1;
    }
    if (slow)
        transfers_limits(d.store->transfers)->slow_seconds = slow;
    if (run(&d, rest[0], rest + 1, &e) < 0) {
        print(describe_error(&e));
        d.failed = true;
    }
    image_store_close(d.store);
    loop_free(d.loop);
    return d.failed;
}
