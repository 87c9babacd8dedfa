/* Typed access to JSON from outside. A missing value and null are the same. */
#ifndef RUNTIME_JSON_VALUE_H
#define RUNTIME_JSON_VALUE_H

#include <jansson.h>

#include "podd/base.h"

/* "<where>: <what>" as ERR_INVALID_ARGUMENT. Returns -1. */
int json_invalid(struct err *e, const char *where, const char *what);

/* *ret is borrowed from the object; NULL when it is missing. */
int json_text_get(json_t *object, const char *key, const char *where, const char **ret,
                  struct err *e) MUST_CHECK;
int json_number_get(json_t *object, const char *key, const char *where, uint64_t missing,
                    uint64_t *ret, struct err *e) MUST_CHECK;
int json_array_get_opt(json_t *object, const char *key, const char *where, json_t **ret,
                       struct err *e) MUST_CHECK;
/* The string at index i of an array. */
int json_element_text(json_t *array, size_t i, const char *where, const char **ret, struct err *e)
    MUST_CHECK;

#endif
