/* test-base-map.c - the hash table, and the intrusive list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include <podd/base.h>

static int values[5000];

static const char *key(int i)
{
    static char text[32];

    snprintf(text, sizeof(text), "key-%d", i);
    return text;
}

static void an_empty_map_has_nothing(void **state)
{
    struct map *m = map_new();
    size_t cursor = 0;

    assert_null(map_get(m, "a"));
    assert_null(map_remove(m, "a"));
    assert_int_equal(map_count(m), 0);
    assert_false(map_next(m, &cursor, NULL, NULL));
    map_free(m);
    map_free(NULL);
}

static void putting_again_returns_the_old_value(void **state)
{
    struct map *m = map_new();

    assert_null(map_put(m, "a", &values[1]));
    assert_ptr_equal(map_put(m, "a", &values[2]), &values[1]);
    assert_ptr_equal(map_get(m, "a"), &values[2]);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_remove(m, "a"), &values[2]);
    assert_null(map_get(m, "a"));
    assert_int_equal(map_count(m), 0);
    map_free(m);
}

static void keys_are_copied(void **state)
{
    struct map *m = map_new();
    char text[] = "abc";

    map_put(m, text, &values[0]);
    text[0] = 'X';
    assert_ptr_equal(map_get(m, "abc"), &values[0]);
    assert_null(map_get(m, text));
    map_free(m);
}

static void keys_of_every_length_are_told_apart(void **state)
{
    struct map *m = map_new();
    char text[64] = {0};

    for (int i = 0; i < 60; i++, text[i - 1] = 'a')
        assert_null(map_put(m, text, &values[i]));
    memset(text, 0, sizeof(text));
    for (int i = 0; i < 60; i++, text[i - 1] = 'a')
        assert_ptr_equal(map_get(m, text), &values[i]);
    map_free(m);
}

static void many_entries_survive_growth_and_removal(void **state)
{
    struct map *m = map_new();

    for (int i = 0; i < 5000; i++)
        assert_null(map_put(m, key(i), &values[i]));
    for (int i = 0; i < 5000; i += 2)
        assert_ptr_equal(map_remove(m, key(i)), &values[i]);
    assert_int_equal(map_count(m), 2500);
    for (int i = 0; i < 5000; i++)
        assert_ptr_equal(map_get(m, key(i)), i % 2 ? &values[i] : NULL);
    for (int i = 0; i < 5000; i += 2)
        assert_null(map_put(m, key(i), &values[i]));
    for (int i = 0; i < 5000; i++)
        assert_ptr_equal(map_get(m, key(i)), &values[i]);
    map_free(m);
}

static void churn_agrees_with_a_plain_array(void **state)
{
    struct map *m = map_new();
    bool present[97] = {false};
    size_t count = 0;
    unsigned seed = 1;

    for (int step = 0; step < 200000; step++) {
        seed = seed * 1103515245u + 12345u;
        int i = (int)(seed >> 16) % 97;
        if (seed >> 31) {
            assert_ptr_equal(map_put(m, key(i), &values[i]), present[i] ? &values[i] : NULL);
            count += !present[i];
            present[i] = true;
        } else {
            assert_ptr_equal(map_remove(m, key(i)), present[i] ? &values[i] : NULL);
            count -= present[i];
            present[i] = false;
        }
        assert_int_equal(map_count(m), count);
    }
    map_free(m);
}

static void a_walk_sees_each_entry_once(void **state)
{
    struct map *m = map_new();
    int seen[1000] = {0};
    size_t cursor = 0;
    const char *k;
    void *v;

    for (int i = 0; i < 1000; i++)
        map_put(m, key(i), &values[i]);
    while (map_next(m, &cursor, &k, &v)) {
        int i = (int)((int *)v - values);
        assert_string_equal(k, key(i));
        seen[i]++;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);
    map_free(m);
}

static void a_walk_allows_removal_of_any_entry(void **state)
{
    for (int round = 0; round < 50; round++) { /* each map has its own seed */
        struct map *m = map_new();
        int seen[200] = {0};
        bool removed[200] = {false};
        size_t cursor = 0;
        void *v;

        for (int i = 0; i < 200; i++)
            map_put(m, key(i), &values[i]);
        while (map_next(m, &cursor, NULL, &v)) {
            int i = (int)((int *)v - values);
            int other = (i * 7 + 3) % 200;

            assert_false(removed[i]);
            seen[i]++;
            map_remove(m, key(i));
            removed[i] = true;
            if (i % 3 == 0) {
                map_remove(m, key(other));
                removed[other] = true;
            }
        }
        for (int i = 0; i < 200; i++)
            assert_true(seen[i] == 1 || (removed[i] && !seen[i]));
        assert_int_equal(map_count(m), 0);
        map_free(m);
    }
}

static void lists_append_and_remove_while_walking(void **state)
{
    struct item {
        int n;
        struct list link;
    } items[5];
    struct list head;
    int sum = 0;

    list_init(&head);
    assert_true(list_empty(&head));
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        list_append(&head, &items[i].link);
    }
    list_for_each_safe (it, &head) {
        struct item *item = container_of(it, struct item, link);
        if (item->n % 2) {
            list_remove(it);
            list_remove(it);
        }
    }
    list_for_each (it, &head)
        sum = sum * 10 + container_of(it, struct item, link)->n;
    assert_int_equal(sum, 24); /* 0, 2, 4 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(putting_again_returns_the_old_value),
        cmocka_unit_test(keys_are_copied),
        cmocka_unit_test(keys_of_every_length_are_told_apart),
        cmocka_unit_test(many_entries_survive_growth_and_removal),
        cmocka_unit_test(churn_agrees_with_a_plain_array),
        cmocka_unit_test(a_walk_sees_each_entry_once),
        cmocka_unit_test(a_walk_allows_removal_of_any_entry),
        cmocka_unit_test(lists_append_and_remove_while_walking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
