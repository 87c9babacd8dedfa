/*
 * seal.c - runs the program from a copy that nobody can write to.
 *
 * Between clone and execve the first process of a container is the shim's own program, already
 * inside. Through its /proc/PID/exe a hostile image could open the file and, once no process runs
 * it, overwrite podd-shim on the host for the next pod (CVE-2019-5736). A memfd with all seals is a
 * file like any other to execveat(2), but has no way of being changed. The zygote executes it once;
 * every shim shares its pages.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "seal.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

bool seal_is_sealed(void)
{
    _cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    return fd >= 0 && fcntl(fd, F_GET_SEALS) == SEALS;
}

static int copy_self(int to)
{
    struct stat st;
    _cleanup_close_ int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    if (from < 0 || fstat(from, &st) < 0)
        return -errno;
    for (off_t done = 0; done < st.st_size;) {
        ssize_t n = sendfile(to, from, NULL, (size_t)(st.st_size - done));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EIO;
        if (n > 0)
            done += n;
    }
    return 0;
}

int seal_exec(char *const argv[], struct err *e)
{
    static char *const no_env[] = {NULL};
    int fd = memfd_create("podd-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 every memfd can be executed */
        fd = memfd_create("podd-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(e, errno, "make a memory file for podd-shim");
    _cleanup_close_ int memfd = fd;
    int r = copy_self(memfd);
    if (r < 0)
        return err_errno(e, r, "copy podd-shim into memory");
    if (fchmod(memfd, 0500) < 0 || fcntl(memfd, F_ADD_SEALS, SEALS) < 0)
        return err_errno(e, errno, "seal podd-shim in memory");
    syscall(SYS_execveat, memfd, "", argv, no_env, AT_EMPTY_PATH);
    return err_errno(e, errno, "execute podd-shim from memory");
}
