/*
 * netns.h - a visit of the calling thread to a network namespace.
 */
#ifndef PODD_NET_NETNS_H
#define PODD_NET_NETNS_H

#include <podd/base.h>

/* Zeroed or left: nothing to undo. */
struct netns_visit {
    bool away;
    int home; /* owned while away */
};

/* Moves the calling thread into the namespace. */
int netns_enter(struct netns_visit *v, int netns, struct err *e) MUST_CHECK;
/* Moves it back; aborts when that fails. */
void netns_leave(struct netns_visit *v);
#define _cleanup_visit_ CLEANUP(netns_leave)

/* Writes below /proc/sys of the thread's namespace; 0 or -errno. */
int sysctl_write(const char *path, const char *value) MUST_CHECK;
/* A small number; -errno when it cannot be read. */
int sysctl_read(const char *path, int *ret) MUST_CHECK;

#endif
