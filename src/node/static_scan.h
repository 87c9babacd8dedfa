/* Reading a directory of manifests, whole. Theory: static.c. */
#ifndef NODE_STATIC_SCAN_H
#define NODE_STATIC_SCAN_H

#include "podd/base.h"

/* One file as it was last read. */
struct static_file {
    char *name;
    struct bytes text;
    char *unreadable; /* why there is no text; NULL: there is */

    /* static.c's own. */
    bool tried;      /* this text was parsed, and applied if it was good */
    bool good;       /* the last one that was tried */
    char **pods;     /* strv of the keys that the last good text names */
    char *complaint; /* what was said about it last; NULL: nothing */
};
void static_file_free(struct static_file *f); /* NULL is fine */

struct static_scan {
    void *owner; /* NULL: closed meanwhile */
    char *dir;
    bool missing;               /* there is no such directory */
    struct err error;           /* it could not be read */
    struct static_file **files; /* by name; a taken one is NULL */
    size_t n_files;
};
struct static_scan *static_scan_new(void *owner, const char *dir);
/* For a worker thread. */
void static_scan_work(void *scan);
void static_scan_free(struct static_scan *scan);

#endif
