/*
 * base64.c - OpenSSL's block coder behind the checks that it leaves to its caller.
 */
#include "base64.h"

#include <openssl/evp.h>

static char *without_breaks(const char *text, size_t *ret_len)
{
    char *copy = xmalloc(strlen(text) + 1);
    size_t len = 0;

    for (; *text; text++)
        if (*text != '\n' && *text != '\r')
            copy[len++] = *text;
    copy[len] = '\0';
    *ret_len = len;
    return copy;
}

/* Blanks, which OpenSSL would take, and padding within the text are no base64. */
static bool is_well_formed(const char *text, size_t len, size_t *ret_padding)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t body = strspn(text, digits), padding = len - body;

    *ret_padding = padding;
    return len % 4 == 0 && padding <= 2 && strspn(text + body, "=") == padding;
}

int base64_decode(const char *text, struct bytes *ret)
{
    size_t len, padding;
    _cleanup_free_ char *plain = without_breaks(text, &len);

    if (!is_well_formed(plain, len, &padding))
        return -EINVAL;
    uint8_t *data = xcalloc(1, len / 4 * 3 + 1);
    int n = EVP_DecodeBlock(data, (const unsigned char *)plain, (int)len);
    if (n < 0) {
        free(data);
        return -EINVAL;
    }
    *ret = (struct bytes){data, (size_t)n - padding};
    ret->data[ret->len] = '\0';
    return 0;
}

char *base64_encode(const void *data, size_t len)
{
    char *text = xcalloc(1, (len + 2) / 3 * 4 + 1);

    EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    return text;
}

const char *base64_check(const char *text)
{
    struct bytes value;

    if (base64_decode(text, &value) < 0)
        return "must be base64; plain text belongs into stringData";
    bytes_free(&value);
    return NULL;
}
