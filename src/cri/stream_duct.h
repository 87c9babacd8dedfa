/*
 * stream_duct.h - a descriptor on podd's side of a stream: a pipe to a command, a terminal, a
 * socket to a server in a pod. Read, written or both, never blocking.
 */
#ifndef CRI_STREAM_DUCT_H
#define CRI_STREAM_DUCT_H

#include "podd/base.h"

enum { DUCT_READ = 1, DUCT_WRITE = 2 };

struct duct;
struct duct_events {
    /* All of these may close the duct. */
    void (*on_data)(void *arg, struct duct *d, const uint8_t *data, size_t len);
    void (*on_end)(void *arg, struct duct *d, bool broken); /* nothing more can be read */
    /* Some of what waited has been taken; or nobody takes anything any more (duct_is_writable). */
    void (*on_taken)(void *arg, struct duct *d);
};

/* Part of its owner. DUCT_NULL is closed. */
struct duct {
    struct loop *loop;
    int fd;
    struct io *io;
    const struct duct_events *events;
    void *arg;
    bool reading, held, writing, write_ending, is_socket;
    struct strbuf data; /* waits to be written */
    size_t done;        /* of it */
};
#define DUCT_NULL ((struct duct){.fd = -1})

/* fd must not block. */
void duct_open(struct duct *d, struct loop *loop, int fd_take, unsigned directions,
               const struct duct_events *events, void *arg);
void duct_close(struct duct *d);
void duct_hold(struct duct *d, bool held); /* stops reading for a while */
/* Kept until it can be written: the owner holds its source back by duct_waiting(). */
void duct_write(struct duct *d, const void *data, size_t len);
/* Ends the writing side after what waits. */
void duct_write_end(struct duct *d);
bool duct_is_writable(const struct duct *d);
bool duct_is_readable(const struct duct *d);
size_t duct_waiting(const struct duct *d);

#endif
