/*
 * user.c - who "USER name:group" is, by the image's own passwd and group files.
 *
 * The files are the image author's: they are opened inside the root file system without following
 * a link out of it, without blocking on a fifo, and read up to a limit. libc's name service is
 * never asked: it would load what the image says. A text of digits is a number and never looked up
 * as a name, so that a passwd line cannot give the id 0 to a user called "1000".
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "podd/image.h"

enum {
    FILE_MAX = 1 << 20,
    GROUPS_MAX = 65536, /* NGROUPS_MAX */
};
#define ID_MAX (UINT32_MAX - 1) /* -1 is "no change" for the kernel */

/* Opens a regular file below the root; -ENOENT when there is none. The O_PATH fd comes first:
 * opening a device that a container has made there would already do something. */
static int open_regular(int rootfs_fd, const char *path, struct stat *ret_st)
{
    char self[32];
    _cleanup_close_ int fd = open_in_root(rootfs_fd, path, O_PATH, 0);

    if (fd < 0)
        return fd;
    if (fstat(fd, ret_st) < 0)
        return -errno;
    if (!S_ISREG(ret_st->st_mode))
        return -EMEDIUMTYPE;
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    int real = open(self, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    return real < 0 ? -errno : real;
}

/* Reads `path` below the root. 0 with empty bytes when it does not exist. */
static int read_in_root(int rootfs_fd, const char *path, struct bytes *ret, struct err *e)
{
    struct stat st;
    _cleanup_close_ int fd = open_regular(rootfs_fd, path, &st);

    if (fd == -ENOENT || fd == -ENOTDIR)
        return 0;
    if (fd == -EMEDIUMTYPE)
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's %s is not a regular file", path);
    if (fd < 0)
        return err_errno(e, fd, "open the image's %s", path);
    if (st.st_size > FILE_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "the image's %s is larger than %d bytes", path,
                       FILE_MAX);
    ret->data = xmalloc((size_t)st.st_size + 1);
    ssize_t n = fd_read_full(fd, ret->data, (size_t)st.st_size);
    if (n < 0)
        return err_errno(e, (int)n, "read the image's %s", path);
    ret->len = (size_t)n;
    ret->data[n] = 0;
    return 0;
}

/* One line of a colon-separated file, cut in place. */
enum { FIELDS_MAX = 7 };
struct line {
    char *field[FIELDS_MAX];
    size_t n;
};

/* The next line of *text; false at the end. Lines with a NUL in them end there. */
static bool next_line(char **text, struct line *ret)
{
    char *line = *text;

    if (!*line)
        return false;
    char *end = line + strcspn(line, "\n");
    *text = *end ? end + 1 : end;
    *end = 0;
    ret->n = 0;
    while (ret->n < FIELDS_MAX) {
        char *colon = strchr(line, ':');
        ret->field[ret->n++] = line;
        if (!colon || ret->n == FIELDS_MAX)
            break;
        *colon = 0;
        line = colon + 1;
    }
    return true;
}

static bool parse_id(const char *s, uint32_t *ret)
{
    uint64_t id;

    if (parse_uint(s, ID_MAX, &id) < 0)
        return false;
    *ret = (uint32_t)id;
    return true;
}

static bool is_digits(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

/* The first line of passwd that has this name (or, with NULL, this uid). */
static bool find_user(char *passwd, const char *name, uint32_t uid, struct image_user *ret)
{
    struct line line;

    while (next_line(&passwd, &line)) {
        uint32_t line_uid, line_gid;
        if (line.n < 4 || !parse_id(line.field[2], &line_uid) ||
            !parse_id(line.field[3], &line_gid) || !*line.field[0])
            continue;
        if (name ? !str_equal(line.field[0], name) : line_uid != uid)
            continue;
        ret->uid = line_uid;
        ret->gid = line_gid;
        ret->name = xstrdup(line.field[0]);
        if (line.n > 5 && *line.field[5] == '/')
            ret->home = xstrdup(line.field[5]);
        return true;
    }
    return false;
}

static bool is_member(const char *members, const char *name)
{
    size_t len = strlen(name);

    while (*members) {
        size_t n = strcspn(members, ",");
        if (n == len && memcmp(members, name, n) == 0)
            return true;
        members += n + (members[n] == ',');
    }
    return false;
}

static void add_group(struct image_user *u, uint32_t gid)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (u->groups[i] == gid)
            return;
    if (u->n_groups < GROUPS_MAX)
        *(uint32_t *)array_push(&u->groups, &u->n_groups, sizeof(gid)) = gid;
}

/* One pass over group: the gid of `name` (NULL: not asked), and the groups that list the user. */
static bool scan_groups(char *text, const char *name, uint32_t *ret_gid, struct image_user *u)
{
    struct line line;
    bool found = false;

    while (next_line(&text, &line)) {
        uint32_t gid;
        if (line.n < 3 || !parse_id(line.field[2], &gid))
            continue;
        if (name && !found && str_equal(line.field[0], name)) {
            *ret_gid = gid;
            found = true;
        }
        if (line.n > 3 && !str_empty(u->name) && is_member(line.field[3], u->name))
            add_group(u, gid);
    }
    return found;
}

static int resolve_user(char *passwd, const char *user, struct image_user *u, struct err *e)
{
    uint32_t uid = 0;

    if (*user && !is_digits(user)) {
        if (!find_user(passwd, user, 0, u))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "the image has no user \"%.100s\" (in its /etc/passwd)", user);
        return 0;
    }
    if (*user && !parse_id(user, &uid))
        return err_set(e, ERR_INVALID_ARGUMENT, "the user id %.100s is not in 0..%u", user, ID_MAX);
    /* Without an entry: group 0, as everywhere else. */
    if (!find_user(passwd, NULL, uid, u))
        u->uid = uid;
    return 0;
}

static int resolve_groups(char *group_file, const char *group, struct image_user *u, struct err *e)
{
    bool by_name = group && !is_digits(group);
    uint32_t gid = u->gid;

    bool found = scan_groups(group_file, by_name ? group : NULL, &gid, u);
    if (by_name && !found)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the image has no group \"%.100s\" (in its /etc/group)", group);
    if (group && !by_name && !parse_id(group, &gid))
        return err_set(e, ERR_INVALID_ARGUMENT, "the group id %.100s is not in 0..%u", group,
                       ID_MAX);
    u->gid = gid;
    return 0;
}

int image_user_resolve(int rootfs_fd, const char *user, struct image_user *ret, struct err *e)
{
    _cleanup_free_ char *user_part = xstrdup(user ? user : "");
    _cleanup_bytes_ struct bytes passwd = {0}, groups = {0};
    struct image_user u = {0};
    char empty[1] = "";
    char *group = strchr(user_part, ':');

    if (group) {
        *group++ = 0;
        if (!*group || !*user_part)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "the user \"%.100s\" is not of the form user[:group]", user);
    }
    if (read_in_root(rootfs_fd, "/etc/passwd", &passwd, e) < 0 ||
        read_in_root(rootfs_fd, "/etc/group", &groups, e) < 0)
        return -1;
    if (resolve_user(passwd.data ? (char *)passwd.data : empty, user_part, &u, e) < 0 ||
        resolve_groups(groups.data ? (char *)groups.data : empty, group, &u, e) < 0) {
        image_user_clear(&u);
        return -1;
    }
    if (!u.name)
        u.name = xstrdup("");
    if (!u.home)
        u.home = xstrdup("/");
    *ret = u;
    return 0;
}

void image_user_clear(struct image_user *u)
{
    free(u->groups);
    free(u->name);
    free(u->home);
    *u = (struct image_user){0};
}
