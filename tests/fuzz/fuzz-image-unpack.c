/* fuzz-image-unpack.c - layers: any bytes as a stream, unpacked below a directory of its own.
 * Beside it lies a file that no archive may touch. Needs root, as unpacking does. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "unpack.h"

static struct {
    char path[64];
    int fd;
    struct stat canary;
} top = {.fd = -1};

static void clean_up(void)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (tree_remove(AT_FDCWD, top.path, &e) < 0)
        fprintf(stderr, "%s\n", err_text(&e));
}

static void prepare(void)
{
    _cleanup_err_ struct err e = ERR_INIT;

    snprintf(top.path, sizeof(top.path), "/tmp/podd-fuzz-unpack-XXXXXX");
    if (!mkdtemp(top.path))
        abort();
    atexit(clean_up);
    top.fd = open(top.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top.fd < 0 || file_write_atomic(top.fd, "canary", "x", 1, 0600, false, &e) < 0 ||
        fstatat(top.fd, "canary", &top.canary, AT_SYMLINK_NOFOLLOW) < 0)
        abort();
}

static void check_canary(void)
{
    struct stat st;

    if (fstatat(top.fd, "canary", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != top.canary.st_ino ||
        st.st_nlink != 1 || st.st_ctim.tv_sec != top.canary.st_ctim.tv_sec ||
        st.st_ctim.tv_nsec != top.canary.st_ctim.tv_nsec)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unpack_limits limits = UNPACK_LIMITS;
    _cleanup_err_ struct err e = ERR_INIT, ignored = ERR_INIT;
    struct unpack_result result;

    if (top.fd < 0)
        prepare();
    limits.tar_bytes = 16 << 20;
    limits.entries = 1000;
    _cleanup_close_ int input = memfd_create("layer", MFD_CLOEXEC);
    if (input < 0 || fd_write_all(input, data, size) < 0 || lseek(input, 0, SEEK_SET) < 0 ||
        mkdirat(top.fd, "tree", 0755) < 0)
        abort();
    _cleanup_close_ int target = openat(top.fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (unpack_stream(input, target, &limits, &result, &e) == 0)
        unpack_result_clear(&result);
    check_canary();
    if (tree_remove(top.fd, "tree", &ignored) < 0)
        abort();
    return 0;
}
