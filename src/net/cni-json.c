/*
 * cni-json.c - texts of plugins, made fit for a log line and for an answer of gRPC.
 */
#include "cni-json.h"

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

char *cni_text(const char *data, size_t len, bool utf8)
{
    struct strbuf text = {0};

    while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == ' '))
        len--;
    bool cut = len > CNI_TEXT_MAX;
    if (cut)
        len = CNI_TEXT_MAX;
    while (cut && len > 0 && is_continuation(data[len])) /* a character is kept or left whole */
        len--;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\n' || c == '\t')
            c = ' ';
        else if (c < ' ' || c == 0x7f || (c > 0x7f && !utf8))
            c = '?';
        strbuf_add(&text, &c, 1);
    }
    if (cut)
        strbuf_adds(&text, "...");
    return strbuf_take(&text);
}
