/*
 * message.h - a received envelope in memory of its own, given back as a whole.
 */
#ifndef SHIM_MESSAGE_H
#define SHIM_MESSAGE_H

#include "channel.h"

struct message {
    const envelope_t *env;
    struct message_block *blocks;
    size_t used, size; /* of the newest block */
    size_t total;      /* of all blocks */
};

/* NULL: not an envelope, or one that takes absurdly much memory. */
struct message *message_unpack(const uint8_t *data, size_t len);
void message_free(struct message *m); /* NULL is fine */
static inline void message_freep(struct message **m)
{
    message_free(*m);
}
#define _cleanup_message_ CLEANUP(message_freep)

#endif
