/*
 * digest.c - sha256 digests: their text form and their computation (OpenSSL's EVP).
 *
 * Content names of images come from outside and end up as file names below the store. The two
 * checks here are the only way from one to the other: a fixed length and a fixed alphabet leave
 * no room for a path.
 */
#include <openssl/evp.h>

#include "digest.h"

bool digest_hex_valid(const char *hex)
{
    return hex && strlen(hex) == DIGEST_HEX_LEN &&
           strspn(hex, "0123456789abcdef") == DIGEST_HEX_LEN;
}

bool digest_valid(const char *text)
{
    return text && str_starts_with(text, DIGEST_PREFIX) &&
           digest_hex_valid(text + strlen(DIGEST_PREFIX));
}

const char *digest_hex(const char *digest)
{
    return digest + strlen(DIGEST_PREFIX);
}

void digest_from_hex(const char *hex, char ret[static DIGEST_TEXT_SIZE])
{
    memcpy(ret, DIGEST_PREFIX, strlen(DIGEST_PREFIX));
    memcpy(ret + strlen(DIGEST_PREFIX), hex, DIGEST_HEX_LEN + 1);
}

struct digester {
    EVP_MD_CTX *ctx;
};

/* The only ways for EVP to fail are exhausted memory and a wrong argument. */
static void must(int ok)
{
    if (ok == 1)
        return;
    log_error("image", NULL, "the crypto library cannot compute sha256");
    abort();
}

struct digester *digester_new(void)
{
    struct digester *d = xnew(struct digester);

    d->ctx = EVP_MD_CTX_new();
    must(d->ctx != NULL);
    must(EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL));
    return d;
}

void digester_add(struct digester *d, const void *data, size_t len)
{
    must(EVP_DigestUpdate(d->ctx, data, len));
}

void digester_finish(struct digester *d, char ret[static DIGEST_TEXT_SIZE])
{
    unsigned char raw[DIGEST_BYTES];
    char hex[DIGEST_HEX_LEN + 1];

    must(EVP_DigestFinal_ex(d->ctx, raw, NULL));
    hex_encode(raw, sizeof(raw), hex);
    digest_from_hex(hex, ret);
}

void digester_free(struct digester *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

void digest_compute(const void *data, size_t len, char ret[static DIGEST_TEXT_SIZE])
{
    struct digester *d = digester_new();

    digester_add(d, data, len);
    digester_finish(d, ret);
    digester_free(d);
}
