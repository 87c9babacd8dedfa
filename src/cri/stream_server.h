/*
 * stream_server.h - the HTTP server behind the addresses that Exec, Attach and PortForward give
 * out.
 */
#ifndef CRI_STREAM_SERVER_H
#define CRI_STREAM_SERVER_H

#include "podd/pod.h"

#include "stream_http.h"
#include "stream_link.h"
#include "stream_token.h"

struct stream_config {
    struct loop *loop;
    struct pods *pods;
    const char *address; /* to listen on */
    uint16_t port;       /* 0: any */
};

struct stream_server;
int stream_server_open(const struct stream_config *config, struct stream_server **ret,
                       struct err *e) MUST_CHECK;
/* Ends all sessions; clients of commands are told why. NULL is fine. */
void stream_server_close(struct stream_server *s);
/* The address under which the request is served, once and soon. */
int stream_server_url(struct stream_server *s, struct stream_request *request_take, char **ret,
                      struct err *e) MUST_CHECK;

/* ---- For the sessions -------------------------------------------------------------------------
 */

/* Embedded in each session. */
struct session {
    struct list siblings;
    struct stream_server *server;
    void (*shut)(struct session *s); /* podd is ending: says so and ends the session */
};
void session_begin(struct session *s, struct stream_server *server,
                   void (*shut)(struct session *s));
void session_end(struct session *s);
struct loop *session_loop(const struct session *s);
struct pods *session_pods(const struct session *s);

/* Begin a session of the kind (stream_command.c, forward_spdy.c, forward_ws.c). `leftover` came
 * behind the request. */
typedef void session_open_fn(struct stream_server *server, struct link *link_take,
                             const struct stream_protocol *protocol,
                             struct stream_request *request_take, const uint8_t *leftover,
                             size_t len);
session_open_fn command_open, forward_spdy_open, forward_ws_open;

#endif
