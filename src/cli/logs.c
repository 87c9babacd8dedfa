/*
 * logs.c - what a container printed, read straight from its CRI log file on this node.
 *
 * A record is `time stream tag text`; P records are pieces of a line that the next record goes on
 * with. Following reads on at the end of the file, and goes over to the new file after a rotation,
 * and to the next life's file after a restart. inotify says when there is more, so waiting costs
 * nothing.
 */
#include "cli.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

struct log_options {
    bool follow, previous, timestamps;
    int64_t tail; /* -1: all */
};

/* ---- One record
 * ------------------------------------------------------------------------------------- */

/* Prints the text of a record; `continued` is whether it goes on a line begun by the one before. */
static void print_record(const struct log_options *o, const char *line, size_t len, bool *continued)
{
    const char *end = line + len;
    const char *stream = memchr(line, ' ', len);
    const char *tag = stream ? memchr(stream + 1, ' ', (size_t)(end - stream - 1)) : NULL;
    const char *text = tag ? memchr(tag + 1, ' ', (size_t)(end - tag - 1)) : NULL;

    if (!text) { /* not a record: show what there is */
        printf("%.*s\n", (int)len, line);
        return;
    }
    FILE *out = str_starts_with(stream + 1, "stderr") ? stderr : stdout;
    if (o->timestamps && !*continued)
        fprintf(out, "%.*s ", (int)(stream - line), line);
    fwrite(text + 1, 1, (size_t)(end - text - 1), out);
    *continued = tag[1] == 'P';
    if (!*continued)
        fputc('\n', out);
}

/* ---- A file
 * ---------------------------------------------------------------------------------------------- */

struct reader {
    const struct log_options *options;
    FILE *file;
    char *line;
    size_t cap;
    bool continued;
};

/* Prints every whole record that is there. */
static void drain(struct reader *r)
{
    for (;;) {
        long start = ftell(r->file);
        ssize_t len = getline(&r->line, &r->cap, r->file);
        if (len < 0)
            break;
        if (r->line[len - 1] != '\n') { /* still being written: come back to it */
            fseek(r->file, start, SEEK_SET);
            break;
        }
        print_record(r->options, r->line, (size_t)len - 1, &r->continued);
    }
    clearerr(r->file);
    fflush(stdout);
    fflush(stderr);
}

/* Moves to where the last n records begin, by counting newlines from the end. */
static void seek_tail(FILE *file, int64_t n)
{
    char chunk[65536];
    long at;

    if (n < 0 || fseek(file, 0, SEEK_END) < 0)
        return;
    at = ftell(file);
    for (int64_t seen = 0; at > 0;) {
        long size = at < (long)sizeof(chunk) ? at : (long)sizeof(chunk);
        at -= size;
        fseek(file, at, SEEK_SET);
        if (fread(chunk, 1, (size_t)size, file) != (size_t)size)
            break;
        for (long i = size - 1; i >= 0; i--) {
            if (chunk[i] == '\n' && seen++ == n) {
                fseek(file, at + i + 1, SEEK_SET);
                return;
            }
        }
    }
    fseek(file, 0, SEEK_SET);
}

static bool is_replaced(FILE *file, const char *path)
{
    struct stat now, then;

    return fstat(fileno(file), &then) == 0 && stat(path, &now) == 0 &&
           (now.st_ino != then.st_ino || now.st_dev != then.st_dev);
}

/* ---- Following
 * -------------------------------------------------------------------------------------------- */

/* Waits for a change in the log's directory, or a second: a container that ended says nothing. */
static void wait_for_more(int inotify)
{
    struct pollfd p = {.fd = inotify, .events = POLLIN};
    char events[4096];

    if (poll(&p, 1, 1000) > 0 && read(inotify, events, sizeof(events)) < 0)
        return;
}

/* The log of the container's current life; NULL when the pod or container is gone. Caller frees. */
static char *current_log(struct cli *cli, const char *pod, const char *container, bool *running)
{
    Podd__V1__GetPodRequest request = PODD__V1__GET_POD_REQUEST__INIT;
    _cleanup_err_ struct err e = ERR_INIT;
    ProtobufCMessage *message = NULL;
    char *path = NULL;

    request.namespace_ = (char *)cli->namespace_;
    request.name = (char *)pod;
    if (rpc_client_call_sync(cli->client, &podd__v1__podd__descriptor, "GetPod", &request.base, 0,
                             &message, &e) < 0)
        return NULL;
    const Podd__V1__Pod *found = ((Podd__V1__GetPodResponse *)message)->pod;
    for (size_t i = 0; i < found->status->n_containers; i++) {
        const Podd__V1__ContainerStatus *c = found->status->containers[i];
        if (str_equal(c->name, container)) {
            path = xstrdup(c->log_path);
            *running = c->state != PODD__V1__CONTAINER_STATUS__STATE__TERMINATED;
        }
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return path;
}

/* Follows until the container has ended for good. */
static int follow(struct cli *cli, struct reader *r, const char *pod, const char *container,
                  char *path_take)
{
    _cleanup_free_ char *path = path_take;
    _cleanup_close_ int inotify = inotify_init1(IN_CLOEXEC);

    inotify_add_watch(inotify, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
    for (;;) {
        bool running = true;

        wait_for_more(inotify);
        drain(r);
        if (!is_replaced(r->file, path)) {
            _cleanup_free_ char *now = current_log(cli, pod, container, &running);
            if (!now || (str_equal(now, path) && !running)) {
                drain(r);
                return EXIT_OK;
            }
            if (str_equal(now, path) || str_empty(now))
                continue;
            free(path);
            path = take_ptr(now); /* the next life */
        }
        FILE *next = fopen(path, "re");
        if (!next)
            continue;
        drain(r);
        fclose(r->file);
        r->file = next;
        inotify_add_watch(inotify, path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
        drain(r);
    }
}

static int show(struct cli *cli, const struct log_options *o, const char *pod,
                const Podd__V1__ContainerStatus *c)
{
    const char *path = o->previous ? c->previous_log_path : c->log_path;
    struct reader r = {.options = o};
    _cleanup_err_ struct err e = ERR_INIT;
    int status = EXIT_OK;

    if (str_empty(path)) {
        fprintf(stderr, "podctl: container %s of pod %s has no %slog\n", c->name, pod,
                o->previous ? "previous " : "");
        return EXIT_NO_SUCH;
    }
    r.file = fopen(path, "re");
    if (!r.file) {
        err_errno(&e, errno, "open %s", path);
        return cli_fail(&e);
    }
    seek_tail(r.file, o->tail);
    drain(&r);
    if (o->follow && !o->previous)
        status = follow(cli, &r, pod, c->name, xstrdup(path));
    free(r.line);
    fclose(r.file);
    return status;
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct log_options o = {.tail = -1};
    const char *container = NULL, *tail = NULL;
    const struct option_spec options[] = {
        {"--container", 'c', .value = &container},
        {"--follow", 'f', .flag = &o.follow},
        {"--previous", 'p', .flag = &o.previous},
        {"--timestamps", .flag = &o.timestamps},
        {"--tail", .value = &tail},
    };
    int status = EXIT_OK;

    if (options_parse(argv, &argc, options, ARRAY_SIZE(options), &e) < 0)
        return cli_usage("logs: %s", err_text(&e));
    if (argc != 1)
        return cli_usage("logs: name one pod: podctl logs POD [-c CONTAINER] [-f] [--previous]");
    if (tail && parse_int(tail, 0, INT64_MAX, &o.tail) < 0)
        return cli_usage("logs: --tail %s is not a number of lines", tail);
    _cleanup_message_ Podd__V1__GetPodResponse *answer = get_pod(cli, argv[0], &status);
    if (!answer)
        return status;
    const Podd__V1__ContainerStatus *c = pick_container(answer->pod, container, &status);
    return c ? show(cli, &o, answer->pod->name, c) : status;
}
