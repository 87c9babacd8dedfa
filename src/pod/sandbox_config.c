/*
 * sandbox_config.c - from what is wanted of a sandbox to the object: checks, copies, defaults.
 */
#include <limits.h>

#include "files.h"
#include "private.h"
#include "slice.h"

static int check_maps(const struct pods *p, const struct sandbox_config *config, struct err *e)
{
    if (config->n_uid_maps == 0 && config->n_gid_maps == 0)
        return 0;
    if (config->n_uid_maps != 1 || config->n_gid_maps != 1)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "user namespace: exactly one range of users and one of groups is possible");
    const struct id_range *ranges[] = {&config->uid_maps[0], &config->gid_maps[0]};
    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
        if (ranges[i]->container_id != 0 || ranges[i]->length == 0)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "user namespace: the range must begin at id 0 of the container and not "
                           "be empty");
    /* The root of another user namespace may not mount a procfs of the node's. */
    if (config->pid == NAMESPACE_NODE)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "user namespace: the pod cannot share the node's processes then");
    if (!p->kernel.mapped_layers)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "pods with a user namespace need Linux 5.19 or newer, with CONFIG_USER_NS");
    return 0;
}

/* The cgroup that holds those of the pod's containers: what the pod names itself, or with systemd a
 * scope in it. */
static int cgroup_parent_resolve(const struct pods *p, const char *asked, const char *id,
                                 char **ret, struct err *e)
{
    if (str_empty(asked)) {
        *ret = xstrdup(p->cgroup_parent);
        return 0;
    }
    if (p->systemd) {
        _cleanup_free_ char *slice = NULL;
        if (slice_path(asked, &slice, e) < 0)
            return -1;
        _cleanup_free_ char *scope = scope_name(id);
        *ret = xasprintf("%s/%s", slice, scope);
        return 0;
    }
    if (slice_is_meant(asked))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "cgroup parent %s: it is a slice, but podd makes its cgroups itself "
                       "(cgroup_driver); set the same driver here and in the kubelet",
                       asked);
    if (asked[0] != '/' || strstr(asked, "/.."))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "cgroup parent %s: it must be absolute and without '..'", asked);
    *ret = xstrdup(asked);
    return 0;
}

int sandbox_config_check(const struct pods *p, const struct sandbox_config *config, struct err *e)
{
    _cleanup_free_ char *parent = NULL;

    if (str_empty(config->name))
        return err_set(e, ERR_INVALID_ARGUMENT, "the pod has no name");
    if (!str_empty(config->hostname) && hostname_check(config->hostname, e) < 0)
        return -1;
    if (!str_empty(config->log_directory) && config->log_directory[0] != '/')
        return err_set(e, ERR_INVALID_ARGUMENT, "log directory %s: it is not absolute",
                       config->log_directory);
    if (cgroup_parent_resolve(p, config->cgroup_parent, "", &parent, e) < 0)
        return -1;
    if (config->network == NAMESPACE_CONTAINER || config->network == NAMESPACE_TARGET ||
        config->ipc == NAMESPACE_CONTAINER || config->ipc == NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "network and IPC namespaces are the pod's or the node's");
    if (config->pid == NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "the PID namespace of another container is for a container, not for a pod");
    return check_maps(p, config, e);
}

static char *choose_hostname(const struct sandbox_config *config, const char *id)
{
    char node[HOST_NAME_MAX + 1] = "localhost";

    if (!str_empty(config->hostname))
        return xstrdup(config->hostname);
    if (config->network != NAMESPACE_NODE)
        return xstrndup(id, 12);
    (void)!gethostname(node, sizeof(node) - 1);
    return xstrdup(node);
}

static struct id_range *ranges_dup(const struct id_range *ranges, size_t n)
{
    return xmemdup(ranges, n * sizeof(*ranges));
}

struct sandbox *sandbox_from_config(struct pods *p, const struct sandbox_config *config,
                                    const char *id)
{
    struct sandbox *s = sandbox_new(id);
    struct sandbox_private *priv = s->priv;

    s->name = str_or_empty(config->name);
    s->namespace_ = str_or_empty(config->namespace_);
    s->uid = str_or_empty(config->uid);
    s->attempt = config->attempt;
    s->created_at = created_at_next(p);
    s->host_network = config->network == NAMESPACE_NODE;
    s->labels = key_values_dup(config->labels, config->n_labels);
    s->n_labels = config->n_labels;
    s->annotations = key_values_dup(config->annotations, config->n_annotations);
    s->n_annotations = config->n_annotations;
    s->runtime_handler = str_or_empty(config->runtime_handler);
    s->log_directory = str_or_empty(config->log_directory);
    (void)!cgroup_parent_resolve(p, config->cgroup_parent, id, &s->cgroup_parent, NULL);
    s->hostname = choose_hostname(config, id);
    s->origin = str_or_empty(config->origin);
    s->asked = bytes_dup(&config->asked);
    priv->pods = p;
    priv->fingerprint = fingerprint_sandbox(config);
    priv->boot_id = xstrdup(boot_id());
    priv->host_ipc = config->ipc == NAMESPACE_NODE;
    priv->privileged = config->privileged;
    priv->shared_pid = config->pid == NAMESPACE_POD;
    priv->uid_maps = ranges_dup(config->uid_maps, config->n_uid_maps);
    priv->n_uid_maps = config->n_uid_maps;
    priv->gid_maps = ranges_dup(config->gid_maps, config->n_gid_maps);
    priv->n_gid_maps = config->n_gid_maps;
    return s;
}
