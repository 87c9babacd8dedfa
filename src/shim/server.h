/*
 * server.h - the shim's socket: connections, answers, events.
 */
#ifndef SHIM_SERVER_H
#define SHIM_SERVER_H

#include "sandbox.h"

/* A request and who sent it, for service.c. Its descriptors are borrowed: a handler sets to -1 what
 * it keeps. */
struct request {
    struct sandbox *sb;
    struct reply reply;
    struct message *message; /* a handler may take it, and set NULL */
    const envelope_t *env;
    int fds[CHANNEL_FDS_MAX];
    size_t n_fds;
};

/* Listens on shim.sock in the sandbox's directory. */
int server_start(struct sandbox *sb, struct err *e) MUST_CHECK;
/* Frees the connections that broke; after every event, when nobody holds one. */
void server_sweep(struct sandbox *sb);
/* Sends what waits, for as long as the peers read it without delay. */
void server_stop(struct sandbox *sb);

/* Answers with a body; fds are taken. A connection that is gone is nobody's loss. */
void server_answer(struct sandbox *sb, struct reply to, Podd__Shim__Envelope__BodyCase body_case,
                   void *body, const int *fds_take, size_t n_fds);
void server_answer_failure(struct sandbox *sb, struct reply to, const struct err *e);
/* To every connection. */
void server_send_event(struct sandbox *sb, Podd__Shim__Envelope__BodyCase body_case, void *body);

/* service.c: how many descriptors come with the request. */
size_t service_fds(const envelope_t *env);
/* service.c: carries it out and answers, at once or later. */
void service_handle(struct request *rq);

#endif
