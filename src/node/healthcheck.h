/*
 * healthcheck.h - what an image says about its containers' health, as probes of a manifest.
 */
#ifndef NODE_HEALTHCHECK_H
#define NODE_HEALTHCHECK_H

#include "manifest.h"

#include "podd/health.h"
#include "podd/image.h"

struct healthcheck;
/* NULL when the image has no check, or says NONE. */
struct healthcheck *healthcheck_new(const struct image_config *image);
void healthcheck_free(struct healthcheck *h); /* NULL is fine */
/* NULL: none of this kind. */
const struct manifest_probe *healthcheck_probe(const struct healthcheck *h, enum probe_kind kind);

#endif
