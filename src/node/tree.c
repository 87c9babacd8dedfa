/*
 * tree.c - YAML trees as JSON. Their limits (podd/base.h) bound the recursion here.
 */
#include "tree.h"

static json_t *number_to_json(const struct yaml_node *node, enum tree_type type)
{
    int64_t number;

    if (type == TREE_INT && tree_int(node, INT64_MIN, INT64_MAX, &number) == 0)
        return json_integer(number);
    /* "0.1" must come back as "0.1": a quantity is read from its text, so text it stays. */
    return json_string(node->text);
}

json_t *tree_to_json(const struct yaml_node *node)
{
    enum tree_type type = tree_type(node);
    json_t *json;

    switch (type) {
    case TREE_NULL:
        return json_null();
    case TREE_BOOL:
        return json_boolean(tree_bool(node));
    case TREE_INT:
    case TREE_FLOAT:
        return number_to_json(node, type);
    case TREE_STRING:
        return json_string(node->text);
    case TREE_SEQUENCE:
        json = json_array();
        for (size_t i = 0; i < node->count; i++)
            json_array_append_new(json, tree_to_json(node->items[i]));
        return json;
    case TREE_MAPPING:
        break;
    }
    json = json_object();
    for (size_t i = 0; i < node->count; i++)
        if (!yaml_is_null(node->entries[i].value))
            json_object_set_new(json, node->entries[i].key->text,
                                tree_to_json(node->entries[i].value));
    return json;
}
