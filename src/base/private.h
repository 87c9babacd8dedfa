/*
 * private.h - what the files of base share among themselves and nobody else sees.
 */
#ifndef PODD_BASE_PRIVATE_H
#define PODD_BASE_PRIVATE_H

#include <podd/base.h>

/* Fills buf from getrandom(2). Never fails: once seeded the kernel always answers. */
void random_fill(void *buf, size_t len);

/* Opens the directory that holds `path` (O_RDONLY) and tells the last component. fd or -errno;
 * -EINVAL when there is no component that could be created or removed ("/", "a/.."). */
int open_parent(int dirfd, const char *path, char **ret_name);

#endif
