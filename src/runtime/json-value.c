/*
 * Values out of a JSON object that somebody else wrote: of the right type, or an error that says
 * where.
 */
#include "json-value.h"

#include <inttypes.h>

int json_invalid(struct err *e, const char *where, const char *what)
{
    return err_set(e, ERR_INVALID_ARGUMENT, "%s%s%s", where, *where ? ": " : "", what);
}

/* ---- Values ---------------------------------------------------------------------------------- */

int json_text_get(json_t *object, const char *key, const char *where, const char **ret,
                  struct err *e)
{
    json_t *value = json_object_get(object, key);
    *ret = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: \"%s\" is not a string", where, key);
    *ret = json_string_value(value);
    return 0;
}

int json_number_get(json_t *object, const char *key, const char *where, uint64_t missing,
                    uint64_t *ret, struct err *e)
{
    json_t *value = json_object_get(object, key);
    *ret = missing;
    if (!value || json_is_null(value))
        return 0;
    /* Numbers above 2^63 are reals to jansson; exact up to 2^53 they may be. */
    if (json_is_real(value) && json_real_value(value) >= 0 &&
        json_real_value(value) < 18446744073709551616.0 &&
        (double)(uint64_t)json_real_value(value) == json_real_value(value)) {
        *ret = (uint64_t)json_real_value(value);
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: \"%s\" is not a whole number", where, key);
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

/* An array, or NULL when there is none. */
int json_array_get_opt(json_t *object, const char *key, const char *where, json_t **ret,
                       struct err *e)
{
    json_t *value = json_object_get(object, key);
    *ret = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_array(value))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: \"%s\" is not an array", where, key);
    *ret = value;
    return 0;
}

int json_element_text(json_t *array, size_t i, const char *where, const char **ret, struct err *e)
{
    json_t *value = json_array_get(array, i);
    *ret = "";
    if (!json_is_string(value))
        return json_invalid(e, where, "not an array of strings");
    *ret = json_string_value(value);
    return 0;
}
