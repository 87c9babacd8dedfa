/*
 * selector.c - taking a selector apart, and matching a pod's labels with it.
 */
#include "selector.h"

static int add(struct selector *s, const char *text, struct err *e)
{
    struct requirement *r = array_push(&s->items, &s->n, sizeof(*s->items));
    const char *equals = strchr(text, '=');

    if (!equals) {
        r->op = text[0] == '!' ? SELECT_ABSENT : SELECT_PRESENT;
        r->key = xstrdup(text[0] == '!' ? text + 1 : text);
    } else {
        bool different = equals > text && equals[-1] == '!';
        r->op = different ? SELECT_DIFFERENT : SELECT_EQUAL;
        r->key = xstrndup(text, (size_t)(equals - text) - different);
        r->value = xstrdup(equals + (equals[1] == '=' ? 2 : 1));
    }
    if (str_empty(r->key) || strpbrk(r->key, " ()!"))
        return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not KEY=VALUE, KEY!=VALUE, KEY or !KEY",
                       text);
    return 0;
}

int selector_parse(const char *text, struct selector *ret, struct err *e)
{
    struct selector s = {0};

    for (const char *p = text; !str_empty(p);) {
        size_t len = strcspn(p, ",");
        _cleanup_free_ char *item = xstrndup(p, len);
        if (add(&s, item, e) < 0) {
            selector_free(&s);
            return -1;
        }
        p += len + (p[len] == ',');
    }
    *ret = s;
    return 0;
}

void selector_free(struct selector *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->items[i].key);
        free(s->items[i].value);
    }
    free(s->items);
}

static const char *label_value(const Podd__V1__Pod *pod, const char *key)
{
    for (size_t i = 0; i < pod->n_labels; i++)
        if (str_equal(pod->labels[i]->key, key))
            return pod->labels[i]->value;
    return NULL;
}

static bool holds(const struct requirement *r, const char *value)
{
    switch (r->op) {
    case SELECT_EQUAL:
        return value && str_equal(value, r->value);
    case SELECT_DIFFERENT:
        return !value || !str_equal(value, r->value);
    case SELECT_PRESENT:
        return value != NULL;
    case SELECT_ABSENT:
        break;
    }
    return value == NULL;
}

bool selector_matches(const struct selector *s, const Podd__V1__Pod *pod)
{
    for (size_t i = 0; i < s->n; i++)
        if (!holds(&s->items[i], label_value(pod, s->items[i].key)))
            return false;
    return true;
}
