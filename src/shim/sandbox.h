/*
 * sandbox.h - the shim of one pod: what its parts share.
 */
#ifndef SHIM_SANDBOX_H
#define SHIM_SANDBOX_H

#include <podd/runtime.h>

#include "channel.h"
#include "message.h"
#include "poller.h"
#include "streams.h"

typedef Podd__Shim__ExitInfo exit_info_t;

/* To whom an answer goes that is given later. */
struct reply {
    uint64_t connection; /* serial number; 0: to nobody */
    uint64_t call;
};

/* The listening socket and who has connected to it (server.c). */
struct server {
    struct watch watch;
    int fd;
    struct list connections;
    uint64_t last_serial;
    struct deadline accept_again;
    struct deadline lonely; /* ends a shim that nobody ever connected to */
};

struct sandbox {
    char *id;
    int dir_fd; /* the pod's run directory */
    int netns_fd;
    struct pod_namespaces ns;
    struct process init; /* PID 1 of the pod's shared PID namespace */
    /* What containers get that say nothing: the value from before the shim protected itself. */
    bool protected_from_oom;
    int oom_score_adj;

    struct poller poller;
    struct streams_hub hub;
    struct watch sigchld;
    struct server server;
    struct list ctrs;  /* struct ctr */
    struct list execs; /* struct exec_run */

    struct reply shutdown_reply;
    struct deadline shutdown_tick;
    int64_t shutdown_until; /* 0: nobody asked for it */
    bool ended;             /* leave the loop */
};

/* Becomes the shim that the message's SpawnRequest asks for: in a fork of the zygote, which answers
 * what is written to report_fd, a stream socket. Returns the exit status, when all is over. */
int sandbox_main(struct message *message_take, int report_fd_take);

/* Kills what runs, removes cgroups; answers when all is gone, and the shim ends. */
void sandbox_shutdown(struct sandbox *sb, struct reply reply);

/* reaper.c: watches for children that end. 0 or -errno. */
int reaper_start(struct sandbox *sb);

#endif
