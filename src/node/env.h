/*
 * env.h - a container's environment: values, references to the pod's own fields and resources, and
 * the expansion of $(NAME).
 */
#ifndef NODE_ENV_H
#define NODE_ENV_H

#include "manifest.h"

/* Where ConfigMaps and Secrets of the pod's namespace are found. */
struct object_source {
    const struct object_manifest *(*find)(void *arg, enum object_kind kind, const char *name);
    void *arg;
};
/* A ConfigMap or Secret. NULL when it is not there and need not be; ERR_FAILED_PRECONDITION when it
 * must. *ret is borrowed. */
int object_source_get(const struct object_source *from, enum object_kind kind, const char *name,
                      bool optional, const struct object_manifest **ret, struct err *e) MUST_CHECK;

/* What a reference may refer to. Borrowed. */
struct env_context {
    const struct pod_manifest *manifest;
    const char *uid, *node_name;
    const char *const *ips; /* of the pod */
    size_t n_ips;
    struct object_source objects;
};

/* NULL, or what is wrong with a source ("fieldRef ..."). */
const char *env_source_check(const struct env_source *from, const struct pod_spec *spec);
/* The value of a fieldRef or resourceFieldRef; c: the container that a resourceFieldRef without a
 * name means. Caller frees. */
char *env_source_value(const struct env_source *from, const struct manifest_container *c,
                       const struct env_context *context);
/* The variables: those of envFrom, then those of env, each of these expanded by the ones of env
 * before it. A later one of a name takes the place of an earlier one. ERR_FAILED_PRECONDITION: an
 * object or a key of one is missing. */
int env_resolve(const struct manifest_container *c, const struct env_context *context,
                struct pair_list *ret, struct err *e) MUST_CHECK;
void pair_list_free(struct pair_list *l);

#endif
