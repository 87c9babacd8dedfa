/*
 * layer.c - layers on their way into the store.
 *
 *     waits ── fetch ── registry_get ──bytes──> unpacker ──report──> checks ── commit ── layer
 *                        (or a file ─────────────^)
 *
 * There is one fetch per diff_id however many pulls want it; it streams, so nothing compressed is
 * ever written to disk. The unpacker digests both sides of the decompression, and the layer is only
 * taken when both are what manifest and configuration promised.
 *
 * The waits that share a fetch may have different sources: one image may name a stream for this
 * diff_id that is not what it says, or live on a registry that is down. So when the fetch fails it
 * fails the waits with that very source; the others get another try with theirs.
 */
#include <fcntl.h>

#include "layer.h"

enum {
    FETCHES_MAX = 32,
    /* So that a slow registry does not hold up the others. */
    FETCHES_PER_PULL_MAX = 4,
};

struct layer_wait {
    struct list link;
    struct layer_fetch *fetch;
    struct layer_source source; /* its registry is held, its file an fd of our own */
    struct layer_wait_events events;
    void *arg;
};

struct layer_fetch {
    struct image_store *store;
    struct list link; /* in the store's waiting list */
    char diff_id[DIGEST_TEXT_SIZE];
    struct list waits;
    struct layer_wait *by; /* whose source is used; NULL: it does not run, or commits */
    bool running;
    struct registry *counted; /* runs on its account; or NULL */
    char *tmp_name;           /* NULL: none */
    struct registry_get *get;
    struct unpacker *unpacker;
    uint64_t bytes;
    bool paused;
};

static void start_waiting(struct image_store *s);

/* ---- Ends ------------------------------------------------------------------------------------ */

static void wait_free(struct layer_wait *w)
{
    list_remove(&w->link);
    registry_release(w->source.registry);
    fd_close(w->source.file_fd);
    free(w);
}

/* Stops what runs and throws away what it has made. */
static void stop(struct layer_fetch *f)
{
    registry_get_cancel(take_ptr(f->get));
    unpacker_cancel(take_ptr(f->unpacker));
    if (f->tmp_name && !f->store->closed)
        trash_delete(f->store->trash, f->tmp_name);
    free(take_ptr(f->tmp_name));
    f->by = NULL;
    f->bytes = 0;
    f->paused = false;
    if (f->running)
        f->store->fetching--;
    f->running = false;
    if (f->counted)
        f->counted->fetching--;
    registry_release(take_ptr(f->counted));
}

static void fetch_free(struct layer_fetch *f)
{
    stop(f);
    list_remove(&f->link);
    map_remove(f->store->fetches, f->diff_id);
    free(f);
}

static bool same_source(const struct layer_source *a, const struct layer_source *b)
{
    if (a->registry && b->registry)
        return registry_equal(a->registry, b->registry) && str_equal(a->digest, b->digest);
    return false; /* a file is like nothing else */
}

/* Tells the waits in `finishing`, one by one: a callback may cancel any of them. */
static void tell(struct image_store *s, struct list *finishing, struct layer *layer,
                 const struct err *e)
{
    while (!list_empty(finishing)) {
        struct layer_wait *w = container_of(finishing->next, struct layer_wait, link);
        struct layer_wait_events events = w->events;
        void *arg = w->arg;

        wait_free(w);
        events.on_done(arg, layer ? layer_hold(s, layer->hex) : NULL, e);
    }
}

static void enqueue(struct layer_fetch *f)
{
    list_append(&f->store->waiting, &f->link);
    start_waiting(f->store);
}

/* The source that was used is no good. */
static void fail(struct layer_fetch *f, const struct err *e)
{
    struct image_store *s = f->store;
    struct layer_wait *by = f->by;
    struct list failed;

    list_init(&failed);
    list_for_each_safe (it, &f->waits) {
        struct layer_wait *w = container_of(it, struct layer_wait, link);
        if (w != by && !same_source(&w->source, &by->source))
            continue;
        list_remove(&w->link);
        w->fetch = NULL;
        list_append(&failed, &w->link);
    }
    stop(f);
    if (list_empty(&f->waits))
        fetch_free(f);
    else
        enqueue(f);
    tell(s, &failed, NULL, e);
    start_waiting(s);
}

/* ---- Checks and commit ----------------------------------------------------------------------- */

static int check_report(const struct layer_fetch *f, const struct unpack_report *r, struct err *e)
{
    const struct layer_source *source = &f->by->source;
    const char *name = *source->digest ? source->digest : f->diff_id;

    if (source->size != UINT64_MAX && r->input_bytes != source->size)
        return err_set(e, ERR_DATA_LOSS, "the layer %s has %llu bytes instead of %llu", name,
                       (unsigned long long)r->input_bytes, (unsigned long long)source->size);
    if (*source->digest && !str_equal(r->input_digest, source->digest))
        return err_set(e, ERR_DATA_LOSS, "the layer %s has the wrong digest: what came is %s", name,
                       r->input_digest);
    if (!str_equal(r->tar_digest, f->diff_id))
        return err_set(e, ERR_DATA_LOSS,
                       "the layer %s is not what the image's configuration says: its diff_id is "
                       "%s instead of %s",
                       name, r->tar_digest, f->diff_id);
    return 0;
}

/* `arg` names the fetch by its store and diff_id: it may be gone. */
struct committing {
    struct image_store *store;
    char diff_id[DIGEST_TEXT_SIZE];
};

static void on_committed(void *arg, struct layer *layer, const struct err *e)
{
    struct committing *c = arg;
    struct image_store *s = c->store;
    struct layer_fetch *f = map_get(s->fetches, c->diff_id);
    struct list waits;

    free(c);
    if (f) {
        list_init(&waits);
        list_for_each_safe (it, &f->waits) {
            struct layer_wait *w = container_of(it, struct layer_wait, link);
            list_remove(&w->link);
            w->fetch = NULL;
            list_append(&waits, &w->link);
        }
        fetch_free(f);
        tell(s, &waits, layer, e);
    }
    if (layer)
        layer_release(s, layer);
    if (!s->closed)
        start_waiting(s);
}

static void commit(struct layer_fetch *f, struct unpack_report *report)
{
    struct layer_commit *c = xnew(struct layer_commit);
    struct committing *context = xnew(struct committing);

    if (report->skipped)
        log_info("image", f->diff_id, "%llu device nodes of the layer are left out",
                 (unsigned long long)report->skipped);
    context->store = f->store;
    memcpy(context->diff_id, f->diff_id, DIGEST_TEXT_SIZE);
    c->tmp_name = take_ptr(f->tmp_name);
    memcpy(c->hex, digest_hex(f->diff_id), sizeof(c->hex));
    c->report = *report;
    *report = (struct unpack_report){0};
    c->fn = on_committed;
    c->arg = context;
    f->by = NULL;
    layer_commit_start(f->store, c);
}

static void on_unpacked(void *arg, struct unpack_report *report, const struct err *e)
{
    struct layer_fetch *f = arg;
    _cleanup_err_ struct err error = ERR_INIT;

    f->unpacker = NULL;
    if (e) {
        err_copy(&error, e);
        err_wrap(&error, "unpack the layer %s",
                 *f->by->source.digest ? f->by->source.digest : f->diff_id);
    } else if (f->get) {
        err_set(&error, ERR_INTERNAL, "the unpacker has ended before its stream");
    } else if (check_report(f, report, &error) == 0) {
        commit(f, report);
        return;
    }
    fail(f, &error);
}

/* ---- The stream ------------------------------------------------------------------------------ */

static void tell_progress(struct layer_fetch *f)
{
    list_for_each_safe (it, &f->waits) {
        struct layer_wait *w = container_of(it, struct layer_wait, link);
        if (w->events.on_progress)
            w->events.on_progress(w->arg, f->bytes);
    }
}

static enum transfer_verdict on_data(void *arg, const void *data, size_t len)
{
    struct layer_fetch *f = arg;

    if (!unpacker_feed(f->unpacker, data, len)) {
        f->paused = true;
        return TRANSFER_PAUSE;
    }
    f->bytes += len;
    tell_progress(f);
    return TRANSFER_GO_ON;
}

static void on_drain(void *arg)
{
    struct layer_fetch *f = arg;

    if (f->paused && f->get) {
        f->paused = false;
        registry_get_resume(f->get);
    }
}

static void on_got(void *arg, const struct bytes *body, const char *content_type,
                   const struct err *e)
{
    struct layer_fetch *f = arg;

    f->get = NULL;
    if (e)
        fail(f, e);
    else if (f->unpacker)
        unpacker_end(f->unpacker);
}

static void start_get(struct layer_fetch *f)
{
    static const struct registry_events EVENTS = {on_data, on_got};
    const struct layer_source *source = &f->by->source;
    _cleanup_free_ char *path = xasprintf("blobs/%s", source->digest);
    _cleanup_free_ char *what = xasprintf("the layer %s", source->digest);
    struct registry_request request = {
        .path = path, .what = what, .size = source->size, .limit = source->size};

    f->get = registry_get_start(source->registry, &request, &EVENTS, f);
}

static int run(struct layer_fetch *f, struct err *e)
{
    static const struct unpacker_events EVENTS = {on_drain, on_unpacked};
    _cleanup_close_ int target = -1;
    const struct layer_source *source = &f->by->source;

    if (layer_tmp_make(f->store, &f->tmp_name, &target, e) < 0)
        return -1;
    f->unpacker = unpacker_start(f->store->loop, f->store->unpack_path,
                                 source->registry ? -1 : source->file_fd, target, &EVENTS, f, e);
    if (!f->unpacker)
        return -1;
    if (source->registry)
        start_get(f);
    return 0;
}

/* A fetch that could not even begin fails on the next turn of the loop: whoever started it does not
 * have its handle yet. */
struct late_failure {
    struct image_store *store;
    char diff_id[DIGEST_TEXT_SIZE];
    struct err error;
};

static void fail_late(void *arg)
{
    struct late_failure *l = arg;
    struct layer_fetch *f = map_get(l->store->fetches, l->diff_id);

    if (f && f->by && !f->unpacker)
        fail(f, &l->error);
    err_clear(&l->error);
    free(l);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void start(struct layer_fetch *f)
{
    struct image_store *s = f->store;
    struct err e = ERR_INIT;

    list_remove(&f->link);
    f->by = container_of(f->waits.next, struct layer_wait, link);
    f->running = true;
    s->fetching++;
    if (f->by->source.registry) {
        f->counted = registry_hold(f->by->source.registry);
        f->counted->fetching++;
    }
    if (run(f, &e) == 0)
        return;
    struct late_failure *l = xnew(struct late_failure);
    l->store = s;
    memcpy(l->diff_id, f->diff_id, DIGEST_TEXT_SIZE);
    err_move(&l->error, &e);
    store_work(s, nothing, fail_late, l);
}

static void start_waiting(struct image_store *s)
{
    list_for_each_safe (it, &s->waiting) {
        struct layer_fetch *f = container_of(it, struct layer_fetch, link);
        struct layer_wait *first = container_of(f->waits.next, struct layer_wait, link);
        const struct registry *r = first->source.registry;

        if (s->fetching >= FETCHES_MAX)
            return;
        if (!r || r->fetching < FETCHES_PER_PULL_MAX)
            start(f);
    }
}

/* ---- Interface ------------------------------------------------------------------------------- */

static struct layer_fetch *find_fetch(struct image_store *s, const char *diff_id)
{
    struct layer_fetch *f = map_get(s->fetches, diff_id);

    if (f)
        return f;
    f = xnew(struct layer_fetch);
    f->store = s;
    memcpy(f->diff_id, diff_id, DIGEST_TEXT_SIZE);
    list_init(&f->link);
    list_init(&f->waits);
    map_put(s->fetches, diff_id, f);
    return f;
}

struct layer_wait *layer_wait_start(struct image_store *s, const char *diff_id,
                                    const struct layer_source *source,
                                    const struct layer_wait_events *events, void *arg)
{
    struct layer_fetch *f = find_fetch(s, diff_id);
    struct layer_wait *w = xnew(struct layer_wait);
    bool first = list_empty(&f->waits) && !f->running;

    w->fetch = f;
    w->source = *source;
    w->source.registry = source->registry ? registry_hold(source->registry) : NULL;
    w->source.file_fd = source->registry ? -1 : fd_dup(source->file_fd);
    w->events = *events;
    w->arg = arg;
    list_append(&f->waits, &w->link);
    if (first)
        enqueue(f);
    return w;
}

/* Another wait that would be served by the very same stream. */
static struct layer_wait *find_heir(struct layer_fetch *f, const struct layer_wait *w)
{
    list_for_each (it, &f->waits) {
        struct layer_wait *other = container_of(it, struct layer_wait, link);
        if (other != w && same_source(&other->source, &w->source))
            return other;
    }
    return NULL;
}

void layer_wait_cancel(struct layer_wait *w)
{
    struct layer_fetch *f = w->fetch;
    struct image_store *s = f ? f->store : NULL;

    /* Without a fetch it was just about to be told. While the layer is being committed nothing is
     * to be stopped: on_committed() finds nobody and drops the layer. */
    bool idle = !f || (f->running && !f->by);
    bool was_used = f && f->by == w;
    if (was_used)
        f->by = find_heir(f, w);
    bool orphaned = was_used && !f->by;
    wait_free(w);
    if (idle)
        return;
    if (list_empty(&f->waits)) {
        fetch_free(f);
        if (!s->closed)
            start_waiting(s);
    } else if (orphaned) {
        stop(f);
        enqueue(f);
    }
}
