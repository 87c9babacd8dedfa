/*
 * Names, fingerprints of requests, and finding objects by a prefix of their id.
 */
#include "pod-kit.h"

#include "private.h"

static struct pods *pods_for_test(void)
{
    struct pods *p = xnew(struct pods);

    p->refs = 1;
    p->names = map_new();
    p->sandboxes = map_new();
    p->containers = map_new();
    list_init(&p->all_sandboxes);
    list_init(&p->all_containers);
    list_init(&p->watches);
    return p;
}

struct answer {
    int calls;
    char *id;
    enum err_code code;
};

static void on_id(void *arg, const char *id, const struct err *e)
{
    struct answer *a = arg;

    a->calls++;
    free(a->id);
    a->id = xstrdup(id);
    a->code = e->code;
}

static void test_names_cannot_collide(void **state)
{
    _cleanup_free_ char *a = name_key_sandbox("a_b", "c", "u", 1);
    _cleanup_free_ char *b = name_key_sandbox("a", "b_c", "u", 1);
    _cleanup_free_ char *c = name_key_sandbox("a_b", "c", "u", 2);
    _cleanup_free_ char *d = name_key_sandbox("a", "1:b", "", 1);
    _cleanup_free_ char *f = name_key_sandbox("a1:b", "", "", 1);

    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(d, f);
}

static void test_all_who_wait_are_told_and_failure_frees_the_name(void **state)
{
    struct pods *p = pods_for_test();
    struct answer first = {0}, second = {0};
    struct err ok = ERR_INIT;
    _cleanup_err_ struct err failure = ERR_INIT;

    struct name *n = name_add(p, "k", TEST_ID, 1);
    assert_true(n->busy);
    name_wait(n, on_id, &first);
    name_wait(n, on_id, &second);
    err_set(&failure, ERR_RESOURCE_EXHAUSTED, "full");
    name_finish(p, n, &failure);
    assert_int_equal(first.code, ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(second.calls, 1);
    assert_null(name_find(p, "k"));

    n = name_add(p, "k", TEST_ID, 1);
    name_wait(n, on_id, &first);
    name_finish(p, n, &ok);
    assert_string_equal(first.id, TEST_ID);
    assert_ptr_equal(name_find(p, "k"), n);
    assert_false(n->busy);
    name_release(p, n);
    assert_null(name_find(p, "k"));
    free(first.id);
    pods_close(p);
}

static void test_fingerprint_ignores_the_order_of_maps_only(void **state)
{
    struct key_value ab[] = {{(char *)"a", (char *)"1"}, {(char *)"b", (char *)"2"}};
    struct key_value ba[] = {{(char *)"b", (char *)"2"}, {(char *)"a", (char *)"1"}};
    struct key_value swapped[] = {{(char *)"a", (char *)"2"}, {(char *)"b", (char *)"1"}};
    struct container_config x = {.name = "c", .image = "i", .labels = ab, .n_labels = 2};
    struct container_config y = x;

    y.labels = ba;
    assert_true(fingerprint_container(&x) == fingerprint_container(&y));
    y.labels = swapped;
    assert_true(fingerprint_container(&x) != fingerprint_container(&y));
    y = x;
    x.envs = ab;
    x.n_envs = 2;
    y.envs = ba;
    y.n_envs = 2;
    assert_true(fingerprint_container(&x) != fingerprint_container(&y));
    y = x;
    y.command = STRV("sh");
    assert_true(fingerprint_container(&x) != fingerprint_container(&y));

    struct sandbox_config s = {.name = "s", .annotations = ab, .n_annotations = 2}, t = s;
    t.annotations = ba;
    assert_true(fingerprint_sandbox(&s) == fingerprint_sandbox(&t));
    t.privileged = true;
    assert_true(fingerprint_sandbox(&s) != fingerprint_sandbox(&t));
}

static struct sandbox *publish(struct pods *p, const char *id)
{
    struct sandbox *s = sandbox_new(id);

    s->priv->pods = p;
    s->created_at = created_at_next(p);
    sandbox_publish(p, s);
    return s;
}

static void test_unique_prefixes_find(void **state)
{
    static const char other[] = "0123ffff89abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct pods *p = pods_for_test();
    struct sandbox *a = publish(p, TEST_ID), *b = publish(p, other);
    _cleanup_err_ struct err e1 = ERR_INIT, e2 = ERR_INIT, e3 = ERR_INIT;

    assert_ptr_equal(sandbox_find(p, TEST_ID, NULL), a);
    assert_ptr_equal(sandbox_find(p, "01234", NULL), a);
    assert_ptr_equal(sandbox_find(p, "0123f", NULL), b);
    assert_null(sandbox_find(p, "0123", &e1));
    assert_error(&e1, ERR_INVALID_ARGUMENT, "several");
    assert_null(sandbox_find(p, "9", &e2));
    assert_error(&e2, ERR_NOT_FOUND, "9 does not exist");
    assert_null(sandbox_find(p, "", &e3));
    assert_int_equal(e3.code, ERR_NOT_FOUND);
    assert_null(sandbox_find(p, OTHER_ID, NULL));
    assert_true(b->created_at > a->created_at);
    pods_close(p);
}

static void count_sandboxes(void *arg, const struct sandbox *s)
{
    const struct sandbox **last = arg;

    assert_true(!*last || (*last)->created_at < s->created_at);
    *last = s;
}

struct container_walk {
    const struct container *last;
    int calls;
};

static void count_containers(void *arg, const struct container *c)
{
    struct container_walk *w = arg;

    assert_true(w->calls == 0 || w->last->created_at < c->created_at);
    w->last = c;
    w->calls++;
}

static struct container *unpublished_container(struct pods *p, const char *id)
{
    struct container *c = container_new(id);

    c->created_at = created_at_next(p);
    return c;
}

/* Also when the one that was begun first is ready last. */
static void test_objects_are_walked_oldest_first(void **state)
{
    static const char third[] = "89abcdef89abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct pods *p = pods_for_test();
    const struct sandbox *last = NULL;
    struct container_walk walk = {0};
    struct sandbox *late = sandbox_new(third);

    late->priv->pods = p;
    late->created_at = created_at_next(p);
    publish(p, TEST_ID);
    struct sandbox *b = publish(p, OTHER_ID);
    sandbox_publish(p, late);
    sandbox_for_each(p, count_sandboxes, &last);
    assert_ptr_equal(last, b);

    struct container *c1 = unpublished_container(p, TEST_ID),
                     *c2 = unpublished_container(p, OTHER_ID),
                     *c3 = unpublished_container(p, third);
    container_publish(b, c3);
    container_publish(late, c1);
    container_publish(b, c2);
    container_for_each(p, count_containers, &walk);
    assert_int_equal(walk.calls, 3);
    assert_ptr_equal(walk.last, c3);
    assert_ptr_equal(container_of_sibling(b->containers.next), c2);
    pods_close(p);
}

/* ---- Events --------------------------------------------------------------------------------- */

struct listener {
    struct pod_watch *watch;
    uint64_t sequence;
    int64_t time;
    int calls;
    bool leave;
};

static void on_event(void *arg, const struct pod_event *event)
{
    struct listener *l = arg;

    assert_true(l->calls == 0 || event->sequence == l->sequence + 1);
    assert_true(event->time > l->time);
    l->sequence = event->sequence;
    l->time = event->time;
    l->calls++;
    if (l->leave)
        pod_watch_free(take_ptr(l->watch));
}

static void test_events_are_numbered_and_a_listener_may_leave(void **state)
{
    struct pods *p = pods_for_test();
    struct listener stays = {0}, leaves = {.leave = true};

    leaves.watch = pods_watch(p, on_event, &leaves);
    stays.watch = pods_watch(p, on_event, &stays);
    pod_emit(p, POD_CREATED, NULL, NULL);
    pod_emit(p, POD_STARTED, NULL, NULL);
    assert_int_equal(leaves.calls, 1);
    assert_int_equal(stays.calls, 2);
    pods_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_cannot_collide),
        cmocka_unit_test(test_all_who_wait_are_told_and_failure_frees_the_name),
        cmocka_unit_test(test_fingerprint_ignores_the_order_of_maps_only),
        cmocka_unit_test(test_unique_prefixes_find),
        cmocka_unit_test(test_objects_are_walked_oldest_first),
        cmocka_unit_test(test_events_are_numbered_and_a_listener_may_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
