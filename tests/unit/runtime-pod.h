/*
 * A pod for the kernel tests of `runtime`: a process of its own that becomes the sandbox, a root
 * file system on a detached tmpfs with Debian's busybox-static in it, and a container spec with
 * the mounts that a real one has.
 *
 * The body of a test runs in the forked sandbox process, where cmocka's assertions would jump into
 * the wrong program; it uses CHECK, which prints and ends that process, and the test asserts how it
 * ended. Needs root.
 */
#ifndef TESTS_RUNTIME_POD_H
#define TESTS_RUNTIME_POD_H

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "podd/runtime.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        struct err _e = ERR_INIT;                                                                  \
        struct err *e = &_e;                                                                       \
        if ((call) < 0) {                                                                          \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, err_text(e));            \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define CHECK_TEXT(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr(text, part)) {                                                                 \
            fprintf(stderr, "%s:%d: \"%s\" is not in:\n%s\n", __FILE__, __LINE__, part, text);     \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

struct pod {
    Podd__Shim__SpawnRequest request;
    struct pod_namespaces ns;
    char *cgroup; /* every test's own */
    int rootfs;   /* detached, to be filled before the start */
};

#define OUTPUT_MAX (256 * 1024)

/* ---- Spec ------------------------------------------------------------------------------------ */

static inline mount_spec_t *spec_mount(container_spec_t *spec, Podd__Shim__Mount__Kind kind,
                                       const char *target, const char *source, const char *data,
                                       uint64_t attributes)
{
    mount_spec_t *m = xnew(mount_spec_t);
    podd__shim__mount__init(m);
    m->kind = kind;
    m->target = xstrdup(target);
    m->source = xstrdup(source);
    m->data = xstrdup(data);
    m->attributes = attributes;
    *(mount_spec_t **)array_push(&spec->mounts, &spec->n_mounts, sizeof(m)) = m;
    return m;
}

static inline void spec_mounts_default(container_spec_t *spec)
{
    const uint64_t plain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__PROC, "/proc", "", "", plain);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__SYSFS, "/sys", "", "", plain | MOUNT_ATTR_RDONLY);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__TMPFS, "/dev", "", "mode=755,size=65536k",
               MOUNT_ATTR_NOSUID);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__DEVPTS, "/dev/pts", "",
               "newinstance,ptmxmode=0666,mode=0620", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__MQUEUE, "/dev/mqueue", "", "", plain);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__POD_SHM, "/dev/shm", "", "", 0);
    spec_mount(spec, PODD__SHIM__MOUNT__KIND__CGROUP, "/sys/fs/cgroup", "", "",
               plain | MOUNT_ATTR_RDONLY);
}

static inline void strings_set(char ***ret, size_t *ret_n, char *const *v)
{
    *ret_n = strv_len(v);
    *ret = strv_dup(v, *ret_n);
}

#define STRINGS(...) ((char *[]){__VA_ARGS__, NULL})

static inline process_spec_t *process_new(char *const *args)
{
    process_spec_t *p = xnew(process_spec_t);
    podd__shim__process_spec__init(p);
    strings_set(&p->args, &p->n_args, args);
    strings_set(&p->env, &p->n_env, STRINGS("PATH=/bin", "HOME=/root", "NAME=of the pod"));
    p->cwd = xstrdup("/");
    p->umask = 022;
    p->cap_bounding = p->cap_effective = p->cap_permitted = capability_default();
    p->no_new_privs = true;
    return p;
}

/* A container that runs the shell script. */
static inline container_spec_t *spec_new(const struct pod *pod, const char *script)
{
    container_spec_t *spec = xnew(container_spec_t);
    podd__shim__container_spec__init(spec);
    spec->id = xstrdup("test");
    spec->process = process_new(STRINGS("sh", "-c", (char *)script));
    spec->cgroup_namespace = true;
    spec->cgroup_path = xasprintf("%s/container", pod->cgroup);
    spec->uid_maps = pod->request.uid_maps;
    spec->n_uid_maps = pod->request.n_uid_maps;
    spec->gid_maps = pod->request.gid_maps;
    spec->n_gid_maps = pod->request.n_gid_maps;
    spec_mounts_default(spec);
    device_plan_default(spec);
    return spec;
}

/* ---- Root file system ------------------------------------------------------------------------ */

static inline int tmpfs_new(void)
{
    int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
    CHECK(context >= 0);
    CHECK(fsconfig(context, FSCONFIG_SET_STRING, "mode", "755", 0) == 0);
    CHECK(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
    int fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
    CHECK(fd >= 0);
    close(context);
    return fd;
}

static inline void file_put(int dirfd, const char *path, const char *text, mode_t mode)
{
    int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(fchmod(fd, mode) == 0);
    close(fd);
}

/* Its directories belong to `owner`. */
static inline int rootfs_new(uid_t owner)
{
    static const char *const tools[] = {
        "sh",    "cat", "ls",    "id",     "stat", "test",  "mount",  "head",     "sleep",
        "mkdir", "tty", "env",   "pwd",    "true", "dd",    "grep",   "readlink", "hostname",
        "kill",  "ps",  "mknod", "umount", "wc",   "touch", "setsid", "unshare"};
    int root = tmpfs_new();
    struct bytes busybox = {0};
    CHECK_OK(file_read(AT_FDCWD, "/bin/busybox", 16 << 20, &busybox, e));
    CHECK(mkdirat(root, "bin", 0755) == 0 && mkdirat(root, "etc", 0755) == 0 &&
          mkdirat(root, "tmp", 01777) == 0 && mkdirat(root, "root", 0700) == 0);
    int fd = openat(root, "bin/busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    CHECK(fd >= 0 && fd_write_all(fd, busybox.data, busybox.len) == 0);
    CHECK(fchmod(fd, 0755) == 0);
    close(fd);
    bytes_free(&busybox);
    for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
        char *path = xasprintf("bin/%s", tools[i]);
        CHECK(symlinkat("busybox", root, path) == 0);
        free(path);
    }
    static const char *const dirs[] = {".", "bin", "etc", "tmp", "root"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        CHECK(fchownat(root, dirs[i], owner, owner, 0) == 0);
    return root;
}

/* ---- Running --------------------------------------------------------------------------------- */

struct running {
    struct process process;
    struct cgroup *cgroup;
    int out;    /* of stdout and stderr */
    int master; /* with a terminal */
};

static inline int pod_start(struct pod *pod, const container_spec_t *spec, struct running *ret,
                            struct err *e)
{
    *ret = (struct running){.process = PROCESS_NULL, .out = -1, .master = -1};
    struct mount_sources *sources = NULL;
    if (cgroup_create(spec->cgroup_path, spec->cgroup_writes, spec->n_cgroup_writes,
                      spec->device_rules, spec->n_device_rules, &ret->cgroup, e) < 0)
        return -1;
    if (mount_sources_open(spec, &pod->ns, NULL, 0, &sources, e) < 0) {
        CHECK(cgroup_remove(ret->cgroup) == 0);
        return -1;
    }
    int pipes[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(null >= 0 && pipe2(pipes, O_CLOEXEC) == 0);
    struct process_io io = {.stdin_fd = null,
                            .stdout_fd = pipes[1],
                            .stderr_fd = pipes[1],
                            .ret_tty_master = spec->process->tty ? &ret->master : NULL};
    int r = container_start(spec, &pod->ns, pod->rootfs, sources, ret->cgroup, -1, &io,
                            &ret->process, e);
    close(pipes[1]);
    close(null);
    close(take_fd(&pod->rootfs));
    ret->out = pipes[0];
    mount_sources_free(sources);
    if (r < 0) {
        CHECK(cgroup_is_empty(ret->cgroup));
        CHECK(cgroup_remove(ret->cgroup) == 0);
        cgroup_free(ret->cgroup);
    }
    return r;
}

static inline char *output_read(int fd)
{
    char *text = xcalloc(1, OUTPUT_MAX + 1);
    size_t len = 0;
    ssize_t n;
    while (len < OUTPUT_MAX && (n = read(fd, text + len, OUTPUT_MAX - len)) > 0)
        len += (size_t)n;
    return text;
}

/* Exit code, or 128 + signal. */
static inline int process_wait(struct process *p)
{
    siginfo_t info = {0};
    CHECK(waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED) == 0);
    close(p->pidfd);
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

/* Waits for the end and removes the cgroup; the output, which the caller frees. */
static inline char *running_end(struct running *r, int *ret_code)
{
    char *text = output_read(r->out);
    int code = process_wait(&r->process);
    CHECK(cgroup_signal(r->cgroup, SIGKILL) == 0);
    for (int i = 0; i < 1000 && !cgroup_is_empty(r->cgroup); i++)
        usleep(1000);
    CHECK(cgroup_remove(r->cgroup) == 0);
    cgroup_free(r->cgroup);
    close(r->out);
    if (ret_code)
        *ret_code = code;
    return text;
}

/* Runs the container to its end; its output, which the caller frees. */
static inline char *pod_run(struct pod *pod, const container_spec_t *spec, int *ret_code)
{
    struct running r;
    CHECK_OK(pod_start(pod, spec, &r, e));
    return running_end(&r, ret_code);
}

/* ---- The sandbox process --------------------------------------------------------------------- */

static inline char *mount_table_read(void)
{
    struct bytes text = {0};
    CHECK_OK(file_read(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, e));
    return (char *)text.data;
}

/* What a shim has: no signal is ignored, and a mount table that no other test changes. */
static inline void as_shim(void)
{
    static bool done;

    if (done)
        return;
    done = true;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

/* Forks, enters the sandbox (after `prepare`, if any, changed the request), runs the body.
 * Afterwards nothing may be left: no cgroup, no mount on the host. */
static inline void with_sandbox(void (*prepare)(struct pod *pod), void (*body)(struct pod *pod))
{
    static unsigned serial;
    assert_int_equal(geteuid(), 0);
    as_shim();
    char *cgroup = xasprintf("/podd-test-%d-%u", (int)getpid(), serial++);
    char *before = mount_table_read();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct pod pod = {.request = PODD__SHIM__SPAWN_REQUEST__INIT, .cgroup = cgroup};
        pod.request.hostname = (char *)"test-pod";
        if (prepare)
            prepare(&pod);
        CHECK_OK(sandbox_enter(&pod.request, &pod.ns, e));
        pod.rootfs = rootfs_new(pod.request.n_uid_maps ? pod.request.uid_maps[0]->host_id : 0);
        body(&pod);
        fflush(NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    struct err e = ERR_INIT;
    int removed = cgroup_destroy(cgroup, 2000, &e);
    if (removed < 0)
        print_message("%s\n", err_text(&e));
    char *after = mount_table_read();
    assert_int_equal(status, 0);
    assert_int_equal(removed, 0);
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(cgroup);
}

#endif
