/*
 * Standard input and outputs of a process: the given descriptors, or a terminal of its own.
 *
 * The terminal comes out of the container's own devpts. Nothing is believed about its path: the
 * multiplexer must be character device 5:2 on a devpts, and the other side is had from the
 * multiplexer's descriptor (TIOCGPTPEER), never by the name of a file that others can change. The
 * first process sees it as /dev/console too, bound by descriptor.
 */
#include "child.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "sys.h"

static int multiplexer_open(struct err *e)
{
    _cleanup_close_ int fd = sys_openat2(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW,
                                         0, RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
    if (fd < 0)
        return err_errno(e, fd, "open /dev/pts/ptmx in the container");
    struct stat st;
    struct statfs fs;
    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return err_errno(e, errno, "check /dev/pts/ptmx in the container");
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || fs.f_type != DEVPTS_SUPER_MAGIC)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "/dev/pts/ptmx in the container is not a terminal multiplexer");
    return take_fd(&fd);
}

/* Binds the terminal over /dev/console of podd's own /dev. */
static int console_bind(int terminal, struct err *e)
{
    _cleanup_close_ int dev = sys_openat2(AT_FDCWD, "/dev", O_PATH | O_DIRECTORY, 0,
                                          RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
    struct statfs fs;
    if (dev < 0 || fstatfs(dev, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
        return 0; /* the container brought a /dev of its own */
    if (mknodat(dev, "console", S_IFREG | 0600, 0) < 0 && errno != EEXIST)
        return err_errno(e, errno, "make /dev/console");
    _cleanup_close_ int target = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_close_ int mount = sys_open_tree(terminal, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    int r = target < 0 ? -errno : mount < 0 ? mount : sys_mount_onto(mount, target);
    return r < 0 ? err_errno(e, r, "bind the terminal on /dev/console") : 0;
}

static int terminal_make(struct child *c, int *ret, struct err *e)
{
    _cleanup_close_ int master = multiplexer_open(e);
    if (master < 0)
        return -1;
    int unlock = 0;
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return err_errno(e, errno, "unlock the terminal");
    _cleanup_close_ int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        return err_errno(e, errno, "open the terminal");
    if (fchown(terminal, c->process->uid, (gid_t)-1) < 0)
        return err_errno(e, errno, "give the terminal to user %u", c->process->uid);
    if (c->is_init && console_bind(terminal, e) < 0)
        return -1;
    if (ioctl(terminal, TIOCSCTTY, 0) < 0)
        return err_errno(e, errno, "make the terminal the controlling one");
    int r = report_terminal(c->report, master);
    if (r < 0)
        return err_errno(e, r, "hand the terminal over");
    *ret = take_fd(&terminal);
    return 0;
}

int stdio_attach(struct child *c, struct err *e)
{
    if (setsid() < 0)
        return err_errno(e, errno, "make a session");
    _cleanup_close_ int terminal = -1;
    if (c->process->tty) {
        if (terminal_make(c, &terminal, e) < 0 || terminal < 3)
            return -1;
        for (int i = 0; i < 3; i++)
            c->stdio[i] = terminal;
    }
    for (int i = 0; i < 3; i++) {
        if (c->stdio[i] < 0)
            return err_set(e, ERR_INTERNAL, "descriptor %d was not given", i);
        if (dup3(c->stdio[i], i, 0) < 0)
            return err_errno(e, errno, "set descriptor %d", i);
    }
    return 0;
}
