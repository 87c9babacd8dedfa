/*
 * apparmor.c - podd's default AppArmor profile, and what is known of others.
 *
 * The kernel takes profiles only as compiled policy, whose format belongs to AppArmor's own
 * compiler and to the kernel's version. So the text below goes through apparmor_parser(8), which a
 * node with AppArmor has: once per start of the daemon, before pods are recovered. It reads the
 * text from one anonymous file and complains into another, so neither side waits for the other; one
 * that does not end in time is killed, for the daemon's start waits for it.
 * The profile includes no file of the node and needs none. It stays loaded when the daemon ends,
 * since containers outlive it, and a newer podd replaces it under running containers.
 *
 * What it takes away is what a container's root could still do to the node through /proc and /sys,
 * where a mask or a read-only mount is missing or was asked to be, and mounting, which an added
 * CAP_SYS_ADMIN would allow. A container may signal and trace its own kind only.
 */
#include "apparmor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define PROFILES "/sys/kernel/security/apparmor/profiles"

static const char default_profile[] =
    "profile " APPARMOR_DEFAULT_PROFILE " flags=(attach_disconnected,mediate_deleted) {\n"
    "  file,\n"
    "  capability,\n"
    "  network,\n"
    "  unix,\n"
    "  umount,\n"
    "\n"
    "  signal (receive),\n"
    "  signal (send) peer=" APPARMOR_DEFAULT_PROFILE ",\n"
    "  ptrace (readby, tracedby),\n"
    "  ptrace (read, trace) peer=" APPARMOR_DEFAULT_PROFILE ",\n"
    "\n"
    "  deny /proc/* w,\n"
    "  deny /proc/{acpi,asound,bus,driver,fs,irq,scsi,sys,tty}/** wl,\n"
    "  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,\n"
    "\n"
    "  deny /sys/{block,bus,class,dev,devices,hypervisor,kernel,module,power}/** wkl,\n"
    "  deny /sys/fs/[^c]*/** wkl,\n"
    "  deny /sys/firmware/** rwklx,\n"
    "  deny /sys/devices/virtual/powercap/** rwklx,\n"
    "  deny /sys/kernel/{debug,security,tracing}/** rwklx,\n"
    "\n"
    "  deny mount,\n"
    "}\n";

/* ---- Loading -------------------------------------------------------------------------------- */

struct load {
    pod_done_fn *fn;
    void *arg;
    const char *parser;
    int complaints; /* what the compiler prints */
    int pidfd;
    struct timer *timer;
    int64_t timeout_ms;
    bool timed_out;
};

static void load_end(struct load *l, const struct err *e)
{
    l->fn(l->arg, e);
    timer_free(l->timer);
    fd_close(l->pidfd);
    fd_close(l->complaints);
    free(l);
}

static void on_parser_exit(void *arg, int status)
{
    struct load *l = arg;
    _cleanup_err_ struct err e = ERR_INIT;
    char text[512] = "";

    if (l->timed_out) {
        err_set(&e, ERR_DEADLINE_EXCEEDED, "%s did not end within %lld s", l->parser,
                (long long)l->timeout_ms / 1000);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        ssize_t n = pread(l->complaints, text, sizeof(text) - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        err_set(&e, ERR_INTERNAL, "%s %s %d: %s", l->parser,
                WIFEXITED(status) ? "exited with" : "was ended by signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), text);
    }
    load_end(l, &e);
}

static void on_parser_timer(void *arg)
{
    struct load *l = arg;

    l->timed_out = true;
    (void)pidfd_send_signal(l->pidfd, SIGKILL, NULL, 0); /* on_parser_exit goes on */
}

static int parser_start(struct load *l, struct loop *loop, struct err *e)
{
    char *argv[] = {(char *)"apparmor_parser", (char *)"--replace", (char *)"--skip-cache", NULL};
    _cleanup_close_ int input = memfd_create("podd-apparmor", MFD_CLOEXEC);
    int pidfd = -1;
    pid_t pid;

    l->complaints = memfd_create("podd-apparmor-complaints", MFD_CLOEXEC);
    if (input < 0 || l->complaints < 0)
        return err_errno(e, errno, "memfd_create");
    int r = fd_write_all(input, default_profile, strlen(default_profile));
    if (r < 0 || lseek(input, 0, SEEK_SET) < 0)
        return err_errno(e, r < 0 ? r : errno, "write the profile's text");
    const struct spawn_fd fds[] = {
        {input, STDIN_FILENO}, {l->complaints, STDOUT_FILENO}, {l->complaints, STDERR_FILENO}};
    const struct spawn parser = {
        .path = l->parser, .argv = argv, .fds = fds, .n_fds = ARRAY_SIZE(fds)};
    if (spawn_process(&parser, &pid, &pidfd, e) < 0)
        return -1;
    l->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
    loop_on_exit(loop, pidfd, on_parser_exit, l);
    l->timer = timer_new(loop, on_parser_timer, l);
    timer_start(l->timer, l->timeout_ms);
    return 0;
}

/* What could not be started is told like what failed later. */
struct failed_start {
    struct load *load;
    struct err e;
};

static void on_failed_start(void *arg)
{
    struct failed_start *f = arg;

    load_end(f->load, &f->e);
    err_clear(&f->e);
    free(f);
}

void apparmor_default_load(struct loop *loop, const char *parser, int64_t timeout_ms,
                           pod_done_fn *fn, void *arg)
{
    struct load *l = xnew(struct load);
    _cleanup_err_ struct err e = ERR_INIT;

    *l = (struct load){.fn = fn,
                       .arg = arg,
                       .parser = parser,
                       .complaints = -1,
                       .pidfd = -1,
                       .timeout_ms = timeout_ms};
    if (parser_start(l, loop, &e) == 0)
        return;
    struct failed_start *f = xnew(struct failed_start);
    *f = (struct failed_start){.load = l, .e = ERR_INIT};
    err_copy(&f->e, &e);
    loop_post(loop, on_failed_start, f);
}

/* ---- What is loaded ------------------------------------------------------------------------- */

/* Lines are "name (mode)"; a name may contain spaces. */
int apparmor_check_loaded(const char *profile, struct err *e)
{
    _cleanup_bytes_ struct bytes data = {0};
    size_t len = strlen(profile);

    if (file_read(AT_FDCWD, PROFILES, 16 << 20, &data, e) < 0)
        return -1;
    for (const char *line = (const char *)data.data; line && *line;) {
        if (strncmp(line, profile, len) == 0 && strncmp(line + len, " (", 2) == 0)
            return 0;
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "AppArmor profile %s is not loaded on this node",
                   profile);
}
