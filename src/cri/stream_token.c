/*
 * stream_token.c - tokens: 128 bits out of getrandom(2), good once and for a minute.
 *
 * The table is keyed by the token's SHA-256, so how long a lookup takes says nothing about the
 * tokens in it. Entries are in a list as well, the oldest first; those whose time has passed are
 * removed whenever the table is used.
 */
#include <openssl/evp.h>
#include <sys/random.h>

#include "stream_token.h"

enum { DIGEST_SIZE = 32 };

struct entry {
    struct list link;
    char key[2 * DIGEST_SIZE + 1];
    int64_t expires;
    struct stream_request *request;
};

struct tokens {
    struct map *by_digest;
    struct list oldest_first;
};

void stream_request_free(struct stream_request *r)
{
    if (!r)
        return;
    free(r->id);
    strv_free(r->argv);
    free(r->ports);
    free(r);
}

static void entry_free(struct tokens *t, struct entry *entry)
{
    map_remove(t->by_digest, entry->key);
    list_remove(&entry->link);
    stream_request_free(entry->request);
    free(entry);
}

struct tokens *tokens_new(void)
{
    struct tokens *t = xnew(struct tokens);

    t->by_digest = map_new();
    list_init(&t->oldest_first);
    return t;
}

void tokens_free(struct tokens *t)
{
    if (!t)
        return;
    list_for_each_safe (it, &t->oldest_first)
        entry_free(t, container_of(it, struct entry, link));
    map_free(t->by_digest);
    free(t);
}

static void remove_expired(struct tokens *t, int64_t now)
{
    list_for_each_safe (it, &t->oldest_first) {
        struct entry *entry = container_of(it, struct entry, link);
        if (entry->expires > now)
            break;
        entry_free(t, entry);
    }
}

static bool digest_of(const char *token, char ret[2 * DIGEST_SIZE + 1])
{
    uint8_t digest[DIGEST_SIZE];

    if (EVP_Digest(token, strlen(token), digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    hex_encode(digest, sizeof(digest), ret);
    return true;
}

int tokens_issue(struct tokens *t, struct stream_request *request_take, int64_t now,
                 char ret[TOKEN_SIZE], struct err *e)
{
    uint8_t random[(TOKEN_SIZE - 1) / 2];

    remove_expired(t, now);
    if (map_count(t->by_digest) >= TOKENS_MAX)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "maximum number of in-flight requests exceeded: %d streaming addresses wait "
                       "for a client; unused ones expire after a minute",
                       TOKENS_MAX);
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return err_errno(e, errno, "get random bytes for a streaming token");
    _cleanup_free_ struct entry *entry = xnew(struct entry);
    hex_encode(random, sizeof(random), ret);
    if (!digest_of(ret, entry->key))
        return err_set(e, ERR_INTERNAL, "digest a streaming token");
    entry->expires = now + TOKEN_LIFE_MS * NS_PER_MS;
    entry->request = request_take;
    map_put(t->by_digest, entry->key, entry);
    list_append(&t->oldest_first, &entry->link);
    take_ptr(entry);
    return 0;
}

struct stream_request *tokens_redeem(struct tokens *t, const char *token, enum stream_kind kind,
                                     int64_t now)
{
    char key[2 * DIGEST_SIZE + 1];

    remove_expired(t, now);
    struct entry *entry = digest_of(token, key) ? map_get(t->by_digest, key) : NULL;
    if (!entry)
        return NULL;
    struct stream_request *request = take_ptr(entry->request);
    entry_free(t, entry);
    if (request->kind == kind)
        return request;
    stream_request_free(request);
    return NULL;
}

size_t tokens_count(const struct tokens *t)
{
    return map_count(t->by_digest);
}
