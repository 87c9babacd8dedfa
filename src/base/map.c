/*
 * map.c - hash table from strings to pointers.
 *
 * Open addressing with linear probing over a power of two of slots. The keys come from outside
 * (names, labels), so the hash is SipHash-1-3 under a random key of each map: nobody can choose
 * keys that collide. A removed slot becomes a tombstone, because shifting entries back, the other
 * way to delete, would hide entries from a walk in progress; a tombstone before an empty slot is
 * of no use and is emptied at once, so that put and remove in turn leave nothing behind. Only
 * map_put() moves entries, when three quarters of the slots are not empty.
 */
#include <assert.h>

#include "private.h"

struct slot {
    uint64_t hash;
    char *key;   /* owned; NULL when empty or tombstone */
    void *value; /* NULL when empty; &tombstone when removed */
};

struct map {
    struct slot *slots;
    size_t cap;   /* 0 or a power of two */
    size_t count; /* live entries */
    size_t used;  /* live entries and tombstones */
    uint64_t seed[2];
};

static char tombstone;

/* ---- SipHash-1-3 (Aumasson and Bernstein) --------------------------------------------------- */

static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static uint64_t hash_key(const uint64_t seed[2], const char *key)
{
    uint64_t v[4] = {
        seed[0] ^ 0x736f6d6570736575ULL,
        seed[1] ^ 0x646f72616e646f6dULL,
        seed[0] ^ 0x6c7967656e657261ULL,
        seed[1] ^ 0x7465646279746573ULL,
    };
    size_t len = strlen(key);
    uint64_t word;

    for (size_t left = len; left >= 8; left -= 8, key += 8) {
        memcpy(&word, key, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, key, len % 8);
    word |= (uint64_t)len << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- The table ------------------------------------------------------------------------------ */

struct map *map_new(void)
{
    struct map *m = xnew(struct map);

    random_fill(m->seed, sizeof(m->seed));
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->cap; i++)
        free(m->slots[i].key);
    free(m->slots);
    free(m);
}

static struct slot *find(const struct map *m, const char *key, uint64_t hash)
{
    if (!m->cap)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct slot *s = &m->slots[i];

        if (!s->value)
            return NULL;
        if (s->key && s->hash == hash && strcmp(s->key, key) == 0)
            return s;
    }
}

static struct slot *first_empty(struct slot *slots, size_t cap, uint64_t hash)
{
    size_t i = hash & (cap - 1);

    while (slots[i].value)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

/* Makes sure that one more entry fits. The new table is at most half full, so it takes many puts
 * until the next time; it may well be smaller than the old one. */
static void make_room(struct map *m)
{
    if (m->cap && m->used + 1 <= m->cap / 4 * 3)
        return;
    size_t cap = 8;
    while (cap < 2 * (m->count + 1))
        cap *= 2;
    struct slot *slots = xcalloc(cap, sizeof(*slots));
    for (size_t i = 0; i < m->cap; i++) {
        const struct slot *old = &m->slots[i];
        if (old->key)
            *first_empty(slots, cap, old->hash) = *old;
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->used = m->count;
}

void *map_get(const struct map *m, const char *key)
{
    const struct slot *s = find(m, key, hash_key(m->seed, key));

    return s ? s->value : NULL;
}

void *map_put(struct map *m, const char *key, void *value)
{
    uint64_t hash = hash_key(m->seed, key);

    assert(value);
    struct slot *s = find(m, key, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    make_room(m);
    *first_empty(m->slots, m->cap, hash) = (struct slot){hash, xstrdup(key), value};
    m->count++;
    m->used++;
    return NULL;
}

void *map_remove(struct map *m, const char *key)
{
    struct slot *s = find(m, key, hash_key(m->seed, key));

    if (!s)
        return NULL;
    void *old = s->value;
    free(s->key);
    *s = (struct slot){.value = &tombstone};
    m->count--;

    size_t mask = m->cap - 1;
    size_t i = (size_t)(s - m->slots);
    if (m->slots[(i + 1) & mask].value)
        return old;
    for (; m->slots[i].value == &tombstone; i = (i - 1) & mask) {
        m->slots[i].value = NULL;
        m->used--;
    }
    return old;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

bool map_next(const struct map *m, size_t *cursor, const char **ret_key, void **ret_value)
{
    while (*cursor < m->cap) {
        const struct slot *s = &m->slots[(*cursor)++];

        if (!s->key)
            continue;
        if (ret_key)
            *ret_key = s->key;
        if (ret_value)
            *ret_value = s->value;
        return true;
    }
    return false;
}
