/*
 * unpack_path.c - names of entries in an archive: checked and brought into one form.
 *
 * Names that would leave the root if taken literally are refused, not bent: who writes them is
 * either broken or hostile, and both should be told.
 */
#include <limits.h>

#include "unpack.h"

static const char WHITEOUT[] = ".wh.";
static const char WHITEOUT_META[] = ".wh..wh.";
static const char WHITEOUT_OPAQUE[] = ".wh..wh..opq";

static int refuse(const char *why, struct err *e)
{
    return err_set(e, ERR_INVALID_ARGUMENT, "%s", why);
}

int entry_path_clean(const char *name, const struct unpack_limits *limits, char **ret,
                     struct err *e)
{
    _cleanup_strbuf_ struct strbuf clean = {0};
    unsigned depth = 0;

    if (str_empty(name))
        return refuse("it has no name", e);
    if (strlen(name) >= PATH_MAX)
        return refuse("its name is too long", e);
    if (name[0] == '/' && name[strspn(name, "/")])
        return refuse("its path is absolute", e);
    for (const char *s = name; *s;) {
        size_t len = strcspn(s, "/");
        if (len == 2 && memcmp(s, "..", 2) == 0)
            return refuse("its path has \"..\" in it", e);
        if (len > NAME_MAX)
            return refuse("a component of its path is too long", e);
        if (len > 0 && !(len == 1 && *s == '.')) {
            if (++depth > limits->depth)
                return refuse("it is too deep", e);
            if (clean.len)
                strbuf_adds(&clean, "/");
            strbuf_add(&clean, s, len);
        }
        s += len + (s[len] == '/');
    }
    *ret = strbuf_take(&clean);
    return 0;
}

static bool is_aufs_meta(const char *name, size_t len)
{
    bool opaque = len == strlen(WHITEOUT_OPAQUE) && memcmp(name, WHITEOUT_OPAQUE, len) == 0;

    return str_starts_with(name, WHITEOUT_META) && !opaque;
}

int entry_path_kind(const char *path, enum entry_kind *ret, struct err *e)
{
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;

    for (const char *s = path; s < last; s = strchr(s, '/') + 1) {
        if (is_aufs_meta(s, strcspn(s, "/"))) {
            *ret = ENTRY_IGNORED;
            return 0;
        }
        if (str_starts_with(s, WHITEOUT))
            return refuse("it lies below a whiteout", e);
    }
    if (!str_starts_with(last, WHITEOUT)) {
        *ret = ENTRY_PLAIN;
        return 0;
    }
    if (str_equal(last, WHITEOUT_OPAQUE)) {
        *ret = ENTRY_OPAQUE;
        return 0;
    }
    if (is_aufs_meta(last, strlen(last))) {
        *ret = ENTRY_IGNORED;
        return 0;
    }
    const char *hidden = last + strlen(WHITEOUT);
    if (!*hidden || str_equal(hidden, ".") || str_equal(hidden, ".."))
        return refuse("it is a whiteout of nothing", e);
    *ret = ENTRY_WHITEOUT;
    return 0;
}
