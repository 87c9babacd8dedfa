/*
 * manifest_volume.c - the tables of volumes (core/v1 Volume). What needs a cluster or a storage
 * driver is refused with the reason.
 */
#include "manifest.h"
#include "names.h"

#define NO_DRIVER "podd has no such storage driver; use hostPath for what is mounted on the node"
#define NO_ACCOUNTS "podd has no service accounts"

#define MODE(n, member) INT(n, member, 0, 0777)

static const char *const host_path_words[] = {
    "",           "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket",
    "CharDevice", "BlockDevice",       NULL};
static const char *const pull_words[] = {"Always", "IfNotPresent", "Never", NULL};
static const char *const medium_words[] = {"", "Memory", NULL};

/* ---- emptyDir, hostPath, image -----------------------------------------------------------------
 */

#define S volume_empty_dir
static const struct field empty_dir_fields[] = {
    ENUM("medium", medium, medium_words),
    QUANTITY("sizeLimit", size_limit),
};
static const struct object_type empty_dir_type = TYPE_OF(empty_dir_fields);
#undef S

#define S volume_host_path
static const struct field host_path_fields[] = {
    STRING("path", path, REQUIRED, .check = name_check_absolute_path),
    ENUM("type", type, host_path_words),
};
static const struct object_type host_path_type_of = TYPE_OF(host_path_fields);
#undef S

#define S volume_image
static const struct field image_fields[] = {
    ENUM("pullPolicy", pull, pull_words),
    STRING("reference", reference, REQUIRED, .check = name_check_image),
};
static const struct object_type image_type = TYPE_OF(image_fields);
#undef S

/* ---- ConfigMaps and Secrets --------------------------------------------------------------------
 */

#define S key_to_path
static const struct field key_to_path_fields[] = {
    STRING("key", key, REQUIRED, .check = name_check_data_key),
    MODE("mode", mode),
    STRING("path", path, REQUIRED, .check = name_check_file_path),
};
static const struct object_type key_to_path_type = TYPE_OF(key_to_path_fields);
#undef S

#define S volume_object
static const struct field config_map_fields[] = {
    MODE("defaultMode", default_mode),
    LIST("items", items, key_to_path_type),
    STRING("name", name, REQUIRED, .check = name_check_dns_subdomain),
    BOOL("optional", optional),
};
static const struct object_type config_map_type = TYPE_OF(config_map_fields);

static const struct field secret_fields[] = {
    MODE("defaultMode", default_mode),
    LIST("items", items, key_to_path_type),
    BOOL("optional", optional),
    STRING("secretName", secret_name, REQUIRED, .check = name_check_dns_subdomain),
};
static const struct object_type secret_type = TYPE_OF(secret_fields);

/* As a source of a projected volume; both kinds are written alike there. */
static const struct field projected_object_fields[] = {
    LIST("items", items, key_to_path_type),
    STRING("name", name, REQUIRED, .check = name_check_dns_subdomain),
    BOOL("optional", optional),
};
static const struct object_type projected_object_type = TYPE_OF(projected_object_fields);
#undef S

/* ---- downwardAPI -------------------------------------------------------------------------------
 */

static int finish_downward_file(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct downward_file *f = object;

    if ((f->field != NULL) + (f->resource != NULL) != 1)
        return decode_fail(d, node, "%s must have exactly one of fieldRef and resourceFieldRef",
                           decode_path(d));
    if (f->resource && !f->resource->container)
        return decode_fail(d, node, "missing field %s.resourceFieldRef.containerName",
                           decode_path(d));
    return 0;
}

#define S downward_file
static const struct field downward_file_fields[] = {
    OBJECT("fieldRef", field, field_ref_type),
    MODE("mode", mode),
    STRING("path", path, REQUIRED, .check = name_check_file_path),
    OBJECT("resourceFieldRef", resource, resource_ref_type),
};
static const struct object_type downward_file_type =
    TYPE_OF(downward_file_fields, .finish = finish_downward_file);
#undef S

#define S volume_downward
static const struct field downward_fields[] = {
    MODE("defaultMode", default_mode),
    LIST("items", items, downward_file_type),
};
static const struct object_type downward_type = TYPE_OF(downward_fields);

static const struct field projected_downward_fields[] = {
    LIST("items", items, downward_file_type),
};
static const struct object_type projected_downward_type = TYPE_OF(projected_downward_fields);
#undef S

/* ---- projected ---------------------------------------------------------------------------------
 */

static int finish_source(struct decode *d, const struct yaml_node *node, void *object)
{
    const struct projected_source *s = object;

    if ((s->config_map != NULL) + (s->secret != NULL) + (s->downward != NULL) == 1)
        return 0;
    return decode_fail(d, node, "%s must have exactly one of configMap, secret and downwardAPI",
                       decode_path(d));
}

#define S projected_source
static const struct field source_fields[] = {
    REFUSED("clusterTrustBundle", "podd has no trust bundles; use a ConfigMap"),
    OBJECT("configMap", config_map, projected_object_type),
    OBJECT("downwardAPI", downward, projected_downward_type),
    REFUSED("podCertificate", "podd signs no certificates"),
    OBJECT("secret", secret, projected_object_type),
    REFUSED("serviceAccountToken", NO_ACCOUNTS),
};
static const struct object_type source_type = TYPE_OF(source_fields, .finish = finish_source);
#undef S

#define S volume_projected
static const struct field projected_fields[] = {
    MODE("defaultMode", default_mode),
    LIST("sources", sources, source_type, REQUIRED),
};
static const struct object_type projected_type = TYPE_OF(projected_fields);
#undef S

/* ---- The volume --------------------------------------------------------------------------------
 */

static int finish_volume(struct decode *d, const struct yaml_node *node, void *object)
{
    struct manifest_volume *v = object;
    int sources = (v->empty_dir != NULL) + (v->host_path != NULL) + (v->config_map != NULL) +
                  (v->secret != NULL) + (v->downward != NULL) + (v->projected != NULL) +
                  (v->image != NULL);

    if (sources == 1)
        return 0;
    return decode_fail(d, node,
                       "%s must have exactly one source: configMap, downwardAPI, emptyDir, "
                       "hostPath, image, projected or secret",
                       decode_path(d));
}

#define S manifest_volume
static const struct field volume_fields[] = {
    REFUSED("awsElasticBlockStore", NO_DRIVER),
    REFUSED("azureDisk", NO_DRIVER),
    REFUSED("azureFile", NO_DRIVER),
    REFUSED("cephfs", NO_DRIVER),
    REFUSED("cinder", NO_DRIVER),
    OBJECT("configMap", config_map, config_map_type),
    REFUSED("csi", NO_DRIVER),
    OBJECT("downwardAPI", downward, downward_type),
    OBJECT("emptyDir", empty_dir, empty_dir_type),
    REFUSED("ephemeral", NO_DRIVER),
    REFUSED("fc", NO_DRIVER),
    REFUSED("flexVolume", NO_DRIVER),
    REFUSED("flocker", NO_DRIVER),
    REFUSED("gcePersistentDisk", NO_DRIVER),
    REFUSED("gitRepo", "Kubernetes gave it up; clone in an init container into an emptyDir"),
    REFUSED("glusterfs", NO_DRIVER),
    OBJECT("hostPath", host_path, host_path_type_of),
    OBJECT("image", image, image_type),
    REFUSED("iscsi", NO_DRIVER),
    STRING("name", name, REQUIRED, .check = name_check_dns_label),
    REFUSED("nfs", "mount it on the node, and use hostPath"),
    REFUSED("persistentVolumeClaim", "podd has no persistent volumes; use hostPath"),
    REFUSED("photonPersistentDisk", NO_DRIVER),
    REFUSED("portworxVolume", NO_DRIVER),
    OBJECT("projected", projected, projected_type),
    REFUSED("quobyte", NO_DRIVER),
    REFUSED("rbd", NO_DRIVER),
    REFUSED("scaleIO", NO_DRIVER),
    OBJECT("secret", secret, secret_type),
    REFUSED("storageos", NO_DRIVER),
    REFUSED("vsphereVolume", NO_DRIVER),
};
const struct object_type volume_type = TYPE_OF(volume_fields, .finish = finish_volume);
