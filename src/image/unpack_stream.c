/*
 * unpack_stream.c - reads the entries of a tar with libarchive and builds the tree from them.
 *
 * libarchive only parses: the stream is decompressed and digested before it (unpack_input.c), and
 * nothing of its own writing to disk is used. The locale stays "C": in any other libarchive would
 * convert names, and names are bytes (it says so with a warning per name that is not ASCII). Any
 * other warning means that an entry was not fully understood, and is an error.
 */
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "unpack.h"

const struct unpack_limits UNPACK_LIMITS = {
    .entries = 4000000,
    .tar_bytes = UINT64_C(64) << 30,
    .ratio_free = 64 << 20,
    .ratio = 1000,
    .depth = 256,
    .xattr_bytes = 64 << 10,
    .opaque_bytes = 1 << 20,
};
#define ID_MAX (UINT32_MAX - 1)

struct unpack {
    const struct unpack_limits *limits;
    struct input *input;
    struct tree *tree;
    struct archive *archive;
    struct unpack_result *result;
    struct err input_error;
};

static la_ssize_t read_input(struct archive *a, void *arg, const void **ret)
{
    struct unpack *u = arg;
    ssize_t n = input_read(u->input, ret, &u->input_error);

    if (n < 0)
        archive_set_error(a, EIO, "%s", err_text(&u->input_error));
    return n;
}

static int fail_archive(struct unpack *u, struct err *e)
{
    if (u->input_error.code)
        return err_move(e, &u->input_error);
    const char *why = archive_error_string(u->archive);
    return err_set(e, ERR_DATA_LOSS, "the tar is damaged: %s", why ? why : "unknown error");
}

/* ---- Attributes of an entry ------------------------------------------------------------------ */

struct xattrs {
    struct entry_xattr *items;
    size_t n;
};

static void collect_xattrs(struct archive_entry *entry, struct xattrs *ret)
{
    const char *name;
    const void *value;
    size_t size;

    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
        if (!name)
            continue;
        struct entry_xattr *x = array_push(&ret->items, &ret->n, sizeof(*x));
        *x = (struct entry_xattr){.name = name, .value = value, .size = size};
    }
}

static int collect_meta(struct archive_entry *entry, const struct xattrs *xattrs,
                        struct entry_meta *ret, struct err *e)
{
    int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

    if (uid < 0 || uid > ID_MAX || gid < 0 || gid > ID_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "its owner %lld:%lld is out of range",
                       (long long)uid, (long long)gid);
    *ret = (struct entry_meta){
        .uid = (uint32_t)uid,
        .gid = (uint32_t)gid,
        .mode = archive_entry_perm(entry) & 07777,
        .mtime = archive_entry_mtime(entry),
        .mtime_ns = archive_entry_mtime_nsec(entry),
        .xattrs = xattrs->items,
        .n_xattrs = xattrs->n,
    };
    if (ret->mtime_ns < 0 || ret->mtime_ns >= NS_PER_SEC)
        ret->mtime_ns = 0;
    return 0;
}

/* ---- Entries --------------------------------------------------------------------------------- */

static int write_at(int fd, const void *data, size_t len, int64_t offset, struct err *e)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "write");
        data = (const char *)data + n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

/* Copies the data; what the archive leaves out are holes. */
static int write_data(struct unpack *u, int fd, int64_t size, struct err *e)
{
    const void *data;
    size_t len;
    la_int64_t offset;
    int64_t end = 0;
    int r;

    while ((r = archive_read_data_block(u->archive, &data, &len, &offset)) == ARCHIVE_OK) {
        if (offset < 0 || offset > INT64_MAX - (int64_t)len)
            return err_set(e, ERR_DATA_LOSS, "its data is out of order");
        if (write_at(fd, data, len, offset, e) < 0)
            return -1;
        if (offset + (int64_t)len > end)
            end = offset + (int64_t)len;
    }
    if (r != ARCHIVE_EOF)
        return fail_archive(u, e);
    if (size > end && ftruncate(fd, size) < 0)
        return err_errno(e, errno, "truncate");
    return 0;
}

static int add_file(struct unpack *u, struct archive_entry *entry, const char *path,
                    const struct entry_meta *m, struct err *e)
{
    _cleanup_close_ int fd = -1;

    if (tree_begin_file(u->tree, path, &fd, e) < 0 ||
        write_data(u, fd, archive_entry_size(entry), e) < 0)
        return -1;
    return tree_end_file(u->tree, fd, m, e);
}

static int add_hardlink(struct unpack *u, const char *path, const char *target, struct err *e)
{
    _cleanup_free_ char *clean = NULL;

    if (entry_path_clean(target, u->limits, &clean, e) < 0)
        return err_wrap(e, "it is a hard link to \"%.300s\"", target);
    return tree_add_hardlink(u->tree, path, clean, e);
}

static int add_by_type(struct unpack *u, struct archive_entry *entry, const char *path,
                       const struct entry_meta *m, struct err *e)
{
    const char *hardlink = archive_entry_hardlink(entry);

    if (hardlink)
        return add_hardlink(u, path, hardlink, e);
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return add_file(u, entry, path, m, e);
    case AE_IFDIR:
        return tree_add_dir(u->tree, path, m, e);
    case AE_IFLNK:
        return tree_add_symlink(u->tree, path, archive_entry_symlink(entry), m, e);
    case AE_IFIFO:
        return tree_add_fifo(u->tree, path, m, e);
    case AE_IFCHR:
        if (archive_entry_rdev(entry) == makedev(0, 0))
            return tree_add_whiteout(u->tree, path, e);
        break;
    default:
        break;
    }
    /* Containers get their devices from the runtime, never from an image. */
    u->result->skipped++;
    return 0;
}

/* The path with its last component replaced; "" for the directory itself. */
static char *sibling(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t dir = slash ? (size_t)(slash - path) : 0;

    return xasprintf("%.*s%s%s", (int)dir, path, dir && *name ? "/" : "", name);
}

static int add_whiteout(struct unpack *u, const char *path, enum entry_kind kind, struct err *e)
{
    const char *slash = strrchr(path, '/');
    const char *hidden = (slash ? slash + 1 : path) + strlen(".wh.");
    _cleanup_free_ char *target = sibling(path, kind == ENTRY_WHITEOUT ? hidden : "");

    return kind == ENTRY_WHITEOUT ? tree_add_whiteout(u->tree, target, e)
                                  : tree_add_opaque(u->tree, target, e);
}

static int add_entry(struct unpack *u, struct archive_entry *entry, const char *name, struct err *e)
{
    CLEANUP(free_ptr) char *path = NULL;
    struct xattrs xattrs = {0};
    struct entry_meta meta;
    enum entry_kind kind;

    if (entry_path_clean(name, u->limits, &path, e) < 0 || entry_path_kind(path, &kind, e) < 0)
        return -1;
    if (kind == ENTRY_IGNORED)
        return 0;
    if (kind != ENTRY_PLAIN)
        return add_whiteout(u, path, kind, e);
    collect_xattrs(entry, &xattrs);
    int r = collect_meta(entry, &xattrs, &meta, e);
    if (r == 0)
        r = add_by_type(u, entry, path, &meta, e);
    free(xattrs.items);
    return r;
}

/* ---- The archive ----------------------------------------------------------------------------- */

static bool is_about_charset(struct archive *a)
{
    const char *text = archive_error_string(a);

    return text && strstr(text, "can't be converted");
}

static int read_entries(struct unpack *u, struct err *e)
{
    struct archive_entry *entry;
    uint64_t n = 0;
    int r;

    while ((r = archive_read_next_header(u->archive, &entry)) != ARCHIVE_EOF) {
        if (r != ARCHIVE_OK && !(r == ARCHIVE_WARN && is_about_charset(u->archive)))
            return fail_archive(u, e);
        if (++n > u->limits->entries)
            return err_set(e, ERR_RESOURCE_EXHAUSTED, "the archive has more than %llu entries",
                           (unsigned long long)u->limits->entries);
        const char *name = archive_entry_pathname(entry);
        if (add_entry(u, entry, name, e) < 0)
            return err_wrap(e, "the archive's entry \"%.300s\"", name ? name : "");
    }
    return 0;
}

static int unpack_all(struct unpack *u, struct err *e)
{
    archive_read_support_format_tar(u->archive);
    if (archive_read_open(u->archive, u, NULL, read_input, NULL) != ARCHIVE_OK)
        return fail_archive(u, e);
    if (read_entries(u, e) < 0 || input_finish(u->input, u->result, e) < 0)
        return -1;
    return tree_finish(u->tree, u->result, e);
}

int unpack_stream(int input_fd, int target_fd, const struct unpack_limits *limits,
                  struct unpack_result *ret, struct err *e)
{
    struct unpack_result result = {0};
    struct unpack u = {
        .limits = limits,
        .input = input_new(input_fd, limits),
        .tree = tree_new(target_fd, limits),
        .archive = archive_read_new(),
        .result = &result,
    };

    if (!u.archive)
        abort(); /* only without memory */
    int r = unpack_all(&u, e);
    archive_read_free(u.archive);
    tree_free(u.tree);
    input_free(u.input);
    err_clear(&u.input_error);
    if (r < 0)
        unpack_result_clear(&result);
    else
        *ret = result;
    return r;
}

void unpack_result_clear(struct unpack_result *r)
{
    strv_free(r->opaque);
    *r = (struct unpack_result){0};
}
