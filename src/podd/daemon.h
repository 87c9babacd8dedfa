/*
 * daemon.h - the running daemon, from the first check to the last closed socket.
 */
#ifndef PODD_DAEMON_H
#define PODD_DAEMON_H

#include "config.h"

#include "podd/base.h"

/* Runs until SIGTERM, SIGINT or a Shutdown call. -1: it could not start, and *e says why. */
int daemon_run(const struct config *config, struct err *e) MUST_CHECK;

#endif
