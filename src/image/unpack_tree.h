/* unpack_tree.h - the inside of struct tree, for the two files that work on it. */
#ifndef IMAGE_UNPACK_TREE_H
#define IMAGE_UNPACK_TREE_H

#include <sys/stat.h>
#include <time.h>

#include "unpack.h"

/* A directory whose time is to be set at the end. */
struct dir_time {
    char *path;
    struct timespec mtime;
};

struct tree {
    int root; /* borrowed */
    const struct unpack_limits *limits;
    char *parent_path; /* of the last entry, with its fd: neighbours come in a row */
    int parent;
    struct dir_time *times;
    size_t n_times;
    struct map *opaque; /* path -> anything */
    size_t opaque_bytes;
};

/* openat2(2) that stays below `dir`; "" is `dir` itself. `resolve` adds to that. fd or -errno. */
int tree_open_beneath(int dir, const char *path, int flags, uint64_t resolve);

#endif
