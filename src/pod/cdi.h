/*
 * cdi.h - devices as their vendors describe them (Container Device Interface 1.1): files in a few
 * directories say, for names such as vendor.com/gpu=0, what a container has to get.
 */
#ifndef POD_CDI_H
#define POD_CDI_H

#include <podd/decode.h>

struct cdi_node {
    char *path, *host_path, *type, *permissions;
    struct opt_int major, minor, mode, uid, gid;
};
struct cdi_mount {
    char *host_path, *container_path, *type;
    char **options; /* strv */
};
struct cdi_hook {
    char *name, *path;
    char **args, **env; /* strv */
    struct opt_int timeout;
};
/* What is done to a container. */
struct cdi_edits {
    char **env; /* strv of KEY=value */
    struct object_list nodes, mounts, hooks;
    struct int_list groups;
};
struct cdi_device {
    char *name;
    struct pair_list annotations;
    struct cdi_edits *edits;
};
/* One file. */
struct cdi_spec {
    char *version, *kind; /* "vendor.com/class" */
    struct pair_list annotations;
    struct object_list devices; /* of struct cdi_device */
    struct cdi_edits *edits;    /* for whoever gets one of its devices; NULL: none */
};

/* cdi_file.c: reads and checks a file's text, YAML or JSON. *e says name:line:column. */
int cdi_spec_parse(const void *data, size_t len, const char *name, struct cdi_spec **ret,
                   struct err *e) MUST_CHECK;
void cdi_spec_free(struct cdi_spec *spec); /* NULL is fine */
static inline const struct cdi_device *cdi_spec_device(const struct cdi_spec *s, size_t i)
{
    return (const struct cdi_device *)s->devices.items + i;
}
/* Is it vendor/class=device? */
bool cdi_name_is_valid(const char *name);

/* The files of the directories; of two that describe a device the one in the later directory
 * counts. Read when a device is asked for, and again when they have changed. */
struct cdi;
struct cdi *cdi_new(char *const *directories);
void cdi_free(struct cdi *c); /* NULL is fine */

/* The edits for those devices, in order, each file's own before its first device's. */
struct cdi_request {
    const struct cdi_edits **edits;
    const char **of; /* the device that each is for */
    size_t count;
};
/* Valid until the next call. ERR_FAILED_PRECONDITION: there is no such device, it is described
 * twice, or a file that may hold it cannot be read. */
int cdi_find(struct cdi *c, char *const *devices, struct cdi_request *ret, struct err *e)
    MUST_CHECK;
void cdi_request_clear(struct cdi_request *r);

/* The devices that a container asks for, by field and by annotation (cdi.k8s.io/...), each once;
 * strv, the caller's. ERR_INVALID_ARGUMENT: not a name. */
int cdi_names(char *const *devices, const struct key_value *annotations, size_t n_annotations,
              char ***ret, struct err *e) MUST_CHECK;

#endif
