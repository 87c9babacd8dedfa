/*
 * cni-attachment.c - what podd knows of one pod in a CNI network, and keeps on disk.
 *
 * The file is written before ADD begins, so that whatever happens then DEL can follow; again with
 * the result; and removed when DEL has succeeded. It holds the network's configuration too, since
 * plugins want to be called to take down what they were called to set up, also when the
 * configuration has changed or is gone. It lies below <root> and so outlives a boot, because what
 * plugins remember (the addresses of host-local, say) does too.
 */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "cni-attachment.h"

enum { FORMAT = 1, FILE_MAX = 8 << 20, BURST_SHARE = 10, BURST_MIN_BITS = 512 << 10 };
static const char suffix[] = ".json";

/* ---- Arguments ------------------------------------------------------------------------------- */

/* "KEY=value;...": what cannot be quoted must not be in there, or a name could forge a key. */
static int add_arg(struct strbuf *b, const char *key, const char *value, struct err *e)
{
    if (str_empty(value))
        return 0;
    for (const char *p = value; *p; p++)
        if (*p == ';' || *p == '=' || (unsigned char)*p <= ' ' || *p == 0x7f)
            return err_set(
                e, ERR_INVALID_ARGUMENT,
                "%s: it has a character that CNI_ARGS cannot carry (';', '=', a space or "
                "a control character)",
                key);
    strbuf_addf(b, ";%s=%s", key, value);
    return 0;
}

static int make_args(const struct net_pod *pod, char **ret, struct err *e)
{
    _cleanup_strbuf_ struct strbuf b = {0};

    strbuf_adds(&b, "IgnoreUnknown=1");
    if (add_arg(&b, "K8S_POD_NAMESPACE", pod->namespace_, e) < 0 ||
        add_arg(&b, "K8S_POD_NAME", pod->name, e) < 0 ||
        add_arg(&b, "K8S_POD_INFRA_CONTAINER_ID", pod->sandbox_id, e) < 0 ||
        add_arg(&b, "K8S_POD_UID", pod->uid, e) < 0)
        return -1;
    *ret = strbuf_take(&b);
    return 0;
}

static const char *protocol_name(int protocol)
{
    return protocol == IPPROTO_UDP ? "udp" : protocol == IPPROTO_SCTP ? "sctp" : "tcp";
}

static json_t *port_mappings(const struct net_pod *pod)
{
    json_t *list = json_array();

    for (size_t i = 0; i < pod->n_ports; i++) {
        const struct net_port *p = &pod->ports[i];
        if (p->host_port == 0)
            continue;
        json_t *item = json_pack("{s:i, s:i, s:s}", "hostPort", (int)p->host_port, "containerPort",
                                 (int)p->container_port, "protocol", protocol_name(p->protocol));
        if (!str_empty(p->host_ip))
            json_object_set_new(item, "hostIP", json_string(p->host_ip));
        json_array_append_new(list, item);
    }
    return list;
}

/* A tenth of a second's worth at once: enough for the kernel's clock, and still a limit. */
static void add_rate(json_t *to, const char *rate, const char *burst, uint64_t bits)
{
    uint64_t most = UINT32_MAX, share = bits / BURST_SHARE;

    if (bits == 0)
        return;
    share = share < BURST_MIN_BITS ? BURST_MIN_BITS : share > most ? most : share;
    json_object_set_new(to, rate, json_integer((json_int_t)bits));
    json_object_set_new(to, burst, json_integer((json_int_t)share));
}

static json_t *bandwidth(const struct net_bandwidth *b)
{
    json_t *limits = json_object();

    add_rate(limits, "ingressRate", "ingressBurst", b->ingress);
    add_rate(limits, "egressRate", "egressBurst", b->egress);
    return limits;
}

static json_t *texts(char *const *strv)
{
    json_t *list = json_array();

    for (size_t i = 0; i < strv_len(strv); i++)
        json_array_append_new(list, json_string(strv[i]));
    return list;
}

static json_t *dns(const struct net_pod *pod)
{
    return json_pack("{s:o, s:o, s:o}", "servers", texts(pod->dns_servers), "searches",
                     texts(pod->dns_searches), "options", texts(pod->dns_options));
}

/* An argument that the pod says nothing of is left out. */
static void set_unless_empty(json_t *to, const char *key, json_t *value_take)
{
    if (json_array_size(value_take) > 0 || json_object_size(value_take) > 0)
        json_object_set_new(to, key, value_take);
    else
        json_decref(value_take);
}

static json_t *runtime_of(const struct net_pod *pod, json_t *ranges)
{
    json_t *runtime = json_object();

    set_unless_empty(runtime, "portMappings", port_mappings(pod));
    set_unless_empty(runtime, "bandwidth", bandwidth(&pod->bandwidth));
    if (strv_len(pod->dns_servers) + strv_len(pod->dns_searches) + strv_len(pod->dns_options) > 0)
        json_object_set_new(runtime, "dns", dns(pod));
    if (json_array_size(ranges) > 0)
        json_object_set(runtime, "ipRanges", ranges);
    return runtime;
}

static uint64_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

int cni_attachment_open_netns(const struct cni_attachment *a)
{
    _cleanup_close_ int fd = open(a->netns, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && inode_of(fd) == a->netns_inode ? take_fd(&fd) : -1;
}

int cni_attachment_new(const struct net_pod *pod, struct cni_conf *conf, json_t *ranges,
                       struct cni_attachment **ret, struct err *e)
{
    _cleanup_free_ char *args = NULL;

    if (make_args(pod, &args, e) < 0)
        return -1;
    struct cni_attachment *a = xnew(struct cni_attachment);
    a->id = xstrdup(pod->sandbox_id);
    a->netns = xasprintf("/proc/%d/ns/net", (int)pod->pid);
    a->netns_inode = inode_of(pod->netns);
    a->args = take_ptr(args);
    a->runtime = runtime_of(pod, ranges);
    a->conf = cni_conf_ref(conf);
    *ret = a;
    return 0;
}

void cni_attachment_free(struct cni_attachment *a)
{
    if (!a)
        return;
    free(a->id);
    free(a->netns);
    free(a->args);
    json_decref(a->runtime);
    cni_conf_unref(a->conf);
    json_decref(a->result);
    free(a);
}

/* ---- Requests -------------------------------------------------------------------------------- */

char *cni_request(const struct cni_conf *conf, const json_t *plugin, const json_t *runtime,
                  const json_t *prev_result, const json_t *valid_attachments)
{
    _cleanup_json_ json_t *request = json_copy((json_t *)plugin);
    _cleanup_json_ json_t *given = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)runtime, key, value) if (cni_plugin_can(plugin, key))
        json_object_set(given, key, value);
    json_object_set_new(request, "cniVersion", json_string(cni_version_text[conf->version]));
    json_object_set_new(request, "name", json_string(conf->name));
    if (json_object_size(given) > 0)
        json_object_set(request, "runtimeConfig", given);
    if (prev_result)
        json_object_set(request, "prevResult", (json_t *)prev_result);
    if (valid_attachments) { /* plugins in use read one key or the other */
        json_object_set(request, "cni.dev/valid-attachments", (json_t *)valid_attachments);
        json_object_set(request, "cni.dev/attachments", (json_t *)valid_attachments);
    }
    return json_dumps(request, JSON_COMPACT);
}

/* ---- Files ----------------------------------------------------------------------------------- */

int cni_attachment_write(int dirfd, const struct cni_attachment *a, struct err *e)
{
    _cleanup_json_ json_t *value = json_pack(
        "{s:i, s:s, s:s, s:I, s:s, s:O, s:s, s:O, s:O*, s:b}", "format", FORMAT, "id", a->id,
        "netns", a->netns, "netnsInode", (json_int_t)a->netns_inode, "args", a->args,
        "runtimeConfig", a->runtime, "version", cni_version_text[a->conf->version], "network",
        a->conf->list, "result", a->result, "deleting", a->deleting);
    _cleanup_free_ char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    _cleanup_free_ char *name = xasprintf("%s%s", a->id, suffix);

    if (!text)
        return err_set(e, ERR_INTERNAL, "%s cannot be written as JSON", name);
    return file_write_atomic(dirfd, name, text, strlen(text), 0600, false, e);
}

int cni_attachment_unlink(int dirfd, const struct cni_attachment *a, struct err *e)
{
    _cleanup_free_ char *name = xasprintf("%s%s", a->id, suffix);

    if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove %s", name);
    return 0;
}

static int parse(json_t *value, const char *name, struct cni_attachment *a, struct err *e)
{
    const char *id = NULL, *netns = NULL, *args = NULL, *version = NULL;
    json_t *runtime = NULL, *network = NULL, *result = NULL;
    int format = 0, deleting = 0;
    json_int_t inode = 0;

    if (json_unpack(value, "{s:i, s:s, s:s, s:I, s:s, s:o, s:s, s:o, s?o, s:b}", "format", &format,
                    "id", &id, "netns", &netns, "netnsInode", &inode, "args", &args,
                    "runtimeConfig", &runtime, "version", &version, "network", &network, "result",
                    &result, "deleting", &deleting) < 0 ||
        format != FORMAT || !json_is_object(runtime) || (result && !json_is_object(result)))
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: it is no record of an attachment", name);
    if (cni_conf_from_json(network, name, &a->conf, e) < 0)
        return -1;
    /* As it was, whatever this podd would choose. */
    if (cni_version_parse(version, &a->conf->version) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s: version: it is not spoken here", name);
    a->id = xstrdup(id);
    a->netns = xstrdup(netns);
    a->netns_inode = (uint64_t)inode;
    a->args = xstrdup(args);
    a->runtime = json_incref(runtime);
    a->result = json_incref(result);
    a->deleting = deleting;
    return 0;
}

int cni_attachment_parse(const void *data, size_t len, const char *name,
                         struct cni_attachment **ret, struct err *e)
{
    json_error_t where;
    _cleanup_json_ json_t *value = json_loadb(data, len, 0, &where);

    if (!value)
        return err_set(e, ERR_INVALID_ARGUMENT, "%s:%d: it is no JSON", name, where.line);
    struct cni_attachment *a = xnew(struct cni_attachment);
    if (parse(value, name, a, e) < 0) {
        cni_attachment_free(a);
        return -1;
    }
    *ret = a;
    return 0;
}

static int load_one(int dirfd, const char *name, struct cni_attachment **ret, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};

    if (file_read(dirfd, name, FILE_MAX, &text, e) < 0 ||
        cni_attachment_parse(text.data, text.len, name, ret, e) < 0)
        return -1;
    _cleanup_free_ char *wanted = xasprintf("%s%s", (*ret)->id, suffix);
    if (str_equal(wanted, name))
        return 0;
    cni_attachment_free(take_ptr(*ret));
    return err_set(e, ERR_INVALID_ARGUMENT, "%s: it is about another sandbox", name);
}

static void set_aside(int dirfd, const char *name, const struct err *why)
{
    _cleanup_free_ char *aside = xasprintf("%s.broken", name);

    log_warn("net", NULL, "record of a CNI attachment: %s; it is set aside as %s", err_text(why),
             aside);
    if (renameat(dirfd, name, dirfd, aside) < 0)
        log_warn("net", NULL, "rename %s: %m", name);
}

int cni_attachments_load(int dirfd, void (*fn)(void *arg, struct cni_attachment *a_take), void *arg,
                         struct err *e)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir) {
        err_errno(e, errno, "read the records of CNI attachments");
        fd_close(fd);
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        _cleanup_err_ struct err why = ERR_INIT;
        struct cni_attachment *a;
        if (entry->d_name[0] == '.' || !str_ends_with(entry->d_name, suffix))
            continue;
        if (load_one(dirfd, entry->d_name, &a, &why) < 0)
            set_aside(dirfd, entry->d_name, &why);
        else
            fn(arg, a);
    }
    closedir(dir);
    return 0;
}
