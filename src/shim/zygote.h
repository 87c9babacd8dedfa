/*
 * zygote.h - the process that forks shims.
 */
#ifndef SHIM_ZYGOTE_H
#define SHIM_ZYGOTE_H

#include <podd/base.h>

/* Serves SpawnRequests on socket_fd until its end. `title` is memory of the command line that a
 * shim writes its pod's id into. Returns the exit status, also in the shims it forks. */
int zygote_main(int socket_fd, char *title, size_t title_size);

#endif
