/* apparmor_annotation.c - AppArmor profiles given by annotations. */
#include "apparmor_annotation.h"

#define PREFIX "container.apparmor.security.beta.kubernetes.io/"
#define LOCALHOST "localhost/"

const char *apparmor_annotation_container(const char *key)
{
    return str_starts_with(key, PREFIX) ? key + strlen(PREFIX) : NULL;
}

bool apparmor_annotation_parse(const char *value, struct manifest_profile *ret)
{
    *ret = (struct manifest_profile){0};
    if (str_equal(value, "runtime/default")) {
        ret->type = MANIFEST_PROFILE_RUNTIME_DEFAULT;
    } else if (str_equal(value, "unconfined")) {
        ret->type = MANIFEST_PROFILE_UNCONFINED;
    } else if (str_starts_with(value, LOCALHOST) && value[strlen(LOCALHOST)]) {
        ret->type = MANIFEST_PROFILE_LOCALHOST;
        ret->localhost = (char *)value + strlen(LOCALHOST);
    }
    return ret->type != MANIFEST_PROFILE_UNSET;
}

bool apparmor_annotation_find(const struct pair_list *annotations, const char *container,
                              struct manifest_profile *ret)
{
    for (size_t i = 0; i < annotations->count; i++) {
        const char *about = apparmor_annotation_container(annotations->items[i].key);
        if (about && str_equal(about, container))
            return apparmor_annotation_parse(annotations->items[i].value, ret);
    }
    return false;
}
