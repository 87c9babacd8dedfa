/*
 * yaml_value.c - what the nodes of a YAML tree are by the rules of YAML 1.1.
 */
#include "podd/decode.h"

static const char *const true_words[] = {"true", "True", "TRUE", "yes", "Yes", "YES",
                                         "on",   "On",   "ON",   "y",   "Y",   NULL};
static const char *const false_words[] = {"false", "False", "FALSE", "no", "No", "NO",
                                          "off",   "Off",   "OFF",   "n",  "N",  NULL};

static bool is_word(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (str_equal(s, *words))
            return true;
    return false;
}

static size_t count_digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* How whole numbers are written; of those that fit the first counts. */
static const struct int_form {
    const char *prefix;
    int base;
    const char *digits;
} int_forms[] = {
    {"0x", 16, "0123456789abcdefABCDEF"},
    {"0o", 8, "01234567"},
    {"0b", 2, "01"},
    {"0", 8, "01234567"},
    {"", 10, "0123456789"},
};

/* NULL: it is no whole number. *ret: behind sign and prefix. */
static const struct int_form *find_int_form(const char *s, const char **ret)
{
    s += *s == '-' || *s == '+';
    for (size_t i = 0; i < ARRAY_SIZE(int_forms); i++) {
        const char *digits = s + strlen(int_forms[i].prefix);
        if (!str_starts_with(s, int_forms[i].prefix) || *digits == '\0' ||
            digits[strspn(digits, int_forms[i].digits)] != '\0')
            continue;
        *ret = digits;
        return &int_forms[i];
    }
    return NULL;
}

static bool is_int(const char *s)
{
    const char *digits;

    return find_int_form(s, &digits) != NULL;
}

/* 1.5, .5, 1e3, 1.5E-3 and the like; .inf and .nan are nothing that a manifest can mean. */
static bool is_float(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t digits = count_digits(s);
    s += digits;
    if (*s == '.') {
        size_t decimals = count_digits(++s);
        digits += decimals;
        s += decimals;
    }
    if (digits == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        if (count_digits(s) == 0)
            return false;
        s += count_digits(s);
    }
    return *s == '\0';
}

enum tree_type tree_type(const struct yaml_node *node)
{
    if (node->kind == YAML_MAPPING)
        return TREE_MAPPING;
    if (node->kind == YAML_SEQUENCE)
        return TREE_SEQUENCE;
    if (!node->plain)
        return TREE_STRING;
    if (yaml_is_null(node))
        return TREE_NULL;
    if (is_word(node->text, true_words) || is_word(node->text, false_words))
        return TREE_BOOL;
    if (is_int(node->text))
        return TREE_INT;
    return is_float(node->text) ? TREE_FLOAT : TREE_STRING;
}

bool tree_bool(const struct yaml_node *scalar)
{
    return is_word(scalar->text, true_words);
}

int tree_int(const struct yaml_node *scalar, int64_t min, int64_t max, int64_t *ret)
{
    const char *digits;
    const struct int_form *form = find_int_form(scalar->text, &digits);

    errno = 0;
    int64_t number = form ? strtoll(digits, NULL, form->base) : 0;
    if (scalar->text[0] == '-')
        number = -number;
    if (!form || errno != 0 || number < min || number > max)
        return -ERANGE;
    *ret = number;
    return 0;
}

const struct yaml_node *tree_item(const struct yaml_node *node, size_t index)
{
    if (!node || node->kind == YAML_SCALAR || index >= node->count)
        return NULL;
    return node->kind == YAML_MAPPING ? node->entries[index].value : node->items[index];
}

const struct yaml_node *tree_child(const struct yaml_node *node, const char *key)
{
    const struct yaml_node *value = yaml_get(node, key);

    return value && !yaml_is_null(value) ? value : NULL;
}
