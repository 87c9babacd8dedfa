/*
 * registry.h - one repository of a registry, by way of its mirrors or directly.
 *
 *   registry.c        which servers there are, and who we are there
 *   registry_get.c    one GET: authorization, redirects, retries, resuming, the next server
 *   registry_token.c  logging in
 */
#ifndef IMAGE_REGISTRY_H
#define IMAGE_REGISTRY_H

#include "credentials.h"
#include "store.h"
#include "transfer.h"

/* One server. */
struct endpoint {
    struct url url; /* without "/v2/" */
    char *name;     /* host and port, for messages */
    bool is_origin; /* the registry itself: it alone gets credentials */
    char *authorization;
    unsigned generation; /* of the authorization: counts up */
};

struct registry {
    unsigned references;
    struct transfers *transfers; /* borrowed from the store */
    struct image_ref ref;
    struct credentials credentials;
    char *ca; /* of the origin; or NULL */
    struct endpoint *endpoints;
    size_t n_endpoints;
    size_t preferred;  /* the first one that has answered well */
    unsigned fetching; /* layers being fetched on its account */
};

struct registry *registry_open(struct image_store *s, const struct image_ref *ref,
                               const struct image_auth *auth, struct err *e);
struct registry *registry_hold(struct registry *r);
void registry_release(struct registry *r);
/* The same repository with the same credentials: what fails with one fails with the other. */
bool registry_equal(const struct registry *a, const struct registry *b);

struct registry_request {
    const char *path;   /* "manifests/latest", "blobs/sha256:..." */
    const char *accept; /* media types, or NULL */
    const char *what;   /* for messages: "the layer sha256:..." */
    uint64_t size;      /* exactly so many bytes; UINT64_MAX: not known */
    uint64_t limit;     /* at most */
};

struct registry_events {
    /* A stream: as in transfer.h, in order, each byte once whatever happens below. NULL: a
     * document, which on_done gets as a whole. */
    enum transfer_verdict (*on_data)(void *arg, const void *data, size_t len);
    /* Once. body and content_type of a document (borrowed), else NULL. */
    void (*on_done)(void *arg, const struct bytes *body, const char *content_type,
                    const struct err *e);
};

struct registry_get;
struct registry_get *registry_get_start(struct registry *r, const struct registry_request *request,
                                        const struct registry_events *events, void *arg);
void registry_get_resume(struct registry_get *g);
/* NULL is fine. */
void registry_get_cancel(struct registry_get *g);

/* ---- registry_token.c */

struct token_request;
/* Answers a challenge with an authorization for the endpoint. `fn` is called later, once. */
struct token_request *token_request_start(
    struct registry *r, const struct endpoint *endpoint, const struct challenge *challenge,
    void (*fn)(void *arg, char *authorization_take, const struct err *e), void *arg, struct err *e);
void token_request_cancel(struct token_request *t);

/* What a registry says about an error, made printable; "" when it says nothing. Caller frees. */
char *registry_error_text(const struct bytes *body);

#endif
