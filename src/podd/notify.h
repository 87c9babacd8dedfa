/*
 * notify.h - tells a service manager about the daemon's state (sd_notify(3), the protocol only).
 */
#ifndef PODD_NOTIFY_H
#define PODD_NOTIFY_H

/* Sends one assignment, e.g. "READY=1". Does nothing when no manager listens. */
void notify_send(const char *assignment);

#endif
