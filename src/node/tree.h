/* Trees of YAML (podd/decode.h) as JSON. */
#ifndef NODE_TREE_H
#define NODE_TREE_H

#include "podd/decode.h"

#include <jansson.h>

/* The same content as JSON; keys whose value is null are left out. */
json_t *tree_to_json(const struct yaml_node *node);

#endif
