/*
 * op.c - calls of this room that other rooms have not answered yet.
 *
 * A pod is not freed while it has one. When the node itself closes first, its ops are orphaned: the
 * answer then only frees the op.
 */
#include "private.h"

struct op *op_new(struct declared *d, struct member *m,
                  void (*done)(struct op *op, const char *id, const struct err *e), void *job)
{
    struct op *op = xnew(struct op);

    op->node = d->node;
    op->pod = d;
    op->member = m;
    op->done = done;
    op->job = job;
    list_append(&d->node->ops, &op->item);
    d->ops++;
    if (m)
        m->op = op;
    return op;
}

struct op *op_new_for_node(struct node *n,
                           void (*done)(struct op *op, const char *id, const struct err *e),
                           void *job)
{
    struct op *op = xnew(struct op);

    op->node = n;
    op->done = done;
    op->job = job;
    list_append(&n->ops, &op->item);
    return op;
}

static void answer(struct op *op, const char *id, const struct err *e)
{
    struct declared *d = op->pod;

    if (d)
        d->ops--;
    if (op->member && op->member->op == op)
        op->member->op = NULL;
    if (d && d->sandbox_op == op)
        d->sandbox_op = NULL;
    op->done(op, id, e);
    if (d)
        declared_kick(d);
}

void op_on_id(void *arg, const char *id, const struct err *e)
{
    static const struct err none = ERR_INIT;
    struct op *op = arg;

    if (!e) /* success, as some rooms say it */
        e = &none;
    list_remove(&op->item);
    if (op->node)
        answer(op, id, e);
    free(op);
}

void op_on_done(void *arg, const struct err *e)
{
    op_on_id(arg, NULL, e);
}

/* ---- Work on a thread --------------------------------------------------------------------------
 */

static void work_thread(void *arg)
{
    struct work_job *job = arg;
    job->work(job);
}

static void work_done(void *arg)
{
    struct work_job *job = arg;
    /* op->done frees the job; when the node has gone nobody does, and the process ends. */
    op_on_done(job->op, &job->err);
}

void op_work(struct loop *loop, struct op *op, struct work_job *job)
{
    job->op = op;
    loop_work(loop, work_thread, work_done, job);
}
