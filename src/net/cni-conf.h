/*
 * cni-conf.h - a CNI network configuration: a list of plugins, as a file declares it. Pure.
 */
#ifndef PODD_NET_CNI_CONF_H
#define PODD_NET_CNI_CONF_H

#include "cni-json.h"

/* The versions of the specification that podd speaks, oldest first. */
enum cni_version { CNI_0_3_1, CNI_0_4_0, CNI_1_0_0, CNI_1_1_0 };
extern const char *const cni_version_text[];

enum { CNI_CONF_MAX = 1 << 20, CNI_PLUGINS_MAX = 32 };

/* Constant once made; shared by counting. */
struct cni_conf {
    unsigned refs;
    char *name; /* of the network */
    enum cni_version version;
    bool disable_check, disable_gc;
    json_t *list; /* {cniVersion, name, ..., plugins: [...]}, also where the file had one plugin */
    json_t *plugins; /* its array, borrowed */
};

/* A configuration list, or one plugin alone, which becomes a list. `name` stands in errors, with
 * line and column or the key that is wrong. ERR_INVALID_ARGUMENT. */
int cni_conf_parse(const void *data, size_t len, const char *name, struct cni_conf **ret,
                   struct err *e) MUST_CHECK;
/* The same out of a value. */
int cni_conf_from_json(json_t *value, const char *name, struct cni_conf **ret, struct err *e)
    MUST_CHECK;
struct cni_conf *cni_conf_ref(struct cni_conf *c);
void cni_conf_unref(struct cni_conf *c); /* NULL is fine */

/* The name of the program. */
const char *cni_plugin_type(const json_t *plugin);
bool cni_plugin_can(const json_t *plugin, const char *capability);
/* Whether any plugin has it. */
bool cni_conf_can(const struct cni_conf *c, const char *capability);
/* 0, or -EINVAL for a version that podd does not speak. */
int cni_version_parse(const char *text, enum cni_version *ret) MUST_CHECK;

#endif
