/* A container's AppArmor profile in the form from before securityContext had a field for it: the
 * pod's annotation "container.apparmor.security.beta.kubernetes.io/<container>", with the value
 * runtime/default, unconfined or localhost/<profile>. The field of the container counts more, that
 * of the pod less. */
#ifndef NODE_APPARMOR_ANNOTATION_H
#define NODE_APPARMOR_ANNOTATION_H

#include "manifest.h"

/* The name of the container that the annotation is about; NULL when it is another annotation. */
const char *apparmor_annotation_container(const char *key);
/* What a value means; `localhost` is borrowed from it. false: nothing. */
bool apparmor_annotation_parse(const char *value, struct manifest_profile *ret);
/* What the pod's annotations say of a container; false: nothing. */
bool apparmor_annotation_find(const struct pair_list *annotations, const char *container,
                              struct manifest_profile *ret);

#endif
