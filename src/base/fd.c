/*
 * fd.c - closing, copying, and complete reads and writes of file descriptors.
 *
 * The loops below retry EINTR and short transfers only. On a non-blocking fd -EAGAIN comes back to
 * the caller, who then no longer knows how far it got: use them on blocking fds and files.
 */
#include <assert.h>
#include <fcntl.h>

#include <podd/base.h>

void fd_close(int fd)
{
    int saved = errno;

    if (fd < 0)
        return;
    /* After EINTR Linux has closed the fd all the same. EBADF means that somebody closed it
     * before, and may some day close what another thread has just opened: stop right there. */
    if (close(fd) < 0)
        assert(errno != EBADF);
    errno = saved;
}

int fd_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* never in the place of a closed stdin */

    return copy < 0 ? -errno : copy;
}

int fd_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t fd_read_full(int fd, void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read(fd, (char *)buf + done, len - done);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int fd_set_nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
        return -errno;
    return 0;
}
