/*
 * wait.c - callbacks: told later, or told to several.
 *
 * An operation that finds its answer at once still calls back from the loop, never from inside the
 * call that started it: callers need not be ready for both.
 */
#include "private.h"

struct by_id *by_id_new(struct pods *p, const char *id)
{
    struct by_id *b = xnew(struct by_id);

    b->p = pods_hold(p);
    memcpy(b->id, id, strnlen(id, ID_SIZE - 1));
    return b;
}

static void by_id_free(struct by_id *b)
{
    pods_release(b->p);
    free(b);
}

struct sandbox *by_id_sandbox(struct by_id *b)
{
    struct sandbox *s = b->p->closing ? NULL : sandbox_by_id(b->p, b->id);

    by_id_free(b);
    return s;
}

struct container *by_id_container(struct by_id *b)
{
    struct container *c = b->p->closing ? NULL : container_by_id(b->p, b->id);

    by_id_free(b);
    return c;
}

struct later {
    pod_done_fn *done;
    pod_id_fn *id_fn;
    void *arg;
    char *id;
    struct err e;
};

static void later_call(void *arg)
{
    struct later *l = arg;

    if (l->done)
        l->done(l->arg, &l->e);
    else
        l->id_fn(l->arg, l->id, &l->e);
    err_clear(&l->e);
    free(l->id);
    free(l);
}

void done_later(struct pods *p, pod_done_fn *fn, void *arg, struct err *e_take)
{
    struct later *l = xnew(struct later);

    l->done = fn;
    l->arg = arg;
    if (e_take && e_take->code != ERR_OK)
        err_move(&l->e, e_take);
    loop_post(p->loop, later_call, l);
}

void done_absent(struct pods *p, pod_done_fn *fn, void *arg, struct err *e_take)
{
    done_later(p, fn, arg, e_take->code == ERR_NOT_FOUND ? NULL : e_take);
}

void id_later(struct pods *p, pod_id_fn *fn, void *arg, const char *id, struct err *e_take)
{
    struct later *l = xnew(struct later);

    l->id_fn = fn;
    l->arg = arg;
    l->id = xstrdup(id);
    if (e_take && e_take->code != ERR_OK)
        err_move(&l->e, e_take);
    loop_post(p->loop, later_call, l);
}

struct waiter {
    struct list link;
    pod_done_fn *fn;
    void *arg;
};

void waiters_add(struct list *waiters, pod_done_fn *fn, void *arg)
{
    struct waiter *w = xnew(struct waiter);

    w->fn = fn;
    w->arg = arg;
    list_append(waiters, &w->link);
}

void waiters_finish(struct list *waiters, const struct err *e)
{
    struct list now;

    /* Whoever is told may wait anew, or free what the list is a part of. */
    list_init(&now);
    list_for_each_safe (it, waiters) {
        list_remove(it);
        list_append(&now, it);
    }
    while (!list_empty(&now)) {
        struct waiter *w = container_of(now.next, struct waiter, link);
        list_remove(&w->link);
        w->fn(w->arg, e);
        free(w);
    }
}
