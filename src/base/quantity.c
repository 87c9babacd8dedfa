/*
 * quantity.c - reads quantities exactly.
 *
 * A quantity is a decimal number, and a suffix that multiplies it by a power of two (Ki .. Ei) or
 * of ten (n .. E, or an exponent). The digits are kept as one integer and a count of decimals, so
 * that no floating point rounds "0.1" or "1.5Gi"; what does not come out even is rounded up, as
 * Kubernetes does.
 */
#include <podd/base.h>

#define DIGITS_MAX 18 /* fit a 64-bit integer */

typedef unsigned __int128 wide_t;

static const struct suffix {
    const char *text;
    int power_of_two;
    int power_of_ten;
} suffixes[] = {
    {"", 0, 0},    {"n", 0, -9},  {"u", 0, -6},  {"m", 0, -3},  {"k", 0, 3},   {"M", 0, 6},
    {"G", 0, 9},   {"T", 0, 12},  {"P", 0, 15},  {"E", 0, 18},  {"Ki", 10, 0}, {"Mi", 20, 0},
    {"Gi", 30, 0}, {"Ti", 40, 0}, {"Pi", 50, 0}, {"Ei", 60, 0},
};

/* Reads "12.50" up to the suffix: digits without the point, and how many came after it. */
static int number_parse(const char **cursor, uint64_t *ret_digits, int *ret_decimals)
{
    const char *s = *cursor;
    uint64_t digits = 0;
    int significant = 0, decimals = 0, seen = 0;
    bool point = false;

    for (; (*s >= '0' && *s <= '9') || (*s == '.' && !point); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        seen++;
        if (significant > 0 || *s != '0')
            significant++;
        if (significant > DIGITS_MAX)
            return -ERANGE;
        digits = digits * 10 + (uint64_t)(*s - '0');
        decimals += point;
    }
    if (seen == 0)
        return -EINVAL;
    *cursor = s;
    *ret_digits = digits;
    *ret_decimals = decimals;
    return 0;
}

static int suffix_parse(const char *s, int *ret_two, int *ret_ten)
{
    for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
        if (str_equal(s, suffixes[i].text)) {
            *ret_two = suffixes[i].power_of_two;
            *ret_ten = suffixes[i].power_of_ten;
            return 0;
        }
    }
    if (*s != 'e' && *s != 'E')
        return -EINVAL;
    s++;
    if (*s == '+')
        s++;
    int64_t exponent;
    if (parse_int(s, -100, 100, &exponent) < 0)
        return -EINVAL;
    *ret_two = 0;
    *ret_ten = (int)exponent;
    return 0;
}

/* digits * 2^two * 10^ten, rounded up; -ERANGE when above INT64_MAX. */
static int scale(uint64_t digits, int two, int ten, int64_t *ret)
{
    wide_t value = (wide_t)digits << two;
    bool inexact = false;

    for (; ten > 0; ten--)
        if (value != 0 && __builtin_mul_overflow(value, (wide_t)10, &value))
            return -ERANGE;
    for (; ten < 0 && (value != 0 || inexact); ten++) {
        inexact = inexact || value % 10 != 0;
        value /= 10;
        if (value == 0)
            break;
    }
    value += inexact;
    if (value > (wide_t)INT64_MAX)
        return -ERANGE;
    *ret = (int64_t)value;
    return 0;
}

int quantity_parse(const char *text, struct quantity *ret)
{
    uint64_t digits;
    int decimals, two, ten;

    if (*text == '+')
        text++;
    int r = number_parse(&text, &digits, &decimals);
    if (r < 0)
        return r;
    r = suffix_parse(text, &two, &ten);
    if (r < 0)
        return r;
    int64_t units, milli;
    r = scale(digits, two, ten - decimals, &units);
    if (r < 0)
        return r;
    if (scale(digits, two, ten - decimals + 3, &milli) < 0)
        milli = INT64_MAX;
    *ret = (struct quantity){.set = true, .units = units, .milli = milli};
    return 0;
}
