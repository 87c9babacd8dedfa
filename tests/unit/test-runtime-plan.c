/*
 * The planning half: limits, capabilities, devices as the spec gets them, and the kernel probe.
 */
#include <linux/capability.h>

#include "runtime-pod.h"

struct planned {
    cgroup_write_t **writes;
    size_t n;
};

/* Every plan of the tests, to be freed at the end. */
static container_spec_t plans = PODD__SHIM__CONTAINER_SPEC__INIT;

static void spec_free(container_spec_t *spec)
{
    for (size_t i = 0; i < spec->n_cgroup_writes; i++)
        podd__shim__cgroup_write__free_unpacked(spec->cgroup_writes[i], NULL);
    for (size_t i = 0; i < spec->n_devices; i++)
        podd__shim__device__free_unpacked(spec->devices[i], NULL);
    for (size_t i = 0; i < spec->n_device_rules; i++)
        podd__shim__device_rule__free_unpacked(spec->device_rules[i], NULL);
    free(spec->cgroup_writes);
    free(spec->devices);
    free(spec->device_rules);
}

static int free_all(void **state)
{
    spec_free(&plans);
    return 0;
}

static struct planned planned(const struct cgroup_limits *limits)
{
    struct err e = ERR_INIT;
    size_t before = plans.n_cgroup_writes;
    if (cgroup_plan(limits, &plans.cgroup_writes, &plans.n_cgroup_writes, &e) < 0)
        fail_msg("%s", err_text(&e));
    return (struct planned){.writes = plans.cgroup_writes + before,
                            .n = plans.n_cgroup_writes - before};
}

/* The value for a file, given its name on v1 and on v2; NULL when it is not written. */
static const char *value_of(const struct planned *p, const char *v1, const char *v2)
{
    const char *file = cgroup_mode() == CGROUP_V2 ? v2 : v1;
    for (size_t i = 0; i < p->n; i++)
        if (str_equal(p->writes[i]->file, file))
            return p->writes[i]->value;
    return NULL;
}

static bool is_v2(void)
{
    return cgroup_mode() == CGROUP_V2;
}

static void test_nothing_set_writes_nothing(void **state)
{
    struct planned p = planned(&(struct cgroup_limits){0});
    assert_int_equal(p.n, 0);
}

static void test_cpu_shares_keep_their_landmarks(void **state)
{
    static const struct {
        int64_t shares;
        const char *weight;
    } pairs[] = {{2, "1"},    {1024, "100"}, {262144, "10000"},
                 {512, "59"}, {1, "1"},      {1 << 20, "10000"}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        struct planned p = planned(&(struct cgroup_limits){.cpu_shares = pairs[i].shares});
        char shares[24];
        snprintf(shares, sizeof(shares), "%lld", (long long)pairs[i].shares);
        assert_string_equal(value_of(&p, "cpu.shares", "cpu.weight"),
                            is_v2() ? pairs[i].weight : shares);
    }
}

static void test_quota_is_written_with_its_period(void **state)
{
    struct planned p = planned(&(struct cgroup_limits){.cpu_quota = 20000, .cpu_period = 50000});
    assert_string_equal(value_of(&p, "cpu.cfs_quota_us", "cpu.max"),
                        is_v2() ? "20000 50000" : "20000");
    if (!is_v2()) {
        assert_string_equal(p.writes[0]->file, "cpu.cfs_period_us"); /* first */
        assert_string_equal(p.writes[0]->controller, "cpu");
    }
    p = planned(&(struct cgroup_limits){.cpu_quota = -1});
    assert_string_equal(value_of(&p, "cpu.cfs_quota_us", "cpu.max"), is_v2() ? "max 100000" : "-1");
}

static void test_swap_is_counted_as_the_version_counts_it(void **state)
{
    const int64_t mib = 1 << 20;
    struct planned p = planned(&(struct cgroup_limits){.memory_bytes = 64 * mib});
    assert_string_equal(value_of(&p, "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_string_equal(value_of(&p, "memory.memsw.limit_in_bytes", "memory.swap.max"),
                        is_v2() ? "0" : "67108864");
    p = planned(&(struct cgroup_limits){.memory_bytes = 64 * mib, .memory_swap_bytes = 96 * mib});
    assert_string_equal(value_of(&p, "memory.memsw.limit_in_bytes", "memory.swap.max"),
                        is_v2() ? "33554432" : "100663296");
    p = planned(&(struct cgroup_limits){.memory_bytes = 64 * mib, .memory_swap_bytes = -1});
    assert_string_equal(value_of(&p, "memory.memsw.limit_in_bytes", "memory.swap.max"),
                        is_v2() ? "max" : "-1");
}

static void expect_invalid(const struct cgroup_limits *limits)
{
    struct planned p = {0};
    struct err e = ERR_INIT;
    assert_int_equal(cgroup_plan(limits, &p.writes, &p.n, &e), -1);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_int_equal(p.n, 0);
    free(p.writes);
    err_clear(&e);
}

static void test_contradictions_are_refused(void **state)
{
    expect_invalid(&(struct cgroup_limits){.memory_bytes = 2, .memory_swap_bytes = 1});
    expect_invalid(&(struct cgroup_limits){.memory_swap_bytes = 1 << 20});
    const struct hugepage_limit pages = {.page_size = "../2MB", .bytes = 0};
    expect_invalid(&(struct cgroup_limits){.hugepages = &pages, .n_hugepages = 1});
    const struct key_value slash = {.key = (char *)"../memory.max", .value = (char *)"1"};
    expect_invalid(&(struct cgroup_limits){.pids = 1, .unified = &slash, .n_unified = 1});
    const struct key_value fine = {.key = (char *)"memory.high", .value = (char *)"1"};
    const struct cgroup_limits unified = {.unified = &fine, .n_unified = 1};
    if (!is_v2())
        expect_invalid(&unified);
    else
        assert_int_equal(planned(&unified).n, 1);
}

static void test_hugepages_may_be_missing(void **state)
{
    const struct hugepage_limit pages[] = {{"2MB", 0}, {"1GB", 1 << 30}};
    struct planned p = planned(&(struct cgroup_limits){.hugepages = pages, .n_hugepages = 2});
    for (size_t i = 0; i < p.n; i++)
        assert_true(p.writes[i]->optional);
    assert_int_equal(p.n, cgroup_has_controller("hugetlb") ? 4 : 0);
}

/* ---- Capabilities ---------------------------------------------------------------------------- */

static void test_capability_names(void **state)
{
    static const char *const good[] = {"NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "Cap_Net_Admin"};
    static const char *const bad[] = {"",       "CAP_", "ADMIN",           "NET_ADMIN ",   "12",
                                      "CAP_12", "ALL",  "NET_ADMIN,CHOWN", "CAP_CAP_CHOWN"};
    uint64_t mask;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        mask = 0;
        assert_int_equal(capability_parse(good[i], &mask, &e), 0);
        assert_int_equal(mask, UINT64_C(1) << CAP_NET_ADMIN);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(capability_parse(bad[i], &mask, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(err_text(&e), bad[i]));
        err_clear(&e);
    }
    assert_int_equal(capability_default() & ~capability_all(), 0);
    assert_int_equal(capability_default() & (UINT64_C(1) << CAP_SYS_ADMIN), 0);
}

/* ---- Devices --------------------------------------------------------------------------------- */

static void test_devices_of_the_host(void **state)
{
    container_spec_t spec = PODD__SHIM__CONTAINER_SPEC__INIT;
    struct err e = ERR_INIT;
    assert_int_equal(device_plan_add(&spec, "/dev/zero", "/dev/other", "rw", &e), 0);
    assert_int_equal(spec.n_devices, 1);
    assert_int_equal(spec.devices[0]->minor, 5);
    assert_string_equal(spec.devices[0]->path, "/dev/other");
    assert_string_equal(spec.device_rules[0]->access, "rw");
    assert_int_equal(device_plan_add(&spec, "/dev/null", "/dev/other", "r", &e), 0);
    assert_int_equal(spec.n_devices, 1); /* replaced */
    static const char *const bad[][3] = {
        {"/dev/none", "/dev/x", "r"}, {"/etc/passwd", "/dev/x", "r"}, {"/dev/null", "dev", "r"},
        {"/dev/null", "/", "r"},      {"/dev/null", "/dev/x", "x"},   {"/dev/null", "/dev/x", ""}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(device_plan_add(&spec, bad[i][0], bad[i][1], bad[i][2], &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        err_clear(&e);
    }
    container_spec_t all = PODD__SHIM__CONTAINER_SPEC__INIT;
    assert_int_equal(device_plan_privileged(&all, &e), 0);
    assert_true(all.n_devices > 6);
    assert_int_equal(all.n_device_rules, 1);
    assert_int_equal(all.device_rules[0]->type, 'a');
    for (size_t i = 0; i < all.n_devices; i++) {
        assert_false(str_starts_with(all.devices[i]->path, "/dev/pts"));
        assert_string_not_equal(all.devices[i]->path, "/dev/console");
    }
    spec_free(&spec);
    spec_free(&all);
}

static void test_this_kernel_has_what_podd_needs(void **state)
{
    struct kernel_features f;
    struct err e = ERR_INIT;
    if (kernel_probe(&f, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_true(f.openat2 && f.clone3 && f.pidfd && f.mount_api && f.seccomp_filter && f.overlayfs);
    assert_true(f.idmapped_mounts && f.recursive_read_only); /* as old as the mount API */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_set_writes_nothing),
        cmocka_unit_test(test_cpu_shares_keep_their_landmarks),
        cmocka_unit_test(test_quota_is_written_with_its_period),
        cmocka_unit_test(test_swap_is_counted_as_the_version_counts_it),
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_hugepages_may_be_missing),
        cmocka_unit_test(test_capability_names),
        cmocka_unit_test(test_devices_of_the_host),
        cmocka_unit_test(test_this_kernel_has_what_podd_needs),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
