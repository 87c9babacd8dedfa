/*
 * expand.c - Kubernetes' expansion of references to variables. There is no error: what is no
 * complete reference to a known variable is text.
 */
#include "expand.h"

static const char *find_value(const struct key_value *vars, size_t n, const char *name, size_t len)
{
    for (size_t i = n; i-- > 0;)
        if (strlen(vars[i].key) == len && memcmp(vars[i].key, name, len) == 0)
            return vars[i].value;
    return NULL;
}

/* s is at a '$'. Adds what it stands for and returns how many characters that took. */
static size_t expand_dollar(struct strbuf *out, const char *s, const struct key_value *vars,
                            size_t n_vars)
{
    const char *end = s[1] == '(' ? strchr(s + 2, ')') : NULL;

    if (s[1] == '$') {
        strbuf_adds(out, "$");
        return 2;
    }
    if (!end) {
        strbuf_adds(out, "$");
        return 1;
    }
    const char *value = find_value(vars, n_vars, s + 2, (size_t)(end - s) - 2);
    size_t taken = (size_t)(end - s) + 1;
    if (value)
        strbuf_adds(out, value);
    else
        strbuf_add(out, s, taken);
    return taken;
}

char *expand_text(const char *text, const struct key_value *vars, size_t n_vars)
{
    struct strbuf out = {0};

    while (*text) {
        size_t plain = strcspn(text, "$");
        strbuf_add(&out, text, plain);
        text += plain;
        if (*text)
            text += expand_dollar(&out, text, vars, n_vars);
    }
    return strbuf_take(&out);
}

char *expand_strict(const char *text, const struct key_value *vars, size_t n_vars,
                    char **ret_missing)
{
    for (const char *s = strchr(text, '$'); s; s = strchr(s, '$')) {
        const char *end = s[1] == '(' ? strchr(s + 2, ')') : NULL;
        if (end && !find_value(vars, n_vars, s + 2, (size_t)(end - s) - 2)) {
            *ret_missing = xstrndup(s + 2, (size_t)(end - s) - 2);
            return NULL;
        }
        s += s[1] == '$' ? 2 : 1;
    }
    return expand_text(text, vars, n_vars);
}

char **expand_strv(char *const *v, const struct key_value *vars, size_t n_vars)
{
    char **ret = NULL;

    for (; v && *v; v++) {
        _cleanup_free_ char *text = expand_text(*v, vars, n_vars);
        strv_push(&ret, text);
    }
    return ret;
}
