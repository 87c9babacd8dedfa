/*
 * streams.h - a container's standard streams: from its pipes or terminal to its log and to whoever
 * is attached, and from them to its input.
 */
#ifndef SHIM_STREAMS_H
#define SHIM_STREAMS_H

#include <podd/runtime.h>

#include "logger.h"
#include "poller.h"

/* What all containers of the shim share. */
struct streams_hub {
    struct poller *poller; /* borrowed */
    struct log_buffer buffer;
    struct deadline trim; /* gives the buffer's memory back after a burst */
};
int streams_hub_init(struct streams_hub *hub, struct poller *poller); /* 0 or -errno */

struct streams;

/* The end that the shim reads. */
struct output {
    struct watch watch;
    int fd; /* -1: ended */
    enum log_stream stream;
    struct streams *io;
};

/* The end that the shim writes: of a pipe, or a copy of the terminal's master. */
struct input {
    struct watch watch;
    int fd;           /* -1: closed, or there never was one */
    uint8_t *pending; /* read from an attached client, not yet taken by the container */
    size_t pending_len, pending_done;
    bool once;   /* the first attached client to leave closes it */
    bool ending; /* close when nothing is pending */
};

struct streams {
    struct streams_hub *hub;
    struct logger logger;
    bool tty;
    int tty_peer; /* keeps the terminal up while the container runs, whatever it closes */
    struct output outputs[LOG_N_STREAMS];
    struct input input;
    int child_fds[3]; /* the container's ends, until it has started */
    int tty_master;   /* where the start puts the terminal */
    struct list attachments;
    void (*on_end)(struct streams *io); /* both outputs have ended */
};

/* Zeroed by the caller; nothing is open. */
void streams_init(struct streams *io, struct streams_hub *hub, void (*on_end)(struct streams *io));
/* Opens the log and makes the pipes that the spec asks for; *ret is for the start. */
int streams_open(struct streams *io, const container_spec_t *spec, struct process_io *ret,
                 struct err *e) MUST_CHECK;
/* The container runs: begins to read. */
int streams_started(struct streams *io, struct err *e) MUST_CHECK;
/* The container has ended: no more input, and the terminal may hang up. */
void streams_stopped(struct streams *io);
/* Reads what is there without waiting, and ends. */
void streams_drain(struct streams *io);
bool streams_has_ended(const struct streams *io);
/* Closes everything. */
void streams_close(struct streams *io);

int streams_resize(struct streams *io, uint32_t width, uint32_t height, struct err *e) MUST_CHECK;

/* attach.c: adds listeners; fds are stdin, stdout, stderr, -1 where not asked for. Taken on
 * success. */
int streams_attach(struct streams *io, const int fds_take[3], struct err *e) MUST_CHECK;
/* attach.c: output for the attached; an ended stream ends theirs. */
void attach_send(struct streams *io, enum log_stream stream, const uint8_t *data, size_t len);
void attach_end_output(struct streams *io, enum log_stream stream);
/* attach.c: closes the container's input, once what is pending was taken. */
void input_end(struct streams *io);
/* attach.c: watches the input's fd. */
int input_watch(struct streams *io); /* 0 or -errno */
void input_close(struct streams *io);

#endif
