/*
 * volume_files.c - see the header. Everything is done below the descriptor of the volume, no link
 * is followed, and nothing that exists is written to.
 */
#include "volume_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#define DATA_LINK "..data"
#define DATA_LINK_NEW "..data_new"
#define NAME_DIGITS 16 /* of the hash: enough to tell two contents of one volume apart */

/* ---- Names -------------------------------------------------------------------------------------
 */

static void hash_number(EVP_MD_CTX *hash, uint64_t number)
{
    EVP_DigestUpdate(hash, &number, sizeof(number));
}

/* The name of the data directory: the same content has the same name. Caller frees. */
static char *data_name(const struct payload *p, int64_t gid)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned len = 0;

    if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        abort(); /* out of memory */
    hash_number(hash, (uint64_t)gid);
    for (size_t i = 0; i < p->count; i++) {
        const struct payload_file *f = &p->files[i];
        EVP_DigestUpdate(hash, f->path, strlen(f->path) + 1);
        hash_number(hash, f->mode);
        hash_number(hash, f->data.len);
        EVP_DigestUpdate(hash, f->data.data, f->data.len);
    }
    EVP_DigestFinal_ex(hash, digest, &len);
    EVP_MD_CTX_free(hash);
    hex_encode(digest, len, hex);
    return xasprintf("..%.*s", NAME_DIGITS, hex);
}

static char *first_component(const char *path)
{
    return xstrndup(path, strcspn(path, "/"));
}

/* ---- The data directory ------------------------------------------------------------------------
 */

/* Makes name, or opens it when it is there. fd or -errno. */
static int enter_directory(int dirfd, const char *name, int64_t gid)
{
    if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if ((gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)gid) < 0) ||
        fchmod(fd, gid >= 0 ? 02755 : 0755) < 0) {
        int r = -errno;
        fd_close(fd);
        return r;
    }
    return fd;
}

static int write_content(int fd, const struct payload_file *f, int64_t gid)
{
    int r = fd_write_all(fd, f->data.data, f->data.len);

    if (r < 0)
        return r;
    if (gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)gid) < 0)
        return -errno;
    return fchmod(fd, gid >= 0 ? f->mode | 0440 : f->mode) < 0 ? -errno : 0;
}

static int write_file(int datafd, const struct payload_file *f, int64_t gid)
{
    _cleanup_close_ int dir = fd_dup(datafd);
    const char *rest = f->path;

    if (dir < 0)
        return dir;
    for (const char *slash; (slash = strchr(rest, '/')); rest = slash + 1) {
        _cleanup_free_ char *name = xstrndup(rest, (size_t)(slash - rest));
        int next = enter_directory(dir, name, gid);
        if (next < 0)
            return next;
        fd_close(dir);
        dir = next;
    }
    _cleanup_close_ int fd =
        openat(dir, rest, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : write_content(fd, f, gid);
}

static int make_data(int dirfd, const char *name, const struct payload *p, int64_t gid,
                     struct err *e)
{
    if (tree_remove(dirfd, name, e) < 0) /* of an attempt that a crash has ended */
        return -1;
    _cleanup_close_ int data = enter_directory(dirfd, name, gid);
    if (data < 0)
        return err_errno(e, data, "make %s", name);
    for (size_t i = 0; i < p->count; i++) {
        int r = write_file(data, &p->files[i], gid);
        if (r < 0)
            return err_errno(e, r, "write %s", p->files[i].path);
    }
    return 0;
}

/* ---- The links ---------------------------------------------------------------------------------
 */

static int switch_data(int dirfd, const char *name, struct err *e)
{
    if (unlinkat(dirfd, DATA_LINK_NEW, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove %s", DATA_LINK_NEW);
    if (symlinkat(name, dirfd, DATA_LINK_NEW) < 0 ||
        renameat(dirfd, DATA_LINK_NEW, dirfd, DATA_LINK) < 0)
        return err_errno(e, errno, "switch %s to %s", DATA_LINK, name);
    return 0;
}

static int link_files(int dirfd, const struct payload *p, struct err *e)
{
    for (size_t i = 0; i < p->count; i++) {
        _cleanup_free_ char *name = first_component(p->files[i].path);
        _cleanup_free_ char *target = xasprintf("%s/%s", DATA_LINK, name);
        if (symlinkat(target, dirfd, name) < 0 && errno != EEXIST)
            return err_errno(e, errno, "make the link %s", name);
    }
    return 0;
}

static bool is_wanted(const char *entry, const char *data, const struct payload *p)
{
    if (str_equal(entry, ".") || str_equal(entry, "..") || str_equal(entry, DATA_LINK) ||
        str_equal(entry, data))
        return true;
    for (size_t i = 0; i < p->count; i++) {
        size_t len = strcspn(p->files[i].path, "/");
        if (strlen(entry) == len && strncmp(entry, p->files[i].path, len) == 0)
            return true;
    }
    return false;
}

/* Removes what is of the content before. */
static int remove_rest(int dirfd, const char *data, const struct payload *p, struct err *e)
{
    int r = 0, listing = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = listing < 0 ? NULL : fdopendir(listing);
    char **rest = NULL;

    if (!stream) {
        err_errno(e, errno, "list the volume");
        fd_close(listing);
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(stream));)
        if (!is_wanted(entry->d_name, data, p))
            strv_push(&rest, entry->d_name);
    closedir(stream);
    for (char **name = rest; name && *name && r == 0; name++)
        r = tree_remove(dirfd, *name, e);
    strv_free(rest);
    return r;
}

int volume_files_write(int dirfd, const struct payload *p, int64_t gid, struct err *e)
{
    _cleanup_free_ char *name = data_name(p, gid);
    char now[64] = "";

    if (readlinkat(dirfd, DATA_LINK, now, sizeof(now) - 1) < 0 && errno != ENOENT)
        return err_errno(e, errno, "read the link %s", DATA_LINK);
    if (!str_equal(now, name) &&
        (make_data(dirfd, name, p, gid, e) < 0 || switch_data(dirfd, name, e) < 0))
        return -1;
    return link_files(dirfd, p, e) < 0 ? -1 : remove_rest(dirfd, name, p, e);
}
