/*
 * text.c - the output of probes and termination messages is whatever bytes a container wrote, but
 * what gRPC and JSON carry as a string must be UTF-8.
 */
#include "text.h"

#define REPLACEMENT "\xef\xbf\xbd"

static bool is_continuation(const char *s, size_t len, size_t i)
{
    return i < len && ((uint8_t)s[i] & 0xc0) == 0x80;
}

/* The length of the well-formed character at s (RFC 3629), or 0. NUL is none. */
static size_t character_length(const char *s, size_t len)
{
    uint8_t a = (uint8_t)s[0], b = len > 1 ? (uint8_t)s[1] : 0;

    if (a >= 0x01 && a < 0x80)
        return 1;
    if (a >= 0xc2 && a <= 0xdf)
        return is_continuation(s, len, 1) ? 2 : 0;
    if (a >= 0xe0 && a <= 0xef) {
        bool overlong = a == 0xe0 && b < 0xa0, surrogate = a == 0xed && b >= 0xa0;
        bool whole = is_continuation(s, len, 1) && is_continuation(s, len, 2);
        return whole && !overlong && !surrogate ? 3 : 0;
    }
    if (a >= 0xf0 && a <= 0xf4) {
        bool overlong = a == 0xf0 && b < 0x90, beyond = a == 0xf4 && b >= 0x90;
        bool whole =
            is_continuation(s, len, 1) && is_continuation(s, len, 2) && is_continuation(s, len, 3);
        return whole && !overlong && !beyond ? 4 : 0;
    }
    return 0;
}

char *text_clean(const char *s, size_t len, size_t max)
{
    struct strbuf out = {0};

    for (size_t i = 0; s && i < len;) {
        size_t n = character_length(s + i, len - i);
        if (out.len + (n ? n : sizeof(REPLACEMENT) - 1) > max)
            break;
        if (n)
            strbuf_add(&out, s + i, n);
        else
            strbuf_adds(&out, REPLACEMENT);
        i += n ? n : 1;
    }
    return strbuf_take(&out);
}
