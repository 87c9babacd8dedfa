/*
 * exit_record.h - `<container id>.exit`, a packed ContainerExit in the pod's directory.
 */
#ifndef SHIM_EXIT_RECORD_H
#define SHIM_EXIT_RECORD_H

#include <podd/base.h>

#include "shim.pb-c.h"

/* Is the id fit to be part of a file name? */
bool exit_record_id_ok(const char *id);
/* On disk when it returns. */
int exit_record_write(int dirfd, const char *id, const Podd__Shim__ExitInfo *exit, struct err *e)
    MUST_CHECK;
/* Freed with podd__shim__exit_info__free_unpacked(). ERR_NOT_FOUND, ERR_DATA_LOSS. */
int exit_record_read(int dirfd, const char *id, Podd__Shim__ExitInfo **ret, struct err *e)
    MUST_CHECK;
/* Missing is success. */
int exit_record_remove(int dirfd, const char *id, struct err *e) MUST_CHECK;

#endif
