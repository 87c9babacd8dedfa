/*
 * apply.c - the Apply call: all documents are read and checked, then all pods of it are declared,
 * and the answer comes when their records are on disk.
 *
 * The same again changes nothing. Other labels or annotations are taken over in place. Anything
 * else makes a new pod of the same name, which waits until the one before it has ended; that one is
 * told to end only when the new record is on disk, so that no crash leaves neither. Several calls
 * are served one after the other.
 */
#include "private.h"

#include <jansson.h>
#include <sys/random.h>

struct apply {
    struct list item; /* of node->applies; the first is under way */
    struct node *node;
    struct rpc_call *call;
    const Podd__V1__ApplyRequest *request;
    struct err failed;
    size_t pending;
    Podd__V1__Applied **applied;
    size_t n_applied;
};

/* A random UUID (RFC 9562, version 4). Caller frees. */
static char *uid_new(void)
{
    uint8_t b[16];

    if (getrandom(b, sizeof(b), 0) != sizeof(b))
        abort();
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    return xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                     b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                     b[13], b[14], b[15]);
}

/* ---- The answer --------------------------------------------------------------------------------
 */

static void apply_next(struct node *n);

static void apply_free(struct apply *a)
{
    Podd__V1__ApplyResponse response = PODD__V1__APPLY_RESPONSE__INIT;

    response.objects = a->applied;
    response.n_objects = a->n_applied;
    if (a->failed.code != ERR_OK)
        rpc_fail(a->call, &a->failed);
    else
        rpc_reply(a->call, &response.base);
    for (size_t i = 0; i < a->n_applied; i++)
        podd__v1__applied__free_unpacked(a->applied[i], NULL);
    free(a->applied);
    err_clear(&a->failed);
    list_remove(&a->item);
    free(a);
}

static void apply_end(struct apply *a)
{
    struct node *n = a->node;

    if (--a->pending > 0)
        return;
    apply_free(a);
    if (!list_empty(&n->applies))
        apply_next(n);
}

static void add_answer(struct apply *a, const struct pod_manifest *m,
                       Podd__V1__Applied__Action action)
{
    Podd__V1__Applied **slot = array_push(&a->applied, &a->n_applied, sizeof(*a->applied));

    *slot = xmalloc(sizeof(**slot));
    podd__v1__applied__init(*slot);
    (*slot)->kind = xstrdup("Pod");
    (*slot)->namespace_ = xstrdup(m->metadata->namespace_);
    (*slot)->name = xstrdup(m->metadata->name);
    (*slot)->action = action;
}

/* ---- Declaring ---------------------------------------------------------------------------------
 */

static void unlink_replaced(struct declared *d)
{
    if (d->replaces)
        d->replaces->replaced_by = NULL;
    d->replaces = NULL;
}

/* It could not be written: as if it had never been declared. */
static void take_back(struct declared *d, const struct err *e)
{
    struct declared *before = d->replaces;

    unlink_replaced(d);
    if (before && before->write_again)
        store_save(before);
    d->superseded = d->deleting = d->saved = true; /* nothing of it is on disk */
    log_error("node", d->key, "was not declared: %s", err_text(e));
    declared_kick(d);
}

/* The name is this pod's from now on; the one before it ends. */
static void take_over(struct declared *d)
{
    struct declared *before = d->replaces;

    unlink_replaced(d);
    if (before) {
        watch_deleted(before);
        before->superseded = before->saved = true;
        before->on_saved = NULL;
        before->successor = d;
        d->blockers++;
        declared_delete(before, -1);
    }
    declared_publish(d);
    d->saved = true;
    log_info("node", d->key, "declared%s", before ? ", in place of the one before" : "");
    declared_touch(d);
}

static void declared_saved(struct declared *d, const struct err *e, void *arg)
{
    struct apply *a = arg;

    if (e->code == ERR_OK)
        take_over(d);
    else
        take_back(d, e);
    if (e->code != ERR_OK && a->failed.code == ERR_OK)
        err_copy(&a->failed, e);
    apply_end(a);
}

static void declare(struct node *n, struct apply *a, struct pod_manifest *manifest_take,
                    struct declared *before)
{
    _cleanup_free_ char *uid = uid_new();
    struct declared *d =
        declared_new(n, manifest_take->metadata->namespace_, manifest_take->metadata->name, uid);

    add_answer(a, manifest_take,
               before && !before->deleting ? PODD__V1__APPLIED__ACTION__CONFIGURED
                                           : PODD__V1__APPLIED__ACTION__CREATED);
    declared_set_manifest(d, manifest_take);
    d->replaces = before;
    if (before)
        before->replaced_by = d;
    d->on_saved = declared_saved;
    d->on_saved_arg = a;
    a->pending++;
    store_save(d);
}

static bool same_spec(const struct pod_manifest *a, const struct pod_manifest *b)
{
    json_t *x = json_loads(a->json, 0, NULL), *y = json_loads(b->json, 0, NULL);
    bool same = json_equal(json_object_get(x, "spec"), json_object_get(y, "spec"));

    json_decref(x);
    json_decref(y);
    return same;
}

static void relabelled(struct declared *d, const struct err *e, void *arg)
{
    struct apply *a = arg;

    d->saved = true;
    if (e->code != ERR_OK && a->failed.code == ERR_OK)
        err_copy(&a->failed, e);
    apply_end(a);
}

/* New labels and annotations; the containers go on. */
static void relabel(struct apply *a, struct declared *d, struct pod_manifest *manifest_take)
{
    struct pod_manifest *m = d->manifest;
    struct pod_metadata *metadata = m->metadata;
    char *json = m->json;

    add_answer(a, manifest_take, PODD__V1__APPLIED__ACTION__CONFIGURED);
    m->metadata = manifest_take->metadata;
    m->json = manifest_take->json;
    manifest_take->metadata = metadata;
    manifest_take->json = json;
    pod_manifest_free(manifest_take);
    a->pending++;
    d->on_saved = relabelled;
    d->on_saved_arg = a;
    declared_touch(d);
    store_save(d);
}

static void apply_one(struct node *n, struct apply *a, struct pod_manifest *manifest_take)
{
    struct declared *d =
        declared_find(n, manifest_take->metadata->namespace_, manifest_take->metadata->name);

    if (!d || d->deleting || !same_spec(d->manifest, manifest_take)) {
        declare(n, a, manifest_take, d);
    } else if (str_equal(d->manifest->json, manifest_take->json)) {
        add_answer(a, manifest_take, PODD__V1__APPLIED__ACTION__UNCHANGED);
        pod_manifest_free(manifest_take);
    } else {
        relabel(a, d, manifest_take);
    }
}

static int apply_documents(struct node *n, struct apply *a, struct err *e)
{
    struct manifests found = {0};

    if (n->halted)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "podd is stopping its pods; declare pods when it runs again");
    if (manifests_parse(a->request->manifest.data, a->request->manifest.len, a->request->file_name,
                        a->request->namespace_, &found, e) < 0)
        return -1;
    for (size_t i = 0; i < found.count; i++)
        apply_one(n, a, take_ptr(found.items[i]));
    manifests_free(&found);
    return 0;
}

static void apply_next(struct node *n)
{
    struct apply *a = container_of(n->applies.next, struct apply, item);

    a->pending = 1;
    if (apply_documents(n, a, &a->failed) < 0)
        log_debug("node", NULL, "apply: %s", err_text(&a->failed));
    apply_end(a);
}

void apply_run(struct node *n, struct rpc_call *call, const Podd__V1__ApplyRequest *request)
{
    struct apply *a = xnew(struct apply);

    a->node = n;
    a->call = call;
    a->request = request;
    list_append(&n->applies, &a->item);
    if (n->applies.next == &a->item)
        apply_next(n);
}

void applies_close(struct node *n)
{
    while (!list_empty(&n->applies)) {
        struct apply *a = container_of(n->applies.next, struct apply, item);
        if (a->failed.code == ERR_OK)
            err_set(&a->failed, ERR_UNAVAILABLE, "podd is stopping");
        a->pending = 0;
        apply_free(a);
    }
}
