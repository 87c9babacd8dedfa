/*
 * stream_command.h - sessions of exec and attach: a client's channels on one side, descriptors on
 * the other.
 */
#ifndef CRI_STREAM_COMMAND_H
#define CRI_STREAM_COMMAND_H

#include "stream_channels.h"
#include "stream_duct.h"
#include "stream_resize.h"
#include "stream_server.h"

struct command;

/* What differs between exec and attach. */
struct command_kind {
    void (*start)(struct command *c);
    void (*resize)(struct command *c, uint32_t width, uint32_t height);
    /* The client sends no more, and all that it sent has been written. */
    void (*on_stdin_end)(struct command *c);
    void (*on_output_end)(struct command *c); /* one that can be read no more */
    void (*stop)(struct command *c);          /* the session is over: frees what is the kind's */
};
extern const struct command_kind exec_kind, attach_kind;

struct command {
    struct session session;
    const struct command_kind *kind;
    struct stream_request *request;
    struct channels *channels;
    bool over;
    struct timer *timer; /* of the kind */

    struct duct in, out[2]; /* a terminal: in is read and written, the others are closed */
    bool terminal, out_open[2];
    struct strbuf early; /* input that came before there was anything to write it to */
    bool in_open, in_ended,
        paused; /* in_open: `in` has been opened, though it may be closed again */
    struct resize resize;
    uint32_t width, height; /* the last one asked for; 0: none */

    /* exec */
    struct exec *exec; /* NULL: not begun or ended */
    bool started, exited;
    int exit_code;
    struct err failure;

    /* attach */
    struct attach_call *attaching;
    bool attached, stdin_once;
    unsigned settling;
};

/* Gives the session its descriptors (taken); they need not be non-blocking. */
void command_set_stdin(struct command *c, int fd_take);
void command_set_output(struct command *c, enum channel channel, int fd_take);
void command_set_terminal(struct command *c, int fd_take);
bool command_outputs_ended(const struct command *c);    /* all of them */
bool command_has_ended_output(const struct command *c); /* one that was opened */
/* Sends what can be read at this moment. */
void command_drain(struct command *c);

/* Each ends the session: the status is sent, then the end of all streams. */
void command_succeed(struct command *c);
void command_exited(struct command *c, int exit_code);
void command_fail(struct command *c, const struct err *e);

/* The status for the error stream (stream_status.c). Text is "" for success. */
char *status_success(bool json);
char *status_exit_code(bool json, int exit_code);
char *status_failure(bool json, const struct err *e);

#endif
