/*
 * memory.c - allocation that never fails, growing arrays, counted bytes, random bytes.
 *
 * Linux hands out memory it may not have, so a NULL from malloc means an absurd size or a full
 * address space. Neither can be handled with sense in the middle of a request: the process aborts,
 * and containers live on in their shims. Whoever takes a size from outside caps it before.
 */
#include <assert.h>
#include <stdio.h>
#include <sys/random.h>

#include "private.h"

static void *must(void *p)
{
    if (!p) {
        static const char text[] = "podd: out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
        (void)ignored;
        abort();
    }
    return p;
}

void *xmalloc(size_t size)
{
    return must(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
    /* 1, 1 and not 0: C allows NULL for nothing. */
    return must(count && size ? calloc(count, size) : calloc(1, 1));
}

void *xrealloc(void *ptr, size_t size)
{
    return must(realloc(ptr, size ? size : 1));
}

char *xstrdup(const char *s)
{
    return s ? must(strdup(s)) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
    return must(strndup(s, n));
}

void *xmemdup(const void *data, size_t len)
{
    size_t size;

    if (__builtin_add_overflow(len, 1, &size))
        must(NULL);
    char *copy = xmalloc(size);
    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *s = xvasprintf(fmt, ap);
    va_end(ap);
    return s;
}

char *xvasprintf(const char *fmt, va_list ap)
{
    char *s = NULL;

    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    return must(s);
}

void *array_push(void *items_ptr, size_t *count, size_t element_size)
{
    void **items = items_ptr;
    size_t n = *count;

    /* Full exactly when n is 0 or a power of two. After a removal this may ask realloc for the
     * size that the block has already, which costs nothing. */
    if ((n & (n - 1)) == 0) {
        size_t size;

        if (__builtin_mul_overflow(n ? n * 2 : 1, element_size, &size) || n > SIZE_MAX / 2)
            must(NULL);
        *items = xrealloc(*items, size);
    }
    char *slot = (char *)*items + n * element_size;
    memset(slot, 0, element_size);
    *count = n + 1;
    return slot;
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

void random_fill(void *buf, size_t len)
{
    /* Up to 256 bytes come whole and uninterrupted, random(7). */
    assert(len <= 256);
    if (getrandom(buf, len, 0) != (ssize_t)len)
        abort();
}
