/* unpacker.h - one run of podd-unpack, seen from the daemon. */
#ifndef IMAGE_UNPACKER_H
#define IMAGE_UNPACKER_H

#include "digest.h"

/* What it reports. */
struct unpack_report {
    char input_digest[DIGEST_TEXT_SIZE], tar_digest[DIGEST_TEXT_SIZE];
    uint64_t input_bytes, tar_bytes;
    uint64_t disk_bytes, inodes;
    uint64_t skipped;
    char **opaque; /* strv of paths, bytes */
};
void unpack_report_clear(struct unpack_report *r);
int unpack_report_parse(const void *data, size_t len, struct unpack_report *ret, struct err *e)
    MUST_CHECK;

struct unpacker;
struct unpacker_events {
    void (*on_drain)(void *arg); /* unpacker_feed() may be called again */
    /* Once; the unpacker is gone afterwards. `report` may be emptied by the callee. */
    void (*on_done)(void *arg, struct unpack_report *report, const struct err *e);
};

/* Starts `program` to unpack into `target_fd`. `input_fd` is a regular file, or -1: then the stream
 * comes by unpacker_feed(). Both fds are borrowed for the call. */
struct unpacker *unpacker_start(struct loop *loop, const char *program, int input_fd, int target_fd,
                                const struct unpacker_events *events, void *arg, struct err *e);
/* Takes all of it, or nothing (false): on_drain follows. */
bool unpacker_feed(struct unpacker *u, const void *data, size_t len);
void unpacker_end(struct unpacker *u);
/* Kills it. No calls afterwards. NULL is fine. */
void unpacker_cancel(struct unpacker *u);

#endif
