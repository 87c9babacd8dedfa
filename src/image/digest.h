/* digest.h - sha256 digests as text: checked at every door, so that they may become file names. */
#ifndef IMAGE_DIGEST_H
#define IMAGE_DIGEST_H

#include "podd/base.h"

#define DIGEST_PREFIX "sha256:"
enum {
    DIGEST_BYTES = 32,
    DIGEST_HEX_LEN = 64,
    DIGEST_TEXT_SIZE = sizeof(DIGEST_PREFIX) + DIGEST_HEX_LEN,
};

/* Exactly 64 lower-case hex digits. */
bool digest_hex_valid(const char *hex);
/* "sha256:<64 lower-case hex digits>": the one algorithm that registries use. */
bool digest_valid(const char *text);
/* The hex part of a valid digest. */
const char *digest_hex(const char *digest);
void digest_from_hex(const char *hex, char ret[static DIGEST_TEXT_SIZE]);
void digest_compute(const void *data, size_t len, char ret[static DIGEST_TEXT_SIZE]);

/* A digest of bytes that come piece by piece. */
struct digester;
struct digester *digester_new(void);
void digester_add(struct digester *d, const void *data, size_t len);
/* Ends it; only digester_free() may follow. */
void digester_finish(struct digester *d, char ret[static DIGEST_TEXT_SIZE]);
void digester_free(struct digester *d);

#endif
