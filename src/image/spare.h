/* spare.h - writable layers made in advance. */
#ifndef IMAGE_SPARE_H
#define IMAGE_SPARE_H

#include <pthread.h>

#include "podd/base.h"

#define SPARE_PREFIX ".spare-"
enum { SPARES_MAX = 32 };

struct spares {
    pthread_mutex_t lock; /* protects the two below */
    char *names[SPARES_MAX];
    size_t n;
    bool filling; /* of the loop's thread */
    bool failed;  /* of the worker, then of the loop: the last filling */
};

struct image_store;
void spares_init(struct image_store *s);
void spares_free(struct image_store *s);
/* Takes over what an earlier podd has made, if it is whole. */
bool spare_adopt(struct image_store *s, const char *name);
/* The name of a directory in containers/, with "upper" and "work" in it, which is the caller's from
 * now on; NULL: there is none. Any thread. */
char *spare_take(struct image_store *s);
/* Makes new ones in the background when half of them are gone. */
void spares_fill(struct image_store *s);

#endif
