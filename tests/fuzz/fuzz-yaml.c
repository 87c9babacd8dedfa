/*
 * fuzz-yaml.c - the YAML tree: whatever the text, it is read or refused, within its bounds.
 */
#include <podd/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Walks everything, as a reader would. Returns how many nodes it met. */
static size_t walk(const struct yaml_node *n, unsigned depth)
{
    size_t met = 1;

    if (depth > YAML_MAX_DEPTH)
        abort();
    if (n->line == 0 || n->column == 0)
        abort();
    if (n->kind == YAML_SCALAR) {
        if (!n->text || (yaml_is_null(n) && !n->plain))
            abort();
        return met;
    }
    for (size_t i = 0; i < n->count; i++) {
        if (n->kind == YAML_SEQUENCE) {
            met += walk(n->items[i], depth + 1);
            continue;
        }
        if (yaml_get(n, n->entries[i].key->text) != n->entries[i].value)
            abort();
        met += walk(n->entries[i].key, depth + 1) + walk(n->entries[i].value, depth + 1);
    }
    return met;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct yaml_tree *y = NULL;

    if (yaml_tree_parse(data, size, "fuzz", &y, &e) < 0) {
        if (y || e.code == ERR_OK || !str_starts_with(err_text(&e), "fuzz:"))
            abort();
        return 0;
    }
    for (size_t i = 0; i < y->n_documents; i++)
        if (walk(y->documents[i], 0) > 2 * YAML_MAX_NODES)
            abort();
    yaml_tree_free(y);
    return 0;
}
