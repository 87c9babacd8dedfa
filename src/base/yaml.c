/*
 * yaml.c - YAML as a tree of nodes that know where they stand.
 *
 * libyaml reports events; one recursive walk makes nodes of them. What it means that a scalar is
 * "yes" or "123" is left to the reader, who knows what it wants there; whether it was quoted is
 * kept. Everything is bounded before it is built: the text, the depth, and the nodes counted as if
 * every alias were written out, so that whoever walks the tree later needs no bound of its own. An
 * anchor can be referred to only after its node is complete, hence there are no cycles.
 */
#include <stdio.h>
#include <yaml.h>

#include <podd/base.h>

/* Mappings with more keys than this are looked through with a map. */
#define FEW_KEYS 16

struct anchor {
    char *name;
    const struct yaml_node *node;
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; deleted by the next */
    bool has_event;
    struct yaml_tree *yaml;
    const char *name;
    const char *text;
    struct anchor *anchors; /* of the current document */
    size_t n_anchors;
    size_t weight; /* of the nodes so far */
    unsigned depth;
    struct err *e;
};

/* ---- Errors ---------------------------------------------------------------------------------- */

static int fail_at(struct reader *r, size_t line, size_t column, const char *what)
{
    return err_set(r->e, ERR_INVALID_ARGUMENT, "%s:%zu:%zu: %s", r->name, line, column, what);
}

static int fail_here(struct reader *r, const char *what)
{
    return fail_at(r, r->event.start_mark.line + 1, r->event.start_mark.column + 1, what);
}

int yaml_error(struct err *e, const char *name, const struct yaml_node *at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *what = xvasprintf(fmt, ap);
    va_end(ap);
    return err_set(e, ERR_INVALID_ARGUMENT, "%s:%u:%u: %s", name, at->line, at->column, what);
}

/* What libyaml itself found wrong. A broken character is told by its offset only. */
static int fail_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    size_t line = 1, column = 1;

    if (p->error != YAML_READER_ERROR) {
        _cleanup_free_ char *what =
            p->context ? xasprintf("%s %s", p->context, problem) : xstrdup(problem);
        return fail_at(r, p->problem_mark.line + 1, p->problem_mark.column + 1, what);
    }
    for (size_t i = 0; i < p->problem_offset; i++) {
        column++;
        if (r->text[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return fail_at(r, line, column, problem);
}

/* ---- Events and nodes ------------------------------------------------------------------------ */

static int next_event(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r);
    r->has_event = true;
    return 0;
}

static int add_weight(struct reader *r, size_t weight)
{
    r->weight += weight;
    if (r->weight > YAML_MAX_NODES)
        return fail_here(r, "too many values, counting aliases as often as they are used");
    return 0;
}

/* Counts a child in. */
static void adopt(struct yaml_node *parent, const struct yaml_node *child)
{
    parent->weight += child->weight;
    if (parent->height < child->height + 1)
        parent->height = child->height + 1;
}

/* A node that begins at the current event. */
static struct yaml_node *new_node(struct reader *r, enum yaml_kind kind)
{
    struct yaml_node *n = xnew(struct yaml_node);
    struct yaml_node **slot =
        array_push(&r->yaml->nodes, &r->yaml->n_nodes, sizeof(*r->yaml->nodes));

    *slot = n;
    n->kind = kind;
    n->line = (unsigned)r->event.start_mark.line + 1;
    n->column = (unsigned)r->event.start_mark.column + 1;
    n->weight = 1;
    n->height = kind == YAML_SCALAR ? 0 : 1;
    return n;
}

static void note_anchor(struct reader *r, char *name_take, const struct yaml_node *node)
{
    if (!name_take)
        return;
    struct anchor *a = array_push(&r->anchors, &r->n_anchors, sizeof(*r->anchors));
    a->name = name_take;
    a->node = node;
}

static void forget_anchors(struct reader *r)
{
    for (size_t i = 0; i < r->n_anchors; i++)
        free(r->anchors[i].name);
    free(take_ptr(r->anchors));
    r->n_anchors = 0;
}

static int check_tag(struct reader *r, const yaml_char_t *tag, const char *allowed)
{
    if (!tag || str_equal((const char *)tag, allowed) || str_equal((const char *)tag, "!"))
        return 0;
    _cleanup_free_ char *what = xasprintf("the tag %s is not supported here", (const char *)tag);
    return fail_here(r, what);
}

static int read_node(struct reader *r, const struct yaml_node **ret);

static int read_alias(struct reader *r, const struct yaml_node **ret)
{
    const char *name = (const char *)r->event.data.alias.anchor;

    /* The last one of this name counts. */
    for (size_t i = r->n_anchors; i-- > 0;) {
        if (!str_equal(r->anchors[i].name, name))
            continue;
        if (add_weight(r, r->anchors[i].node->weight) < 0)
            return -1;
        if (r->depth + r->anchors[i].node->height > YAML_MAX_DEPTH)
            return fail_here(r, "nested too deeply");
        *ret = r->anchors[i].node;
        return 0;
    }
    _cleanup_free_ char *what = xasprintf("no complete value has the anchor %s so far", name);
    return fail_here(r, what);
}

static int read_scalar(struct reader *r, const struct yaml_node **ret)
{
    const char *value = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;

    if (check_tag(r, r->event.data.scalar.tag, YAML_STR_TAG) < 0 || add_weight(r, 1) < 0)
        return -1;
    if (memchr(value, 0, len))
        return fail_here(r, "the text has a NUL character");
    struct yaml_node *n = new_node(r, YAML_SCALAR);
    n->text = xstrndup(value, len);
    n->plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !r->event.data.scalar.tag;
    note_anchor(r, xstrdup((const char *)r->event.data.scalar.anchor), n);
    *ret = n;
    return 0;
}

static int read_sequence(struct reader *r, const struct yaml_node **ret)
{
    if (check_tag(r, r->event.data.sequence_start.tag, YAML_SEQ_TAG) < 0 || add_weight(r, 1) < 0)
        return -1;
    struct yaml_node *n = new_node(r, YAML_SEQUENCE);
    _cleanup_free_ char *anchor = xstrdup((const char *)r->event.data.sequence_start.anchor);

    for (;;) {
        const struct yaml_node *item;
        if (next_event(r) < 0)
            return -1;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (read_node(r, &item) < 0)
            return -1;
        const struct yaml_node **slot = array_push(&n->items, &n->count, sizeof(*n->items));
        *slot = item;
        adopt(n, item);
    }
    note_anchor(r, take_ptr(anchor), n);
    *ret = n;
    return 0;
}

/* ---- Mappings -------------------------------------------------------------------------------- */

/* A mapping while it grows; `seen` joins when it has many keys. */
struct growing {
    struct yaml_node *node;
    struct yaml_entry *entries;
    size_t count;
    struct map *seen; /* key -> its key node */
};

static void growing_clear(struct growing *g)
{
    free(g->entries);
    map_free(g->seen);
}

static const struct yaml_node *find_key(const struct growing *g, const char *key)
{
    if (g->seen)
        return map_get(g->seen, key);
    for (size_t i = 0; i < g->count; i++)
        if (str_equal(g->entries[i].key->text, key))
            return g->entries[i].key;
    return NULL;
}

static void add_entry(struct growing *g, const struct yaml_node *key, const struct yaml_node *value)
{
    struct yaml_entry *entry = array_push(&g->entries, &g->count, sizeof(*g->entries));

    entry->key = key;
    entry->value = value;
    if (!g->seen && g->count > FEW_KEYS) {
        g->seen = map_new();
        for (size_t i = 0; i + 1 < g->count; i++)
            map_put(g->seen, g->entries[i].key->text, (void *)g->entries[i].key);
    }
    if (g->seen)
        map_put(g->seen, key->text, (void *)key);
}

/* Adds the entries of a merged mapping whose keys are not there yet. */
static int merge_mapping(struct reader *r, struct growing *g, const struct yaml_node *from)
{
    if (from->kind != YAML_MAPPING)
        return yaml_error(r->e, r->name, from, "only mappings can be merged with <<");
    for (size_t i = 0; i < from->count; i++)
        if (!find_key(g, from->entries[i].key->text))
            add_entry(g, from->entries[i].key, from->entries[i].value);
    return 0;
}

/* The value of "<<" is a mapping or a sequence of mappings, the first of which wins. */
static int merge(struct reader *r, struct growing *g, const struct yaml_node *value)
{
    if (value->kind != YAML_SEQUENCE)
        return merge_mapping(r, g, value);
    for (size_t i = 0; i < value->count; i++)
        if (merge_mapping(r, g, value->items[i]) < 0)
            return -1;
    return 0;
}

static int read_entry(struct reader *r, struct growing *g, const struct yaml_node **merged)
{
    const struct yaml_node *key, *value;

    if (read_node(r, &key) < 0)
        return -1;
    if (key->kind != YAML_SCALAR)
        return yaml_error(r->e, r->name, key, "a key must be a text, not a collection");
    const struct yaml_node *twin = find_key(g, key->text);
    if (twin)
        return yaml_error(r->e, r->name, key, "the key %s is there already, in line %u", key->text,
                          twin->line);
    if (next_event(r) < 0 || read_node(r, &value) < 0)
        return -1;
    adopt(g->node, key);
    adopt(g->node, value);
    if (key->plain && str_equal(key->text, "<<")) {
        if (*merged)
            return yaml_error(r->e, r->name, key, "a mapping has at most one key <<");
        *merged = value;
        return 0;
    }
    add_entry(g, key, value);
    return 0;
}

static int read_mapping(struct reader *r, const struct yaml_node **ret)
{
    CLEANUP(growing_clear) struct growing g = {0};
    const struct yaml_node *merged = NULL;

    if (check_tag(r, r->event.data.mapping_start.tag, YAML_MAP_TAG) < 0 || add_weight(r, 1) < 0)
        return -1;
    g.node = new_node(r, YAML_MAPPING);
    _cleanup_free_ char *anchor = xstrdup((const char *)r->event.data.mapping_start.anchor);

    for (;;) {
        if (next_event(r) < 0)
            return -1;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (read_entry(r, &g, &merged) < 0)
            return -1;
    }
    /* Last, so that the mapping's own keys win wherever << stands. */
    if (merged && merge(r, &g, merged) < 0)
        return -1;
    g.node->count = g.count;
    g.node->entries = take_ptr(g.entries);
    note_anchor(r, take_ptr(anchor), g.node);
    *ret = g.node;
    return 0;
}

/* ---- Documents ------------------------------------------------------------------------------- */

static int read_nested(struct reader *r, const struct yaml_node **ret,
                       int (*read)(struct reader *r, const struct yaml_node **ret))
{
    if (r->depth == YAML_MAX_DEPTH)
        return fail_here(r, "nested too deeply");
    r->depth++;
    int result = read(r, ret);
    r->depth--;
    return result;
}

/* The node that begins with the current event. */
static int read_node(struct reader *r, const struct yaml_node **ret)
{
    if (r->event.type == YAML_ALIAS_EVENT)
        return read_alias(r, ret);
    if (r->event.type == YAML_SCALAR_EVENT)
        return read_scalar(r, ret);
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_nested(r, ret, read_sequence);
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return read_nested(r, ret, read_mapping);
    return fail_here(r, "a value is missing");
}

static int read_document(struct reader *r)
{
    const struct yaml_node *root;

    if (next_event(r) < 0 || read_node(r, &root) < 0)
        return -1;
    forget_anchors(r);
    if (!yaml_is_null(root)) {
        const struct yaml_node **slot =
            array_push(&r->yaml->documents, &r->yaml->n_documents, sizeof(*r->yaml->documents));
        *slot = root;
    }
    return next_event(r); /* the document's end */
}

static int read_stream(struct reader *r)
{
    do {
        if (next_event(r) < 0)
            return -1;
        if (r->event.type == YAML_DOCUMENT_START_EVENT && read_document(r) < 0)
            return -1;
    } while (r->event.type != YAML_STREAM_END_EVENT);
    return 0;
}

int yaml_tree_parse(const void *data, size_t len, const char *name, struct yaml_tree **ret,
                    struct err *e)
{
    struct reader r = {.name = name, .text = data, .e = e};

    if (len > YAML_MAX_SIZE)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: longer than %d bytes", name, YAML_MAX_SIZE);
    if (!yaml_parser_initialize(&r.parser))
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "%s: no memory for a YAML parser", name);
    if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        r.text += 3;
        len -= 3;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, len);
    r.yaml = xnew(struct yaml_tree);
    int result = read_stream(&r);
    forget_anchors(&r);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (result < 0) {
        yaml_tree_free(r.yaml);
        return -1;
    }
    *ret = r.yaml;
    return 0;
}

void yaml_tree_free(struct yaml_tree *y)
{
    if (!y)
        return;
    for (size_t i = 0; i < y->n_nodes; i++) {
        free(y->nodes[i]->text);
        free(y->nodes[i]->items);
        free((void *)y->nodes[i]->entries);
        free(y->nodes[i]);
    }
    free(y->nodes);
    free(y->documents);
    free(y);
}

/* ---- Looking at the tree --------------------------------------------------------------------- */

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->count; i++)
        if (str_equal(mapping->entries[i].key->text, key))
            return mapping->entries[i].value;
    return NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    if (node->kind != YAML_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(nulls); i++)
        if (str_equal(node->text, nulls[i]))
            return true;
    return false;
}
