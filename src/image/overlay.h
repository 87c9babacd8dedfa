/* overlay.h - one overlayfs mount, detached. */
#ifndef IMAGE_OVERLAY_H
#define IMAGE_OVERLAY_H

#include <stdatomic.h>

#include "podd/base.h"

struct overlay {
    char *const *lowers;      /* strv of absolute paths, the uppermost first; at least one */
    const char *upper, *work; /* NULL: nothing can be written, and two lowers are needed */
    int user_ns;              /* of its ids the lowers' files are shown to be; -1: of their own */
};

/* How this kernel takes the layers; found out by the first mount. */
struct overlay_kernel {
    atomic_bool no_append;
};

/* Assembles it; the fd is a mount that is attached nowhere. Any thread. */
int overlay_mount(struct overlay_kernel *k, const struct overlay *o, int *ret_fd, struct err *e)
    MUST_CHECK;
/* The two ways that old kernels need, for tests. */
int overlay_mount_by_fds(const struct overlay *o, int *ret_fd, struct err *e) MUST_CHECK;
int overlay_mount_by_namespace(const struct overlay *o, int *ret_fd, struct err *e) MUST_CHECK;

#endif
