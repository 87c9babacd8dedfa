/*
 * queue.c - work that may block, done in order by one thread at a time.
 *
 * The kernel has one lock over all links, so ten threads that make veth pairs only wait for each
 * other. Here the first job takes a worker of the loop's pool, and that worker goes on as long as
 * there are jobs: a burst of fifty pods costs one thread, and each caller hears of its own job as
 * soon as it is done.
 */
#include "queue.h"

void queue_init(struct queue *q, struct loop *loop, void (*drained)(void *arg), void *arg)
{
    *q = (struct queue){.loop = loop, .drained = drained, .arg = arg};
    pthread_mutex_init(&q->lock, NULL);
    list_init(&q->waiting);
}

void queue_deinit(struct queue *q)
{
    pthread_mutex_destroy(&q->lock);
}

static void count_down(struct queue *q)
{
    if (--q->unfinished == 0)
        q->drained(q->arg); /* which may free it */
}

static void finish_job(void *arg)
{
    struct job *j = arg;
    struct queue *q = j->queue;

    j->finish(j);
    count_down(q);
}

static struct job *next_job(struct queue *q)
{
    struct job *j = NULL;

    pthread_mutex_lock(&q->lock);
    if (list_empty(&q->waiting)) {
        q->running = false;
    } else {
        j = container_of(q->waiting.next, struct job, link);
        list_remove(&j->link);
    }
    pthread_mutex_unlock(&q->lock);
    return j;
}

static void run_jobs(void *arg)
{
    struct queue *q = arg;

    for (struct job *j; (j = next_job(q));) {
        j->run(j);
        loop_post(q->loop, finish_job, j);
    }
}

static void worker_done(void *arg)
{
    count_down(arg);
}

void queue_push(struct queue *q, struct job *j)
{
    j->queue = q;
    list_init(&j->link);
    q->unfinished++;
    pthread_mutex_lock(&q->lock);
    list_append(&q->waiting, &j->link);
    bool start = !q->running;
    q->running = true;
    pthread_mutex_unlock(&q->lock);
    if (!start)
        return;
    q->unfinished++; /* the worker looks at the queue once more after its last job */
    loop_work(q->loop, run_jobs, worker_done, q);
}
