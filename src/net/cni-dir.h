/*
 * cni-dir.h - the directory that declares the network: the first configuration by name, read anew
 * whenever something changes.
 */
#ifndef PODD_NET_CNI_DIR_H
#define PODD_NET_CNI_DIR_H

#include "cni-conf.h"

struct cni_dir;
/* Reads it, which blocks, and watches it. fn is called later, after each change of what the two
 * functions below say. */
struct cni_dir *cni_dir_open(struct loop *loop, const char *path, void (*fn)(void *arg), void *arg);
void cni_dir_close(struct cni_dir *d); /* NULL is fine */

/* The configuration in use, borrowed; NULL, and why there is none. */
struct cni_conf *cni_dir_conf(const struct cni_dir *d, struct err *e);
/* Somebody waits for one: looks again, now and then. */
void cni_dir_look(struct cni_dir *d);
/* What is wrong with the file that would be used, while an older text of it is; NULL: nothing. */
const char *cni_dir_complaint(const struct cni_dir *d);

#endif
