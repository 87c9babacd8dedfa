/*
 * test-base-yaml.c - the YAML tree: what is kept, where things stand, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <podd/base.h>

static struct yaml_tree *parse(const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct yaml_tree *y = NULL;

    if (yaml_tree_parse(text, strlen(text), "f.yaml", &y, &e) < 0)
        fail_msg("%s", err_text(&e));
    return y;
}

static void refuse_bytes(const void *data, size_t len, const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct yaml_tree *y = NULL;

    assert_int_equal(yaml_tree_parse(data, len, "f.yaml", &y, &e), -1);
    assert_null(y);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_string_equal(err_text(&e), text);
}

static void refuse(const char *yaml, const char *text)
{
    refuse_bytes(yaml, strlen(yaml), text);
}

static void nodes_know_kind_text_and_place(void **state)
{
    struct yaml_tree *y = parse("kind: Pod\n"
                                "spec:\n"
                                "  list:\n"
                                "  - 1\n"
                                "  - \"2\"\n"
                                "  - {a: b}\n");

    assert_int_equal(y->n_documents, 1);
    const struct yaml_node *root = y->documents[0];
    assert_int_equal(root->kind, YAML_MAPPING);
    assert_int_equal(root->count, 2);
    assert_string_equal(root->entries[1].key->text, "spec");
    assert_string_equal(yaml_get(root, "kind")->text, "Pod");
    const struct yaml_node *list = yaml_get(yaml_get(root, "spec"), "list");
    assert_int_equal(list->kind, YAML_SEQUENCE);
    assert_int_equal(list->count, 3);
    assert_int_equal(list->items[1]->line, 5);
    assert_int_equal(list->items[1]->column, 5);
    assert_true(list->items[0]->plain);
    assert_false(list->items[1]->plain);
    assert_string_equal(yaml_get(list->items[2], "a")->text, "b");
    assert_int_equal(root->height, 4);
    assert_null(yaml_get(root, "missing"));
    assert_null(yaml_get(list, "kind"));
    assert_null(yaml_get(NULL, "kind"));
    yaml_tree_free(y);
}

static void json_is_read_too(void **state)
{
    struct yaml_tree *y =
        parse("{\"a\": [1, true, null, \"null\"],\n\t\"b\": {\"c\": \"\\u00fc\\n\"}}");
    const struct yaml_node *a = yaml_get(y->documents[0], "a");

    assert_int_equal(a->count, 4);
    assert_true(yaml_is_null(a->items[2]));
    assert_false(yaml_is_null(a->items[3]));
    assert_string_equal(yaml_get(yaml_get(y->documents[0], "b"), "c")->text, "ü\n");
    yaml_tree_free(y);
}

static void empty_documents_are_left_out(void **state)
{
    struct yaml_tree *y = parse("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n");

    assert_int_equal(y->n_documents, 2);
    assert_non_null(yaml_get(y->documents[1], "b"));
    assert_int_equal(yaml_get(y->documents[1], "b")->line, 7);
    yaml_tree_free(y);
    y = parse("");
    assert_int_equal(y->n_documents, 0);
    yaml_tree_free(y);
    y = parse("\xef\xbb\xbf"
              "a: 1\n");
    assert_string_equal(y->documents[0]->entries[0].key->text, "a");
    yaml_tree_free(y);
}

static void aliases_stand_for_their_anchor(void **state)
{
    struct yaml_tree *y = parse("a: &x {k: v}\nb: *x\nc: &x 2\nd: *x\n");
    const struct yaml_node *root = y->documents[0];

    assert_ptr_equal(yaml_get(root, "a"), yaml_get(root, "b"));
    assert_string_equal(yaml_get(root, "d")->text, "2");
    yaml_tree_free(y);
    refuse("a: *y\n", "f.yaml:1:4: no complete value has the anchor y so far");
    refuse("a: &x\n  b: *x\n", "f.yaml:2:6: no complete value has the anchor x so far");
    refuse("--- &x a\n--- *x\n", "f.yaml:2:5: no complete value has the anchor x so far");
}

static void merge_keys_give_what_is_not_there(void **state)
{
    struct yaml_tree *y = parse("base: &b {p: 1, q: 2}\n"
                                "more: &m {q: 3, r: 4}\n"
                                "one: {<<: *b, q: 9}\n"
                                "two:\n  <<: [*b, *m]\n  s: 5\n"
                                "no: {'<<': 1}\n");
    const struct yaml_node *root = y->documents[0];
    const struct yaml_node *one = yaml_get(root, "one"), *two = yaml_get(root, "two");

    assert_int_equal(one->count, 2);
    assert_string_equal(yaml_get(one, "p")->text, "1");
    assert_string_equal(yaml_get(one, "q")->text, "9");
    assert_int_equal(two->count, 4);
    assert_string_equal(yaml_get(two, "q")->text, "2");
    assert_string_equal(yaml_get(two, "r")->text, "4");
    assert_string_equal(yaml_get(yaml_get(root, "no"), "<<")->text, "1");
    yaml_tree_free(y);
    refuse("a: {<<: 1}", "f.yaml:1:9: only mappings can be merged with <<");
    refuse("a: {<<: {}, <<: {}}", "f.yaml:1:13: a mapping has at most one key <<");
}

static void faults_name_line_and_column(void **state)
{
    refuse("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: the key a is there already, in line 1");
    refuse("a: [1, 2\nb: 3\n",
           "f.yaml:2:2: while parsing a flow sequence did not find expected ',' or ']'");
    refuse("a:\n\t- 1\n", "f.yaml:2:1: while scanning for the next token found character that "
                          "cannot start any token");
    refuse("? [a]\n: 1\n", "f.yaml:1:3: a key must be a text, not a collection");
    refuse("a: !!binary aGk=\n",
           "f.yaml:1:4: the tag tag:yaml.org,2002:binary is not supported here");
    refuse("a: \"x\\0y\"\n", "f.yaml:1:4: the text has a NUL character");
    refuse("a: 1\nb: \xff\n", "f.yaml:2:4: invalid leading UTF-8 octet");
    refuse_bytes("a: \0", 4, "f.yaml:1:4: control characters are not allowed");
}

static void string_tags_make_strings(void **state)
{
    struct yaml_tree *y = parse("a: !!str 123\nb: ! yes\nc: !!map {}\n");

    assert_false(yaml_get(y->documents[0], "a")->plain);
    assert_false(yaml_get(y->documents[0], "b")->plain);
    yaml_tree_free(y);
}

static void many_keys_are_still_told_apart(void **state)
{
    _cleanup_strbuf_ struct strbuf text = {0};

    for (int i = 0; i < 20000; i++)
        strbuf_addf(&text, "key%d: %d\n", i, i);
    struct yaml_tree *y = parse(text.data);
    assert_int_equal(y->documents[0]->count, 20000);
    assert_string_equal(yaml_get(y->documents[0], "key19999")->text, "19999");
    yaml_tree_free(y);
    strbuf_adds(&text, "key3: again\n");
    refuse(text.data, "f.yaml:20001:1: the key key3 is there already, in line 4");
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static void repeat(struct strbuf *b, const char *s, int n)
{
    while (n-- > 0)
        strbuf_adds(b, s);
}

static void depth_is_bounded(void **state)
{
    _cleanup_strbuf_ struct strbuf good = {0}, bad = {0}, huge = {0}, sly = {0};

    repeat(&good, "[", YAML_MAX_DEPTH);
    repeat(&good, "]", YAML_MAX_DEPTH);
    struct yaml_tree *y = parse(good.data);
    assert_int_equal(y->documents[0]->height, YAML_MAX_DEPTH);
    yaml_tree_free(y);
    repeat(&bad, "[", YAML_MAX_DEPTH + 1);
    refuse(bad.data, "f.yaml:1:65: nested too deeply");
    repeat(&huge, "[", 1000000);
    int64_t begin = time_mono_ns();
    refuse(huge.data, "f.yaml:1:65: nested too deeply");
    assert_true(time_mono_ns() - begin < NS_PER_SEC);
    /* Depth hidden behind an alias. */
    repeat(&sly, "[", 40);
    repeat(&sly, "]", 40);
    _cleanup_free_ char *text = xasprintf("- &a %s\n- [[[[[[[[[[[[[[[[[[[[[[[[*a"
                                          "]]]]]]]]]]]]]]]]]]]]]]]]\n",
                                          sly.data);
    refuse(text, "f.yaml:2:27: nested too deeply");
}

static void laughs_are_bounded(void **state)
{
    _cleanup_strbuf_ struct strbuf b = {0};

    strbuf_adds(&b, "l0: &l0 lol\n");
    for (int i = 1; i < 10; i++) {
        strbuf_addf(&b, "l%d: &l%d [", i, i);
        for (int k = 0; k < 10; k++)
            strbuf_addf(&b, "%s*l%d", k ? "," : "", i - 1);
        strbuf_adds(&b, "]\n");
    }
    int64_t begin = time_mono_ns();
    refuse(b.data, "f.yaml:6:38: too many values, counting aliases as often as they are used");
    assert_true(time_mono_ns() - begin < NS_PER_SEC / 10);
}

static void size_is_bounded(void **state)
{
    _cleanup_free_ char *text = xcalloc(1, YAML_MAX_SIZE + 2);

    memset(text, ' ', YAML_MAX_SIZE + 1);
    memcpy(text, "a: b", 4);
    refuse(text, "f.yaml: longer than 1048576 bytes");
    text[YAML_MAX_SIZE] = '\0';
    yaml_tree_free(parse(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_know_kind_text_and_place),
        cmocka_unit_test(json_is_read_too),
        cmocka_unit_test(empty_documents_are_left_out),
        cmocka_unit_test(aliases_stand_for_their_anchor),
        cmocka_unit_test(merge_keys_give_what_is_not_there),
        cmocka_unit_test(faults_name_line_and_column),
        cmocka_unit_test(string_tags_make_strings),
        cmocka_unit_test(many_keys_are_still_told_apart),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(laughs_are_bounded),
        cmocka_unit_test(size_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
