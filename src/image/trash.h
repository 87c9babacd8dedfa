/* trash.h - deletes trees in the background, one after the other. */
#ifndef IMAGE_TRASH_H
#define IMAGE_TRASH_H

#include "podd/base.h"

struct trash;
/* `dirfd` is the directory where trees wait for deletion. */
struct trash *trash_new(struct loop *loop, int dirfd);
/* What is being deleted is finished; what still waits, the next start will find. */
void trash_free(struct trash *t);
/* A name in the trash's directory that is free. Any thread. */
char *trash_name_new(const char *prefix);
/* Deletes `name` of the trash's directory. */
void trash_delete(struct trash *t, const char *name);
/* Moves dirfd/name there and deletes it. 0 (also when there is none) or -errno. */
int trash_move(struct trash *t, int dirfd, const char *name) MUST_CHECK;

#endif
