/*
 * unpack.h - what the program podd-unpack is made of, apart from its confinement: a stream in, a
 * directory tree in overlayfs' form out. The daemon does not link this.
 */
#ifndef IMAGE_UNPACK_H
#define IMAGE_UNPACK_H

#include "digest.h"

struct unpack_limits {
    uint64_t entries;
    uint64_t tar_bytes;  /* after decompression */
    uint64_t ratio_free; /* this much may come out before the ratio counts */
    unsigned ratio;      /* bytes out per byte in */
    unsigned depth;      /* components of a path */
    size_t xattr_bytes;  /* per file */
    size_t opaque_bytes; /* all names of opaque directories together */
};
extern const struct unpack_limits UNPACK_LIMITS;

struct unpack_result {
    char input_digest[DIGEST_TEXT_SIZE]; /* of the stream as it came */
    uint64_t input_bytes;
    char tar_digest[DIGEST_TEXT_SIZE]; /* after decompression: the diff_id */
    uint64_t tar_bytes;
    uint64_t disk_bytes, inodes; /* what the tree takes */
    uint64_t skipped;            /* device nodes that were left out */
    char **opaque;               /* strv: directories that hide those of lower layers; "." is the
                                    root. Marking them takes privileges that the unpacker lacks. */
};

/* Unpacks the stream of `input_fd` (tar; plain, gzip or zstd) into the empty directory
 * `target_fd`. */
int unpack_stream(int input_fd, int target_fd, const struct unpack_limits *limits,
                  struct unpack_result *ret, struct err *e) MUST_CHECK;
void unpack_result_clear(struct unpack_result *r);

/* ---- unpack_input.c: decompression, digests and their limits */

struct input;
struct input *input_new(int fd, const struct unpack_limits *limits);
/* The next piece of the tar, valid until the next call; 0 at the end. -1: *e. */
ssize_t input_read(struct input *in, const void **ret, struct err *e);
/* Reads what is left, and tells digests and sizes. */
int input_finish(struct input *in, struct unpack_result *ret, struct err *e) MUST_CHECK;
void input_free(struct input *in);

/* ---- unpack_path.c: names of entries */

/* The one form of a name that is used below: no ".", no "..", no doubled or outer slashes; ""
 * is the root. */
int entry_path_clean(const char *name, const struct unpack_limits *limits, char **ret,
                     struct err *e) MUST_CHECK;

enum entry_kind {
    ENTRY_PLAIN,
    ENTRY_WHITEOUT, /* ".wh.x": x of lower layers is gone */
    ENTRY_OPAQUE,   /* ".wh..wh..opq": all of the directory in lower layers is gone */
    ENTRY_IGNORED,  /* other ".wh..wh.*": book-keeping of AUFS */
};
/* What the last component of a clean path means. Refuses malformed whiteouts, and whiteouts as
 * directories. */
int entry_path_kind(const char *path, enum entry_kind *ret, struct err *e) MUST_CHECK;

/* ---- unpack_tree.c: the tree that is being built. Errors do not name the entry; whoever reads
 * the archive does. */

struct tree;
struct tree *tree_new(int target_fd, const struct unpack_limits *limits);
void tree_free(struct tree *t);

struct entry_xattr {
    const char *name;
    const void *value;
    size_t size;
};
struct entry_meta {
    uint32_t uid, gid;
    unsigned mode; /* permissions */
    int64_t mtime;
    long mtime_ns;
    const struct entry_xattr *xattrs;
    size_t n_xattrs;
};

int tree_add_dir(struct tree *t, const char *path, const struct entry_meta *m, struct err *e)
    MUST_CHECK;
/* The new file, open for writing; tree_end_file() gives it its attributes. */
int tree_begin_file(struct tree *t, const char *path, int *ret_fd, struct err *e) MUST_CHECK;
int tree_end_file(struct tree *t, int fd, const struct entry_meta *m, struct err *e) MUST_CHECK;
int tree_add_symlink(struct tree *t, const char *path, const char *target,
                     const struct entry_meta *m, struct err *e) MUST_CHECK;
int tree_add_hardlink(struct tree *t, const char *path, const char *target, struct err *e)
    MUST_CHECK;
int tree_add_fifo(struct tree *t, const char *path, const struct entry_meta *m, struct err *e)
    MUST_CHECK;
int tree_add_whiteout(struct tree *t, const char *path, struct err *e) MUST_CHECK;
int tree_add_opaque(struct tree *t, const char *dir, struct err *e) MUST_CHECK;
/* ---- unpack_finish.c */

/* Sets the times of directories, and tells what the tree takes and which directories are opaque. */
int tree_finish(struct tree *t, struct unpack_result *ret, struct err *e) MUST_CHECK;

/* ---- unpack_confine.c */

/* Gives up everything but the right to build a tree below *target_fd, which is replaced by an fd
 * in the new, empty world. */
int confine_process(int *target_fd, struct err *e) MUST_CHECK;
/* unpack_seccomp.c: the last step of it. */
int confine_system_calls(struct err *e) MUST_CHECK;

#endif
