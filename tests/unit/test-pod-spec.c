/*
 * The one translation: a request and an image's configuration into what the kernel is told.
 */
#include "pod-kit.h"

#include <linux/mount.h>
#include <signal.h>
#include <sys/resource.h>

#include "spec.h"

struct fixture {
    struct container_config config;
    struct image_config image;
    struct kernel_features kernel;
    struct spec_input in;
    struct plan *plan;
    struct err e;
};

static int setup(void **state)
{
    struct fixture *f = xnew(struct fixture);

    f->config.name = "c";
    f->config.image = "docker.io/library/busybox:latest";
    f->config.security.pid = NAMESPACE_CONTAINER;
    f->config.security.seccomp.type = PROFILE_UNCONFINED;
    f->image.cmd = strv_dup(STRV("sh"), 1);
    f->in = (struct spec_input){
        .config = &f->config,
        .image = &f->image,
        .container_id = TEST_ID,
        .hostname = "web",
        .log_directory = "/var/log/pods/x",
        .cgroup_parent = "/podd",
        .files_dir = "/run/podd/pods/s",
        .volumes_dir = "/var/lib/podd/containers/c/volumes",
        .kernel = &f->kernel,
    };
    *state = f;
    return 0;
}

static void forget(struct fixture *f)
{
    plan_free(f->plan);
    f->plan = NULL;
    err_clear(&f->e);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    forget(f);
    strv_free(f->image.entrypoint);
    strv_free(f->image.cmd);
    strv_free(f->image.env);
    strv_free(f->image.volumes);
    free(f->image.user);
    free(f->image.working_dir);
    free(f->image.stop_signal);
    free(f);
    return 0;
}

static const container_spec_t *make(struct fixture *f)
{
    forget(f);
    if (plan_make(&f->in, &f->plan, &f->e) < 0)
        fail_msg("plan: %s", err_text(&f->e));
    return f->plan->spec;
}

static void refuse(struct fixture *f, enum err_code code, const char *part)
{
    forget(f);
    assert_int_equal(plan_make(&f->in, &f->plan, &f->e), -1);
    assert_error(&f->e, code, part);
}

/* ---- argv ----------------------------------------------------------------------------------- */

static void assert_args(const process_spec_t *process, const char *joined)
{
    _cleanup_strbuf_ struct strbuf b = {0};

    for (size_t i = 0; i < process->n_args; i++)
        strbuf_addf(&b, "%s%s", i ? " " : "", process->args[i]);
    assert_string_equal(b.data ? b.data : "", joined);
}

static void test_command_and_args_replace_entrypoint_and_cmd(void **state)
{
    const struct {
        char *const *entrypoint, *const *cmd, *const *command, *const *args;
        const char *result;
    } rows[] = {
        {NULL, STRV("c"), NULL, NULL, "c"},
        {STRV("e"), STRV("c"), NULL, NULL, "e c"},
        {STRV("e"), NULL, NULL, NULL, "e"},
        {STRV("e"), STRV("c"), NULL, STRV("a", "b"), "e a b"},
        {STRV("e"), STRV("c"), STRV("x"), NULL, "x"},
        {STRV("e"), STRV("c"), STRV("x"), STRV("a"), "x a"},
        {NULL, NULL, NULL, STRV("a"), "a"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        strv_free(f->image.entrypoint);
        strv_free(f->image.cmd);
        f->image.entrypoint = strv_dup(rows[i].entrypoint, strv_len(rows[i].entrypoint));
        f->image.cmd = strv_dup(rows[i].cmd, strv_len(rows[i].cmd));
        f->config.command = rows[i].command;
        f->config.args = rows[i].args;
        assert_args(make(f)->process, rows[i].result);
    }
}

static void test_no_command_at_all_is_refused(void **state)
{
    struct fixture *f = *state;

    strv_free(f->image.cmd);
    f->image.cmd = NULL;
    refuse(f, ERR_INVALID_ARGUMENT, "no command specified");
}

/* ---- Environment ---------------------------------------------------------------------------- */

static void test_later_environment_wins_and_keeps_the_place(void **state)
{
    struct fixture *f = *state;
    static const struct key_value envs[] = {
        {(char *)"B", (char *)"2"}, {(char *)"A", (char *)"own\nline"}, {(char *)"C", (char *)""}};

    f->image.env = strv_dup(STRV("PATH=/img", "A=image", "BARE", "=x"), 4);
    f->config.envs = envs;
    f->config.n_envs = ARRAY_SIZE(envs);
    const process_spec_t *p = make(f)->process;
    assert_int_equal(p->n_env, 5);
    assert_string_equal(p->env[0], "PATH=/img");
    assert_string_equal(p->env[1], "HOSTNAME=web");
    assert_string_equal(p->env[2], "A=own\nline");
    assert_string_equal(p->env[3], "B=2");
    assert_string_equal(p->env[4], "C=");
}

static void test_terminal_sets_term_only_when_unset(void **state)
{
    struct fixture *f = *state;

    f->config.tty = true;
    assert_true(env_has(make(f)->process, "TERM"));
    f->image.env = strv_dup(STRV("TERM=vt100"), 1);
    const process_spec_t *p = make(f)->process;
    assert_string_equal(p->env[2], "TERM=vt100");
    assert_int_equal(p->n_env, 3);
}

static void test_environment_names_are_checked(void **state)
{
    struct fixture *f = *state;
    struct key_value env = {(char *)"A=B", (char *)"x"};

    f->config.envs = &env;
    f->config.n_envs = 1;
    refuse(f, ERR_INVALID_ARGUMENT, "A=B");
    env.key = (char *)"";
    refuse(f, ERR_INVALID_ARGUMENT, "environment variable");
}

/* ---- User ----------------------------------------------------------------------------------- */

static void test_user_of_the_request_wins_over_the_images(void **state)
{
    struct fixture *f = *state;
    struct security_config *s = &f->config.security;

    make(f);
    assert_string_equal(f->plan->user, "");
    f->image.user = xstrdup("www:data");
    make(f);
    assert_string_equal(f->plan->user, "www:data");
    s->has_run_as_user = true;
    s->run_as_user = 0;
    make(f);
    assert_string_equal(f->plan->user, "0");
    s->has_run_as_group = true;
    s->run_as_group = 7;
    make(f);
    assert_string_equal(f->plan->user, "0:7");
    s->run_as_username = "nobody";
    make(f);
    assert_string_equal(f->plan->user, "nobody:7");
    s->run_as_username = "no:body";
    refuse(f, ERR_INVALID_ARGUMENT, "no ':'");
}

static void test_group_without_user_is_refused(void **state)
{
    struct fixture *f = *state;

    f->config.security.has_run_as_group = true;
    refuse(f, ERR_INVALID_ARGUMENT, "without a user");
}

static void check_groups(struct fixture *f, const uint32_t *expected, size_t n)
{
    uint32_t of_image[] = {50000, 1000};
    struct image_user user = {
        .uid = 1000, .gid = 1000, .groups = of_image, .n_groups = 2, .home = (char *)"/home/u"};
    uint32_t *groups;
    size_t n_groups;

    make(f);
    plan_set_user(f->plan, &user, &groups, &n_groups);
    assert_int_equal(n_groups, n);
    assert_memory_equal(groups, expected, n * sizeof(*expected));
    assert_int_equal(f->plan->spec->process->n_groups, n);
    assert_int_equal(f->plan->spec->process->uid, 1000);
    assert_string_equal(f->plan->spec->process->env[2], "HOME=/home/u");
    free(groups);
}

static void test_groups_merge_or_are_strict(void **state)
{
    static const uint32_t extra[] = {1234, 1234};
    static const uint32_t merged[] = {1000, 1234, 50000}, strict[] = {1000, 1234};
    struct fixture *f = *state;

    f->config.security.supplemental_groups = extra;
    f->config.security.n_supplemental_groups = 2;
    check_groups(f, merged, 3);
    f->config.security.groups_strict = true;
    check_groups(f, strict, 2);
}

/* ---- Capabilities --------------------------------------------------------------------------- */

static uint64_t cap(const char *name)
{
    struct err e = ERR_INIT;
    uint64_t mask;

    assert_int_equal(capability_parse(name, &mask, &e), 0);
    return mask;
}

static void test_capabilities_add_and_drop(void **state)
{
    struct fixture *f = *state;
    struct security_config *s = &f->config.security;
    uint64_t standard = capability_default() & capability_all();

    assert_true(make(f)->process->cap_bounding == standard);
    s->drop_capabilities = STRV("ALL");
    assert_true(make(f)->process->cap_effective == 0);
    s->add_capabilities = STRV("net_admin");
    assert_true(make(f)->process->cap_permitted == cap("NET_ADMIN"));
    s->add_capabilities = STRV("ALL");
    s->drop_capabilities = STRV("CAP_CHOWN");
    assert_true(make(f)->process->cap_bounding == (capability_all() & ~cap("CHOWN")));
    assert_true(make(f)->process->cap_inheritable == 0);
    s->add_capabilities = NULL;
    s->drop_capabilities = NULL;
    s->ambient_capabilities = STRV("NET_ADMIN");
    assert_true(make(f)->process->cap_ambient == cap("NET_ADMIN"));
    assert_true(make(f)->process->cap_inheritable == cap("NET_ADMIN"));
    s->ambient_capabilities = NULL;
    s->add_capabilities = STRV("NO_SUCH_THING");
    refuse(f, ERR_INVALID_ARGUMENT, "NO_SUCH_THING");
}

static void test_privileged_has_all_and_needs_a_privileged_pod(void **state)
{
    struct fixture *f = *state;

    f->config.security.privileged = true;
    f->config.security.seccomp.type = PROFILE_RUNTIME_DEFAULT;
    f->config.security.masked_paths = STRV("/proc/kcore");
    refuse(f, ERR_FAILED_PRECONDITION, "privileged");
    f->in.privileged_allowed = true;
    const container_spec_t *spec = make(f);
    assert_true(spec->process->cap_bounding == capability_all());
    assert_int_equal(spec->process->seccomp.len, 0);
    assert_int_equal(spec->n_masked_paths, 0);
    assert_false(spec->cgroup_namespace);
}

/* ---- Seccomp, LSM --------------------------------------------------------------------------- */

static void test_seccomp_profiles_fail_closed(void **state)
{
    struct fixture *f = *state;
    struct profile_config *p = &f->config.security.seccomp;

    assert_int_equal(make(f)->process->seccomp.len, 0);
    p->type = PROFILE_RUNTIME_DEFAULT;
    assert_true(make(f)->process->seccomp.len > 0);
    p->localhost_ref = "/x";
    refuse(f, ERR_INVALID_ARGUMENT, "not Localhost");
    p->type = PROFILE_LOCALHOST;
    p->localhost_ref = NULL;
    refuse(f, ERR_INVALID_ARGUMENT, "absolute");
    p->localhost_ref = "../x";
    refuse(f, ERR_INVALID_ARGUMENT, "absolute");
    p->localhost_ref = "localhost//no/such/file";
    refuse(f, ERR_INVALID_ARGUMENT, "/no/such/file");
    p->localhost_ref = "/proc";
    refuse(f, ERR_INVALID_ARGUMENT, "no file");
    p->localhost_ref = "/dev/null";
    refuse(f, ERR_INVALID_ARGUMENT, "no file");
    p->localhost_ref = "/etc/passwd";
    refuse(f, ERR_INVALID_ARGUMENT, "/etc/passwd");
}

static void test_apparmor_profile_needs_apparmor(void **state)
{
    struct fixture *f = *state;

    assert_true(str_empty(make(f)->process->apparmor_profile)); /* nobody asked for one */
    f->config.security.apparmor.asked = true;
    refuse(f, ERR_FAILED_PRECONDITION, "AppArmor is not enabled");
    f->config.security.apparmor.type = PROFILE_LOCALHOST;
    f->config.security.apparmor.localhost_ref = "localhost/mine";
    refuse(f, ERR_FAILED_PRECONDITION, "AppArmor is not enabled");
}

static void test_apparmor_default_is_for_the_unprivileged(void **state)
{
    struct fixture *f = *state;
    struct security_config *s = &f->config.security;

    f->kernel.apparmor = true;
    assert_true(str_empty(make(f)->process->apparmor_profile)); /* not loaded, not asked for */
    s->apparmor.asked = true;
    refuse(f, ERR_FAILED_PRECONDITION, "could not load it");
    f->in.apparmor_default_loaded = true;
    assert_string_equal(make(f)->process->apparmor_profile, "podd-default");
    s->apparmor.asked = false;
    assert_string_equal(make(f)->process->apparmor_profile, "podd-default");
    s->apparmor.type = PROFILE_UNCONFINED;
    assert_true(str_empty(make(f)->process->apparmor_profile));
    s->apparmor.type = PROFILE_RUNTIME_DEFAULT;
    s->privileged = f->in.privileged_allowed = true;
    assert_true(str_empty(make(f)->process->apparmor_profile));
}

/* ---- Mounts --------------------------------------------------------------------------------- */

static void assert_mounts(const container_spec_t *spec, const char *joined)
{
    _cleanup_strbuf_ struct strbuf b = {0};

    for (size_t i = 0; i < spec->n_mounts; i++)
        strbuf_addf(&b, "%s%s", i ? " " : "", spec->mounts[i]->target);
    assert_string_equal(b.data, joined);
}

static void test_default_mounts_in_order(void **state)
{
    struct fixture *f = *state;
    const container_spec_t *spec = make(f);

    assert_mounts(spec, "/proc /dev /dev/pts /dev/shm /dev/mqueue /sys /sys/fs/cgroup /etc/hosts "
                        "/etc/hostname /etc/resolv.conf");
    assert_int_equal(spec->mounts[3]->kind, PODD__SHIM__MOUNT__KIND__POD_SHM);
    assert_true(spec->mounts[5]->attributes & MOUNT_ATTR_RDONLY);
    assert_string_equal(spec->mounts[7]->source, "/run/podd/pods/s/hosts");
    assert_false(spec->mounts[7]->attributes & MOUNT_ATTR_RDONLY);

    f->config.security.readonly_rootfs = true;
    f->in.host_ipc = true;
    spec = make(f);
    assert_true(spec->rootfs_readonly);
    assert_true(spec->mounts[7]->attributes & MOUNT_ATTR_RDONLY);
    assert_int_equal(spec->mounts[3]->kind, PODD__SHIM__MOUNT__KIND__BIND);
    assert_string_equal(spec->mounts[3]->source, "/dev/shm");
}

static void test_own_mounts_beat_defaults_and_parents_come_first(void **state)
{
    static const struct mount_config mounts[] = {
        {.container_path = "/a/b//c/", .host_path = "/h1", .readonly = true},
        {.container_path = "/a", .host_path = "/h2", .propagation = MOUNT_BIDIRECTIONAL},
        {.container_path = "/etc/hosts", .host_path = "/h3"},
        {.container_path = "/dev", .host_path = "/dev"},
    };
    struct fixture *f = *state;

    f->config.mounts = mounts;
    f->config.n_mounts = ARRAY_SIZE(mounts);
    const container_spec_t *spec = make(f);
    assert_mounts(spec, "/proc /sys /sys/fs/cgroup /etc/hostname /etc/resolv.conf /a /dev "
                        "/etc/hosts /a/b/c");
    assert_int_equal(spec->mounts[5]->propagation, PODD__SHIM__MOUNT__PROPAGATION__BIDIRECTIONAL);
    assert_true(spec->mounts[8]->attributes == MOUNT_ATTR_RDONLY);
    assert_int_equal(strv_len(f->plan->sources), 4);
}

static void test_bad_mounts_are_refused(void **state)
{
    static const struct {
        struct mount_config m;
        const char *part;
    } rows[] = {
        {{.container_path = "", .host_path = "/h"}, "absolute"},
        {{.container_path = "a", .host_path = "/h"}, "absolute"},
        {{.container_path = "/a/../b", .host_path = "/h"}, "'..'"},
        {{.container_path = "/", .host_path = "/h"}, "root"},
        {{.container_path = "/a", .host_path = ""}, "on the node"},
        {{.container_path = "/a", .host_path = "h"}, "on the node"},
        {{.container_path = "/a", .host_path = "/h", .recursive_readonly = true}, "not read-only"},
        {{.container_path = "/a",
          .host_path = "/h",
          .readonly = true,
          .recursive_readonly = true,
          .propagation = MOUNT_HOST_TO_CONTAINER},
         "propagate"},
    };
    struct fixture *f = *state;

    f->config.n_mounts = 1;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        f->config.mounts = &rows[i].m;
        refuse(f, ERR_INVALID_ARGUMENT, rows[i].part);
    }
}

static void test_relabelling_needs_more_than_podd_does(void **state)
{
    struct fixture *f = *state;
    const struct mount_config mount = {
        .container_path = "/a", .host_path = "/h", .selinux_relabel = true};

    f->config.mounts = &mount;
    f->config.n_mounts = 1;
    f->config.security.selinux_level = "s0:c1,c2";
    make(f); /* without SELinux nothing has a label */
    f->kernel.selinux = true;
    refuse(f, ERR_UNIMPLEMENTED, "relabel");
    f->config.security.selinux_level = NULL;
    make(f);
}

static void test_image_volumes(void **state)
{
    static const struct mount_config mount = {.container_path = "/data", .host_path = "/h"};
    static const char *const bad[] = {"/", "/proc", "/proc/self", "/sys/x", "/../../c", "", "."};
    struct fixture *f = *state;

    f->config.mounts = &mount;
    f->config.n_mounts = 1;
    f->image.volumes = strv_dup(STRV("/data", "/var/lib/db"), 2);
    const container_spec_t *spec = make(f);
    assert_int_equal(strv_len(f->plan->volumes), 1);
    assert_string_equal(f->plan->volumes[0], "/var/lib/db");
    const mount_spec_t *last = spec->mounts[spec->n_mounts - 1];
    assert_string_equal(last->target, "/var/lib/db");
    assert_string_equal(last->source, "/var/lib/podd/containers/c/volumes/0");
    assert_int_equal(strv_len(f->plan->sources), 1); /* made by podd, so not checked */
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        strv_free(f->image.volumes);
        f->image.volumes = strv_dup(STRV((char *)bad[i]), 1);
        refuse(f, ERR_INVALID_ARGUMENT, "volume of the image");
    }
}

/* ---- The rest ------------------------------------------------------------------------------- */

static void test_working_directory(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(make(f)->process->cwd, "/");
    f->image.working_dir = xstrdup("srv/./www/");
    assert_string_equal(make(f)->process->cwd, "/srv/www");
    f->config.working_dir = "/own";
    assert_string_equal(make(f)->process->cwd, "/own");
    f->config.working_dir = "own";
    refuse(f, ERR_INVALID_ARGUMENT, "working directory");
}

static void test_log_path_stays_below_the_directory(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(make(f)->log_path, "");
    f->config.log_path = "c/0.log";
    assert_string_equal(make(f)->log_path, "/var/log/pods/x/c/0.log");
    f->config.log_path = "../../../etc/shadow";
    refuse(f, ERR_INVALID_ARGUMENT, "'..'");
    f->config.log_path = "/etc/shadow";
    refuse(f, ERR_INVALID_ARGUMENT, "relative");
    f->in.log_directory = "";
    f->config.log_path = "c/0.log";
    assert_string_equal(make(f)->log_path, "");
}

static void test_stop_signals(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(stop_signal_parse("SIGQUIT"), SIGQUIT);
    assert_int_equal(stop_signal_parse("usr1"), SIGUSR1);
    assert_int_equal(stop_signal_parse("3"), 3);
    assert_int_equal(stop_signal_parse("SIGRTMIN+3"), SIGRTMIN + 3);
    assert_int_equal(stop_signal_parse("RTMAX-1"), SIGRTMAX - 1);
    assert_int_equal(stop_signal_parse("SIGRTMIN+300"), 0);
    assert_int_equal(stop_signal_parse("SIGNONSENSE"), 0);
    assert_int_equal(stop_signal_parse("-1"), 0);
    assert_int_equal(stop_signal_parse("999"), 0);
    make(f);
    assert_int_equal(f->plan->stop_signal, SIGTERM);
    f->image.stop_signal = xstrdup("SIGINT");
    make(f);
    assert_int_equal(f->plan->stop_signal, SIGINT);
    f->config.stop_signal = SIGQUIT;
    make(f);
    assert_int_equal(f->plan->stop_signal, SIGQUIT);
}

static void test_pid_namespaces(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(make(f)->pid_mode, PODD__SHIM__PID_MODE__PID_OWN);
    f->config.security.pid = NAMESPACE_NODE;
    assert_int_equal(make(f)->pid_mode, PODD__SHIM__PID_MODE__PID_HOST);
    f->config.security.pid = NAMESPACE_POD;
    assert_int_equal(make(f)->pid_mode, PODD__SHIM__PID_MODE__PID_POD);
    f->config.security.pid = NAMESPACE_TARGET;
    refuse(f, ERR_INVALID_ARGUMENT, "missing");
    f->config.security.pid_target = OTHER_ID;
    assert_string_equal(make(f)->pid_target, OTHER_ID);
}

static void test_cgroup_limits_and_oom_score(void **state)
{
    struct fixture *f = *state;
    struct rlimit own;

    const container_spec_t *spec = make(f);
    assert_string_equal(spec->cgroup_path, "/podd/" TEST_ID);
    /* Never podd's own, which may be protected. */
    assert_true(spec->process->set_oom_score_adj);
    assert_int_equal(spec->process->oom_score_adj, 0);
    assert_true(spec->process->oom_score_adj_best_effort);
    f->config.has_oom_score_adj = true;
    f->config.oom_score_adj = -997;
    spec = make(f);
    assert_int_equal(spec->process->oom_score_adj, -997);
    assert_false(spec->process->oom_score_adj_best_effort);
    f->in.restrict_oom_score_adj = true;
    spec = make(f);
    assert_true(spec->process->oom_score_adj_best_effort);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &own), 0);
    assert_int_equal(spec->process->n_rlimits, 1);
    assert_int_equal(spec->process->rlimits[0]->soft, own.rlim_max < 1024 ? own.rlim_max : 1024);
    assert_true(spec->process->rlimits[0]->hard <= own.rlim_max);
    f->config.oom_score_adj = 1001;
    refuse(f, ERR_INVALID_ARGUMENT, "oom_score_adj");
}

static void test_devices(void **state)
{
    static const struct device_config null = {.host_path = "/dev/null",
                                              .container_path = "/dev/other"};
    static const struct device_config missing = {.host_path = "/dev/no-such-device"};
    struct fixture *f = *state;
    bool found = false;

    f->config.devices = &null;
    f->config.n_devices = 1;
    const container_spec_t *spec = make(f);
    for (size_t i = 0; i < spec->n_devices; i++)
        found |= str_equal(spec->devices[i]->path, "/dev/other");
    assert_true(found);
    f->config.devices = &missing;
    forget(f);
    assert_int_equal(plan_make(&f->in, &f->plan, &f->e), -1);
    assert_non_null(strstr(err_text(&f->e), "/dev/no-such-device"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_command_and_args_replace_entrypoint_and_cmd),
        TEST(test_no_command_at_all_is_refused),
        TEST(test_later_environment_wins_and_keeps_the_place),
        TEST(test_terminal_sets_term_only_when_unset),
        TEST(test_environment_names_are_checked),
        TEST(test_user_of_the_request_wins_over_the_images),
        TEST(test_group_without_user_is_refused),
        TEST(test_groups_merge_or_are_strict),
        TEST(test_capabilities_add_and_drop),
        TEST(test_privileged_has_all_and_needs_a_privileged_pod),
        TEST(test_seccomp_profiles_fail_closed),
        TEST(test_apparmor_profile_needs_apparmor),
        TEST(test_apparmor_default_is_for_the_unprivileged),
        TEST(test_default_mounts_in_order),
        TEST(test_own_mounts_beat_defaults_and_parents_come_first),
        TEST(test_bad_mounts_are_refused),
        TEST(test_relabelling_needs_more_than_podd_does),
        TEST(test_image_volumes),
        TEST(test_working_directory),
        TEST(test_log_path_stays_below_the_directory),
        TEST(test_stop_signals),
        TEST(test_pid_namespaces),
        TEST(test_cgroup_limits_and_oom_score),
        TEST(test_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
