/*
 * commit.c - the moment in which an image becomes visible.
 *
 * In this order: the layers have their names already (by rename), the configuration is written,
 * then syncfs(2) makes all of it durable, then the record is written durably, then the image shows
 * up in the lists, then the caller hears. Power may fail at any point: without a record the rest
 * belongs to nobody and the next start drops it; with one, everything below it is on disk.
 *
 * One batch at a time works on a worker thread; it takes all commits that wait (one per image), so
 * that many pulls share one syncfs. A record's text is computed on the loop before the batch and
 * compared afterwards: when names came or went meanwhile, the record is dirty and written again.
 * The same goes for records that lost a tag to another image. Should the machine stop in between,
 * two records claim one tag, and the younger one has it.
 */
#include <fcntl.h>

#include "manifest.h"
#include "store.h"

/* A record of the batch that is only written anew. */
struct rewrite {
    char *id, *text;
    struct err error;
};

struct batch {
    struct image_store *store;
    struct commit **commits; /* borrowed: they stay in the store's list */
    size_t n_commits;
    struct rewrite *rewrites;
    size_t n_rewrites;
};

struct commit *commit_new(void)
{
    struct commit *c = xnew(struct commit);

    list_init(&c->link);
    return c;
}

void commit_free(struct image_store *s, struct commit *c)
{
    if (!c)
        return;
    list_remove(&c->link);
    for (size_t i = 0; i < c->n_layers; i++)
        layer_release(s, c->layers[i]);
    free(c->layers);
    free(c->id);
    free(c->text);
    bytes_free(&c->config);
    strv_free(c->tags);
    strv_free(c->digests);
    err_clear(&c->error);
    free(c);
}

/* ---- The record that a commit leads to ------------------------------------------------------- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The union of both, sorted. */
static char **merge_names(char *const *a, char *const *b)
{
    char **all = strv_dup(a, strv_len(a)), **merged = NULL;
    size_t n;

    for (; b && *b; b++)
        strv_push(&all, *b);
    n = strv_len(all);
    if (n)
        qsort(all, n, sizeof(char *), compare_texts);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_equal(all[i], all[i - 1]))
            strv_push(&merged, all[i]);
    strv_free(all);
    return merged;
}

/* `old` (or NULL, or one that the user removed) with what the commit adds; its layers are held. */
static struct record *merge_record(struct image_store *s, const struct record *old,
                                   const struct commit *c, struct err *e)
{
    struct record *r = xnew(struct record);
    bool has_names = old && !old->removed;

    r->image.id = xstrdup(c->id);
    r->image.repo_tags = merge_names(has_names ? old->image.repo_tags : NULL, c->tags);
    r->image.repo_digests = merge_names(has_names ? old->image.repo_digests : NULL, c->digests);
    r->image.size = c->size;
    r->image.pinned = old && old->image.pinned;
    r->image.references = old ? old->image.references : 0;
    r->updated_ns = has_names && !c->tags ? old->updated_ns : c->now_ns;
    for (size_t i = 0; i < c->n_layers; i++) {
        strv_push(&r->image.layers, c->layers[i]->hex);
        *(struct layer **)array_push(&r->layers, &r->n_layers, sizeof(c->layers[i])) =
            layer_hold(s, c->layers[i]->hex);
    }
    if (record_set_config(r, &c->config, e) < 0) {
        record_free(s, r);
        return NULL;
    }
    return r;
}

static bool is_dirty(const struct record *r)
{
    _cleanup_free_ char *now = record_render(r);

    return !str_equal(now, r->written);
}

/* ---- On the worker --------------------------------------------------------------------------- */

static int write_config(struct image_store *s, const struct commit *c, struct err *e)
{
    return file_write_atomic(s->blobs_fd, digest_hex(c->id), c->config.data, c->config.len, 0600,
                             false, e);
}

static int write_record(struct image_store *s, const char *id, const char *text, struct err *e)
{
    _cleanup_free_ char *name = xasprintf("%s.json", digest_hex(id));

    return file_write_atomic(s->records_fd, name, text, strlen(text), 0600, true, e);
}

static void batch_work(void *arg)
{
    struct batch *b = arg;
    struct image_store *s = b->store;
    int r = 0;

    for (size_t i = 0; i < b->n_commits; i++)
        (void)!write_config(s, b->commits[i], &b->commits[i]->error);
    if (b->n_commits && syncfs(s->images_fd) < 0)
        r = errno;
    for (size_t i = 0; i < b->n_commits; i++) {
        struct commit *c = b->commits[i];
        if (c->error.code)
            continue;
        if (r)
            err_errno(&c->error, r, "write the image to disk");
        else
            (void)!write_record(s, c->id, c->text, &c->error);
    }
    for (size_t i = 0; i < b->n_rewrites; i++)
        (void)!write_record(s, b->rewrites[i].id, b->rewrites[i].text, &b->rewrites[i].error);
}

/* ---- On the loop ----------------------------------------------------------------------------- */

static void start_batch(struct image_store *s, bool rewrite);

/* Shows the image. The text was computed from what was known when the batch began; if that has
 * changed since, the record is dirty now. */
static void apply_commit(struct image_store *s, struct commit *c)
{
    struct record *r = merge_record(s, record_find(s, c->id), c, &c->error);

    if (!r)
        return;
    r->written = take_ptr(c->text);
    record_replace(s, r);
}

static void finish_commit(struct image_store *s, struct commit *c)
{
    struct err error = ERR_INIT;

    if (c->again && !c->error.code) {
        c->again = c->running = false;
        free(take_ptr(c->text));
        return;
    }
    if (!c->error.code)
        apply_commit(s, c);
    err_move(&error, &c->error);
    void (*fn)(void *, const struct err *) = c->fn;
    void *arg = c->arg;
    commit_free(s, c);
    if (fn)
        fn(arg, error.code ? &error : NULL);
    err_clear(&error);
}

static void finish_rewrite(struct image_store *s, struct rewrite *w)
{
    struct record *r = record_find(s, w->id);

    if (w->error.code) {
        log_warn("image", w->id, "%s", err_text(&w->error));
    } else if (r) {
        free(r->written);
        r->written = take_ptr(w->text);
    } else {
        /* Removed while it was written. */
        _cleanup_free_ char *name = xasprintf("%s.json", digest_hex(w->id));
        if (unlinkat(s->records_fd, name, 0) < 0 && errno != ENOENT)
            log_warn("image", w->id, "remove the record: %s", strerror(errno));
    }
    free(w->id);
    free(w->text);
    err_clear(&w->error);
}

static void batch_done(void *arg)
{
    struct batch *b = arg;
    struct image_store *s = b->store;
    bool failed = false;

    s->committing = false;
    for (size_t i = 0; i < b->n_rewrites; i++) {
        failed |= b->rewrites[i].error.code != ERR_OK;
        finish_rewrite(s, &b->rewrites[i]);
    }
    for (size_t i = 0; i < b->n_commits; i++)
        finish_commit(s, b->commits[i]);
    free(b->commits);
    free(b->rewrites);
    free(b);
    /* After a failed rewrite the next change is time enough to try again. */
    start_batch(s, !failed);
}

static bool has_commit(const struct batch *b, const char *id)
{
    for (size_t i = 0; i < b->n_commits; i++)
        if (str_equal(b->commits[i]->id, id))
            return true;
    return false;
}

static void add_commits(struct image_store *s, struct batch *b)
{
    list_for_each_safe (it, &s->commits) {
        struct commit *c = container_of(it, struct commit, link);
        if (c->running || has_commit(b, c->id))
            continue;
        struct record *r = merge_record(s, record_find(s, c->id), c, &c->error);
        c->running = true;
        if (r)
            c->text = record_render(r);
        record_free(s, r);
        *(struct commit **)array_push(&b->commits, &b->n_commits, sizeof(c)) = c;
    }
}

static void add_rewrites(struct image_store *s, struct batch *b)
{
    for (size_t i = 0; i < s->n_records; i++) {
        struct record *r = s->records[i];
        if (!is_dirty(r) || has_commit(b, r->image.id))
            continue;
        struct rewrite *w = array_push(&b->rewrites, &b->n_rewrites, sizeof(*w));
        w->id = xstrdup(r->image.id);
        w->text = record_render(r);
    }
}

static void start_batch(struct image_store *s, bool rewrite)
{
    struct batch *b;

    if (s->committing || s->closed)
        return;
    b = xnew(struct batch);
    b->store = s;
    add_commits(s, b);
    if (rewrite)
        add_rewrites(s, b);
    if (!b->n_commits && !b->n_rewrites) {
        free(b);
        return;
    }
    s->committing = true;
    store_work(s, batch_work, batch_done, b);
}

void commit_start(struct image_store *s, struct commit *c_take)
{
    c_take->now_ns = time_now_ns();
    list_append(&s->commits, &c_take->link);
    start_batch(s, true);
}

void commit_changes(struct image_store *s)
{
    start_batch(s, true);
}

void commit_restart(struct image_store *s, const char *id)
{
    list_for_each (it, &s->commits) {
        struct commit *c = container_of(it, struct commit, link);
        if (c->running && str_equal(c->id, id))
            c->again = true;
    }
}
