/*
 * session.h - podctl's end of a streaming session: messages on numbered channels over a WebSocket,
 * to the address that Exec, Attach and PortForward of CRI answer with.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "podd/base.h"

/* Channels of exec and attach. */
enum {
    CHANNEL_STDIN = 0,
    CHANNEL_STDOUT = 1,
    CHANNEL_STDERR = 2,
    CHANNEL_ERROR = 3,
    CHANNEL_RESIZE = 4,
    CHANNEL_CLOSE = 255, /* its one byte names the channel that ends */
};

#define PROTOCOL_COMMAND "v5.channel.k8s.io"
#define PROTOCOL_FORWARD "v1.portforward.podd"

struct session_events {
    /* A message, the first byte already taken off as its channel. Must not free the session. */
    void (*on_message)(void *arg, unsigned channel, const uint8_t *data, size_t len);
    /* Once, last: the peer has ended the session (ERR_OK) or it broke. May free the session. */
    void (*on_end)(void *arg, const struct err *e);
    /* What waited to be sent has shrunk: see session_is_full(). May be NULL. */
    void (*on_room)(void *arg);
};

struct session;
/* Connects and upgrades, which blocks: the server is on this machine. */
int session_open(struct loop *loop, const char *url, const char *protocol,
                 const struct session_events *events, void *arg, struct session **ret,
                 struct err *e) MUST_CHECK;
void session_free(struct session *s); /* NULL is fine */

void session_send(struct session *s, unsigned channel, const void *data, size_t len);
/* So much waits to be sent that the sender should wait for on_room. */
bool session_is_full(const struct session *s);
/* Stops and resumes reading, and so on_message. */
void session_pause(struct session *s, bool paused);

#endif
