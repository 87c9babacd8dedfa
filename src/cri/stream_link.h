/*
 * stream_link.h - the connection of one client of the streaming server.
 *
 * Bytes in both directions on a non-blocking socket, never more than LINK_MAX of them waiting to be
 * sent. Its owner asks link_is_full() before it makes more output of its own, and holds the client
 * back with link_pause() when it cannot take more input.
 */
#ifndef CRI_STREAM_LINK_H
#define CRI_STREAM_LINK_H

#include <sys/uio.h>

#include "podd/base.h"

enum {
    LINK_HIGH = 256 << 10, /* waiting bytes from which it is full */
    LINK_LOW = 64 << 10,   /* and down to which it then has to come */
    LINK_MAX = 1 << 20,    /* nothing more is read from a client that lets so much wait */
};

/* All of one server, so that it can end them. */
struct links {
    struct loop *loop;
    int64_t idle_ms;  /* a link without a byte in either direction is given up */
    int64_t stall_ms; /* so is one that takes none of the bytes that wait */
    struct list all;
};

struct link_events {
    /* May free or finish the link, as all of these may. */
    void (*on_data)(void *arg, const uint8_t *data, size_t len);
    /* After link_is_full() has said true. */
    void (*on_writable)(void *arg);
    /* The client has gone, or is given up. Never from inside a function of the link. */
    void (*on_gone)(void *arg);
};

struct link;
struct link *link_new(struct links *all, int fd_take, const struct link_events *events, void *arg);
void link_set_owner(struct link *l, const struct link_events *events, void *arg);
void link_send(struct link *l, const void *data, size_t len);
void link_sendv(struct link *l, const struct iovec *pieces, int count);
bool link_is_full(struct link *l);
void link_pause(struct link *l, bool paused);
/* Frees it once all that waits is sent and the client has seen the end. No more events. */
void link_finish(struct link *l);
void link_free(struct link *l); /* at once; NULL is fine */
/* Sends what the sockets take at this moment, and frees all. */
void links_close(struct links *all);

#endif
