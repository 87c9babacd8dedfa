/*
 * client.h - the daemon's connection to a shim, shared by the files client*.c.
 */
#ifndef SHIM_CLIENT_H
#define SHIM_CLIENT_H

#include <podd/shim.h>

#include "channel.h"

typedef Podd__Shim__Envelope__BodyCase body_case_t;

struct call;

/* Ends a call, exactly once: with the answer, or with an error and no answer. Descriptors of the
 * answer are taken from `ch`; -EPROTO when it does not have what it should. */
typedef int call_finish_fn(struct call *c, struct channel *ch, const envelope_t *answer,
                           const struct err *e);

/* A request on its way. Freed by the connection after finish(). */
struct call {
    struct list link;
    uint64_t id;
    body_case_t expected; /* the body that answers it */
    call_finish_fn *finish;
    void (*fn)(void); /* the caller's callback, of the type that finish() knows */
    void *arg;
    struct err why; /* when it never got on its way */
};

/* A running exec, from its start to its ExecExit. */
struct exec {
    struct list link; /* in shim.execs */
    char *id;
    bool tty;
    struct shim_exec_events events;
    void *arg;
    struct shim *shim;
};

enum shim_state {
    SHIM_CONNECTING, /* until the answer to Info */
    SHIM_READY,
    SHIM_LOST, /* the connection ended, the process has not: connecting anew */
    SHIM_GONE, /* the process ended */
};

struct shim {
    struct loop *loop;
    unsigned refs; /* the owner, and posted jobs */
    bool freed;    /* by its owner: call nobody any more */
    enum shim_state state;
    bool handed_over; /* shim_ready_fn was called with it */

    char *directory;
    pid_t pid;
    uint64_t start_time;
    int pidfd;
    int netns;   /* -1 when it is the daemon's own */
    int user_ns; /* the same */
    struct io *pidfd_io;

    struct channel ch; /* fd -1 when there is no connection */
    struct io *ch_io;
    bool ch_wants_write;
    struct timer *timer; /* connecting takes too long; next attempt to connect */

    uint64_t last_call;
    struct list calls;  /* struct call, sent */
    struct list failed; /* struct call, to be told so by the posted job */
    struct list execs;  /* struct exec */
    struct list lost_execs;
    bool job_posted, gone_told;

    struct shim_events events;
    void *events_arg;
    shim_ready_fn *ready;
    void *ready_arg;
    Podd__Shim__InfoResponse *info; /* of the first connection; owned */
};

/* Begins to connect to the process behind pidfd_take; pid 0: whoever listens there. */
void shim_begin(struct loop *loop, const char *directory, int pidfd_take, pid_t pid,
                uint64_t start_time, const struct shim_events *events, void *events_arg,
                shim_ready_fn *fn, void *arg);

enum { CLIENT_RECONNECT_MS = 50 };

/* For client_connect.c. The socket and the pidfd have something to say. */
void client_on_socket(void *arg, unsigned events);
void client_on_pidfd(void *arg, unsigned events);
/* The connection broke, or the shim said what makes no sense. */
void client_lost(struct shim *s, const char *why);
/* It could not be made ready: tells the reason and ends it. */
void client_ready_failed(struct shim *s, const struct err *e);
void client_unref(struct shim *s);

/* Sends a request. On a shim without a connection the call fails soon. */
void call_send(struct shim *s, body_case_t body_case, void *body, const int *fds_take, size_t n_fds,
               body_case_t expected, call_finish_fn *finish, void (*fn)(void), void *arg);

/* Does not even try: the call fails soon, with *why (moved). */
void call_fail_soon(struct shim *s, call_finish_fn *finish, void (*fn)(void), void *arg,
                    struct err *why);

/* The exec's process ended; NULL: the shim or the connection is gone. Frees it. */
void exec_finish(struct exec *x, const exit_info_t *exit);

/* What a Failure says, as an error in an empty *e. */
void failure_to_err(const Podd__Shim__Failure *failure, struct err *e);

#endif
