/*
 * logs.c - what containers printed, read straight from their CRI log files on this node.
 *
 * Following reads on at the end of each file, and goes over to the new file after a rotation, and
 * to the next life's file after a restart. inotify says when there is more, so waiting costs
 * nothing; once a second podd is asked whether the containers still run.
 */
#include "cli.h"

#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "log_reader.h"

struct logs {
    struct cli *cli;
    struct log_options options;
    bool previous;
    struct log_reader *readers;
    size_t n;
    int inotify;
};

/* ---- Which containers
 * ----------------------------------------------------------------------------- */

static struct log_reader *add_reader(struct logs *l, const Podd__V1__Pod *pod,
                                     const char *container)
{
    struct log_reader *r = array_push(&l->readers, &l->n, sizeof(*l->readers));

    r->options = &l->options;
    r->pod = xstrdup(pod->name);
    r->container = xstrdup(container);
    return r;
}

static int open_first(struct logs *l, struct log_reader *r, const Podd__V1__ContainerStatus *c)
{
    const char *path = l->previous ? c->previous_log_path : c->log_path;
    _cleanup_err_ struct err e = ERR_INIT;

    if (str_empty(path)) {
        fprintf(stderr, "podctl: container %s of pod %s has no %slog%s%s\n", r->container, r->pod,
                l->previous ? "previous " : "", str_empty(c->reason) ? "" : ": ",
                str_empty(c->reason) ? "" : c->reason);
        return EXIT_NO_SUCH;
    }
    if (log_reader_open(r, xstrdup(path), &e) < 0)
        return cli_fail(&e);
    log_reader_drain(r);
    return EXIT_OK;
}

/* One container that has no log yet is an error; among all of them it is passed over. */
static int open_all(struct logs *l, const Podd__V1__Pod *pod)
{
    for (size_t i = 0; i < container_count(pod->status); i++) {
        const Podd__V1__ContainerStatus *c = container_at(pod->status, i);
        struct log_reader *r = add_reader(l, pod, c->name);
        if (!str_empty(l->previous ? c->previous_log_path : c->log_path) &&
            open_first(l, r, c) != EXIT_OK)
            return EXIT_FAILED;
    }
    return EXIT_OK;
}

/* ---- Following
 * ------------------------------------------------------------------------------------ */

/* Waits for a change in one of the logs, or a second: a container that ended says nothing. */
static void wait_for_more(int inotify)
{
    struct pollfd p = {.fd = inotify, .events = POLLIN};
    char events[4096];

    if (poll(&p, 1, 1000) > 0 && read(inotify, events, sizeof(events)) < 0)
        return;
}

static void watch(const struct logs *l, const struct log_reader *r)
{
    if (r->file)
        inotify_add_watch(l->inotify, r->path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
}

/* The pod now; NULL when it is gone. The caller's. */
static Podd__V1__GetPodResponse *look_at_pod(struct logs *l, const char *name)
{
    Podd__V1__GetPodRequest request = PODD__V1__GET_POD_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    ProtobufCMessage *message = NULL;

    request.namespace_ = (char *)l->cli->namespace_;
    request.name = (char *)name;
    if (rpc_client_call_sync(l->cli->client, &podd__v1__podd__descriptor, "GetPod", &request.base,
                             0, &message, &e) < 0)
        return NULL;
    return (Podd__V1__GetPodResponse *)message;
}

/* The next life's file, once it is there. */
static void follow_life(struct logs *l, struct log_reader *r, const Podd__V1__Pod *pod)
{
    const Podd__V1__ContainerStatus *c = pod ? find_container(pod, r->container) : NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!c) {
        r->over = true;
    } else if (str_empty(c->log_path) || str_equal(c->log_path, r->path)) {
        r->over = c->state == PODD__V1__CONTAINER_STATUS__STATE__TERMINATED;
    } else if (log_reader_open(r, xstrdup(c->log_path), &e) == 0) {
        watch(l, r);
    }
}

static bool all_over(const struct logs *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->readers[i].over)
            return false;
    return true;
}

/* Follows until all containers have ended for good. */
static void follow(struct logs *l, const char *pod)
{
    l->inotify = inotify_init1(IN_CLOEXEC);
    for (size_t i = 0; i < l->n; i++)
        watch(l, &l->readers[i]);
    while (!all_over(l)) {
        wait_for_more(l->inotify);
        _cleanup_message_ Podd__V1__GetPodResponse *now = look_at_pod(l, pod);
        for (size_t i = 0; i < l->n; i++) {
            watch(l, &l->readers[i]); /* another file when the log was rotated */
            follow_life(l, &l->readers[i], now ? now->pod : NULL);
            log_reader_drain(&l->readers[i]);
        }
    }
    fd_close(l->inotify);
}

/* ---- The command
 * ---------------------------------------------------------------------------------- */

static int run(struct logs *l, const char *name, const char *container, bool all, bool follows)
{
    int status = EXIT_OK;
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(l->cli, name, &status);

    if (!answer)
        return status;
    if (all) {
        status = open_all(l, answer->pod);
    } else {
        const Podd__V1__ContainerStatus *c = pick_container(answer->pod, container, &status);
        if (c)
            status = open_first(l, add_reader(l, answer->pod, c->name), c);
    }
    if (status == EXIT_OK && follows && !l->previous)
        follow(l, answer->pod->name);
    return status;
}

/* "90s", "5m", "2h", "1d": how long ago the first line of interest was written. */
static int parse_since(const char *text, char ret[TIME_TEXT_SIZE])
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(text);
    _cleanup_free_ char *digits = xstrndup(text, len ? len - 1 : 0);
    uint64_t number;

    for (size_t i = 0; len && i < ARRAY_SIZE(units); i++) {
        if (text[len - 1] == units[i].unit && parse_uint(digits, INT32_MAX, &number) == 0) {
            time_format(time_now_ns() - (int64_t)number * units[i].seconds * NS_PER_SEC, ret);
            return 0;
        }
    }
    return -1;
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct logs l = {.cli = cli, .options = {.tail = -1}, .inotify = -1};
    const char *container = NULL, *tail = NULL, *since = NULL;
    bool follows = false, all = false;
    const struct option_spec options[] = {
        {"--container", 'c', .value = &container},
        {"--all-containers", .flag = &all},
        {"--follow", 'f', .flag = &follows},
        {"--previous", 'p', .flag = &l.previous},
        {"--prefix", .flag = &l.options.prefix},
        {"--since", .value = &since},
        {"--tail", .value = &tail},
        {"--timestamps", .flag = &l.options.timestamps},
    };

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("logs: %s", err_text(&e));
    if (argc != 1)
        return cli_usage("logs: name one pod: podctl logs POD [-c CONTAINER] [-f] [--previous]");
    if (all && container)
        return cli_usage("logs: either -c or --all-containers");
    if (tail && parse_int(tail, -1, INT64_MAX, &l.options.tail) < 0)
        return cli_usage("logs: --tail %s is not a number of lines", tail);
    if (since && parse_since(since, l.options.since) < 0)
        return cli_usage("logs: --since %s is not a duration such as 30s, 5m, 2h or 1d", since);
    int status = run(&l, argv[0], container, all, follows);
    for (size_t i = 0; i < l.n; i++)
        log_reader_free(&l.readers[i]);
    free(l.readers);
    return status;
}
