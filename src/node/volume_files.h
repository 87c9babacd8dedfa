/*
 * volume_files.h - a volume's files, changed as one.
 *
 * The directory holds a data directory `..<hash of the content>`, a link `..data` to it, and for
 * each file (or its first directory) a link through `..data`. A change makes a new data directory,
 * and one rename of `..data` puts it in force: whoever reads sees all of the old or all of the new.
 */
#ifndef NODE_VOLUME_FILES_H
#define NODE_VOLUME_FILES_H

#include "volume_payload.h"

/* Makes the volume at dirfd hold exactly these files. gid: who may read them too; -1: nobody.
 * Blocks; any thread. */
int volume_files_write(int dirfd, const struct payload *p, int64_t gid, struct err *e) MUST_CHECK;

#endif
