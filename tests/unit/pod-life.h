/*
 * pod-life.h - a daemon's pods in a test: real shim, images, network and disk, in a network
 * namespace of the test's own. Include once per test program.
 *
 * Everything lives below one temporary directory; calls are made and waited for by the helpers.
 */
#ifndef POD_LIFE_H
#define POD_LIFE_H

#include "pod-kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "private.h"

enum { LIFE_TIMEOUT_MS = 10000 };

struct life {
    char dir[64];
    char root[96], run[96];
    char cgroup[64];
    struct loop *loop;
    struct zygote *zygote;
    struct image_store *images;
    struct net *net;
    struct pods *pods;
    struct timer *timer;
    bool timed_out;

    int pending; /* calls without an answer */
    char id[ID_SIZE];
    struct err error; /* of the last answer */
    int exit_code;
    struct bytes out, err_out;
};

static struct life life;

/* ---- Waiting -------------------------------------------------------------------------------- */

static inline void life_on_timer(void *arg)
{
    life.timed_out = true;
    loop_stop(life.loop);
}

#define LIFE_WAIT(condition)                                                                       \
    do {                                                                                           \
        life.timed_out = false;                                                                    \
        timer_start(life.timer, LIFE_TIMEOUT_MS);                                                  \
        while (!(condition) && !life.timed_out)                                                    \
            loop_run(life.loop);                                                                   \
        timer_stop(life.timer);                                                                    \
        if (!(condition))                                                                          \
            fail_msg("waited in vain for %s", #condition);                                         \
    } while (0)

/* For what happens inside a container and is not told. */
#define WAIT_A_LITTLE()                                                                            \
    do {                                                                                           \
        life.timed_out = false;                                                                    \
        timer_start(life.timer, 200);                                                              \
        while (!life.timed_out)                                                                    \
            loop_run(life.loop);                                                                   \
    } while (0)

static inline void life_answered(const struct err *e)
{
    life.pending--;
    err_clear(&life.error);
    if (e && e->code != ERR_OK)
        err_copy(&life.error, e);
    loop_stop(life.loop);
}

static inline void life_on_id(void *arg, const char *id, const struct err *e)
{
    snprintf(life.id, sizeof(life.id), "%s", id ? id : "");
    if (arg)
        snprintf(arg, ID_SIZE, "%s", life.id);
    life_answered(e);
}

static inline void life_on_done(void *arg, const struct err *e)
{
    life_answered(e);
}

static inline void life_on_exec(void *arg, int exit_code, const struct bytes *out,
                                const struct bytes *err_out, const struct err *e)
{
    life.exit_code = exit_code;
    bytes_free(&life.out);
    bytes_free(&life.err_out);
    life.out = bytes_dup(out);
    life.err_out = bytes_dup(err_out);
    life_answered(e);
}

/* Makes a call and waits for its answer, which is in life.error. */
#define DO(call)                                                                                   \
    do {                                                                                           \
        life.pending++;                                                                            \
        (void)(call);                                                                              \
        LIFE_WAIT(life.pending == 0);                                                              \
    } while (0)

#define OK(call)                                                                                   \
    do {                                                                                           \
        DO(call);                                                                                  \
        if (life.error.code != ERR_OK)                                                             \
            fail_msg("%s: %s", #call, err_text(&life.error));                                      \
    } while (0)

#define REFUSED(call, code, part)                                                                  \
    do {                                                                                           \
        DO(call);                                                                                  \
        assert_error(&life.error, code, part);                                                     \
    } while (0)

/* ---- Short forms ---------------------------------------------------------------------------- */

static inline struct sandbox_config life_sandbox(const char *name)
{
    return (struct sandbox_config){.name = name,
                                   .namespace_ = "default",
                                   .uid = "u",
                                   .pid = NAMESPACE_CONTAINER,
                                   .origin = "cri",
                                   .cgroup_parent = life.cgroup,
                                   .log_directory = life.dir};
}

static inline struct container_config life_container(const char *name, char *const *command)
{
    return (struct container_config){.name = name,
                                     .image = "test/busybox",
                                     .command = command,
                                     .log_path = "log/0.log",
                                     .security = {.pid = NAMESPACE_CONTAINER}};
}

#define RUN(config) OK(sandbox_run(life.pods, config, life_on_id, NULL))
#define CREATE(sandbox, config) OK(container_create(life.pods, sandbox, config, life_on_id, NULL))
#define START(id) OK(container_start_up(life.pods, id, life_on_done, NULL))
#define EXEC(id, ...)                                                                              \
    DO(container_exec_sync(life.pods, id, STRV(__VA_ARGS__), 10000, life_on_exec, NULL))
#define REMOVE_SANDBOX(id) OK(sandbox_remove(life.pods, id, life_on_done, NULL))

static inline struct sandbox *the_sandbox(const char *id)
{
    struct err e = ERR_INIT;
    struct sandbox *s = sandbox_find(life.pods, id, &e);

    if (!s)
        fail_msg("%s", err_text(&e));
    return s;
}

static inline struct container *the_container(const char *id)
{
    struct err e = ERR_INIT;
    struct container *c = container_find(life.pods, id, &e);

    if (!c)
        fail_msg("%s", err_text(&e));
    return c;
}

/* A pod "p" with one container "c" that runs the script. The ids are copied. */
static inline void life_run_pod(const char *name, const char *script, char *sandbox_id, char *id)
{
    struct sandbox_config s = life_sandbox(name);
    struct container_config c = life_container("c", STRV("sh", "-c", (char *)script));

    RUN(&s);
    memcpy(sandbox_id, life.id, ID_SIZE);
    CREATE(sandbox_id, &c);
    memcpy(id, life.id, ID_SIZE);
    START(id);
}

/* ---- Setting up ----------------------------------------------------------------------------- */

static inline void life_on_child(void *arg, int status)
{
    *(int *)arg = status;
    loop_stop(life.loop);
}

static inline void life_spawn(char *const *argv)
{
    struct spawn s = {.path = argv[0], .argv = argv, .envp = STRV("PATH=/usr/bin:/bin")};
    struct err e = ERR_INIT;
    int status = -1, pidfd;
    pid_t pid;

    if (spawn_process(&s, &pid, &pidfd, &e) < 0)
        fail_msg("%s", err_text(&e));
    loop_on_exit(life.loop, pidfd, life_on_child, &status);
    LIFE_WAIT(status != -1);
    assert_int_equal(status, 0);
}

static inline void life_write(const char *path, const char *text)
{
    _cleanup_free_ char *full = xasprintf("%s/%s", life.dir, path);
    struct err e = ERR_INIT;

    assert_int_equal(file_write_atomic(AT_FDCWD, full, text, strlen(text), 0644, false, &e), 0);
}

static inline void life_import(void)
{
    static const char *const dirs[] = {"", "/bin", "/etc", "/tmp", "/data", "/data/sub"};
    static const char *const applets[] = {"sh",  "cat", "sleep", "echo", "true", "ls",      "id",
                                          "env", "dd",  "kill",  "pwd",  "stat", "hostname"};
    _cleanup_free_ char *tar = xasprintf("%s/image.tar", life.dir);
    _cleanup_free_ char *tree = xasprintf("%s/image", life.dir);
    _cleanup_free_ char *busybox = xasprintf("%s/bin/busybox", tree);

    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
        _cleanup_free_ char *path = xasprintf("%s%s", tree, dirs[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    life_spawn(STRV("/bin/cp", "/bin/busybox", busybox));
    for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
        _cleanup_free_ char *path = xasprintf("%s/bin/%s", tree, applets[i]);
        assert_int_equal(symlink("busybox", path), 0);
    }
    life_write("image/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34::/srv:/bin/sh\n");
    life_write("image/etc/group", "root:x:0:\nwww:x:34:\nextra:x:50:www\n");
    life_write("image/data/sub/file", "of the image\n");
    life_spawn(STRV("/bin/tar", "-C", tree, "-cf", tar, "."));
    OK(image_import(life.images, tar, "test/busybox", STRV("sleep", "1000"), life_on_id, NULL));
}

static inline void life_recovered(void *arg)
{
    life_answered(NULL);
}

/* Whatever waits for a change looks again. */
static inline void life_on_event(void *arg, const struct pod_event *event)
{
    loop_stop(life.loop);
}

/* What a start of podd does. */
static inline void life_open(void)
{
    struct pods_config config = {.loop = life.loop,
                                 .zygote = life.zygote,
                                 .images = life.images,
                                 .net = life.net,
                                 .root = life.root,
                                 .state = life.run,
                                 .restrict_oom_score_adj = true};
    struct err e = ERR_INIT;

    if (pods_open(&config, &life.pods, &e) < 0)
        fail_msg("%s", err_text(&e));
    pods_watch(life.pods, life_on_event, NULL);
    DO(pods_recover(life.pods, life_recovered, NULL));
}

static inline void life_restart(void)
{
    pods_close(life.pods);
    life_open();
}

/* The programs of this build. Sanitizers do not get along with podd-unpack's confinement: the
 * environment can name those of another build. */
static inline const char *life_program(const char *variable, const char *built)
{
    const char *other = getenv(variable);

    return other ? other : built;
}

/* Directories, and a network of its own: before any thread exists. */
static inline void life_prepare(void)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (unshare(CLONE_NEWNET) < 0)
        fail_msg("unshare: %s (these tests run as root)", strerror(errno));
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &lo), 0);
    close(sock);
    snprintf(life.dir, sizeof(life.dir), "/tmp/podd-test-pod-XXXXXX");
    assert_non_null(mkdtemp(life.dir));
    snprintf(life.root, sizeof(life.root), "%s/root", life.dir);
    snprintf(life.run, sizeof(life.run), "%s/run", life.dir);
    snprintf(life.cgroup, sizeof(life.cgroup), "/podd-test-pod-%d", (int)getpid());
    assert_int_equal(dir_ensure(life.root, 0700, &e), 0);
    assert_int_equal(dir_ensure(life.run, 0700, &e), 0);
}

/* What a start of podd does before its pods. */
static inline void life_start(void)
{
    _cleanup_free_ char *net_dir = xasprintf("%s/net", life.run);
    struct image_store_config images = {
        .root = life.root, .unpack_path = life_program("PODD_TEST_UNPACK", PODD_UNPACK_PATH)};
    struct net_config net = {
        .bridge = "podd0", .pools = {"10.99.0.0/16"}, .n_pools = 1, .state_dir = net_dir};
    struct err e = ERR_INIT;

    life.loop = loop_new();
    life.timer = timer_new(life.loop, life_on_timer, NULL);
    if (zygote_start(life.loop, life_program("PODD_TEST_SHIM", PODD_SHIM_PATH), &life.zygote, &e) <
            0 ||
        image_store_open(life.loop, &images, &life.images, &e) < 0 ||
        net_open(life.loop, &net, &life.net, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static inline int life_setup(void **state)
{
    life_prepare();
    life_start();
    life_import();
    life_open();
    return 0;
}

/* Of a test that has failed. */
static inline void life_kill_shims(void)
{
    list_for_each (it, &life.pods->all_sandboxes) {
        const struct sandbox_private *s = container_of(it, struct sandbox_private, all);
        if (s->shim_pid > 0)
            shim_process_kill(s->shim_pid, s->shim_start_time);
    }
}

static inline void life_end(void)
{
    pods_close(life.pods);
    zygote_free(life.zygote);
    net_close(life.net);
    image_store_close(life.images);
    timer_free(life.timer);
    loop_free(life.loop);
    bytes_free(&life.out);
    bytes_free(&life.err_out);
    err_clear(&life.error);
}

static inline void life_remove_files(void)
{
    _cleanup_err_ struct err e = ERR_INIT;

    assert_int_equal(cgroup_destroy(life.cgroup, 1000, &e), 0);
    assert_int_equal(tree_remove(AT_FDCWD, life.dir, &e), 0);
}

static inline int life_teardown(void **state)
{
    if (!life.pods) { /* the setup has failed, and said why */
        life_remove_files();
        return -1;
    }
    life_kill_shims();
    life_end();
    life_remove_files();
    return 0;
}

/* ---- Nothing is left ------------------------------------------------------------------------ */

static inline int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;

    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

static inline int count_cgroups(void)
{
    static const char *const hierarchies[] = {"", "/memory", "/pids", "/unified"};
    int n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(hierarchies); i++) {
        _cleanup_free_ char *path = xasprintf("/sys/fs/cgroup%s%s", hierarchies[i], life.cgroup);
        DIR *dir = opendir(path);
        for (const struct dirent *entry; dir && (entry = readdir(dir));)
            n += entry->d_type == DT_DIR && entry->d_name[0] != '.';
        if (dir)
            closedir(dir);
    }
    return n;
}

/* What is half made is cleaned up in the background, behind the answers that tests wait for. */
static inline bool becomes_empty(const char *path)
{
    for (int turns = 0; count_entries(path) != 0; turns++) {
        if (turns == 300)
            return false;
        timer_start(life.timer, 10);
        loop_run(life.loop);
    }
    timer_stop(life.timer);
    return true;
}

static inline void assert_nothing_left(void)
{
    static const char *const empty[] = {"root/pods", "run/pods", "root/containers",
                                        "run/net/leases"};

    for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", life.dir, empty[i]);
        if (!becomes_empty(path))
            fail_msg("%s is not empty", empty[i]);
    }
    assert_int_equal(count_cgroups(), 0);
    assert_int_equal(map_count(life.pods->names), 0);
    assert_int_equal(map_count(life.pods->sandboxes), 0);
    assert_int_equal(map_count(life.pods->containers), 0);
}

/* Of a test that has failed: it should not spoil the others. */
static inline void life_clear(void)
{
    life.pending = 0;
    while (!list_empty(&life.pods->all_sandboxes)) {
        const struct sandbox *s =
            container_of(life.pods->all_sandboxes.next, struct sandbox_private, all)->self;
        OK(sandbox_remove(life.pods, s->id, life_on_done, NULL));
    }
}

static inline int life_check(void **state)
{
    if (!list_empty(&life.pods->all_sandboxes)) {
        life_clear();
        fail_msg("pods are left");
    }
    assert_nothing_left();
    return 0;
}

#endif
