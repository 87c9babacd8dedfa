/*
 * manifest_check.c - what no single field of a manifest can know: references from one part to
 * another, duplicates, collisions, and values that exclude each other. Walks the structs and the
 * tree side by side, for the tree knows the positions.
 */
#include "apparmor_annotation.h"
#include "env.h"
#include "manifest.h"
#include "tree.h"
#include "volume_payload.h"

#include "podd/net.h"

#define NAMES_LENGTH_MAX 200 /* of namespace and name: with a uid they are file names */
#define NAMESERVERS_MAX 3
#define SEARCHES_MAX 32

static const struct yaml_node *at_item(const struct yaml_node *node, const char *list, size_t i)
{
    return tree_item(tree_child(node, list), i);
}

/* ---- Ports -------------------------------------------------------------------------------------
 */

static bool host_ports_collide(const struct manifest_port *a, const struct manifest_port *b)
{
    int pa = a->protocol ? a->protocol : PORT_TCP, pb = b->protocol ? b->protocol : PORT_TCP;

    return a->host_port.value > 0 && a->host_port.value == b->host_port.value && pa == pb &&
           (str_empty(a->host_ip) || str_empty(b->host_ip) || str_equal(a->host_ip, b->host_ip));
}

static int check_ports(struct decode *d, const struct yaml_node *node,
                       const struct manifest_container *c, bool host_network)
{
    for (size_t i = 0; i < c->ports.count; i++) {
        const struct manifest_port *p = container_port(c, i);
        const struct yaml_node *at = at_item(node, "ports", i);
        for (size_t k = 0; k < i; k++) {
            if (p->name && str_equal(p->name, container_port(c, k)->name))
                return decode_fail(d, at, "%s.ports[%zu].name: there is another port named %s",
                                   decode_path(d), i, p->name);
            if (host_ports_collide(p, container_port(c, k)))
                return decode_fail(d, at, "%s.ports[%zu].hostPort: %lld is taken by ports[%zu]",
                                   decode_path(d), i, (long long)p->host_port.value, k);
        }
        if (host_network && p->host_port.value > 0 && p->host_port.value != p->container_port.value)
            return decode_fail(d, at,
                               "%s.ports[%zu].hostPort must equal containerPort in a pod with "
                               "hostNetwork",
                               decode_path(d), i);
    }
    return 0;
}

static int check_ports_between(struct decode *d, const struct yaml_node *spec,
                               const struct pod_spec *s)
{
    for (size_t i = 1; i < s->containers.count; i++) {
        const struct manifest_container *c = spec_container(s, i);
        for (size_t k = 0; k < i; k++) {
            const struct manifest_container *other = spec_container(s, k);
            for (size_t x = 0; x < c->ports.count; x++)
                for (size_t y = 0; y < other->ports.count; y++)
                    if (host_ports_collide(container_port(c, x), container_port(other, y)))
                        return decode_fail(
                            d, at_item(at_item(spec, "containers", i), "ports", x),
                            "spec.containers[%zu].ports[%zu].hostPort: %lld is taken by container "
                            "%s",
                            i, x, (long long)container_port(c, x)->host_port.value, other->name);
        }
    }
    return 0;
}

/* ---- Probes ------------------------------------------------------------------------------------
 */

static int check_probe_port(struct decode *d, const struct yaml_node *node, const char *field,
                            const struct manifest_container *c, const struct int_or_name *port)
{
    if (!port->name || container_find_port(c, port->name))
        return 0;
    return decode_fail(d, node, "%s.%s: the container has no port named %s", decode_path(d), field,
                       port->name);
}

static int check_probe(struct decode *d, const struct yaml_node *container, const char *field,
                       const struct manifest_container *c, const struct manifest_probe *p)
{
    const struct yaml_node *node = tree_child(container, field);
    bool readiness = p == c->readiness;

    if (!p)
        return 0;
    if (!readiness && p->success_threshold.set && p->success_threshold.value != 1)
        return decode_fail(d, tree_child(node, "successThreshold"),
                           "%s.%s.successThreshold must be 1", decode_path(d), field);
    if (readiness && p->grace.set)
        return decode_fail(d, tree_child(node, "terminationGracePeriodSeconds"),
                           "%s.%s.terminationGracePeriodSeconds: a readiness probe ends nothing",
                           decode_path(d), field);
    if (p->http && check_probe_port(d, tree_child(node, "httpGet"), field, c, &p->http->port) < 0)
        return -1;
    if (p->tcp && check_probe_port(d, tree_child(node, "tcpSocket"), field, c, &p->tcp->port) < 0)
        return -1;
    return 0;
}

static int check_hook(struct decode *d, const struct yaml_node *lifecycle, const char *field,
                      const struct manifest_container *c, const struct manifest_hook *h)
{
    _cleanup_free_ char *path = xasprintf("lifecycle.%s", field);

    if (!h || !h->http)
        return 0;
    return check_probe_port(d, tree_child(tree_child(lifecycle, field), "httpGet"), path, c,
                            &h->http->port);
}

static int check_hooks(struct decode *d, const struct yaml_node *node,
                       const struct manifest_container *c, bool init)
{
    const struct yaml_node *lifecycle = tree_child(node, "lifecycle");

    if (!c->lifecycle)
        return 0;
    if (init && c->restart != RESTART_ALWAYS)
        return decode_fail(d, lifecycle,
                           "%s.lifecycle: only an init container with restartPolicy Always can "
                           "have hooks",
                           decode_path(d));
    if (check_hook(d, lifecycle, "postStart", c, c->lifecycle->post_start) < 0)
        return -1;
    return check_hook(d, lifecycle, "preStop", c, c->lifecycle->pre_stop);
}

static int check_probes(struct decode *d, const struct yaml_node *node,
                        const struct manifest_container *c, bool init)
{
    if (init && c->restart != RESTART_ALWAYS) {
        static const char *const fields[] = {"livenessProbe", "readinessProbe", "startupProbe"};
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
            if (tree_child(node, fields[i]))
                return decode_fail(d, tree_child(node, fields[i]),
                                   "%s.%s: only an init container with restartPolicy Always can "
                                   "have probes",
                                   decode_path(d), fields[i]);
    }
    if (check_probe(d, node, "livenessProbe", c, c->liveness) < 0 ||
        check_probe(d, node, "readinessProbe", c, c->readiness) < 0)
        return -1;
    return check_probe(d, node, "startupProbe", c, c->startup);
}

/* ---- Mounts, environment, resources ------------------------------------------------------------
 */

static int check_mounts(struct decode *d, const struct yaml_node *node,
                        const struct manifest_container *c, const struct pod_spec *s)
{
    for (size_t i = 0; i < c->mounts.count; i++) {
        const struct manifest_mount *m = container_mount(c, i);
        const struct yaml_node *at = at_item(node, "volumeMounts", i);
        if (!spec_find_volume(s, m->name))
            return decode_fail(d, tree_child(at, "name"),
                               "%s.volumeMounts[%zu].name: the pod has no volume named %s",
                               decode_path(d), i, m->name);
        for (size_t k = 0; k < i; k++)
            if (str_equal(m->path, container_mount(c, k)->path))
                return decode_fail(d, tree_child(at, "mountPath"),
                                   "%s.volumeMounts[%zu].mountPath: %s is mounted twice",
                                   decode_path(d), i, m->path);
        if (m->propagation == PROPAGATION_BIDIRECTIONAL &&
            !(c->security && c->security->privileged.value))
            return decode_fail(d, tree_child(at, "mountPropagation"),
                               "%s.volumeMounts[%zu].mountPropagation: Bidirectional needs a "
                               "privileged container",
                               decode_path(d), i);
    }
    return 0;
}

static int check_env_of(struct decode *d, const struct yaml_node *node,
                        const struct manifest_container *c, const struct pod_spec *s)
{
    for (size_t i = 0; i < c->env.count; i++) {
        const struct manifest_env *env = container_env(c, i);
        const struct yaml_node *at = at_item(node, "env", i);
        if (!env->from)
            continue;
        const struct yaml_node *from = tree_child(at, "valueFrom");
        if (!str_empty(env->value))
            return decode_fail(d, from, "%s.env[%zu] has both value and valueFrom", decode_path(d),
                               i);
        if ((env->from->field != NULL) + (env->from->resource != NULL) +
                (env->from->config_map != NULL) + (env->from->secret != NULL) !=
            1)
            return decode_fail(d, from,
                               "%s.env[%zu].valueFrom must have exactly one of fieldRef, "
                               "resourceFieldRef, configMapKeyRef and secretKeyRef",
                               decode_path(d), i);
        const char *wrong = env_source_check(env->from, s);
        if (wrong)
            return decode_fail(d, from, "%s.env[%zu].valueFrom %s", decode_path(d), i, wrong);
    }
    return 0;
}

static int check_resources(struct decode *d, const struct yaml_node *node,
                           const struct manifest_container *c)
{
    const struct manifest_resources *r = c->resources;

    if (!r || !r->limits || !r->requests)
        return 0;
    const struct {
        const char *name;
        const struct quantity *limit, *request;
    } each[] = {{"cpu", &r->limits->cpu, &r->requests->cpu},
                {"memory", &r->limits->memory, &r->requests->memory},
                {"ephemeral-storage", &r->limits->storage, &r->requests->storage}};
    for (size_t i = 0; i < ARRAY_SIZE(each); i++)
        if (each[i].limit->set && each[i].request->set &&
            (each[i].request->units > each[i].limit->units ||
             each[i].request->milli > each[i].limit->milli))
            return decode_fail(
                d, tree_child(tree_child(tree_child(node, "resources"), "requests"), each[i].name),
                "%s.resources.requests.%s is more than the limit", decode_path(d), each[i].name);
    return 0;
}

/* ---- Containers --------------------------------------------------------------------------------
 */

/* The whole of /proc is safe to see only for whom it is not root's of the node. */
static int check_security(struct decode *d, const struct yaml_node *node,
                          const struct manifest_container *c, const struct pod_spec *s)
{
    if (!c->security || c->security->proc_mount != PROC_MOUNT_UNMASKED ||
        spec_has_user_namespace(s))
        return 0;
    return decode_fail(d, tree_child(tree_child(node, "securityContext"), "procMount"),
                       "%s.securityContext.procMount: Unmasked needs hostUsers: false",
                       decode_path(d));
}

static int check_container(struct decode *d, const struct yaml_node *node,
                           const struct manifest_container *c, const struct pod_spec *s, bool init)
{
    if (check_ports(d, node, c, s->host_network.value) < 0 || check_probes(d, node, c, init) < 0 ||
        check_hooks(d, node, c, init) < 0 || check_mounts(d, node, c, s) < 0 ||
        check_env_of(d, node, c, s) < 0 || check_security(d, node, c, s) < 0)
        return -1;
    return check_resources(d, node, c);
}

/* All of another list come before it. */
static bool is_named_before(const struct object_list *list, const struct manifest_container *c)
{
    const struct manifest_container *items = list->items;

    for (size_t i = 0; i < list->count && &items[i] != c; i++)
        if (str_equal(items[i].name, c->name))
            return true;
    return false;
}

static int check_container_name(struct decode *d, const struct yaml_node *node,
                                const struct manifest_container *c, const struct pod_spec *s,
                                bool init)
{
    if (!is_named_before(&s->init_containers, c) && (init || !is_named_before(&s->containers, c)))
        return 0;
    return decode_fail(d, tree_child(node, "name"), "%s.name: another container is named %s",
                       decode_path(d), c->name);
}

static int check_containers(struct decode *d, const struct yaml_node *spec,
                            const struct pod_spec *s, bool init)
{
    const char *list = init ? "initContainers" : "containers";
    size_t count = init ? s->init_containers.count : s->containers.count;

    for (size_t i = 0; i < count; i++) {
        const struct manifest_container *c =
            init ? spec_init_container(s, i) : spec_container(s, i);
        const struct yaml_node *node = at_item(spec, list, i);
        size_t mark = decode_enter(d, list);
        decode_enter_item(d, i);
        if (check_container_name(d, node, c, s, init) < 0 ||
            check_container(d, node, c, s, init) < 0)
            return -1;
        decode_leave(d, mark);
    }
    return 0;
}

int manifest_check_ephemeral(struct decode *d, const struct yaml_node *document,
                             const struct manifest_container *c, const struct pod_spec *s)
{
    if (check_container_name(d, document, c, s, false) < 0)
        return -1;
    if (c->target && !spec_find_container(s, c->target))
        return decode_fail(d, tree_child(document, "targetContainerName"),
                           "targetContainerName: the pod has no container named %s", c->target);
    return check_container(d, document, c, s, false);
}

/* ---- The pod -----------------------------------------------------------------------------------
 */

static int check_downward(struct decode *d, const struct yaml_node *node,
                          const struct volume_downward *v, const struct pod_spec *s, size_t i)
{
    const struct downward_file *items = v ? v->items.items : NULL;

    for (size_t k = 0; v && k < v->items.count; k++) {
        const char *wrong = downward_check(&items[k], s);
        if (wrong)
            return decode_fail(d, at_item(node, "items", k),
                               "spec.volumes[%zu]: downwardAPI items[%zu].%s", i, k, wrong);
    }
    return 0;
}

static int check_volume_sources(struct decode *d, const struct yaml_node *node,
                                const struct manifest_volume *v, const struct pod_spec *s, size_t i)
{
    const struct yaml_node *projected = tree_child(node, "projected");
    const struct projected_source *sources = v->projected ? v->projected->sources.items : NULL;

    if (check_downward(d, tree_child(node, "downwardAPI"), v->downward, s, i) < 0)
        return -1;
    for (size_t k = 0; v->projected && k < v->projected->sources.count; k++)
        if (check_downward(d, tree_child(at_item(projected, "sources", k), "downwardAPI"),
                           sources[k].downward, s, i) < 0)
            return -1;
    return 0;
}

static int check_volumes(struct decode *d, const struct yaml_node *spec, const struct pod_spec *s)
{
    for (size_t i = 0; i < s->volumes.count; i++)
        if (check_volume_sources(d, at_item(spec, "volumes", i), spec_volume(s, i), s, i) < 0)
            return -1;
    for (size_t i = 0; i < s->volumes.count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_equal(spec_volume(s, i)->name, spec_volume(s, k)->name))
                return decode_fail(d, at_item(spec, "volumes", i),
                                   "spec.volumes[%zu].name: another volume is named %s", i,
                                   spec_volume(s, i)->name);
    return 0;
}

static int check_dns(struct decode *d, const struct yaml_node *spec, const struct pod_spec *s)
{
    const struct yaml_node *at = tree_child(spec, "dnsConfig");

    if (s->dns_policy == DNS_NONE && (!s->dns || strv_len(s->dns->nameservers) == 0))
        return decode_fail(d, tree_child(spec, "dnsPolicy"),
                           "spec.dnsPolicy None needs spec.dnsConfig.nameservers");
    if (s->dns && strv_len(s->dns->nameservers) > NAMESERVERS_MAX)
        return decode_fail(d, at, "spec.dnsConfig.nameservers must be at most %d", NAMESERVERS_MAX);
    if (s->dns && strv_len(s->dns->searches) > SEARCHES_MAX)
        return decode_fail(d, at, "spec.dnsConfig.searches must be at most %d", SEARCHES_MAX);
    return 0;
}

/* Of AppArmor profiles that containers are given by annotation. */
static int check_apparmor(struct decode *d, const struct yaml_node *metadata,
                          const struct pod_manifest *m)
{
    const struct yaml_node *node = tree_child(metadata, "annotations");
    const struct pair_list *annotations = &m->metadata->annotations;

    for (size_t i = 0; i < annotations->count; i++) {
        const struct key_value *annotation = &annotations->items[i];
        const char *container = apparmor_annotation_container(annotation->key);
        struct manifest_profile ignored;
        if (!container)
            continue;
        if (!spec_find_container(m->spec, container))
            return decode_fail(d, tree_child(node, annotation->key),
                               "metadata.annotations: %s: there is no container of that name",
                               annotation->key);
        if (!apparmor_annotation_parse(annotation->value, &ignored))
            return decode_fail(d, tree_child(node, annotation->key),
                               "metadata.annotations: %s must be runtime/default, unconfined or "
                               "localhost/PROFILE, not \"%s\"",
                               annotation->key, annotation->value);
    }
    return 0;
}

/* Limits of bandwidth by annotation. */
static int check_bandwidth(struct decode *d, const struct yaml_node *metadata,
                           const struct pair_list *annotations)
{
    const struct yaml_node *node = tree_child(metadata, "annotations");

    for (size_t i = 0; i < annotations->count; i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        struct net_bandwidth ignored;
        const struct key_value *annotation = &annotations->items[i];
        if (net_bandwidth_parse(annotation, 1, &ignored, &e) < 0)
            return decode_fail(d, tree_child(node, annotation->key), "metadata.annotations: %s",
                               err_text(&e));
    }
    return 0;
}

/* Root of a user namespace has no say over what is the node's. */
static int check_user_namespace(struct decode *d, const struct yaml_node *spec,
                                const struct pod_spec *s)
{
    const char *shared = s->host_network.value ? "hostNetwork"
                         : s->host_pid.value   ? "hostPID"
                         : s->host_ipc.value   ? "hostIPC"
                                               : NULL;

    if (!spec_has_user_namespace(s) || !shared)
        return 0;
    return decode_fail(d, tree_child(spec, "hostUsers"),
                       "spec.hostUsers: false and spec.%s exclude each other", shared);
}

int manifest_check(struct decode *d, const struct yaml_node *document, struct pod_manifest *m)
{
    const struct yaml_node *spec = tree_child(document, "spec");

    if (strlen(m->metadata->name) + strlen(m->metadata->namespace_) > NAMES_LENGTH_MAX)
        return decode_fail(d, tree_child(tree_child(document, "metadata"), "name"),
                           "metadata.name and the namespace together must be at most %d characters",
                           NAMES_LENGTH_MAX);
    if (check_bandwidth(d, tree_child(document, "metadata"), &m->metadata->annotations) < 0 ||
        check_apparmor(d, tree_child(document, "metadata"), m) < 0)
        return -1;
    decode_enter(d, "spec");
    if (m->spec->share_pid.value && m->spec->host_pid.value)
        return decode_fail(d, tree_child(spec, "shareProcessNamespace"),
                           "spec.shareProcessNamespace and spec.hostPID exclude each other");
    if (check_user_namespace(d, spec, m->spec) < 0 || check_volumes(d, spec, m->spec) < 0 ||
        check_dns(d, spec, m->spec) < 0 || check_containers(d, spec, m->spec, true) < 0 ||
        check_containers(d, spec, m->spec, false) < 0)
        return -1;
    return check_ports_between(d, spec, m->spec);
}
