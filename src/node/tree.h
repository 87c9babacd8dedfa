/*
 * tree.h - what the nodes of a YAML tree mean to Kubernetes.
 */
#ifndef NODE_TREE_H
#define NODE_TREE_H

#include "podd/base.h"

#include <jansson.h>

/* Quoted scalars are strings, plain ones what they look like (YAML 1.1, where yes, no, on and off
 * are booleans). */
enum tree_type {
    TREE_NULL,
    TREE_BOOL,
    TREE_INT,
    TREE_FLOAT,
    TREE_STRING,
    TREE_SEQUENCE,
    TREE_MAPPING
};
enum tree_type tree_type(const struct yaml_node *node);
bool tree_bool(const struct yaml_node *scalar); /* of a TREE_BOOL */
/* Of a TREE_INT: decimal, 0x1f, 0o17, 0b11, and octal with a leading 0 (modes of files). 0 or
 * -ERANGE. */
int tree_int(const struct yaml_node *scalar, int64_t min, int64_t max, int64_t *ret) MUST_CHECK;

/* The item of a sequence or the value of a mapping; NULL beyond the last. */
const struct yaml_node *tree_item(const struct yaml_node *node, size_t index);
/* The value of a mapping's key; NULL when there is none, it is null, or node is no mapping. */
const struct yaml_node *tree_child(const struct yaml_node *node, const char *key);

/* The same content as JSON; keys whose value is null are left out. */
json_t *tree_to_json(const struct yaml_node *node);

#endif
