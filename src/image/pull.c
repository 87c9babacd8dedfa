/*
 * pull.c - pulling an image: from a reference to a record in the store.
 *
 *     resolve    the manifest of the reference; if it is an index, the one for this machine
 *     configure  the configuration, which says what the layers must unpack to
 *     download   all layers at once, those that are here already only held
 *     commit     the record; then the image is visible
 *
 * Each document is checked against the digest that named it before anything of it is believed.
 * Callers of one reference with the same credentials share a pull; it ends early when the last of
 * them has left. Layers that are complete by then are released, and go if no image has them.
 */
#include <stdio.h>

#include "layer.h"
#include "manifest.h"

enum { PROGRESS_EVERY_MS = 100 };

enum pull_phase { PHASE_RESOLVING, PHASE_DOWNLOADING, PHASE_UNPACKING, PHASE_DONE };
static const char *const PHASE_NAMES[] = {"resolving", "downloading", "unpacking", "done"};

struct pull;

/* A caller. */
struct image_pull {
    struct list link;
    struct pull *pull;
    struct image_pull_events events;
    void *arg;
};

struct pull_layer {
    struct pull *pull;
    struct descriptor *descriptor; /* in the manifest */
    struct layer *layer;           /* held, once it is here */
    struct layer_wait *wait;
    uint64_t bytes;
    bool fetched; /* it was not here */
};

struct pull {
    struct list link;
    struct image_store *store;
    struct list callers;
    char *name; /* the canonical reference */
    struct image_ref ref;
    struct registry *registry; /* NULL: it could not even begin */
    struct registry_get *get;
    struct manifest manifest;
    char top_digest[DIGEST_TEXT_SIZE];      /* of what the reference names */
    char expected_digest[DIGEST_TEXT_SIZE]; /* of the document that is being fetched; or "" */
    char *expected_type;                    /* its media type; or NULL */
    struct bytes config;
    struct image_document document;
    struct pull_layer *layers;
    size_t n_layers, n_here;
    struct commit *commit; /* being written: told to forget us when we go */
    enum pull_phase phase;
    int64_t began;    /* monotonic ns */
    int64_t told_ms;  /* when progress was told last */
    struct err error; /* why it could not begin */
};

/* ---- Ends ------------------------------------------------------------------------------------ */

static void stop_layers(struct pull *p)
{
    for (size_t i = 0; i < p->n_layers; i++) {
        struct pull_layer *l = &p->layers[i];
        if (l->wait)
            layer_wait_cancel(take_ptr(l->wait));
        if (l->layer)
            layer_release(p->store, take_ptr(l->layer));
    }
}

static void pull_free(struct pull *p)
{
    list_remove(&p->link);
    registry_get_cancel(p->get);
    stop_layers(p);
    if (p->commit)
        p->commit->fn = NULL;
    free(p->layers);
    registry_release(p->registry);
    manifest_clear(&p->manifest);
    image_document_clear(&p->document);
    bytes_free(&p->config);
    image_ref_clear(&p->ref);
    free(p->name);
    free(p->expected_type);
    err_clear(&p->error);
    free(p);
}

const struct image_pull_counts *image_pull_counts(const struct image_store *s)
{
    return &s->pull_counts;
}

static void count(const struct pull *p, bool succeeded)
{
    struct image_pull_counts *counts = &p->store->pull_counts;

    if (succeeded)
        counts->succeeded++;
    else
        counts->failed++;
    counts->took_ns += time_mono_ns() - p->began;
    for (size_t i = 0; i < p->n_layers; i++)
        if (p->layers[i].fetched)
            counts->bytes += p->layers[i].bytes;
}

/* Tells everybody. A callback may start the same pull again, or leave another one. */
static void end(struct pull *p, const char *image_id, struct err *e)
{
    _cleanup_free_ char *id = xstrdup(image_id);
    _cleanup_err_ struct err error = ERR_INIT;
    struct list callers;

    if (e)
        err_move(&error, e);
    count(p, error.code == ERR_OK);
    list_init(&callers);
    list_for_each_safe (it, &p->callers) {
        struct image_pull *caller = container_of(it, struct image_pull, link);
        list_remove(&caller->link);
        caller->pull = NULL;
        list_append(&callers, &caller->link);
    }
    pull_free(p);
    while (!list_empty(&callers)) {
        struct image_pull *caller = container_of(callers.next, struct image_pull, link);
        struct image_pull_events events = caller->events;
        void *arg = caller->arg;
        list_remove(&caller->link);
        free(caller);
        events.on_done(arg, error.code ? NULL : id, &error);
    }
}

static bool is_token(const char *message)
{
    return str_starts_with(message, "RegistryUnavailable") ||
           str_starts_with(message, "SignatureValidationFailed");
}

/* The kubelet looks for some words at the very beginning of the message. */
static void fail(struct pull *p, struct err *e)
{
    if (is_token(e->message)) {
        char *message = xasprintf("%s (pulling %s)", e->message, p->name);
        free(e->message);
        e->message = message;
    } else {
        err_wrap(e, "pull %s", p->name);
    }
    end(p, NULL, e);
}

/* ---- Progress -------------------------------------------------------------------------------- */

static void tell_progress(struct pull *p, bool now)
{
    int64_t ms = time_mono_ns() / NS_PER_MS;
    struct image_progress progress = {
        .phase = PHASE_NAMES[p->phase],
        .layers_done = (unsigned)p->n_here,
        .layers_total = (unsigned)p->n_layers,
    };

    if (!now && ms - p->told_ms < PROGRESS_EVERY_MS)
        return;
    p->told_ms = ms;
    for (size_t i = 0; i < p->n_layers; i++) {
        progress.bytes_done += p->layers[i].bytes;
        progress.bytes_total += p->layers[i].descriptor->size;
    }
    list_for_each_safe (it, &p->callers) {
        struct image_pull *caller = container_of(it, struct image_pull, link);
        if (caller->events.on_progress)
            caller->events.on_progress(caller->arg, &progress);
    }
}

static void enter_phase(struct pull *p, enum pull_phase phase)
{
    p->phase = phase;
    tell_progress(p, true);
}

/* ---- The record ------------------------------------------------------------------------------ */

static void on_committed(void *arg, const struct err *e)
{
    struct pull *p = arg;
    struct err error = ERR_INIT;

    p->commit = NULL;
    if (e) {
        err_copy(&error, e);
        fail(p, &error);
        return;
    }
    enter_phase(p, PHASE_DONE);
    _cleanup_free_ char *id = xstrdup(p->manifest.config.digest);
    end(p, id, NULL);
}

/* Each layer once: what is twice in the stack counts where it is higher. */
static void add_layers(struct pull *p, struct commit *c)
{
    for (size_t i = 0; i < p->n_layers; i++) {
        bool again = false;
        for (size_t k = i + 1; k < p->n_layers && !again; k++)
            again = p->layers[k].layer == p->layers[i].layer;
        if (!again)
            *(struct layer **)array_push(&c->layers, &c->n_layers, sizeof(struct layer *)) =
                layer_hold(p->store, p->layers[i].layer->hex);
    }
}

static void commit(struct pull *p)
{
    struct commit *c = commit_new();

    c->id = xstrdup(p->manifest.config.digest);
    c->config = p->config;
    p->config = (struct bytes){0};
    c->size = c->config.len;
    for (size_t i = 0; i < p->n_layers; i++)
        c->size += p->layers[i].descriptor->size;
    if (p->ref.tag)
        strv_push(&c->tags, p->name);
    _cleanup_free_ char *digest =
        xasprintf("%s/%s@%s", p->ref.registry, p->ref.repository, p->top_digest);
    strv_push(&c->digests, digest);
    add_layers(p, c);
    c->fn = on_committed;
    c->arg = p;
    p->commit = c;
    commit_start(p->store, c);
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static void layer_is_here(struct pull *p, struct pull_layer *l, struct layer *layer)
{
    l->layer = layer;
    l->bytes = l->descriptor->size;
    p->n_here++;
}

static void on_layer_progress(void *arg, uint64_t bytes)
{
    struct pull_layer *l = arg;
    struct pull *p = l->pull;
    bool all_loaded = true;

    l->bytes = bytes;
    l->fetched = true;
    for (size_t i = 0; i < p->n_layers && all_loaded; i++)
        all_loaded = p->layers[i].bytes >= p->layers[i].descriptor->size;
    if (all_loaded && p->phase == PHASE_DOWNLOADING)
        enter_phase(p, PHASE_UNPACKING);
    else
        tell_progress(p, false);
}

static void on_layer(void *arg, struct layer *layer, const struct err *e)
{
    struct pull_layer *l = arg;
    struct pull *p = l->pull;
    struct err error = ERR_INIT;

    l->wait = NULL;
    if (e) {
        err_copy(&error, e);
        fail(p, &error);
        return;
    }
    layer_is_here(p, l, layer);
    if (p->n_here == p->n_layers)
        commit(p);
    else
        tell_progress(p, true);
}

static void start_layers(struct pull *p)
{
    static const struct layer_wait_events EVENTS = {on_layer_progress, on_layer};

    p->n_layers = p->manifest.n_layers;
    p->layers = xcalloc(p->n_layers + 1, sizeof(*p->layers));
    for (size_t i = 0; i < p->n_layers; i++) {
        struct pull_layer *l = &p->layers[i];
        const char *diff_id = p->document.diff_ids[i];
        l->pull = p;
        l->descriptor = &p->manifest.layers[i];
        struct layer *layer = layer_hold(p->store, digest_hex(diff_id));
        if (layer) {
            layer_is_here(p, l, layer);
            continue;
        }
        struct layer_source source = {.registry = p->registry, .size = l->descriptor->size};
        memcpy(source.digest, l->descriptor->digest, DIGEST_TEXT_SIZE);
        l->wait = layer_wait_start(p->store, diff_id, &source, &EVENTS, l);
    }
    enter_phase(p, PHASE_DOWNLOADING);
    if (p->n_here == p->n_layers)
        commit(p);
}

/* ---- Documents ------------------------------------------------------------------------------- */

/* The body must be what the digest says, when one is expected. */
static int check_digest(struct pull *p, const struct bytes *body, const char *what, char *ret,
                        struct err *e)
{
    digest_compute(body->data, body->len, ret);
    if (!*p->expected_digest || str_equal(ret, p->expected_digest))
        return 0;
    return err_set(e, ERR_DATA_LOSS, "%s has the wrong digest: %s came instead of %s", what, ret,
                   p->expected_digest);
}

static void get_document(struct pull *p, const char *kind, const struct descriptor *d,
                         const char *tag, uint64_t limit, const struct registry_events *events)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", kind, d ? d->digest : tag);
    struct registry_request request = {
        .path = path,
        .accept = str_equal(kind, "manifests") ? MANIFEST_ACCEPT : NULL,
        .what = str_equal(kind, "manifests") ? "the image" : "the image's configuration",
        .size = d && d->size ? d->size : UINT64_MAX,
        .limit = limit,
    };

    snprintf(p->expected_digest, sizeof(p->expected_digest), "%s", d ? d->digest : "");
    free(p->expected_type);
    p->expected_type = d ? xstrdup(d->media_type) : NULL;
    p->get = registry_get_start(p->registry, &request, events, p);
}

static int take_config(struct pull *p, const struct bytes *body, struct err *e)
{
    struct platform machine = platform_of_machine();
    char digest[DIGEST_TEXT_SIZE];

    if (check_digest(p, body, "the image's configuration", digest, e) < 0 ||
        image_document_parse(body->data, body->len, &p->document, e) < 0 ||
        image_document_check_platform(&p->document, &machine, e) < 0)
        return -1;
    if (strv_len(p->document.diff_ids) != p->manifest.n_layers)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the manifest has %zu layers, the configuration %zu", p->manifest.n_layers,
                       strv_len(p->document.diff_ids));
    p->config.data = xmemdup(body->data, body->len);
    p->config.len = body->len;
    return 0;
}

static void on_config(void *arg, const struct bytes *body, const char *content_type,
                      const struct err *e)
{
    struct pull *p = arg;
    struct err error = ERR_INIT;

    p->get = NULL;
    if (e)
        err_copy(&error, e);
    if (e || take_config(p, body, &error) < 0)
        fail(p, &error);
    else
        start_layers(p);
}

static void on_manifest(void *arg, const struct bytes *body, const char *content_type,
                        const struct err *e);
static const struct registry_events MANIFEST_EVENTS = {NULL, on_manifest};

/* An index leads to one of its entries, which must be a manifest. */
static int descend(struct pull *p, struct err *e)
{
    struct platform machine = platform_of_machine();
    const struct index_entry *entry = manifest_choose(&p->manifest, &machine, e);

    if (!entry)
        return -1;
    struct descriptor chosen = entry->descriptor;
    get_document(p, "manifests", &chosen, NULL, MANIFEST_MAX, &MANIFEST_EVENTS);
    return 0;
}

static int take_manifest(struct pull *p, const struct bytes *body, const char *content_type,
                         struct err *e)
{
    bool is_top = !*p->top_digest;
    char digest[DIGEST_TEXT_SIZE];
    static const struct registry_events CONFIG_EVENTS = {NULL, on_config};

    if (check_digest(p, body, "the manifest", digest, e) < 0)
        return -1;
    manifest_clear(&p->manifest);
    if (manifest_parse(body->data, body->len, content_type ? content_type : "", &p->manifest, e) <
        0)
        return -1;
    if (p->expected_type && !str_equal(p->expected_type, p->manifest.media_type))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the index announces a manifest of type \"%s\", but it is \"%s\"",
                       p->expected_type, p->manifest.media_type);
    if (is_top)
        memcpy(p->top_digest, digest, sizeof(digest));
    if (!p->manifest.is_index) {
        get_document(p, "blobs", &p->manifest.config, NULL, CONFIG_MAX, &CONFIG_EVENTS);
        return 0;
    }
    if (!is_top)
        return err_set(e, ERR_INVALID_ARGUMENT, "the index contains another index");
    return descend(p, e);
}

static void on_manifest(void *arg, const struct bytes *body, const char *content_type,
                        const struct err *e)
{
    struct pull *p = arg;
    struct err error = ERR_INIT;

    p->get = NULL;
    if (e)
        err_copy(&error, e);
    if (e || take_manifest(p, body, content_type, &error) < 0)
        fail(p, &error);
}

/* ---- Starting and joining -------------------------------------------------------------------- */

static void start(struct pull *p)
{
    struct descriptor by_digest = {0};

    if (p->ref.digest)
        memcpy(by_digest.digest, p->ref.digest, DIGEST_TEXT_SIZE);
    get_document(p, "manifests", p->ref.digest ? &by_digest : NULL, p->ref.tag, MANIFEST_MAX,
                 &MANIFEST_EVENTS);
}

static void nothing(void *arg)
{
    (void)arg;
}

static struct pull *find_failed(struct image_store *s)
{
    list_for_each (it, &s->pulls) {
        struct pull *p = container_of(it, struct pull, link);
        if (!p->registry)
            return p;
    }
    return NULL;
}

/* Pulls that could not begin: when they were started, their callers had no handles yet. */
static void fail_late(void *arg)
{
    struct image_store *s = arg;
    struct pull *p;

    while ((p = find_failed(s))) {
        struct err e = ERR_INIT;
        err_move(&e, &p->error);
        end(p, NULL, &e);
    }
}

static struct pull *find_pull(struct image_store *s, const char *name, const struct registry *r)
{
    list_for_each (it, &s->pulls) {
        struct pull *p = container_of(it, struct pull, link);
        if (p->registry && !p->commit && str_equal(p->name, name) && registry_equal(p->registry, r))
            return p;
    }
    return NULL;
}

static struct pull *pull_new(struct image_store *s, const char *name)
{
    struct pull *p = xnew(struct pull);

    p->store = s;
    p->name = xstrdup(name);
    p->began = time_mono_ns();
    list_init(&p->callers);
    list_append(&s->pulls, &p->link);
    return p;
}

/* The pull that serves this reference: one under way, or a new one. */
static struct pull *open_pull(struct image_store *s, const char *reference,
                              const struct image_auth *auth)
{
    struct registry *registry = NULL;
    struct err e = ERR_INIT;
    struct image_ref ref = {0};
    struct pull *p;

    _cleanup_free_ char *name =
        image_ref_parse(reference, &ref, &e) < 0 ? NULL : image_ref_format(&ref);
    if (name)
        registry = registry_open(s, &ref, auth, &e);
    p = registry ? find_pull(s, name, registry) : NULL;
    if (p) {
        registry_release(registry);
        image_ref_clear(&ref);
        return p;
    }
    p = pull_new(s, name ? name : reference);
    p->ref = ref;
    p->registry = registry;
    if (registry) {
        start(p);
    } else {
        err_move(&p->error, &e);
        store_work(s, nothing, fail_late, s);
    }
    return p;
}

struct image_pull *image_pull_start(struct image_store *s, const char *reference,
                                    const struct image_auth *auth,
                                    const struct image_pull_events *events, void *arg)
{
    struct image_pull *caller = xnew(struct image_pull);

    caller->pull = open_pull(s, reference, auth);
    caller->events = *events;
    caller->arg = arg;
    list_append(&caller->pull->callers, &caller->link);
    return caller;
}

void image_pull_cancel(struct image_pull *caller)
{
    struct pull *p = caller->pull;

    list_remove(&caller->link);
    free(caller);
    if (p && list_empty(&p->callers))
        pull_free(p);
}

void pulls_abandon(struct image_store *s)
{
    list_for_each_safe (it, &s->pulls) {
        struct pull *p = container_of(it, struct pull, link);
        list_for_each_safe (caller, &p->callers) {
            list_remove(caller);
            free(container_of(caller, struct image_pull, link));
        }
        pull_free(p);
    }
}
