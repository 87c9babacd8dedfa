/*
 * logger.h - a container's output as a CRI log file.
 *
 * Each line is a record `<time> stdout|stderr F|P <text>\n`; P marks a piece of a line that goes on
 * in the next record of its stream.
 *
 * A log may be rotated here: the file at `path` is the newest, `path`.1 the one before, and so on.
 */
#ifndef SHIM_LOGGER_H
#define SHIM_LOGGER_H

#include <podd/base.h>

enum {
    LOG_LINE_DEFAULT = 16 * 1024,
    LOG_LINE_MAX = 128 * 1024,
    LOG_READ_SIZE = 128 * 1024,
    LOG_OUT_SIZE = 256 * 1024,
};

enum log_stream { LOG_STDOUT, LOG_STDERR, LOG_N_STREAMS };

/* Scratch memory of the process: input is read into it, records are built in it. It is empty
 * between two calls, so all loggers share one. */
struct log_buffer {
    uint8_t *map;
    uint8_t *in;     /* LOG_READ_SIZE bytes, with LOG_LINE_MAX before them */
    uint8_t *out;    /* LOG_OUT_SIZE bytes */
    size_t out_len;  /* records built and not yet written */
    size_t used_max; /* since the last trim: how many bytes were touched at most */
};
int log_buffer_init(struct log_buffer *b); /* 0 or -errno */
void log_buffer_free(struct log_buffer *b);
/* Gives the memory back to the kernel; it stays usable. */
void log_buffer_trim(struct log_buffer *b);

struct log_line {
    uint8_t *carry; /* the beginning of a line whose end has not come yet */
    size_t carry_len;
    uint64_t dropped; /* bytes of the container that could not be written */
    int dropped_errno;
};

struct logger {
    char *path; /* NULL: output is dropped */
    int fd;
    size_t line_max;
    uint64_t size;      /* of the file */
    uint64_t size_max;  /* 0: not rotated here */
    uint64_t rotate_at; /* size_max, or later when rotating has failed */
    unsigned files_max;
    bool torn; /* the file ends within a record that could not be completed */
    struct log_line lines[LOG_N_STREAMS];
};

/* line_max 0 is the default; more than LOG_LINE_MAX is the caller's mistake. */
void logger_init(struct logger *l, const char *path, size_t line_max);
/* Before the open: bounds each file to size_max bytes (0: not; one read's records may be more) and
 * their number to files_max, at least 2. */
void logger_rotate(struct logger *l, uint64_t size_max, unsigned files_max);
/* Creates or continues the file. */
int logger_open(struct logger *l, struct err *e) MUST_CHECK;
/* Opens `path` anew, after the file was renamed: every later record goes to the new file. On
 * failure the old one stays in use, and none was created. */
int logger_reopen(struct logger *l, struct err *e) MUST_CHECK;
/* Logs the first n bytes of b->in. */
void logger_feed(struct logger *l, struct log_buffer *b, enum log_stream stream, size_t n);
/* The stream ended: what is left of a line is written, as P. */
void logger_finish(struct logger *l, struct log_buffer *b, enum log_stream stream);
/* Closes the file. */
void logger_free(struct logger *l);

#endif
