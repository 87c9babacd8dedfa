/*
 * stream_channels.h - the named streams between a client and a command (or a container's own
 * streams), the same for SPDY and WebSocket.
 */
#ifndef CRI_STREAM_CHANNELS_H
#define CRI_STREAM_CHANNELS_H

#include "stream_http.h"
#include "stream_link.h"

/* With WebSocket's numbers for them. */
enum channel {
    CHANNEL_STDIN,
    CHANNEL_STDOUT,
    CHANNEL_STDERR,
    CHANNEL_ERROR,
    CHANNEL_RESIZE,
    CHANNEL_N,
};

struct channel_events {
    /* All streams are there. */
    void (*on_ready)(void *arg);
    /* On stdin and resize only. */
    void (*on_data)(void *arg, enum channel channel, const uint8_t *data, size_t len);
    void (*on_end)(void *arg, enum channel channel);
    /* After channels_are_full() has said true. */
    void (*on_writable)(void *arg);
    /* The client has gone, did not open its streams in time, or broke the protocol. */
    void (*on_gone)(void *arg);
};

struct channels;
struct channels_ops {
    void (*input)(struct channels *c, const uint8_t *data, size_t len);
    void (*send)(struct channels *c, enum channel channel, const void *data, size_t len);
    void (*end)(struct channels *c, enum channel channel);
    void (*pause)(struct channels *c, bool paused);
    void (*finish)(struct channels *c);
    void (*free)(struct channels *c);
    bool (*is_full)(struct channels *c);
};

/* The common part of both kinds. No event comes after finish or free, which may be called inside an
 * event; the memory goes later. */
struct channels {
    const struct channels_ops *ops;
    const struct stream_protocol *protocol;
    const struct channel_events *events;
    void *arg;
    bool wanted[CHANNEL_N];
};

/* Takes the link. `leftover` is what came behind the request. */
struct channels *channels_spdy_new(struct loop *loop, struct link *link_take,
                                   const struct stream_protocol *protocol,
                                   const struct stream_request *request,
                                   const struct channel_events *events, void *arg);
struct channels *channels_ws_new(struct loop *loop, struct link *link_take,
                                 const struct stream_protocol *protocol,
                                 const struct stream_request *request,
                                 const struct channel_events *events, void *arg);

/* What comes behind the request's head; also begins the conversation. */
static inline void channels_input(struct channels *c, const uint8_t *data, size_t len)
{
    c->ops->input(c, data, len);
}
static inline void channels_send(struct channels *c, enum channel channel, const void *data,
                                 size_t len)
{
    c->ops->send(c, channel, data, len);
}
/* No more of it: an output, or a stdin that nobody reads any more. */
static inline void channels_end(struct channels *c, enum channel channel)
{
    c->ops->end(c, channel);
}
/* Holds the client back, or lets it go on. */
static inline void channels_pause(struct channels *c, bool paused)
{
    c->ops->pause(c, paused);
}
/* True: send no more output before on_writable. */
static inline bool channels_are_full(struct channels *c)
{
    return c->ops->is_full(c);
}
/* Ends what has not ended and says goodbye; all that was sent arrives. */
static inline void channels_finish(struct channels *c)
{
    c->ops->finish(c);
}
/* Frees it; unless it was finished, the connection is cut. */
static inline void channels_free(struct channels *c)
{
    if (c)
        c->ops->free(c);
}

/* Which channels a client of the request has to have. */
void channels_want(struct channels *c, const struct stream_request *request);

#endif
