/*
 * queue.h - work that may block, done in order by one thread at a time.
 */
#ifndef PODD_NET_QUEUE_H
#define PODD_NET_QUEUE_H

#include <pthread.h>

#include <podd/base.h>

/* First member of what is to be done; the object is the caller's until finish(). */
struct job {
    struct list link;
    struct queue *queue;
    void (*run)(struct job *j);    /* on a worker thread */
    void (*finish)(struct job *j); /* then on the loop's thread; may free the job */
};

struct queue {
    struct loop *loop;
    void (*drained)(void *arg); /* on the loop's thread, when nothing is unfinished any more */
    void *arg;
    size_t unfinished; /* jobs and workers; loop's thread only */
    pthread_mutex_t lock;
    struct list waiting; /* under the lock */
    bool running;        /* under the lock: a worker is there and will look again */
};

void queue_init(struct queue *q, struct loop *loop, void (*drained)(void *arg), void *arg);
void queue_deinit(struct queue *q); /* nothing may be unfinished */
void queue_push(struct queue *q, struct job *j);

#endif
