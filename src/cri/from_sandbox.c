/*
 * from_sandbox.c - RunPodSandbox's request as a struct sandbox_config. Only checks what CRI itself
 * lays down; what the kernel and podd make of it is decided in the pod room.
 */
#include "private.h"

#include <netinet/in.h>

static int namespace_mode_from(Runtime__V1__NamespaceMode mode, const char *field,
                               enum namespace_mode *ret, struct err *e)
{
    switch (mode) {
    case RUNTIME__V1__NAMESPACE_MODE__POD:
        *ret = NAMESPACE_POD;
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__NODE:
        *ret = NAMESPACE_NODE;
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__CONTAINER:
        *ret = NAMESPACE_CONTAINER;
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__TARGET:
        *ret = NAMESPACE_TARGET;
        return 0;
    case _RUNTIME__V1__NAMESPACE_MODE_IS_INT_SIZE:
        break;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "%s: unknown namespace mode %d", field, mode);
}

struct id_range *id_ranges_from(struct arena *a, Runtime__V1__IDMapping *const *maps, size_t n)
{
    struct id_range *ranges = arena_alloc(a, n * sizeof(*ranges));

    for (size_t i = 0; i < n; i++)
        ranges[i] = (struct id_range){maps[i]->container_id, maps[i]->host_id, maps[i]->length};
    return ranges;
}

/* One range that maps the container's root: what kubelet gives, and all that CRI asks for. */
static int check_ranges(Runtime__V1__IDMapping *const *maps, size_t n, const char *field,
                        struct err *e)
{
    if (n != 1)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: exactly one mapping is supported, not %zu",
                       field, n);
    if (maps[0]->length < 1)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: the mapping has length 0", field);
    if (maps[0]->container_id != 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: the container's id 0 is not mapped", field);
    return 0;
}

int user_namespace_from(const Runtime__V1__UserNamespace *u, struct arena *a, struct id_maps *ret,
                        struct err *e)
{
    *ret = (struct id_maps){0};
    if (!u)
        return 0;
    switch (u->mode) {
    case RUNTIME__V1__NAMESPACE_MODE__NODE:
        if (u->n_uids > 0 || u->n_gids > 0)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "userns_options: mode NODE takes no id mappings");
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__POD:
        if (check_ranges(u->uids, u->n_uids, "userns_options.uids", e) < 0 ||
            check_ranges(u->gids, u->n_gids, "userns_options.gids", e) < 0)
            return -1;
        *ret = (struct id_maps){.uids = id_ranges_from(a, u->uids, u->n_uids),
                                .gids = id_ranges_from(a, u->gids, u->n_gids),
                                .n_uids = u->n_uids,
                                .n_gids = u->n_gids};
        return 0;
    case RUNTIME__V1__NAMESPACE_MODE__CONTAINER:
    case RUNTIME__V1__NAMESPACE_MODE__TARGET:
    case _RUNTIME__V1__NAMESPACE_MODE_IS_INT_SIZE:
        break;
    }
    return err_set(e, ERR_INVALID_ARGUMENT, "userns_options.mode: must be POD or NODE, not %d",
                   u->mode);
}

static int security_from(const Runtime__V1__LinuxSandboxSecurityContext *s, struct arena *a,
                         struct sandbox_config *ret, struct err *e)
{
    const Runtime__V1__NamespaceOption *n = s ? s->namespace_options : NULL;

    if (!s)
        return 0;
    ret->privileged = s->privileged;
    if (!n)
        return 0;
    if (namespace_mode_from(n->network, "namespace_options.network", &ret->network, e) < 0 ||
        namespace_mode_from(n->pid, "namespace_options.pid", &ret->pid, e) < 0 ||
        namespace_mode_from(n->ipc, "namespace_options.ipc", &ret->ipc, e) < 0)
        return -1;
    if (ret->network == NAMESPACE_CONTAINER || ret->network == NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "namespace_options.network: must be POD or NODE for a pod");
    if (ret->ipc == NAMESPACE_CONTAINER || ret->ipc == NAMESPACE_TARGET)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "namespace_options.ipc: must be POD or NODE for a pod");
    struct id_maps maps;
    if (user_namespace_from(n->userns_options, a, &maps, e) < 0)
        return -1;
    ret->uid_maps = maps.uids;
    ret->n_uid_maps = maps.n_uids;
    ret->gid_maps = maps.gids;
    ret->n_gid_maps = maps.n_gids;
    return 0;
}

static int port_from(const Runtime__V1__PortMapping *p, struct net_port *ret, struct err *e)
{
    static const int protocols[] = {
        [RUNTIME__V1__PROTOCOL__TCP] = IPPROTO_TCP,
        [RUNTIME__V1__PROTOCOL__UDP] = IPPROTO_UDP,
        [RUNTIME__V1__PROTOCOL__SCTP] = IPPROTO_SCTP,
    };
    if ((unsigned)p->protocol >= ARRAY_SIZE(protocols))
        return err_set(e, ERR_INVALID_ARGUMENT, "port_mappings: unknown protocol %d", p->protocol);
    if (p->host_port < 0 || p->host_port > 65535 || p->container_port < 1 ||
        p->container_port > 65535)
        return err_set(e, ERR_INVALID_ARGUMENT, "port_mappings: %d:%d is not a pair of ports",
                       p->host_port, p->container_port);
    *ret = (struct net_port){
        .protocol = protocols[p->protocol],
        .container_port = (uint16_t)p->container_port,
        .host_port = (uint16_t)p->host_port,
        .host_ip = p->host_ip,
    };
    return 0;
}

static int ports_from(const Runtime__V1__PodSandboxConfig *c, struct arena *a,
                      struct sandbox_config *ret, struct err *e)
{
    struct net_port *ports = arena_alloc(a, c->n_port_mappings * sizeof(*ports));

    for (size_t i = 0; i < c->n_port_mappings; i++) {
        if (c->port_mappings[i]->host_port == 0)
            continue; /* kubelet lists every port of the containers */
        if (port_from(c->port_mappings[i], &ports[ret->n_ports], e) < 0)
            return -1;
        ret->n_ports++;
    }
    ret->ports = ports;
    return 0;
}

static int metadata_from(const Runtime__V1__PodSandboxMetadata *m, struct sandbox_config *ret,
                         struct err *e)
{
    if (!m)
        return err_set(e, ERR_INVALID_ARGUMENT, "config.metadata is missing");
    if (str_empty(m->name))
        return err_set(e, ERR_INVALID_ARGUMENT, "config.metadata.name is empty");
    if (str_empty(m->namespace_))
        return err_set(e, ERR_INVALID_ARGUMENT, "config.metadata.namespace is empty");
    if (str_empty(m->uid))
        return err_set(e, ERR_INVALID_ARGUMENT, "config.metadata.uid is empty");
    ret->name = m->name;
    ret->namespace_ = m->namespace_;
    ret->uid = m->uid;
    ret->attempt = m->attempt;
    return 0;
}

int sandbox_config_from(const Runtime__V1__RunPodSandboxRequest *request, struct arena *a,
                        struct sandbox_config *ret, struct err *e)
{
    const Runtime__V1__PodSandboxConfig *c = request->config;
    struct sandbox_config config = {.origin = "cri", .runtime_handler = request->runtime_handler};

    if (!c)
        return err_set(e, ERR_INVALID_ARGUMENT, "config is missing");
    if (metadata_from(c->metadata, &config, e) < 0)
        return -1;
    if (c->windows)
        return err_set(e, ERR_INVALID_ARGUMENT, "config.windows: this node runs Linux");
    config.hostname = c->hostname;
    config.log_directory = c->log_directory;
    if (c->dns_config) {
        config.dns_given = true;
        config.dns_servers = arena_strv(a, c->dns_config->servers, c->dns_config->n_servers);
        config.dns_searches = arena_strv(a, c->dns_config->searches, c->dns_config->n_searches);
        config.dns_options = arena_strv(a, c->dns_config->options, c->dns_config->n_options);
    }
    config.labels = arena_from_map(a, c->labels, c->n_labels);
    config.n_labels = c->n_labels;
    config.annotations = arena_from_map(a, c->annotations, c->n_annotations);
    config.n_annotations = c->n_annotations;
    if (ports_from(c, a, &config, e) < 0)
        return -1;
    if (c->linux) {
        config.cgroup_parent = c->linux->cgroup_parent;
        config.sysctls = arena_from_map(a, c->linux->sysctls, c->linux->n_sysctls);
        config.n_sysctls = c->linux->n_sysctls;
        if (security_from(c->linux->security_context, a, &config, e) < 0)
            return -1;
    }
    config.asked = arena_pack(a, &c->base);
    *ret = config;
    return 0;
}
