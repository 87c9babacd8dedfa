/*
 * volume.h - directories for the volumes that images declare.
 */
#ifndef POD_VOLUME_H
#define POD_VOLUME_H

#include <podd/base.h>

/* Makes `dest` (absolute, must not exist) with a copy of the directory `path` of the image, or
 * empty and of that owner when the image has nothing there. Blocks; any thread. */
int volume_make(int rootfs_fd, const char *path, const char *dest, uint32_t uid, uint32_t gid,
                struct err *e) MUST_CHECK;

#endif
