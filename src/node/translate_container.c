/*
 * translate_container.c - a container of a manifest as a container_config: command, environment,
 * mounts, resources. Who it runs as is in translate_security.c.
 */
#include "expand.h"
#include "resources.h"
#include "translate.h"

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

static void add_file(struct container_config *config, struct mount_config *mounts,
                     const struct manifest_container *c, const char *path, const char *host_path)
{
    if (!host_path || mounts_path(c, path))
        return;
    mounts[config->n_mounts++] =
        (struct mount_config){.container_path = path, .host_path = host_path};
}

static void plan_mounts(struct container_plan *p, const struct manifest_container *c,
                        const struct container_place *place)
{
    struct container_config *config = &p->config;
    struct mount_config *mounts = keep_alloc(&p->keep, c->mounts.count + 2, sizeof(*mounts));

    for (size_t i = 0; i < c->mounts.count; i++) {
        const struct manifest_mount *m = container_mount(c, i);
        const struct manifest_volume *v = spec_find_volume(place->manifest->spec, m->name);
        mounts[config->n_mounts++] = (struct mount_config){
            .container_path = m->path,
            .host_path = v->host_path ? v->host_path->path
                                      : keep_printf(&p->keep, "%s/%s", place->volume_dir, m->name),
            .readonly = m->readonly.value,
            .propagation = propagation_of(m->propagation),
        };
    }
    add_file(config, mounts, c, c->termination_path ? c->termination_path : TERMINATION_PATH,
             place->termination_file);
    add_file(config, mounts, c, "/etc/hosts", place->hosts_file);
    config->mounts = mounts;
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
    plan_mounts(ret, c, place);
    plan_labels(ret, c, place);
    resources_limits(c->resources, &config->limits);
    config->has_oom_score_adj = true;
    config->oom_score_adj = resources_oom_score_adj(
        c->resources, resources_qos(place->manifest->spec), place->node_memory);
    if (plan_command(ret, c, place, e) < 0 || security_plan(c, place, ret, e) < 0) {
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
