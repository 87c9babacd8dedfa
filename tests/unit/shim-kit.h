/*
 * shim-kit.h - what the shim's kernel tests share: a pod of their own with a busybox root file
 * system, and calls that wait.
 *
 * Every callback stops the loop, so that a test can run it until what it waits for has come.
 */
#ifndef SHIM_KIT_H
#define SHIM_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <podd/shim.h>

enum { KIT_TIMEOUT_MS = 20000, KIT_TEXT_MAX = 64 * 1024 };

struct kit {
    struct loop *loop;
    struct zygote *zygote;
    struct shim *shim;
    char directory[64];
    char cgroup[64];
    struct timer *timer;
    bool timed_out, ready, gone;
    struct err error; /* of the last call */

    unsigned calls_done; /* how many callbacks of calls have come */
    pid_t started_pid;
    unsigned n_exits;
    char exited_id[64];
    int exit_code, exit_signal;
};

struct kit_exec {
    struct kit *kit;
    bool started, ended, lost;
    int master;
    pid_t pid;
    struct err error;
    int code, signal;
};

/* Runs the loop until `condition`; fails the test when that does not come. */
#define WAIT_FOR(k, condition)                                                                     \
    do {                                                                                           \
        (k)->timed_out = false;                                                                    \
        timer_start((k)->timer, KIT_TIMEOUT_MS);                                                   \
        while (!(condition) && !(k)->timed_out)                                                    \
            loop_run((k)->loop);                                                                   \
        timer_stop((k)->timer);                                                                    \
        assert_true(condition);                                                                    \
    } while (0)

/* Runs the loop for a while. */
#define WAIT_MS(k, ms)                                                                             \
    do {                                                                                           \
        (k)->timed_out = false;                                                                    \
        timer_start((k)->timer, ms);                                                               \
        while (!(k)->timed_out)                                                                    \
            loop_run((k)->loop);                                                                   \
    } while (0)

#define assert_ok(e)                                                                               \
    do {                                                                                           \
        if ((e)->code)                                                                             \
            fail_msg("%s: %s", err_code_name((e)->code), err_text(e));                             \
    } while (0)

static inline void kit_on_timer(void *arg)
{
    struct kit *k = arg;

    k->timed_out = true;
    loop_stop(k->loop);
}

static inline void kit_on_exit(void *arg, const char *id, const exit_info_t *exit)
{
    struct kit *k = arg;

    k->n_exits++;
    snprintf(k->exited_id, sizeof(k->exited_id), "%s", id);
    k->exit_code = exit->code;
    k->exit_signal = exit->signal;
    loop_stop(k->loop);
}

static inline void kit_on_gone(void *arg)
{
    struct kit *k = arg;

    assert_false(k->gone);
    k->gone = true;
    loop_stop(k->loop);
}

static const struct shim_events kit_events = {kit_on_exit, kit_on_gone};

static inline void kit_on_ready(void *arg, struct shim *shim_take, const struct err *e)
{
    struct kit *k = arg;

    k->ready = true;
    k->shim = shim_take;
    err_clear(&k->error);
    if (!shim_take)
        err_copy(&k->error, e);
    loop_stop(k->loop);
}

static inline void kit_on_done(void *arg, const struct err *e)
{
    struct kit *k = arg;

    k->calls_done++;
    err_clear(&k->error);
    if (e->code)
        err_copy(&k->error, e);
    loop_stop(k->loop);
}

static inline void kit_on_started(void *arg, pid_t pid, int64_t started_at, const struct err *e)
{
    struct kit *k = arg;

    k->started_pid = pid;
    kit_on_done(arg, e);
}

/* Makes a call and waits for its answer: CALL(k, shim_remove, "id"). */
#define CALL(k, fn, ...)                                                                           \
    do {                                                                                           \
        unsigned before_ = (k)->calls_done;                                                        \
        fn((k)->shim, ##__VA_ARGS__, kit_on_done, k);                                              \
        WAIT_FOR(k, (k)->calls_done > before_);                                                    \
    } while (0)

static inline void kit_request(struct kit *k, spawn_request_t *ret)
{
    podd__shim__spawn_request__init(ret);
    ret->sandbox_id = "0123456789abcdef";
    ret->directory = k->directory;
    ret->hostname = "kit";
}

static inline void kit_spawn_with(struct kit *k, const spawn_request_t *request)
{
    k->ready = false;
    shim_spawn(k->zygote, request, &kit_events, k, kit_on_ready, k);
    WAIT_FOR(k, k->ready);
}

static inline void kit_spawn(struct kit *k)
{
    spawn_request_t request;

    kit_request(k, &request);
    kit_spawn_with(k, &request);
    assert_ok(&k->error);
}

static inline void kit_connect(struct kit *k, pid_t pid, uint64_t start_time)
{
    k->ready = false;
    shim_connect(k->loop, k->directory, pid, start_time, &kit_events, k, kit_on_ready, k);
    WAIT_FOR(k, k->ready);
}

/* ---- A root file system and a spec ------------------------------------------------------------
 */

static inline void kit_copy_file(const char *from, int dirfd, const char *to)
{
    struct bytes b;
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(file_read(AT_FDCWD, from, 16 << 20, &b, &e), 0);
    int fd = openat(dirfd, to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, b.data, b.len), 0);
    fd_close(fd);
    bytes_free(&b);
}

/* A detached tmpfs with busybox in it. */
static inline int kit_rootfs(void)
{
    static const char *const dirs[] = {"bin", "proc", "dev", "tmp"};
    static const char *const applets[] = {"sh",   "cat",  "sleep", "echo", "true",   "false",
                                          "kill", "stty", "seq",   "wc",   "setsid", "printf"};
    int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

    assert_true(context >= 0);
    assert_int_equal(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), 0);
    int root = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    assert_true(root >= 0);
    fd_close(context);
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        assert_int_equal(mkdirat(root, dirs[i], 0755), 0);
    kit_copy_file("/bin/busybox", root, "bin/busybox");
    for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
        char path[40];
        snprintf(path, sizeof(path), "bin/%s", applets[i]);
        assert_int_equal(symlinkat("busybox", root, path), 0);
    }
    return root;
}

/* A spec with `sh -c script`; its parts lie in the struct. */
struct kit_spec {
    container_spec_t spec;
    process_spec_t process;
    char *args[3], *env[2];
    mount_spec_t mount_objects[3];
    mount_spec_t *mounts[3];
    Podd__Shim__Device null_object, *devices[1];
    device_rule_t rule_object, *rules[1];
    char cgroup[128], log[128];
};

static inline void kit_process(process_spec_t *p, char **args, char **env, const char *script)
{
    podd__shim__process_spec__init(p);
    args[0] = "sh";
    args[1] = "-c";
    args[2] = (char *)script;
    env[0] = "PATH=/bin";
    env[1] = "HOME=/";
    p->args = args;
    p->n_args = 3;
    p->env = env;
    p->n_env = 2;
    p->cwd = "/";
    p->umask = 022;
    p->cap_bounding = p->cap_effective = p->cap_permitted = 0xffffffffull & ~(1ull << 24);
}

static inline void kit_spec(struct kit *k, struct kit_spec *s, const char *id, const char *script)
{
    memset(s, 0, sizeof(*s));
    kit_process(&s->process, s->args, s->env, script);
    podd__shim__container_spec__init(&s->spec);
    s->spec.id = (char *)id;
    s->spec.process = &s->process;
    for (size_t i = 0; i < 3; i++) {
        podd__shim__mount__init(&s->mount_objects[i]);
        s->mounts[i] = &s->mount_objects[i];
    }
    s->mount_objects[0].kind = PODD__SHIM__MOUNT__KIND__PROC;
    s->mount_objects[0].target = "/proc";
    s->mount_objects[1].kind = PODD__SHIM__MOUNT__KIND__TMPFS;
    s->mount_objects[1].target = "/dev";
    s->mount_objects[1].data = "mode=755";
    s->mount_objects[2].kind = PODD__SHIM__MOUNT__KIND__DEVPTS;
    s->mount_objects[2].target = "/dev/pts";
    s->mount_objects[2].data = "newinstance,ptmxmode=0666,mode=0620";
    s->spec.mounts = s->mounts;
    s->spec.n_mounts = 3;
    podd__shim__device__init(&s->null_object);
    s->null_object.path = "/dev/null";
    s->null_object.mode = S_IFCHR | 0666;
    s->null_object.major = 1;
    s->null_object.minor = 3;
    s->devices[0] = &s->null_object;
    s->spec.devices = s->devices;
    s->spec.n_devices = 1;
    podd__shim__device_rule__init(&s->rule_object);
    s->rule_object.allow = true;
    s->rule_object.type = 'a';
    s->rule_object.major = s->rule_object.minor = -1;
    s->rule_object.access = "rwm";
    s->rules[0] = &s->rule_object;
    s->spec.device_rules = s->rules;
    s->spec.n_device_rules = 1;
    snprintf(s->cgroup, sizeof(s->cgroup), "%s/%s", k->cgroup, id);
    s->spec.cgroup_path = s->cgroup;
    snprintf(s->log, sizeof(s->log), "%s/%s.log", k->directory, id);
    s->spec.log_path = s->log;
}

static inline void kit_start(struct kit *k, const char *id)
{
    unsigned before = k->calls_done;

    shim_start(k->shim, id, kit_on_started, k);
    WAIT_FOR(k, k->calls_done > before);
}

static inline void kit_run_spec(struct kit *k, struct kit_spec *s)
{
    CALL(k, shim_create, &s->spec, kit_rootfs(), NULL, 0);
    assert_ok(&k->error);
    kit_start(k, s->spec.id);
    assert_ok(&k->error);
}

static inline void kit_run(struct kit *k, const char *id, const char *script)
{
    struct kit_spec s;

    kit_spec(k, &s, id, script);
    kit_run_spec(k, &s);
}

static inline void kit_wait_exit(struct kit *k, unsigned before)
{
    WAIT_FOR(k, k->n_exits > before);
}

/* ---- Execs ------------------------------------------------------------------------------------
 */

static inline void kit_exec_on_start(void *arg, pid_t pid, int tty_master_take, const struct err *e)
{
    struct kit_exec *x = arg;

    x->started = true;
    x->pid = pid;
    x->master = tty_master_take;
    err_clear(&x->error);
    if (e->code)
        err_copy(&x->error, e);
    loop_stop(x->kit->loop);
}

static inline void kit_exec_on_exit(void *arg, const exit_info_t *exit)
{
    struct kit_exec *x = arg;

    assert_false(x->ended);
    x->ended = true;
    x->lost = !exit;
    if (exit) {
        x->code = exit->code;
        x->signal = exit->signal;
    }
    loop_stop(x->kit->loop);
}

static const struct shim_exec_events kit_exec_events = {kit_exec_on_start, kit_exec_on_exit};

static inline void kit_exec(struct kit *k, struct kit_exec *x, const char *container,
                            const char *exec_id, const char *script, const int stdio[3], bool tty)
{
    process_spec_t p;
    char *args[3], *env[2];

    kit_process(&p, args, env, script);
    p.tty = tty;
    *x = (struct kit_exec){.kit = k, .master = -1};
    shim_exec(k->shim, container, exec_id, &p, stdio, &kit_exec_events, x);
    WAIT_FOR(k, x->started);
}

/* ---- Looking ----------------------------------------------------------------------------------
 */

static inline char *kit_read_file(const char *path)
{
    struct bytes b = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (file_read(AT_FDCWD, path, 1 << 20, &b, &e) < 0)
        fail_msg("%s", err_text(&e));
    return (char *)b.data;
}

static inline char *kit_log(struct kit *k, const char *id)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s.log", k->directory, id);
    return kit_read_file(path);
}

/* The log's records without their times, "stdout F text\n". */
static inline char *kit_log_text(struct kit *k, const char *id)
{
    char *log = kit_log(k, id), *to = log;

    for (char *line = log; *line;) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_true(end - line > 31 && line[29] == 'Z' && line[30] == ' ');
        memmove(to, line + 31, (size_t)(end + 1 - line - 31));
        to += end + 1 - line - 31;
        line = end + 1;
    }
    *to = '\0';
    return log;
}

/* All that comes out of fd until its end. */
static inline char *kit_read_all(int fd)
{
    char *text = xcalloc(1, KIT_TEXT_MAX);
    ssize_t n = fd_read_full(fd, text, KIT_TEXT_MAX - 1);

    assert_true(n >= 0 || n == -EIO);
    return text;
}

static inline bool kit_process_lives(pid_t pid)
{
    char path[40], state = 'X';

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[512] = {0};
    ssize_t n = read(fd, text, sizeof(text) - 1);
    fd_close(fd);
    if (n > 0 && strrchr(text, ')'))
        state = strrchr(text, ')')[2];
    return state != 'X' && state != 'Z';
}

/* How many children of the shim have ended and were not reaped. */
static inline unsigned kit_zombies(struct kit *k)
{
    char path[64];
    unsigned n = 0;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", shim_pid(k->shim), shim_pid(k->shim));
    _cleanup_free_ char *children = kit_read_file(path);
    for (char *p = children; *p;) {
        pid_t pid = (pid_t)strtol(p, &p, 10);
        p += strspn(p, " ");
        n += !kit_process_lives(pid);
    }
    return n;
}

static inline bool kit_process_ends(pid_t pid)
{
    for (int i = 0; i < 200 && kit_process_lives(pid); i++)
        usleep(10000);
    return !kit_process_lives(pid);
}

/* ---- Setup ------------------------------------------------------------------------------------
 */

static inline int kit_setup(void **state)
{
    struct kit *k = xnew(struct kit);
    _cleanup_err_ struct err e = ERR_INIT;

    k->loop = loop_new();
    k->timer = timer_new(k->loop, kit_on_timer, k);
    snprintf(k->directory, sizeof(k->directory), "/tmp/podd-test-shim-XXXXXX");
    assert_non_null(mkdtemp(k->directory));
    snprintf(k->cgroup, sizeof(k->cgroup), "/podd-test-shim-%d", getpid());
    if (zygote_start(k->loop, PODD_SHIM_PATH, &k->zygote, &e) < 0)
        fail_msg("%s", err_text(&e));
    *state = k;
    return 0;
}

/* What a shim cannot tell otherwise is in its log; nothing of that kind should have happened. */
static inline void kit_check_shim_log(struct kit *k)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/shim.log", k->directory);
    if (access(path, F_OK) < 0)
        return;
    _cleanup_free_ char *text = kit_read_file(path);
    assert_string_equal(text, "");
}

static inline int kit_teardown(void **state)
{
    struct kit *k = *state;
    _cleanup_err_ struct err e = ERR_INIT;

    if (k->shim && !k->gone) {
        CALL(k, shim_shutdown);
        assert_ok(&k->error);
        WAIT_FOR(k, k->gone);
    }
    kit_check_shim_log(k);
    shim_free(k->shim);
    zygote_free(k->zygote);
    timer_free(k->timer);
    loop_free(k->loop);
    err_clear(&k->error);
    assert_int_equal(cgroup_destroy(k->cgroup, 5000, &e), 0);
    assert_int_equal(tree_remove(AT_FDCWD, k->directory, &e), 0);
    free(k);
    return 0;
}

#endif
