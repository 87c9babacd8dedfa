/*
 * env.h - a container's environment: values, references to the pod's own fields and resources, and
 * the expansion of $(NAME).
 */
#ifndef NODE_ENV_H
#define NODE_ENV_H

#include "manifest.h"

/* What a reference may refer to. Borrowed. */
struct env_context {
    const struct pod_manifest *manifest;
    const char *uid, *node_name;
    const char *const *ips; /* of the pod */
    size_t n_ips;
};

/* NULL, or what is wrong with a source ("fieldRef ..."). */
const char *env_source_check(const struct env_source *from, const struct pod_spec *spec);
/* The variables in order, each expanded by those before it. */
void env_resolve(const struct manifest_container *c, const struct env_context *context,
                 struct pair_list *ret);
void pair_list_free(struct pair_list *l);

#endif
