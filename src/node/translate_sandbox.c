/*
 * translate_sandbox.c - a pod's manifest as a sandbox_config: names, labels, ports, namespaces,
 * DNS, hosts.
 */
#include "translate.h"

#include <netinet/in.h>

/* ---- Memory of a plan --------------------------------------------------------------------------
 */

void *keep_take(struct keep *k, void *ptr_take)
{
    void **slot = array_push(&k->items, &k->count, sizeof(*k->items));

    *slot = ptr_take;
    return ptr_take;
}

void *keep_alloc(struct keep *k, size_t count, size_t size)
{
    return keep_take(k, xcalloc(count ? count : 1, size));
}

char *keep_printf(struct keep *k, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = xvasprintf(fmt, ap);
    va_end(ap);
    return keep_take(k, text);
}

char **keep_strv(struct keep *k, char **v_take)
{
    if (!v_take)
        return NULL;
    for (char **s = v_take; *s; s++)
        keep_take(k, *s);
    return keep_take(k, v_take);
}

void keep_free(struct keep *k)
{
    for (size_t i = 0; i < k->count; i++)
        free(k->items[i]);
    free(k->items);
    *k = (struct keep){0};
}

const struct id_range *id_map_plan(struct keep *k, uint32_t first_id)
{
    struct id_range *map = keep_alloc(k, 1, sizeof(*map));

    *map = (struct id_range){.host_id = first_id, .length = ID_RANGE_LENGTH};
    return map;
}

/* ---- Names and hosts ---------------------------------------------------------------------------
 */

char *pod_hostname(const struct pod_manifest *m)
{
    char *name = xstrdup(m->spec->hostname ? m->spec->hostname : m->metadata->name);

    if (strlen(name) > 63)
        name[63] = '\0';
    for (size_t len = strlen(name); len > 0 && (name[len - 1] == '-' || name[len - 1] == '.');)
        name[--len] = '\0';
    return name;
}

static void add_aliases(struct strbuf *text, const struct pod_spec *spec)
{
    const struct host_alias *aliases = spec->host_aliases.items;

    if (spec->host_aliases.count)
        strbuf_adds(text, "\n# Entries of hostAliases.\n");
    for (size_t i = 0; i < spec->host_aliases.count; i++) {
        strbuf_adds(text, aliases[i].ip);
        for (char **name = aliases[i].hostnames; name && *name; name++)
            strbuf_addf(text, "\t%s", *name);
        strbuf_adds(text, "\n");
    }
}

char *hosts_text(const struct pod_manifest *m, const char *const *ips, size_t n_ips,
                 const char *node_hosts)
{
    struct strbuf text = {0};

    if (m->spec->host_network.value) {
        strbuf_adds(&text, node_hosts ? node_hosts : "");
    } else {
        _cleanup_free_ char *hostname = pod_hostname(m);
        strbuf_adds(&text, "# Written by podd.\n"
                           "127.0.0.1\tlocalhost\n"
                           "::1\tlocalhost ip6-localhost ip6-loopback\n"
                           "fe00::0\tip6-localnet\n"
                           "fe00::0\tip6-mcastprefix\n"
                           "fe00::1\tip6-allnodes\n"
                           "fe00::2\tip6-allrouters\n");
        for (size_t i = 0; i < n_ips; i++)
            strbuf_addf(&text, "%s\t%s\n", ips[i], hostname);
    }
    add_aliases(&text, m->spec);
    return strbuf_take(&text);
}

/* ---- Ports, labels, sysctls --------------------------------------------------------------------
 */

static int protocol_number(int protocol)
{
    switch ((enum port_protocol)protocol) {
    case PORT_UDP:
        return IPPROTO_UDP;
    case PORT_SCTP:
        return IPPROTO_SCTP;
    case PORT_UNSET:
    case PORT_TCP:
        break;
    }
    return IPPROTO_TCP;
}

static void plan_ports(struct sandbox_plan *p, const struct object_list *containers)
{
    const struct manifest_container *items = containers->items;
    struct net_port *ports = (struct net_port *)p->config.ports;

    for (size_t i = 0; i < containers->count; i++)
        for (size_t k = 0; k < items[i].ports.count; k++) {
            const struct manifest_port *port = container_port(&items[i], k);
            ports[p->config.n_ports++] = (struct net_port){
                .protocol = protocol_number(port->protocol),
                .container_port = (uint16_t)port->container_port.value,
                .host_port = (uint16_t)port->host_port.value,
                .host_ip = port->host_ip,
            };
        }
}

static size_t count_ports(const struct object_list *containers)
{
    const struct manifest_container *items = containers->items;
    size_t count = 0;

    for (size_t i = 0; i < containers->count; i++)
        count += items[i].ports.count;
    return count;
}

/* Those that name the pod to readers of sandboxes are what podd says they are. */
static bool is_own_label(const char *key)
{
    return str_equal(key, LABEL_POD_NAME) || str_equal(key, LABEL_POD_NAMESPACE) ||
           str_equal(key, LABEL_POD_UID);
}

static void plan_labels(struct sandbox_plan *p, const struct pod_manifest *m, const char *uid)
{
    const struct pair_list *own = &m->metadata->labels;
    struct key_value *labels = keep_alloc(&p->keep, own->count + 3, sizeof(*labels));
    size_t n = 0;

    for (size_t i = 0; i < own->count; i++)
        if (!is_own_label(own->items[i].key))
            labels[n++] = own->items[i];
    labels[n++] = (struct key_value){(char *)LABEL_POD_NAME, m->metadata->name};
    labels[n++] = (struct key_value){(char *)LABEL_POD_NAMESPACE, m->metadata->namespace_};
    labels[n++] = (struct key_value){(char *)LABEL_POD_UID, (char *)uid};
    p->config.labels = labels;
    p->config.n_labels = n;
}

static void plan_sysctls(struct sandbox_plan *p, const struct pod_security *security)
{
    if (!security || security->sysctls.count == 0)
        return;
    const struct manifest_sysctl *from = security->sysctls.items;
    size_t n = security->sysctls.count;
    struct key_value *sysctls = keep_alloc(&p->keep, n, sizeof(*sysctls));

    for (size_t i = 0; i < n; i++)
        sysctls[i] = (struct key_value){from[i].name, from[i].value};
    p->config.sysctls = sysctls;
    p->config.n_sysctls = n;
}

/* ---- DNS ---------------------------------------------------------------------------------------
 */

/* Adds the words of one line of resolv.conf, after its keyword, to where they belong. */
static void add_resolv_line(char *line, char ***servers, char ***searches, char ***options)
{
    char *rest = NULL, *word = strtok_r(line, " \t", &rest);
    char ***to = str_equal(word, "nameserver") ? servers
                 : str_equal(word, "search")   ? searches
                 : str_equal(word, "options")  ? options
                                               : NULL;

    if (!to)
        return;
    if (to == searches) /* the last one counts (resolv.conf(5)) */
        strv_freep(searches);
    while ((word = strtok_r(NULL, " \t", &rest)))
        strv_push(to, word);
}

static void parse_resolv_conf(const char *text, char ***servers, char ***searches, char ***options)
{
    _cleanup_free_ char *copy = xstrdup(text ? text : "");
    char *rest = NULL;

    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        add_resolv_line(line, servers, searches, options);
}

static void plan_dns(struct sandbox_plan *p, const struct pod_spec *spec, const char *resolv_conf)
{
    const struct dns_config *dns = spec->dns;
    char **servers = NULL, **searches = NULL, **options = NULL;

    if (!dns && spec->dns_policy != DNS_NONE)
        return;
    if (spec->dns_policy != DNS_NONE)
        parse_resolv_conf(resolv_conf, &servers, &searches, &options);
    for (char **s = dns ? dns->nameservers : NULL; s && *s; s++)
        strv_push(&servers, *s);
    for (char **s = dns ? dns->searches : NULL; s && *s; s++)
        strv_push(&searches, *s);
    const struct dns_option *extra = dns ? dns->options.items : NULL;
    for (size_t i = 0; dns && i < dns->options.count; i++) {
        _cleanup_free_ char *text = xasprintf("%s%s%s", extra[i].name, extra[i].value ? ":" : "",
                                              extra[i].value ? extra[i].value : "");
        strv_push(&options, text);
    }
    p->config.dns_given = true;
    p->config.dns_servers = keep_strv(&p->keep, servers);
    p->config.dns_searches = keep_strv(&p->keep, searches);
    p->config.dns_options = keep_strv(&p->keep, options);
}

/* ---- The whole ---------------------------------------------------------------------------------
 */

static bool is_privileged(const struct object_list *containers)
{
    const struct manifest_container *items = containers->items;

    for (size_t i = 0; i < containers->count; i++)
        if (items[i].security && items[i].security->privileged.value)
            return true;
    return false;
}

void sandbox_plan_make(const struct pod_manifest *m, const char *uid, uint32_t attempt,
                       const char *log_directory, const char *resolv_conf, uint32_t first_id,
                       struct sandbox_plan *ret)
{
    const struct pod_spec *spec = m->spec;
    struct sandbox_config *c = &ret->config;

    memset(ret, 0, sizeof(*ret));
    c->name = m->metadata->name;
    c->namespace_ = m->metadata->namespace_;
    c->uid = uid;
    c->attempt = attempt;
    c->hostname = "";
    if (!spec->host_network.value) {
        _cleanup_free_ char *hostname = pod_hostname(m);
        c->hostname = keep_printf(&ret->keep, "%s", hostname);
    }
    c->log_directory = log_directory;
    c->annotations = m->metadata->annotations.items;
    c->n_annotations = m->metadata->annotations.count;
    c->cgroup_parent = "";
    c->network = spec->host_network.value ? NAMESPACE_NODE : NAMESPACE_POD;
    c->ipc = spec->host_ipc.value ? NAMESPACE_NODE : NAMESPACE_POD;
    c->pid = spec->host_pid.value    ? NAMESPACE_NODE
             : spec->share_pid.value ? NAMESPACE_POD
                                     : NAMESPACE_CONTAINER;
    c->privileged = is_privileged(&spec->containers) || is_privileged(&spec->init_containers);
    c->runtime_handler = "";
    c->origin = NODE_ORIGIN;
    /* All that is needed to end the pod decently should its manifest be lost. */
    char *grace =
        keep_printf(&ret->keep, "%lld", (long long)(spec->grace.set ? spec->grace.value : 30));
    c->asked = (struct bytes){(uint8_t *)grace, strlen(grace)};
    c->ports =
        keep_alloc(&ret->keep, count_ports(&spec->containers) + count_ports(&spec->init_containers),
                   sizeof(struct net_port));
    plan_ports(ret, &spec->init_containers);
    plan_ports(ret, &spec->containers);
    if (first_id) {
        c->uid_maps = c->gid_maps = id_map_plan(&ret->keep, first_id);
        c->n_uid_maps = c->n_gid_maps = 1;
    }
    plan_labels(ret, m, uid);
    plan_sysctls(ret, spec->security);
    plan_dns(ret, spec, resolv_conf);
}

void sandbox_plan_free(struct sandbox_plan *p)
{
    keep_free(&p->keep);
}
