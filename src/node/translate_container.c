/*
 * translate_container.c - a container of a manifest as a container_config: command, environment,
 * mounts, resources. Who it runs as is in translate_security.c.
 */
#include "expand.h"
#include "names.h"
#include "resources.h"
#include "translate.h"

#include <sys/stat.h>

#define TERMINATION_PATH "/dev/termination-log"

/* ---- Mounts ------------------------------------------------------------------------------------
 */

static enum mount_propagation propagation_of(int propagation)
{
    switch ((enum propagation)propagation) {
    case PROPAGATION_HOST_TO_CONTAINER:
        return MOUNT_HOST_TO_CONTAINER;
    case PROPAGATION_BIDIRECTIONAL:
        return MOUNT_BIDIRECTIONAL;
    case PROPAGATION_UNSET:
    case PROPAGATION_NONE:
        break;
    }
    return MOUNT_PRIVATE;
}

static bool mounts_path(const struct manifest_container *c, const char *path)
{
    for (size_t i = 0; i < c->mounts.count; i++)
        if (str_equal(container_mount(c, i)->path, path))
            return true;
    return false;
}

/* A plan may outlive what the place borrows: it keeps its own. */
static void add_file(struct container_plan *p, struct mount_config *mounts,
                     const struct manifest_container *c, const char *path, const char *host_path)
{
    if (!host_path || mounts_path(c, path))
        return;
    mounts[p->config.n_mounts++] = (struct mount_config){
        .container_path = path, .host_path = keep_printf(&p->keep, "%s", host_path)};
}

/* With a user namespace volumes hold the ids of the containers, and are mapped where they are
 * mounted: so the pod's next range of ids changes nothing in them. */
static void map_mounts(struct container_plan *p, struct mount_config *mounts, uint32_t first_id)
{
    const struct id_range *map = first_id ? id_map_plan(&p->keep, first_id) : NULL;

    for (size_t i = 0; map && i < p->config.n_mounts; i++) {
        mounts[i].uid_maps = mounts[i].gid_maps = map;
        mounts[i].n_uid_maps = mounts[i].n_gid_maps = 1;
    }
}

/* subPath, or what subPathExpr comes to; NULL: the whole volume. */
static int plan_sub_path(struct container_plan *p, const struct manifest_mount *m, const char **ret,
                         struct err *e)
{
    _cleanup_free_ char *missing = NULL;

    *ret = str_empty(m->sub_path) ? NULL : m->sub_path;
    if (str_empty(m->sub_path_expr))
        return 0;
    char *path = expand_strict(m->sub_path_expr, p->env.items, p->env.count, &missing);
    if (!path)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "subPathExpr %s: the container has no variable %s", m->sub_path_expr,
                       missing);
    *ret = keep_printf(&p->keep, "%s", path);
    free(path);
    const char *wrong = name_check_relative_path(*ret);
    if (wrong)
        return err_set(e, ERR_FAILED_PRECONDITION, "subPathExpr %s comes to %s, which %s",
                       m->sub_path_expr, *ret, wrong);
    return 0;
}

static bool is_recursively_readonly(const struct manifest_mount *m,
                                    const struct container_place *place)
{
    return m->recursive_readonly == RECURSIVE_ENABLED ||
           (m->recursive_readonly == RECURSIVE_IF_POSSIBLE && place->can_recurse_readonly);
}

/* The type of file that a hostPath promises, for the shim to check on what it mounts. */
static mode_t file_type_of(const struct manifest_volume *v)
{
    static const mode_t types[] = {
        [HOST_PATH_DIRECTORY_OR_CREATE] = S_IFDIR,
        [HOST_PATH_DIRECTORY] = S_IFDIR,
        [HOST_PATH_FILE_OR_CREATE] = S_IFREG,
        [HOST_PATH_FILE] = S_IFREG,
        [HOST_PATH_SOCKET] = S_IFSOCK,
        [HOST_PATH_CHAR_DEVICE] = S_IFCHR,
        [HOST_PATH_BLOCK_DEVICE] = S_IFBLK,
    };

    return v->host_path ? types[v->host_path->type] : 0;
}

static int plan_mount(struct container_plan *p, const struct manifest_mount *m,
                      const struct container_place *place, struct mount_config *to, struct err *e)
{
    const struct manifest_volume *v = spec_find_volume(place->manifest->spec, m->name);
    char *path = volume_path(place->volumes, v);
    const char *sub_path;

    if (path)
        keep_take(&p->keep, path);
    if (plan_sub_path(p, m, &sub_path, e) < 0)
        return -1;
    *to = (struct mount_config){
        .container_path = m->path,
        .host_path = v->host_path ? v->host_path->path : path,
        .sub_path = v->image ? NULL : sub_path,
        .file_type = file_type_of(v),
        .image = v->image ? v->image->reference : NULL,
        .image_sub_path = v->image ? sub_path : NULL,
        .readonly = m->readonly.value || volume_has_payload(v) || v->image,
        .recursive_readonly = is_recursively_readonly(m, place),
        .propagation = propagation_of(m->propagation),
    };
    return 0;
}

static int plan_mounts(struct container_plan *p, const struct manifest_container *c,
                       const struct container_place *place, struct err *e)
{
    struct container_config *config = &p->config;
    struct mount_config *mounts = keep_alloc(&p->keep, c->mounts.count + 2, sizeof(*mounts));

    config->mounts = mounts;
    for (size_t i = 0; i < c->mounts.count; i++)
        if (plan_mount(p, container_mount(c, i), place, &mounts[config->n_mounts++], e) < 0)
            return -1;
    add_file(p, mounts, c, c->termination_path ? c->termination_path : TERMINATION_PATH,
             place->termination_file);
    add_file(p, mounts, c, "/etc/hosts", place->hosts_file);
    map_mounts(p, mounts, place->first_id);
    return 0;
}

/* ---- Command and environment -------------------------------------------------------------------
 */

static int plan_command(struct container_plan *p, const struct manifest_container *c,
                        const struct container_place *place, struct err *e)
{
    const struct env_context context = {
        .manifest = place->manifest,
        .uid = place->uid,
        .node_name = place->node_name,
        .ips = place->ips,
        .n_ips = place->n_ips,
        .objects = place->objects,
    };

    if (env_resolve(c, &context, &p->env, e) < 0)
        return -1;
    p->config.envs = p->env.items;
    p->config.n_envs = p->env.count;
    p->config.command = keep_strv(&p->keep, expand_strv(c->command, p->env.items, p->env.count));
    p->config.args = keep_strv(&p->keep, expand_strv(c->args, p->env.items, p->env.count));
    p->config.working_dir = c->working_dir ? c->working_dir : "";
    p->config.tty = c->tty.value;
    p->config.stdin_open = c->stdin_open.value;
    p->config.stdin_once = c->stdin_once.value;
    return 0;
}

/* ---- Labels and resources ----------------------------------------------------------------------
 */

static void plan_labels(struct container_plan *p, const struct manifest_container *c,
                        const struct container_place *place)
{
    const struct pod_metadata *metadata = place->manifest->metadata;
    struct key_value *labels = keep_alloc(&p->keep, 4, sizeof(*labels));
    struct key_value *annotations = keep_alloc(&p->keep, 1, sizeof(*annotations));

    labels[0] = (struct key_value){(char *)LABEL_CONTAINER_NAME, c->name};
    labels[1] = (struct key_value){(char *)LABEL_POD_NAME, metadata->name};
    labels[2] = (struct key_value){(char *)LABEL_POD_NAMESPACE, metadata->namespace_};
    labels[3] = (struct key_value){(char *)LABEL_POD_UID, (char *)place->uid};
    annotations[0] = (struct key_value){(char *)ANNOTATION_RESTARTS,
                                        keep_printf(&p->keep, "%u", place->attempt)};
    p->config.labels = labels;
    p->config.n_labels = 4;
    p->config.annotations = annotations;
    p->config.n_annotations = 1;
}

int container_plan_make(const struct manifest_container *c, const struct container_place *place,
                        struct container_plan *ret, struct err *e)
{
    struct container_config *config = &ret->config;

    memset(ret, 0, sizeof(*ret));
    config->name = c->name;
    config->attempt = place->attempt;
    config->image = c->image;
    config->log_path = keep_printf(&ret->keep, "%s/%u.log", c->name, place->attempt);
    config->log_size_max = place->log_size_max;
    config->log_files_max = place->log_files_max;
    plan_labels(ret, c, place);
    resources_limits(c->resources, &config->limits);
    config->has_oom_score_adj = true;
    config->oom_score_adj = resources_oom_score_adj(
        c->resources, resources_qos(place->manifest->spec), place->node_memory);
    if (plan_command(ret, c, place, e) < 0 || plan_mounts(ret, c, place, e) < 0 ||
        security_plan(c, place, ret, e) < 0) {
        container_plan_free(ret);
        return -1;
    }
    return 0;
}

void container_plan_free(struct container_plan *p)
{
    keep_free(&p->keep);
    pair_list_free(&p->env);
}
