/*
 * main.c - the daemon's life: configuration, wiring of the rooms, readiness, shutdown.
 *
 * The order of starting is the order of dependency: what can fail for a reason that a person can
 * mend (privileges, kernel, directories, socket, network) comes first and says so in one line. The
 * API listens early but answers UNAVAILABLE until recovery has made the lists exact.
 *
 * SIGTERM and SIGINT end the daemon only: pods, their shims and their network go on, and the next
 * podd takes them up. `podctl system stop` is what stops pods.
 */
#include "config.h"
#include "daemon.h"

#include "podd/base.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>

/* --help and --version are for everybody. */
static bool asks_for_text(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (str_equal(argv[i], "--help") || str_equal(argv[i], "--version"))
            return true;
    return false;
}

/* A list of thousands of containers takes megabytes for a moment, every second under a kubelet. By
 * default the C library gives such memory back to the kernel each time and has it cleared anew,
 * which cost two thirds of the whole list. What is kept is bounded by these, and by the largest
 * list. */
static void tune_heap(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

int main(int argc, char **argv)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct config *config = NULL;

    tune_heap();
    if (geteuid() != 0 && !asks_for_text(argc, argv)) {
        fprintf(
            stderr,
            "podd: must run as root (it makes namespaces, mounts and cgroups); this is uid %u\n",
            (unsigned)geteuid());
        return 1;
    }
    int r = config_load(argc, argv, &config, &e);
    if (r > 0)
        return 0; /* --help or --version said all there is */
    if (r < 0) {
        fprintf(stderr, "podd: %s\n", err_text(&e));
        return 2;
    }
    log_set_level(config->log_level);
    signal(SIGPIPE, SIG_IGN);

    r = daemon_run(config, &e);
    if (r < 0)
        fprintf(stderr, "podd: %s\n", err_text(&e));
    config_free(config);
    return r < 0 ? 1 : 0;
}
