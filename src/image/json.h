/* json.h - JSON out of untrusted hands, and the few accessors that documents of images need. */
#ifndef IMAGE_JSON_H
#define IMAGE_JSON_H

#include <jansson.h>

#include "podd/base.h"

/* Parses one document and nothing behind it. Refused: duplicate keys, invalid UTF-8, NUL in
 * strings, numbers out of range, nesting deeper than 64. The caller decrefs. */
json_t *json_load_strict(const void *data, size_t len, const char *what, struct err *e);

/* The string `key` of an object, borrowed; NULL when it is absent or null. Sets *bad when it is
 * there and something else. */
const char *json_get_text(const json_t *object, const char *key, bool *bad);
/* The array of strings `key`, as a strv; NULL when absent, null or empty. */
char **json_get_texts(const json_t *object, const char *key, bool *bad);
/* The number `key`, 0 when absent or null. */
int64_t json_get_number(const json_t *object, const char *key, bool *bad);

static inline void json_freep(json_t **j)
{
    json_decref(*j);
}
#define _cleanup_json_ CLEANUP(json_freep)

#endif
