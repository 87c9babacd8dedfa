/*
 * static.h - pods that are declared by files in a directory of this node, as kubelet's static pods
 * are: an edit, a rename or a removal of a file takes effect at once.
 */
#ifndef NODE_STATIC_H
#define NODE_STATIC_H

#include "private.h"

struct static_pods;
/* Watches the directory, which may be missing, and reads what is there. NULL when the kernel gives
 * no watch; the log says so. */
struct static_pods *static_open(struct node *n, const char *dir);
void static_close(struct static_pods *s); /* NULL is fine */

/* May somebody who is not the file change or delete the pod? The answer names the file. */
int static_check_owner(const struct declared *d, struct err *e) MUST_CHECK;

#endif
