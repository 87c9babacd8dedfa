/*
 * channel.h - one end of a unix stream socket that speaks proto/shim.proto.
 *
 * Knows no event loop: its owner watches `fd` and calls channel_receive() and channel_flush() when
 * the socket is ready. Nothing here blocks.
 */
#ifndef SHIM_CHANNEL_H
#define SHIM_CHANNEL_H

#include <podd/base.h>

#include "frame.h"
#include "shim.pb-c.h"

typedef Podd__Shim__Envelope envelope_t;

enum { CHANNEL_FDS_MAX = 16 }; /* with one frame */

struct channel {
    int fd; /* owned */
    struct frame_reader in;
    int in_fds[CHANNEL_FDS_MAX]; /* received, not yet taken, in order */
    size_t n_in_fds;
    struct list out; /* struct out_frame, in order */
    size_t out_bytes;
};

void channel_init(struct channel *ch, int fd_take);
/* Closes everything. Twice is harmless. */
void channel_close(struct channel *ch);

/* One recvmsg(2). 1: something came, 0: end of the stream, -EAGAIN, -EPROTO for more descriptors
 * than allowed, or another -errno. */
int channel_receive(struct channel *ch) MUST_CHECK;
/* As frame_reader_next(). */
int channel_next(struct channel *ch, const uint8_t **ret, size_t *ret_len) MUST_CHECK;
/* Hands over the n descriptors of the frame just read. -EPROTO when fewer came. */
int channel_take_fds(struct channel *ch, size_t n, int *ret) MUST_CHECK;
/* After a frame was handled: descriptors are left that no frame can name any more. */
bool channel_has_stray_fds(const struct channel *ch);

/* Queues an envelope and sends what goes without blocking. The fds are taken in any case. Errors
 * of the socket are not told here but by the next receive or flush. */
void channel_send(struct channel *ch, const envelope_t *env, const int *fds_take, size_t n_fds);
/* The same for an envelope as it was received. */
void channel_forward(struct channel *ch, const void *packed, size_t len, const int *fds_take,
                     size_t n_fds);
/* 0: all is sent. 1: the rest when the socket is writable. -errno: broken. */
int channel_flush(struct channel *ch);

/* An envelope around a body; its members are borrowed. */
envelope_t envelope_of(uint64_t call, Podd__Shim__Envelope__BodyCase body_case, void *body);

#endif
