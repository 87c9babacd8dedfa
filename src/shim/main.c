/*
 * main.c - podd-shim, the program.
 *
 * Started by podd only: `podd-shim --zygote` with a socket as fd 3. It executes itself once more
 * from sealed memory (seal.c), with room in its command line where every shim puts its pod's id.
 */
#include <malloc.h>
#include <stdio.h>

#include "seal.h"
#include "zygote.h"

enum { SOCKET_FD = 3 };

#define TITLE_ROOM "                                                                              "

static int fail(const char *text)
{
    fd_write_all(STDERR_FILENO, text, strlen(text));
    return 2;
}

/* A small heap that gives back what is large or at its end. */
static void tune_heap(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 * 1024);
    mallopt(M_TRIM_THRESHOLD, 32 * 1024);
    mallopt(M_TOP_PAD, 4096);
}

int main(int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (argc == 2 && str_equal(argv[1], "--zygote")) {
        char title[] = TITLE_ROOM;
        char *const sealed_argv[] = {"podd-shim", "--sealed-zygote", title, NULL};
        seal_exec(sealed_argv, &e);
        log_error("shim", NULL, "%s", err_text(&e));
        return 1;
    }
    if (argc == 2 && str_equal(argv[1], "--version")) {
        static const char version[] = "podd-shim " PODD_VERSION "\n";
        return fd_write_all(STDOUT_FILENO, version, sizeof(version) - 1) < 0;
    }
    if (argc != 3 || !str_equal(argv[1], "--sealed-zygote"))
        return fail("podd-shim is started by podd, not by hand.\n");
    if (!seal_is_sealed())
        return fail("podd-shim does not run from sealed memory.\n");
    tune_heap();
    /* From "--sealed-zygote" on: the strings lie one behind the other. */
    return zygote_main(SOCKET_FD, argv[1], (size_t)(argv[2] + strlen(argv[2]) - argv[1]));
}
