/*
 * image_call.c - the calls PullImage and ImportImage. A new image may be what a pod waits for, so
 * both kick the pods when they succeed.
 */
#include "private.h"

#define PROGRESS_EVERY_NS (NS_PER_SEC / 10)

struct pull_call {
    struct node *node;
    struct rpc_call *call;
    struct image_pull *pull;
    int64_t told_at; /* monotonic */
    char *told_phase;
    bool done;
    struct image_progress last; /* its numbers; the phase is not kept */
};

static void pull_free(struct pull_call *p)
{
    free(p->told_phase);
    free(p);
}

/* A pod that waits for an image tries again at once. */
static void wake_waiting(struct node *n)
{
    list_for_each (it, &n->declared) {
        struct declared *d = container_of(it, struct declared, item);
        for (size_t i = 0; i < d->n_members; i++) {
            struct member *m = &d->members[i];
            if (str_equal(m->waiting, "ErrImageNeverPull") ||
                str_equal(m->waiting, "ErrImagePull") || str_equal(m->waiting, "ImagePullBackOff"))
                m->due = 0;
        }
        declared_kick(d);
    }
}

/* ---- Pulling -----------------------------------------------------------------------------------
 */

static void fill_progress(Podd__V1__PullImageProgress *message,
                          const struct image_progress *progress)
{
    message->phase = (char *)progress->phase;
    message->bytes_done = progress->bytes_done;
    message->bytes_total = progress->bytes_total;
    message->layers_done = progress->layers_done;
    message->layers_total = progress->layers_total;
}

static void on_progress(void *arg, const struct image_progress *progress)
{
    struct pull_call *p = arg;
    Podd__V1__PullImageProgress message = PODD__V1__PULL_IMAGE_PROGRESS__INIT;
    int64_t now = time_mono_ns();
    bool new_phase = !str_equal(p->told_phase, progress->phase);

    p->last = *progress;
    if (!new_phase && now - p->told_at < PROGRESS_EVERY_NS)
        return;
    p->told_at = now;
    if (new_phase) {
        free(p->told_phase);
        p->told_phase = xstrdup(progress->phase);
    }
    fill_progress(&message, progress);
    /* A reader that is too slow misses some; the last message is what counts. */
    if (!rpc_send(p->call, &message.base))
        log_debug("node", NULL, "the reader of a pull's progress is slow");
}

static void on_pulled(void *arg, const char *image_id, const struct err *e)
{
    struct pull_call *p = arg;
    Podd__V1__PullImageProgress message = PODD__V1__PULL_IMAGE_PROGRESS__INIT;

    p->done = true;
    if (err_is_set(e)) {
        rpc_fail(p->call, e);
    } else {
        fill_progress(&message, &p->last);
        message.phase = (char *)"done";
        message.image_id = (char *)image_id;
        if (rpc_send(p->call, &message.base))
            rpc_finish(p->call);
        else
            call_fail(p->call, ERR_RESOURCE_EXHAUSTED, "the image is here; its reader is too slow");
        wake_waiting(p->node);
    }
    if (p->pull)
        pull_free(p);
}

static void on_gone(void *arg)
{
    struct pull_call *p = arg;

    image_pull_cancel(p->pull);
    call_fail(p->call, ERR_CANCELLED, "the caller has gone");
    pull_free(p);
}

void image_call_pull(struct node *n, struct rpc_call *call,
                     const Podd__V1__PullImageRequest *request)
{
    static const struct image_pull_events events = {.on_progress = on_progress,
                                                    .on_done = on_pulled};
    const struct image_auth auth = {.username = request->username, .password = request->password};
    struct pull_call *p = xnew(struct pull_call);

    p->node = n;
    p->call = call;
    struct image_pull *pull = image_pull_start(
        n->config.images, request->image, str_empty(request->username) ? NULL : &auth, &events, p);
    if (p->done) { /* answered inside the call */
        pull_free(p);
        return;
    }
    p->pull = pull;
    rpc_on_cancel(call, on_gone, p);
}

/* ---- Importing ---------------------------------------------------------------------------------
 */

struct import_call {
    struct node *node;
    struct rpc_call *call;
};

static void on_imported(void *arg, const char *image_id, const struct err *e)
{
    struct import_call *i = arg;
    Podd__V1__ImportImageResponse response = PODD__V1__IMPORT_IMAGE_RESPONSE__INIT;

    if (err_is_set(e)) {
        rpc_fail(i->call, e);
    } else {
        const struct image *image = image_find(i->node->config.images, image_id);
        response.image_id = (char *)image_id;
        response.names = image ? image->repo_tags : NULL;
        response.n_names = image ? strv_len(image->repo_tags) : 0;
        rpc_reply(i->call, &response.base);
        wake_waiting(i->node);
    }
    free(i);
}

void image_call_import(struct node *n, struct rpc_call *call,
                       const Podd__V1__ImportImageRequest *request)
{
    char **command = NULL;

    if (request->path[0] != '/') {
        call_fail(call, ERR_INVALID_ARGUMENT,
                  "path must be an absolute path on the node, not \"%s\"", request->path);
        return;
    }
    struct import_call *i = xnew(struct import_call);
    i->node = n;
    i->call = call;
    for (size_t k = 0; k < request->n_command; k++)
        strv_push(&command, request->command[k]);
    image_import(n->config.images, request->path, str_empty(request->name) ? NULL : request->name,
                 command, on_imported, i);
    strv_free(command);
}
