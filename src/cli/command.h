/*
 * command.h - a process in a container with its streams here: what exec, attach and cp stand on.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "cli.h"

struct command {
    const char *container_id;
    char **argv; /* NULL: attach to the container's own first process */
    size_t argc;
    bool tty;
    int stdin_fd;             /* borrowed; -1: empty */
    int stdout_fd, stderr_fd; /* borrowed; written to by blocking calls */
};
/* Runs it to its end. The exit status is the command's, or podctl's own after printing why. */
int command_run(struct cli *cli, const struct command *c);

#endif
