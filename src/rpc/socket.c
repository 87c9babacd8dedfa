/*
 * socket.c - the unix socket that a server listens on.
 *
 * Whether a file that is already there belongs to a running server is told by connect(2) alone: a
 * pid file or a lock could lie. The socket is bound here rather than by gRPC, which would remove
 * whatever socket it finds, and the mode is right from birth.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "private.h"

int unix_address_path(const char *address, const char **ret, struct err *e)
{
    size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const char *path = NULL;

    if (str_starts_with(address, "unix://"))
        path = address + strlen("unix://");
    else if (str_starts_with(address, "unix:"))
        path = address + strlen("unix:");
    if (!path || path[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "address \"%s\" is not of the form unix:///path/to/socket", address);
    if (strlen(path) > max)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "socket path %s is %zu bytes long; the kernel takes at most %zu", path,
                       strlen(path), max);
    *ret = path;
    return 0;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};

    memcpy(sun.sun_path, path, strlen(path)); /* shorter than sun_path: unix_address_path() */
    return sun;
}

/* Removes a file that nobody listens on. */
static int remove_stale(const char *path, struct err *e)
{
    struct sockaddr_un sun = address_of(path);
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, errno, "look at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_ALREADY_EXISTS,
                       "%s exists and is not a socket; remove it or choose another address", path);

    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "create a socket");
    /* A full backlog (EAGAIN) is a server too. */
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 || errno == EAGAIN)
        return err_set(e, ERR_ALREADY_EXISTS, "socket %s is in use by a running server", path);
    if (errno != ECONNREFUSED && errno != ENOENT)
        return err_errno(e, errno, "find out whether socket %s is in use", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove the stale socket %s", path);
    return 0;
}

int unix_socket_listen(const char *path, dev_t *ret_dev, ino_t *ret_ino, struct err *e)
{
    struct sockaddr_un sun = address_of(path);
    struct stat st;

    if (remove_stale(path, e) < 0)
        return -1;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "create a socket");
    /* On an unbound unix socket this is the mode that bind(2) gives the file, less the umask. */
    if (fchmod(fd, 0600) < 0)
        return err_errno(e, errno, "set the mode of a socket");
    if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
        return err_errno(e, errno, "bind socket %s", path);
    if (lstat(path, &st) < 0)
        return err_errno(e, errno, "look at socket %s", path);
    if (listen(fd, SOMAXCONN) < 0) {
        int r = errno;
        unix_socket_unlink(path, st.st_dev, st.st_ino);
        return err_errno(e, r, "listen on socket %s", path);
    }
    *ret_dev = st.st_dev;
    *ret_ino = st.st_ino;
    return take_fd(&fd);
}

void unix_socket_unlink(const char *path, dev_t dev, ino_t ino)
{
    struct stat st;

    if (lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino)
        unlink(path);
}
