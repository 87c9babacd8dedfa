/*
 * declared.c - the table of declared pods: making, finding, waking and freeing them.
 */
#include "private.h"

#include <sys/random.h>

static void on_timer(void *arg)
{
    declared_kick(arg);
}

/* A random UUID (RFC 9562, version 4). */
char *uid_new(void)
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

struct declared *declared_new(struct node *n, const char *namespace_, const char *name,
                              const char *uid)
{
    struct declared *d = xnew(struct declared);

    d->node = n;
    d->key = xasprintf("%s/%s", namespace_, name);
    d->namespace_ = xstrdup(namespace_);
    d->name = xstrdup(name);
    d->uid = xstrdup(uid);
    d->created_at = time_now_ns();
    d->order = ++n->order;
    d->grace = 30;
    d->timer = timer_new(n->config.loop, on_timer, d);
    list_init(&d->kick);
    list_append(&n->declared, &d->item);
    map_put(n->uids, d->uid, d);
    return d;
}

struct declared *declared_new_remains(struct node *n, const char *namespace_, const char *name,
                                      const char *uid)
{
    struct declared *d = declared_new(n, namespace_, name, uid);
    struct declared *successor = map_get(n->pods, d->key);

    d->saved = d->superseded = d->deleting = true;
    if (successor) {
        d->successor = successor;
        successor->blockers++;
    }
    return d;
}

static void make_member(struct declared *d, const struct manifest_container *spec, bool init)
{
    struct member *m = &d->members[d->n_members++];

    m->pod = d;
    m->spec = spec;
    m->init = init;
    m->sidecar = init && spec->restart == RESTART_ALWAYS;
}

void declared_set_manifest(struct declared *d, struct pod_manifest *manifest_take)
{
    const struct pod_spec *spec = manifest_take->spec;

    d->manifest = manifest_take;
    d->grace = spec->grace.set ? spec->grace.value : 30;
    d->n_init = spec->init_containers.count;
    d->members = xcalloc(d->n_init + spec->containers.count, sizeof(*d->members));
    for (size_t i = 0; i < spec->init_containers.count; i++)
        make_member(d, spec_init_container(spec, i), true);
    for (size_t i = 0; i < spec->containers.count; i++)
        make_member(d, spec_container(spec, i), false);
}

void declared_free(struct declared *d)
{
    struct node *n = d->node;

    if (map_get(n->pods, d->key) == d)
        map_remove(n->pods, d->key);
    if (map_get(n->uids, d->uid) == d)
        map_remove(n->uids, d->uid);
    list_remove(&d->item);
    list_remove(&d->kick);
    for (size_t i = 0; i < d->n_members; i++)
        member_clear(&d->members[i]);
    free(d->members);
    ephemeral_forget(d);
    pod_manifest_free(d->manifest);
    timer_free(d->timer);
    free(d->told);
    free(d->trouble);
    free(d->sandbox_id);
    free(d->key);
    free(d->namespace_);
    free(d->name);
    free(d->uid);
    free(d->source);
    free(d->evicted);
    free(d);
}

struct member *declared_member(struct declared *d, const char *name)
{
    for (size_t i = 0; i < d->n_members; i++)
        if (str_equal(d->members[i].spec->name, name))
            return &d->members[i];
    for (size_t i = 0; i < d->n_ephemeral; i++)
        if (str_equal(d->ephemeral[i]->spec->name, name))
            return &d->ephemeral[i]->member;
    return NULL;
}

struct declared *declared_find(struct node *n, const char *namespace_, const char *name)
{
    _cleanup_free_ char *key = xasprintf("%s/%s", namespace_, name);

    return map_get(n->pods, key);
}

void declared_publish(struct declared *d)
{
    map_put(d->node->pods, d->key, d);
}

bool declared_is_current(const struct declared *d)
{
    return map_get(d->node->pods, d->key) == d;
}

/* ---- Waking ------------------------------------------------------------------------------------
 */

static void on_kicks(void *arg)
{
    struct node *n = arg;
    struct list work;

    n->kick_posted = false;
    list_init(&work);
    while (!list_empty(&n->kicked)) {
        struct list *item = n->kicked.next;
        list_remove(item);
        list_append(&work, item);
    }
    /* A sync may free its own pod and others; those take themselves off the list. */
    while (!list_empty(&work)) {
        struct declared *d = container_of(work.next, struct declared, kick);
        list_remove(&d->kick);
        watch_flush(d);
        declared_sync(d);
    }
}

void declared_kick(struct declared *d)
{
    struct node *n = d->node;

    if (!list_empty(&d->kick))
        return;
    list_append(&n->kicked, &d->kick);
    if (n->kick_posted)
        return;
    n->kick_posted = true;
    loop_post(n->config.loop, on_kicks, n);
}

void declared_kick_all(struct node *n)
{
    list_for_each (it, &n->declared)
        declared_kick(container_of(it, struct declared, item));
}

void declared_objects_changed(struct declared *d)
{
    for (size_t i = 0; i < d->n_members; i++)
        if (str_equal(d->members[i].waiting, "CreateContainerConfigError"))
            d->members[i].due = 0;
    if (d->trouble)
        d->sandbox_due = 0;
    volumes_refresh(d);
    declared_kick(d);
}

void declared_wake_at(struct declared *d, int64_t due)
{
    int64_t wait = due - time_now_ns();

    timer_start(d->timer, wait > 0 ? (wait + NS_PER_MS - 1) / NS_PER_MS : 0);
}

/* ---- Places ------------------------------------------------------------------------------------
 */

char *declared_volume_dir(const struct declared *d)
{
    return xasprintf("%s/volumes/%s", d->node->config.root, d->uid);
}

char *declared_log_dir(const struct declared *d)
{
    return xasprintf("%s/%s_%s_%s", d->node->config.log_root, d->namespace_, d->name, d->uid);
}

struct sandbox *declared_sandbox(const struct declared *d)
{
    return d->sandbox_id ? sandbox_find(d->node->config.pods, d->sandbox_id, NULL) : NULL;
}
