/*
 * strbuf.c - a string that grows by doubling and is always NUL-terminated.
 */
#include <assert.h>
#include <stdio.h>

#include <podd/base.h>

static void make_room(struct strbuf *b, size_t len)
{
    size_t need;

    if (__builtin_add_overflow(b->len, len, &need) || need >= SIZE_MAX / 2)
        abort();
    need++; /* the NUL */
    if (need <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
    make_room(b, len);
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *s)
{
    strbuf_add(b, s, strlen(s));
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;

    make_room(b, 0);
    va_start(ap, fmt);
    int n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    if ((size_t)n >= b->cap - b->len) {
        make_room(b, (size_t)n);
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
        va_end(ap);
    }
    b->len += (size_t)n;
}

char *strbuf_take(struct strbuf *b)
{
    make_room(b, 0);
    char *s = b->data;
    s[b->len] = '\0';
    *b = (struct strbuf){0};
    return s;
}

void strbuf_free(struct strbuf *b)
{
    free(b->data);
    *b = (struct strbuf){0};
}
