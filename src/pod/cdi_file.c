/*
 * cdi_file.c - what a file of the Container Device Interface may hold, by tables.
 *
 * Hooks are read, because files have them beside what podd can do; who asks for a device with hooks
 * is refused (spec_cdi.c). What no table knows makes the whole file unusable, as the specification
 * wants it: half a device is worse than none.
 */
#include "cdi.h"

#include <ctype.h>
#include <stdlib.h>

/* ---- Names -------------------------------------------------------------------------------------
 */

/* Letters and digits, and between them also those of `between`. */
static bool is_label(const char *s, size_t len, const char *between)
{
    if (len == 0 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr(between, s[i]))
            return false;
    return true;
}

static bool is_kind(const char *s, size_t len)
{
    const char *slash = memchr(s, '/', len);
    size_t vendor = slash ? (size_t)(slash - s) : 0;

    return slash && vendor <= 253 && is_label(s, vendor, "-_.") && len - vendor - 1 <= 63 &&
           is_label(slash + 1, len - vendor - 1, "-_.");
}

static bool is_device(const char *s)
{
    return is_label(s, strlen(s), "-_.:");
}

bool cdi_name_is_valid(const char *name)
{
    const char *equals = strchr(name, '=');

    return equals && is_kind(name, (size_t)(equals - name)) && is_device(equals + 1);
}

static const char *check_kind(const char *s)
{
    return is_kind(s, strlen(s)) ? NULL : "must be vendor.com/class";
}

static const char *check_device(const char *s)
{
    return is_device(s) ? NULL : "must be made of letters, digits and - _ . : between them";
}

/* Minor versions add fields, which these tables know. */
static const char *check_version(const char *s)
{
    static const char *const known[] = {"0.3.", "0.4.", "0.5.", "0.6.",
                                        "0.7.", "0.8.", "1.0.", "1.1."};

    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_starts_with(s, known[i]) && s[strlen(known[i])] != '\0' &&
            s[strspn(s, "0123456789.")] == '\0')
            return NULL;
    return "must be a version from 0.3.0 to 1.1.x";
}

static const char *check_env(const char *s)
{
    return strchr(s, '=') > s ? NULL : "must be NAME=value";
}

static const char *check_absolute(const char *s)
{
    return s[0] == '/' ? NULL : "must be an absolute path";
}

static const char *check_type(const char *s)
{
    static const char *const types[] = {"b", "c", "u", "p"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (str_equal(s, types[i]))
            return NULL;
    return "must be b, c, u or p";
}

static const char *check_permissions(const char *s)
{
    return s[0] && s[strspn(s, "rwm")] == '\0' ? NULL : "must be made of r, w and m";
}

/* ---- Edits -------------------------------------------------------------------------------------
 */

#define S cdi_node
static const struct field node_fields[] = {
    INT("fileMode", mode, 0, 07777),
    INT("gid", gid, 0, UINT32_MAX - 1),
    STRING("hostPath", host_path, .check = check_absolute),
    INT("major", major, 0, INT32_MAX),
    INT("minor", minor, 0, INT32_MAX),
    STRING("path", path, REQUIRED, .check = check_absolute),
    STRING("permissions", permissions, .check = check_permissions),
    STRING("type", type, .check = check_type),
    INT("uid", uid, 0, UINT32_MAX - 1),
};
static const struct object_type node_type = TYPE_OF(node_fields);
#undef S

#define S cdi_mount
static const struct field mount_fields[] = {
    STRING("containerPath", container_path, REQUIRED, .check = check_absolute),
    STRING("hostPath", host_path, REQUIRED),
    STRINGS("options", options),
    STRING("type", type),
};
static const struct object_type mount_type = TYPE_OF(mount_fields);
#undef S

#define S cdi_hook
static const struct field hook_fields[] = {
    STRINGS("args", args),
    STRINGS("env", env),
    STRING("hookName", name, REQUIRED),
    STRING("path", path, REQUIRED),
    INT("timeout", timeout, 1, INT32_MAX),
};
static const struct object_type hook_type = TYPE_OF(hook_fields);
#undef S

#define S cdi_edits
static const struct field edits_fields[] = {
    ROW("additionalGids", FIELD_INTS, groups, .min = 0, .max = UINT32_MAX - 1),
    LIST("deviceNodes", nodes, node_type),
    STRINGS("env", env, .check = check_env),
    LIST("hooks", hooks, hook_type),
    REFUSED("intelRdt", "podd does not use Intel's resource director"),
    LIST("mounts", mounts, mount_type),
    REFUSED("netDevices", "podd does not move network devices of the node into pods"),
};
static const struct object_type edits_type = TYPE_OF(edits_fields);
#undef S

/* ---- The file ----------------------------------------------------------------------------------
 */

#define S cdi_device
static const struct field device_fields[] = {
    ROW("annotations", FIELD_PAIRS, annotations),
    OBJECT("containerEdits", edits, edits_type, REQUIRED),
    STRING("name", name, REQUIRED, .check = check_device),
};
static const struct object_type device_type = TYPE_OF(device_fields);
#undef S

static int check_devices(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct cdi_spec *spec = object;

    for (size_t i = 0; i < spec->devices.count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_equal(cdi_spec_device(spec, i)->name, cdi_spec_device(spec, k)->name))
                return decode_fail(d, tree_child(tree_item(tree_child(node, "devices"), i), "name"),
                                   "devices[%zu].name: %s is there already", i,
                                   cdi_spec_device(spec, i)->name);
    return 0;
}

#define S cdi_spec
static const struct field spec_fields[] = {
    ROW("annotations", FIELD_PAIRS, annotations),
    STRING("cdiVersion", version, REQUIRED, .check = check_version),
    OBJECT("containerEdits", edits, edits_type),
    LIST("devices", devices, device_type, REQUIRED),
    STRING("kind", kind, REQUIRED, .check = check_kind),
};
static const struct object_type spec_type = TYPE_OF(spec_fields, .finish = check_devices);
#undef S

void cdi_spec_free(struct cdi_spec *spec)
{
    if (!spec)
        return;
    decode_clear(&spec_type, spec);
    free(spec);
}

static int decode_document(const struct yaml_tree *tree, const char *name, struct cdi_spec *spec,
                           struct err *e)
{
    struct decode d = {.file = name, .e = e};

    if (tree->n_documents != 1)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: it holds %zu documents, not one", name,
                       tree->n_documents);
    int r = decode_object(&d, &spec_type, tree->documents[0], spec);
    strbuf_free(&d.path);
    return r;
}

int cdi_spec_parse(const void *data, size_t len, const char *name, struct cdi_spec **ret,
                   struct err *e)
{
    struct yaml_tree *tree;

    if (yaml_tree_parse(data, len, name, &tree, e) < 0)
        return -1;
    struct cdi_spec *spec = xnew(struct cdi_spec);
    int r = decode_document(tree, name, spec, e);
    yaml_tree_free(tree);
    if (r < 0)
        cdi_spec_free(spec);
    else
        *ret = spec;
    return r;
}
