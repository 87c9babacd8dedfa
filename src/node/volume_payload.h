/*
 * volume_payload.h - what the files of configMap, secret, downwardAPI and projected volumes hold.
 * Pure: everything it needs is given.
 */
#ifndef NODE_VOLUME_PAYLOAD_H
#define NODE_VOLUME_PAYLOAD_H

#include "env.h"
#include "manifest.h"

struct payload_file {
    char *path; /* relative, "a/b" */
    struct bytes data;
    mode_t mode;
};
struct payload {
    struct payload_file *files; /* no two of one path */
    size_t count;
};

/* Is it one of the volumes that podd fills? */
bool volume_has_payload(const struct manifest_volume *v);
/* Does it hold what must not come to a disk? */
bool volume_is_secret(const struct manifest_volume *v);
/* ERR_FAILED_PRECONDITION: an object or a key that is not optional is missing. */
int payload_make(const struct manifest_volume *v, const struct env_context *context,
                 struct payload *ret, struct err *e) MUST_CHECK;
void payload_free(struct payload *p);

/* NULL, or what is wrong with a downwardAPI file's source ("fieldRef ..."). */
const char *downward_check(const struct downward_file *f, const struct pod_spec *spec);

#endif
