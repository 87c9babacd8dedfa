/*
 * names.c - names that must be unique, and the joining of retries.
 *
 * A master that loses patience asks again for the same name, and must get what the first request
 * made. So a name is reserved before anything is done; while its object is being made, further
 * requests wait for that one's result. When the making fails, all are told and the name is free
 * again; a name never outlives both its operation and its object.
 */
#include "private.h"

char *name_key_sandbox(const char *name, const char *namespace_, const char *uid, uint32_t attempt)
{
    /* Lengths in front, for the parts may contain any separator. */
    return xasprintf("s%u:%zu:%s%zu:%s%zu:%s", attempt, name ? strlen(name) : 0, name ? name : "",
                     namespace_ ? strlen(namespace_) : 0, namespace_ ? namespace_ : "",
                     uid ? strlen(uid) : 0, uid ? uid : "");
}

char *name_key_container(const char *sandbox_id, const char *name, uint32_t attempt)
{
    return xasprintf("c%u:%s:%s", attempt, sandbox_id, name ? name : "");
}

struct name *name_find(struct pods *p, const char *key)
{
    return map_get(p->names, key);
}

struct name *name_add(struct pods *p, const char *key, const char *id, uint64_t fingerprint)
{
    struct name *n = xnew(struct name);

    n->key = xstrdup(key);
    memcpy(n->id, id, strnlen(id, ID_SIZE - 1));
    n->fingerprint = fingerprint;
    n->busy = true;
    list_init(&n->waiters);
    map_put(p->names, key, n);
    return n;
}

struct id_waiter {
    struct list link;
    pod_id_fn *fn;
    void *arg;
};

void name_wait(struct name *n, pod_id_fn *fn, void *arg)
{
    struct id_waiter *w = xnew(struct id_waiter);

    w->fn = fn;
    w->arg = arg;
    list_append(&n->waiters, &w->link);
}

void name_finish(struct pods *p, struct name *n, const struct err *e)
{
    char id[ID_SIZE];
    struct list waiters;

    /* A waiter may remove the object, and with it the name. */
    memcpy(id, n->id, sizeof(id));
    list_init(&waiters);
    list_for_each_safe (it, &n->waiters) {
        list_remove(it);
        list_append(&waiters, it);
    }
    n->busy = false;
    if (e->code != ERR_OK)
        name_release(p, n);
    while (!list_empty(&waiters)) {
        struct id_waiter *w = container_of(waiters.next, struct id_waiter, link);
        list_remove(&w->link);
        w->fn(w->arg, e->code == ERR_OK ? id : NULL, e);
        free(w);
    }
}

void name_release(struct pods *p, struct name *n)
{
    if (!n)
        return;
    map_remove(p->names, n->key);
    free(n->key);
    free(n);
}
