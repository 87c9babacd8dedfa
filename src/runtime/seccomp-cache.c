/*
 * Compiled seccomp programs. Compiling takes a while and containers share few profiles, so programs
 * are kept, by the text they came from.
 */
#include "seccomp-filter.h"

#include <pthread.h>

enum { CACHE_MAX = 64 };

struct cached {
    struct bytes program;
    uint32_t flags;
};

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *cache;

bool seccomp_cache_get(const char *key, struct bytes *ret_program, uint32_t *ret_flags)
{
    pthread_mutex_lock(&cache_lock);
    const struct cached *c = cache ? map_get(cache, key) : NULL;
    if (c) {
        ret_program->data = xmemdup(c->program.data, c->program.len);
        ret_program->len = c->program.len;
        *ret_flags = c->flags;
    }
    pthread_mutex_unlock(&cache_lock);
    return c != NULL;
}

static void cache_clear(void)
{
    size_t cursor = 0;
    const char *key;
    void *value;
    while (map_next(cache, &cursor, &key, &value)) {
        struct cached *c = value;
        bytes_free(&c->program);
        free(c);
    }
    map_free(cache);
    cache = NULL;
}

void seccomp_cache_put(const char *key, const struct bytes *program, uint32_t flags)
{
    struct cached *c = xnew(struct cached);
    c->program.data = xmemdup(program->data, program->len);
    c->program.len = program->len;
    c->flags = flags;
    pthread_mutex_lock(&cache_lock);
    if (cache && map_count(cache) >= CACHE_MAX)
        cache_clear(); /* more profiles than anyone uses: start anew */
    if (!cache)
        cache = map_new();
    struct cached *old = map_put(cache, key, c);
    pthread_mutex_unlock(&cache_lock);
    if (old) {
        bytes_free(&old->program);
        free(old);
    }
}
