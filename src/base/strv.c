/*
 * strv.c - NULL-terminated vectors of owned strings, as argv and environ are.
 *
 * Such a vector carries no count, so pushing walks it; they are short.
 */
#include <podd/base.h>

size_t strv_len(char *const *v)
{
    size_t n = 0;

    while (v && v[n])
        n++;
    return n;
}

char **strv_dup(char *const *v, size_t n)
{
    char **copy = xcalloc(n + 1, sizeof(*copy));

    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(v[i]);
    return copy;
}

void strv_push(char ***v, const char *s)
{
    size_t n = strv_len(*v);

    *v = xrealloc(*v, (n + 2) * sizeof(**v));
    (*v)[n] = xstrdup(s);
    (*v)[n + 1] = NULL;
}

void strv_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

void strv_freep(char ***v)
{
    strv_free(*v);
    *v = NULL;
}
