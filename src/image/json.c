/*
 * json.c - strict JSON: jansson with everything lenient switched off.
 *
 * Two readers that understand one document differently are how a signed or scanned image becomes
 * another one, so whatever leaves room for that is an error. jansson checks UTF-8, number ranges,
 * NUL and trailing bytes by itself and duplicate keys on request; its nesting limit is far too
 * high for our stacks, so the depth is counted beforehand.
 */
#include "json.h"

enum { DEPTH_MAX = 64 };

/* Brackets outside of strings. Only counts: what is wrong otherwise, the parser will say. */
static bool too_deep(const char *data, size_t len)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

json_t *json_load_strict(const void *data, size_t len, const char *what, struct err *e)
{
    json_error_t error;

    if (too_deep(data, len)) {
        err_set(e, ERR_INVALID_ARGUMENT, "%s is nested deeper than %d", what, DEPTH_MAX);
        return NULL;
    }
    json_t *j = json_loadb(data, len, JSON_REJECT_DUPLICATES, &error);
    if (!j)
        err_set(e, ERR_INVALID_ARGUMENT, "%s is not valid JSON: %s (line %d)", what, error.text,
                error.line);
    return j;
}

const char *json_get_text(const json_t *object, const char *key, bool *bad)
{
    const json_t *j = json_object_get(object, key);

    if (!j || json_is_null(j))
        return NULL;
    if (!json_is_string(j)) {
        *bad = true;
        return NULL;
    }
    return json_string_value(j);
}

char **json_get_texts(const json_t *object, const char *key, bool *bad)
{
    const json_t *j = json_object_get(object, key);
    size_t i, n = 0;
    json_t *item;

    if (!j || json_is_null(j))
        return NULL;
    if (!json_is_array(j)) {
        *bad = true;
        return NULL;
    }
    if (json_array_size(j) == 0)
        return NULL;
    /* All at once: there may be a million. */
    char **texts = xcalloc(json_array_size(j) + 1, sizeof(*texts));
    json_array_foreach(j, i, item)
    {
        if (json_is_string(item))
            texts[n++] = xstrdup(json_string_value(item));
        else
            *bad = true;
    }
    return texts;
}

int64_t json_get_number(const json_t *object, const char *key, bool *bad)
{
    const json_t *j = json_object_get(object, key);

    if (!j || json_is_null(j))
        return 0;
    if (!json_is_integer(j)) {
        *bad = true;
        return 0;
    }
    return json_integer_value(j);
}
