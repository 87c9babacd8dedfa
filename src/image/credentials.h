/* credentials.h - who we are towards a registry, and who may know it. */
#ifndef IMAGE_CREDENTIALS_H
#define IMAGE_CREDENTIALS_H

#include "podd/image.h"
#include "url.h"

struct credentials {
    char *username, *password; /* both or none */
    char *identity_token;      /* an OAuth2 refresh token */
    char *registry_token;      /* a bearer token as it is */
};
void credentials_clear(struct credentials *c);
bool credentials_empty(const struct credentials *c);
bool credentials_equal(const struct credentials *a, const struct credentials *b);

/* What the caller gave, if it is for `registry`; else what the auth file (NULL: none) says. */
int credentials_choose(const struct image_auth *auth, const char *auth_file, const char *registry,
                       struct credentials *ret, struct err *e) MUST_CHECK;

/* "Authorization: Basic ..." and "Authorization: Bearer ...". NULL when the parts would break out
 * of a header. */
char *header_basic(const char *username, const char *password);
char *header_bearer(const char *token);

/* A WWW-Authenticate header. */
enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };
struct challenge {
    enum challenge_scheme scheme;
    char *realm, *service, *scope; /* NULL when absent */
};
void challenge_parse(const char *header, struct challenge *ret);
void challenge_clear(struct challenge *c);
#define _cleanup_challenge_ CLEANUP(challenge_clear)

/* Whether the registry at `registry` may have its credentials sent to `realm`: its own origin, or
 * over TLS a domain that its own name lies in (and Docker Hub's two hosts). */
bool realm_is_trusted(const struct url *registry, const struct url *realm);

#endif
