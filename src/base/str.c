/*
 * str.c - questions about strings, strict numbers, "did you mean", hex and ids.
 *
 * Numbers are parsed by hand: strtoul() takes blanks, signs and the locale's grouping, and none of
 * that may pass in a manifest or a request.
 */
#include <assert.h>

#include "private.h"

bool str_equal(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    return strcmp(a, b) == 0;
}

bool str_empty(const char *s)
{
    return !s || !*s;
}

bool str_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *s, const char *suffix)
{
    size_t len = strlen(s), n = strlen(suffix);

    return len >= n && memcmp(s + len - n, suffix, n) == 0;
}

int parse_uint(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    bool too_big = false;

    if (str_empty(s))
        return -EINVAL;
    /* Looks at the whole string first: "999...9x" is no number, not a number out of range. */
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            too_big = true;
    }
    if (too_big || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

int parse_int(const char *s, int64_t min, int64_t max, int64_t *ret)
{
    bool negative = s && *s == '-';
    uint64_t magnitude;
    int r;

    /* The magnitude of INT64_MIN is one more than INT64_MAX. */
    r = parse_uint(negative ? s + 1 : s, (uint64_t)INT64_MAX + negative, &magnitude);
    if (r < 0)
        return r;
    int64_t value = (int64_t)(negative ? -magnitude : magnitude);
    if (value < min || value > max)
        return -ERANGE;
    *ret = value;
    return 0;
}

/* ---- "Did you mean" ------------------------------------------------------------------------- */

enum { CLOSEST_MAX = 64 }; /* longer words are not names that somebody mistyped */

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance where swapping two neighbours is one step ("optimal string alignment"). Row i of
 * the usual matrix needs only the two rows above it. */
static size_t distance(const char *a, size_t len_a, const char *b, size_t len_b)
{
    size_t rows[3][CLOSEST_MAX + 1];

    for (size_t j = 0; j <= len_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            row[j] = min_size(up[j], row[j - 1]) + 1;
            row[j] = min_size(row[j], up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min_size(row[j], up2[j - 2] + 1);
        }
    }
    return rows[len_a % 3][len_b];
}

const char *str_closest(const char *s, const char *const *candidates)
{
    size_t len = strlen(s);
    size_t near = len / 3 > 1 ? len / 3 : 1;
    const char *best = NULL;

    if (len > CLOSEST_MAX)
        return NULL;
    for (; *candidates; candidates++) {
        size_t n = strlen(*candidates);
        if (n > CLOSEST_MAX)
            continue;
        size_t d = distance(s, len, *candidates, n);
        /* Something must be left of the word: "x" is not nearly "y". */
        if (d > near || (d && d >= (len > n ? len : n)))
            continue;
        best = *candidates;
        if (d == 0)
            break;
        near = d - 1; /* only a nearer one replaces it */
    }
    return best;
}

/* ---- Hex and ids ---------------------------------------------------------------------------- */

void hex_encode(const void *data, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;

    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[in[i] >> 4];
        ret[2 * i + 1] = digits[in[i] & 15];
    }
    ret[2 * len] = '\0';
}

char *id_new(void)
{
    uint8_t raw[32];
    char *id = xmalloc(2 * sizeof(raw) + 1);

    random_fill(raw, sizeof(raw));
    hex_encode(raw, sizeof(raw), id);
    return id;
}
