/*
 * Records: what is written comes back, and what is damaged is refused with a reason.
 */
#include "pod-kit.h"

#include "private.h"

static struct sandbox *sample_sandbox(void)
{
    static const struct key_value label = {(char *)"app", (char *)"web \xff\n"};
    static const struct id_range range = {0, 65536, 65536};
    struct sandbox *s = sandbox_new(TEST_ID);

    s->name = xstrdup("web");
    s->namespace_ = xstrdup("default");
    s->uid = xstrdup("u-1");
    s->attempt = 3;
    s->state = SANDBOX_READY;
    s->created_at = 1234567890123456789;
    s->addresses.count = 2;
    memcpy(s->addresses.text[0], "10.85.0.2", 10);
    memcpy(s->addresses.text[1], "fd00::2", 8);
    s->labels = key_values_dup(&label, 1);
    s->n_labels = 1;
    s->annotations = key_values_dup(NULL, 0);
    s->runtime_handler = xstrdup("");
    s->log_directory = xstrdup("/var/log/pods/x");
    s->cgroup_parent = xstrdup("/podd");
    s->hostname = xstrdup("web");
    s->origin = xstrdup("cri");
    s->asked = bytes_dup(&(struct bytes){.data = (uint8_t *)"a\0b", .len = 3});
    s->priv->boot_id = xstrdup("boot");
    s->priv->shim_pid = 4711;
    s->priv->shim_start_time = 99;
    s->priv->privileged = true;
    s->priv->uid_maps = xmemdup(&range, sizeof(range));
    s->priv->n_uid_maps = 1;
    s->priv->fingerprint = 0xfedcba9876543210;
    return s;
}

static struct container *sample_container(struct sandbox *s)
{
    struct container *c = container_new(OTHER_ID);
    process_spec_t *process = xmalloc(sizeof(*process));

    podd__shim__process_spec__init(process);
    process->env = xcalloc(2, sizeof(*process->env));
    process->env[process->n_env++] = xstrdup("PATH=/bin");
    process->env[process->n_env++] = xstrdup("BYTES=\xff\xfe\n");
    process->uid = 1000;
    process->gid = 1001;
    process->seccomp.data = xmemdup("\1\2\3\0\4", 5);
    process->seccomp.len = 5;
    c->priv->process = process;
    container_set_env(c);
    c->sandbox = s;
    c->name = xstrdup("main");
    c->attempt = 1;
    c->created_at = 5;
    c->started_at = 6;
    c->state = CONTAINER_RUNNING;
    c->pid = 42;
    c->image = xstrdup("busybox");
    c->image_id = xstrdup("sha256:1");
    c->image_digest = xstrdup("busybox@sha256:2");
    c->log_path = xstrdup("");
    c->cgroup_path = xstrdup("/podd/" OTHER_ID);
    c->labels = key_values_dup(NULL, 0);
    c->annotations = key_values_dup(NULL, 0);
    c->stop_signal = 3;
    c->groups = xmemdup((uint32_t[]){7, 1001}, 8);
    c->n_groups = 2;
    c->stdin_open = true;
    c->priv->pid_target = xstrdup("");
    c->priv->fingerprint = 17;
    return c;
}

static void test_sandbox_comes_back(void **state)
{
    struct sandbox *s = sample_sandbox(), *t = NULL;
    struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes record = record_encode_sandbox(s);

    assert_int_equal(record_decode_sandbox(record.data, record.len, &t, &e), 0);
    assert_string_equal(t->id, s->id);
    assert_string_equal(t->name, "web");
    assert_string_equal(t->namespace_, "default");
    assert_int_equal(t->attempt, 3);
    assert_int_equal(t->state, SANDBOX_READY);
    assert_true(t->created_at == s->created_at);
    assert_int_equal(t->addresses.count, 2);
    assert_string_equal(t->addresses.text[1], "fd00::2");
    assert_string_equal(t->labels[0].value, "web \xff\n");
    assert_int_equal(t->asked.len, 3);
    assert_memory_equal(t->asked.data, "a\0b", 3);
    assert_int_equal(t->priv->shim_pid, 4711);
    assert_true(t->priv->fingerprint == s->priv->fingerprint);
    assert_true(t->priv->privileged);
    assert_int_equal(t->priv->uid_maps[0].host_id, 65536);
    sandbox_object_free(s);
    sandbox_object_free(t);
}

static void test_container_comes_back(void **state)
{
    struct sandbox *s = sample_sandbox();
    struct container *c = sample_container(s), *d = NULL;
    struct err e = ERR_INIT;
    _cleanup_free_ char *owner = NULL;
    _cleanup_bytes_ struct bytes record = record_encode_container(c);

    assert_int_equal(record_decode_container(record.data, record.len, &d, &owner, &e), 0);
    assert_string_equal(owner, TEST_ID);
    assert_int_equal(d->state, CONTAINER_RUNNING);
    assert_int_equal(d->pid, 42);
    assert_int_equal(d->uid, 1000);
    assert_int_equal(d->gid, 1001);
    assert_int_equal(d->groups[1], 1001);
    assert_int_equal(d->stop_signal, 3);
    assert_true(d->stdin_open);
    assert_string_equal(d->env[1], "BYTES=\xff\xfe\n");
    assert_null(d->env[2]);
    assert_int_equal(d->priv->process->seccomp.len, 5);
    assert_memory_equal(d->priv->process->seccomp.data, "\1\2\3\0\4", 5);
    container_object_free(c);
    container_object_free(d);
    sandbox_object_free(s);
}

static void test_every_truncation_and_flipped_bit_is_refused(void **state)
{
    struct sandbox *s = sample_sandbox(), *t = NULL;
    _cleanup_bytes_ struct bytes record = record_encode_sandbox(s);

    for (size_t len = 0; len < record.len; len++) {
        _cleanup_err_ struct err e = ERR_INIT;
        _cleanup_free_ uint8_t *copy = xmemdup(record.data, len);
        assert_int_equal(record_decode_sandbox(copy, len, &t, &e), -1);
        assert_int_equal(e.code, ERR_DATA_LOSS);
    }
    for (size_t bit = 0; bit < record.len * 8; bit++) {
        _cleanup_err_ struct err e = ERR_INIT;
        record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(record_decode_sandbox(record.data, record.len, &t, &e), -1);
        record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    sandbox_object_free(s);
}

static void test_newer_version_is_named(void **state)
{
    struct sandbox *s = sample_sandbox(), *t = NULL;
    _cleanup_bytes_ struct bytes record = record_encode_sandbox(s);
    _cleanup_err_ struct err e = ERR_INIT;

    record.data[4] = 7;
    assert_int_equal(record_decode_sandbox(record.data, record.len, &t, &e), -1);
    assert_error(&e, ERR_DATA_LOSS, "version 7");
    sandbox_object_free(s);
}

/* Right checksum, wrong content: nothing that other code relies on gets through. */
static void test_malformed_content_is_refused(void **state)
{
    struct sandbox *s = sample_sandbox(), *t = NULL;
    struct container *c = sample_container(s), *d = NULL;
    char *owner = NULL;

    free(s->id);
    s->id = xstrdup("../../etc");
    _cleanup_bytes_ struct bytes bad_id = record_encode_sandbox(s);
    _cleanup_err_ struct err e1 = ERR_INIT, e2 = ERR_INIT, e3 = ERR_INIT;
    assert_int_equal(record_decode_sandbox(bad_id.data, bad_id.len, &t, &e1), -1);
    assert_error(&e1, ERR_DATA_LOSS, "id is malformed");

    _cleanup_bytes_ struct bytes bad_owner = record_encode_container(c);
    assert_int_equal(record_decode_container(bad_owner.data, bad_owner.len, &d, &owner, &e2), -1);
    assert_error(&e2, ERR_DATA_LOSS, "id in the record");

    free(s->id);
    s->id = xstrdup(TEST_ID);
    free(c->cgroup_path);
    c->cgroup_path = xstrdup("/podd/../..");
    _cleanup_bytes_ struct bytes bad_cgroup = record_encode_container(c);
    assert_int_equal(record_decode_container(bad_cgroup.data, bad_cgroup.len, &d, &owner, &e3), -1);
    assert_error(&e3, ERR_DATA_LOSS, "cgroup");
    container_object_free(c);
    sandbox_object_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox_comes_back),
        cmocka_unit_test(test_container_comes_back),
        cmocka_unit_test(test_every_truncation_and_flipped_bit_is_refused),
        cmocka_unit_test(test_newer_version_is_named),
        cmocka_unit_test(test_malformed_content_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
