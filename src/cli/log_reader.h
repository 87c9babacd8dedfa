/*
 * log_reader.h - one container's CRI log, printed as the container wrote it, over all the files
 * that it was rotated into: `path` is the newest, `path`.1 the one before, and so on.
 */
#ifndef CLI_LOG_READER_H
#define CLI_LOG_READER_H

#include <stdio.h>

#include "podd/base.h"

struct log_options {
    bool timestamps;
    bool prefix;                /* each line begins with [pod/container] */
    int64_t tail;               /* -1: all */
    char since[TIME_TEXT_SIZE]; /* "": all; as in a record, so that text compares as time */
};

struct log_reader {
    const struct log_options *options;
    char *pod, *container;
    char *path;
    FILE *file; /* NULL: nothing opened yet */
    char *line;
    size_t cap;
    bool continued; /* the line before was a piece */
    bool over;      /* for the follower's use */
};
void log_reader_free(struct log_reader *r); /* what it holds, not itself */

/* Opens the log at path_take, going to where the options begin when it is the first one; prints
 * what is left of the one before. On failure the reader stays as it was. */
int log_reader_open(struct log_reader *r, char *path_take, struct err *e) MUST_CHECK;
/* Prints every whole record that is there, going over to newer files. */
void log_reader_drain(struct log_reader *r);

#endif
