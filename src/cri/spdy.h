/*
 * spdy.h - the server's side of one SPDY/3.1 conversation: its streams.
 *
 * Works on any transport: bytes go in by spdy_input() and out by the owner's `send`.
 */
#ifndef CRI_SPDY_H
#define CRI_SPDY_H

#include <sys/uio.h>

#include "spdy_frame.h"

struct spdy_events {
    void (*send)(void *arg, const struct iovec *pieces, int count);
    /* The client asks for a stream. Must spdy_accept() or spdy_refuse() it, first of all. */
    void (*on_open)(void *arg, uint32_t stream, const struct spdy_event *event);
    /* `user` is what the stream was accepted with. */
    void (*on_data)(void *arg, void *user, const uint8_t *data, size_t len);
    /* The client sends no more on it. After a reset the stream is gone in both directions. */
    void (*on_end)(void *arg, void *user, bool reset);
};

struct spdy;
struct spdy *spdy_new(size_t max_streams, const struct spdy_events *events, void *arg);
/* Not from inside its own callbacks. */
void spdy_free(struct spdy *s);

/* False: the client said goodbye or broke the protocol, and the conversation is over (so it is
 * after spdy_goodbye(), also when a callback called that). */
bool spdy_input(struct spdy *s, const uint8_t *data, size_t len);

void spdy_accept(struct spdy *s, uint32_t stream, void *user);
void spdy_refuse(struct spdy *s, uint32_t stream);
/* These do nothing on a stream that is not there any more. */
void spdy_send(struct spdy *s, uint32_t stream, const void *data, size_t len);
void spdy_end(struct spdy *s, uint32_t stream);   /* our direction */
void spdy_reset(struct spdy *s, uint32_t stream); /* both */
/* The last thing that is sent; nothing that comes afterwards is looked at. */
void spdy_goodbye(struct spdy *s);

#endif
