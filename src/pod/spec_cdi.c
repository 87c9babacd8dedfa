/*
 * spec_cdi.c - what devices of the Container Device Interface do to a container: environment,
 * groups and device nodes here, mounts in spec_mounts.c.
 *
 * A node of which the file says neither type nor number is looked up on the node of the machine, as
 * are a missing mode and owner.
 */
#include "spec.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void add_env(process_spec_t *process, const char *entry)
{
    const char *equals = strchr(entry, '=');
    _cleanup_free_ char *key = xstrndup(entry, (size_t)(equals - entry));

    env_set(process, key, equals + 1);
}

static mode_t type_of(const char *type)
{
    return str_equal(type, "b") ? S_IFBLK : str_equal(type, "p") ? S_IFIFO : S_IFCHR;
}

/* What the file leaves open is as on the machine. */
static int node_complete(const struct cdi_node *n, struct stat *ret, struct err *e)
{
    const char *host_path = n->host_path ? n->host_path : n->path;
    struct stat st = {.st_mode = 0666};

    if (!n->type || (!n->major.set && !str_equal(n->type, "p"))) {
        _cleanup_close_ int fd = open(host_path, O_PATH | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0) {
            err_errno(e, errno, "device %s", host_path);
            e->code = ERR_FAILED_PRECONDITION;
            return -1;
        }
        if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISFIFO(st.st_mode))
            return err_set(e, ERR_FAILED_PRECONDITION, "%s is not a device", host_path);
        if (n->type && type_of(n->type) != (st.st_mode & S_IFMT))
            return err_set(e, ERR_FAILED_PRECONDITION, "device %s is not of type %s", host_path,
                           n->type);
    } else {
        st.st_mode |= type_of(n->type);
    }
    if (n->major.set)
        st.st_rdev = makedev((unsigned)n->major.value, (unsigned)n->minor.value);
    if (n->mode.set)
        st.st_mode = (st.st_mode & S_IFMT) | (mode_t)n->mode.value;
    if (n->uid.set)
        st.st_uid = (uid_t)n->uid.value;
    if (n->gid.set)
        st.st_gid = (gid_t)n->gid.value;
    *ret = st;
    return 0;
}

static int add_node(container_spec_t *spec, const struct cdi_node *n, struct err *e)
{
    struct stat st;
    _cleanup_free_ char *path = container_path_normalise("device", n->path, e);

    if (!path || node_complete(n, &st, e) < 0)
        return -1;
    device_plan_node(spec, path, &st, n->permissions ? n->permissions : "rwm");
    return 0;
}

static void add_group(struct plan *plan, uint32_t group)
{
    uint32_t *groups = xcalloc(plan->n_extra_groups + 1, sizeof(*groups));

    for (size_t i = 0; i < plan->n_extra_groups; i++)
        groups[i] = plan->extra_groups[i];
    groups[plan->n_extra_groups++] = group;
    free(plan->extra_groups);
    plan->extra_groups = groups;
}

static int apply(struct plan *plan, const struct cdi_edits *edits, struct err *e)
{
    const struct cdi_hook *hooks = edits->hooks.items;
    const struct cdi_node *nodes = edits->nodes.items;

    if (edits->hooks.count > 0)
        return err_set(
            e, ERR_UNIMPLEMENTED,
            "it wants the program %s run as a %s hook, and podd runs no hooks of devices",
            hooks[0].path, hooks[0].name);
    for (size_t i = 0; i < strv_len(edits->env); i++)
        add_env(plan->spec->process, edits->env[i]);
    for (size_t i = 0; i < edits->groups.count; i++)
        if (edits->groups.items[i] != 0) /* root's group is no group of a device */
            add_group(plan, (uint32_t)edits->groups.items[i]);
    for (size_t i = 0; i < edits->nodes.count; i++)
        if (add_node(plan->spec, &nodes[i], e) < 0)
            return -1;
    return 0;
}

int spec_set_cdi(struct plan *plan, const struct spec_input *in, struct err *e)
{
    for (size_t i = 0; in->cdi && i < in->cdi->count; i++)
        if (apply(plan, in->cdi->edits[i], e) < 0)
            return err_wrap(e, "CDI device %s", in->cdi->of[i]);
    return 0;
}

/* ---- Mounts ------------------------------------------------------------------------------------
 */

static const struct {
    const char *word;
    size_t flag; /* a bool of struct mount_config; 0: nothing to do */
    bool value;
    int propagation; /* -1: leaves it */
} options[] = {
    {"ro", offsetof(struct mount_config, readonly), true, -1},
    {"rw", offsetof(struct mount_config, readonly), false, -1},
    {"noexec", offsetof(struct mount_config, noexec), true, -1},
    {"exec", offsetof(struct mount_config, noexec), false, -1},
    {"nosuid", offsetof(struct mount_config, nosuid), true, -1},
    {"suid", offsetof(struct mount_config, nosuid), false, -1},
    {"nodev", offsetof(struct mount_config, nodev), true, -1},
    {"dev", offsetof(struct mount_config, nodev), false, -1},
    {"bind", 0, false, -1},
    {"rbind", 0, false, -1},
    {"private", 0, false, MOUNT_PRIVATE},
    {"rprivate", 0, false, MOUNT_PRIVATE},
    {"slave", 0, false, MOUNT_HOST_TO_CONTAINER},
    {"rslave", 0, false, MOUNT_HOST_TO_CONTAINER},
    {"shared", 0, false, MOUNT_BIDIRECTIONAL},
    {"rshared", 0, false, MOUNT_BIDIRECTIONAL},
};

static int add_option(struct mount_config *to, const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (!str_equal(options[i].word, word))
            continue;
        if (options[i].flag)
            *(bool *)((char *)to + options[i].flag) = options[i].value;
        if (options[i].propagation >= 0)
            to->propagation = (enum mount_propagation)options[i].propagation;
        return 0;
    }
    return -1;
}

int cdi_mount_config(const struct cdi_mount *m, struct mount_config *ret, struct err *e)
{
    struct mount_config to = {.container_path = m->container_path, .host_path = m->host_path};

    if (!str_empty(m->type) && !str_equal(m->type, "bind") && !str_equal(m->type, "none"))
        return err_set(e, ERR_UNIMPLEMENTED,
                       "its mount on %s is of type %s; podd makes bind mounts", m->container_path,
                       m->type);
    for (size_t i = 0; i < strv_len(m->options); i++)
        if (add_option(&to, m->options[i]) < 0)
            return err_set(e, ERR_UNIMPLEMENTED,
                           "podd does not know the option %s of its mount on %s", m->options[i],
                           m->container_path);
    *ret = to;
    return 0;
}
