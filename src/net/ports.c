/*
 * ports.c - which published ports of the node belong to which sandbox, and as files.
 *
 * The kernel's maps say where a port leads, but not whose it is, and anybody may flush them. So
 * what a sandbox publishes is written to <state>/net/ports/<sandbox id> before it is put into the
 * maps, and removed after it was taken out; the maps can be made anew from the files at any time.
 * A line is `protocol host-address host-port pod-address pod-port`.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ports.h"

enum { FILE_MAX = 1024 * 1024 };

static void published_free(struct published *p)
{
    if (!p)
        return;
    free(p->id);
    free(p->ports);
    free(p);
}

/* ---- Names ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int protocol, type;
} protocols[] = {
    {"tcp", IPPROTO_TCP, SOCK_STREAM},
    {"udp", IPPROTO_UDP, SOCK_DGRAM},
    {"sctp", IPPROTO_SCTP, SOCK_STREAM},
};

static const char *protocol_name(int protocol)
{
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        if (protocols[i].protocol == protocol)
            return protocols[i].name;
    }
    return NULL;
}

static int protocol_parse(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        if (str_equal(protocols[i].name, name))
            return protocols[i].protocol;
    }
    return -EINVAL;
}

/* "tcp 10.0.0.1:8080", for people. */
static void describe(const struct rules_port *port, char *ret, size_t size)
{
    char host[IP_TEXT_SIZE];

    ip_format(&port->host, host);
    snprintf(ret, size, port->host.family == AF_INET6 ? "%s [%s]:%u" : "%s %s:%u",
             protocol_name(port->protocol), host, port->host_port);
}

void ports_format(const struct rules_port *port, struct strbuf *to)
{
    char host[IP_TEXT_SIZE], pod[IP_TEXT_SIZE];

    ip_format(&port->host, host);
    ip_format(&port->pod, pod);
    strbuf_addf(to, "%s %s %u %s %u\n", protocol_name(port->protocol), host, port->host_port, pod,
                port->pod_port);
}

int ports_parse(const char *line, struct rules_port *ret)
{
    char protocol[8], host[IP_TEXT_SIZE], pod[IP_TEXT_SIZE];
    unsigned host_port, pod_port;
    struct rules_port port = {0};

    if (sscanf(line, "%7s %45s %5u %45s %5u", protocol, host, &host_port, pod, &pod_port) != 5)
        return -EINVAL;
    port.protocol = protocol_parse(protocol);
    if (port.protocol < 0 || host_port == 0 || host_port > UINT16_MAX || pod_port == 0 ||
        pod_port > UINT16_MAX || ip_parse(host, &port.host) < 0 || ip_parse(pod, &port.pod) < 0 ||
        port.host.family != port.pod.family)
        return -EINVAL;
    port.host_port = (uint16_t)host_port;
    port.pod_port = (uint16_t)pod_port;
    *ret = port;
    return 0;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static struct published *published_new(const char *id)
{
    struct published *p = xnew(struct published);

    p->id = xstrdup(id);
    return p;
}

static int parse_file(char *text, struct published *p)
{
    for (char *line; (line = strsep(&text, "\n"));) {
        struct rules_port port;
        if (*line == '\0')
            continue;
        if (ports_parse(line, &port) < 0)
            return -EINVAL;
        struct rules_port *slot = array_push(&p->ports, &p->count, sizeof(*slot));
        *slot = port;
    }
    return 0;
}

static int read_file(struct ports *p, const char *name, struct err *e)
{
    _cleanup_bytes_ struct bytes content = {0};
    struct published *published = published_new(name);

    if (file_read(p->dir, name, FILE_MAX, &content, e) == 0) {
        if (parse_file((char *)content.data, published) == 0) {
            map_put(p->by_id, name, published);
            return 0;
        }
        err_set(e, ERR_DATA_LOSS, "it is not a list of published ports");
    }
    published_free(published);
    return -1;
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int read_files(struct ports *p, struct err *e)
{
    _cleanup_strv_ char **names = NULL;
    CLEANUP(dir_closep) DIR *d = NULL;

    int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !(d = fdopendir(fd))) {
        int saved = errno;
        fd_close(fd);
        return err_errno(e, saved, "read the published ports");
    }
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] != '.')
            strv_push(&names, entry->d_name);
    }
    for (size_t i = 0; i < strv_len(names); i++) {
        _cleanup_err_ struct err why = ERR_INIT;
        if (read_file(p, names[i], &why) == 0)
            continue;
        log_warn("net", names[i], "removing the file of published ports: %s", err_text(&why));
        if (tree_remove(p->dir, names[i], e) < 0)
            return -1;
    }
    return 0;
}

int ports_open(struct ports *p, int state_fd, struct err *e)
{
    *p = (struct ports){.dir = -1, .by_id = map_new()};
    if (mkdirat(state_fd, "ports", 0700) < 0 && errno != EEXIST)
        return err_errno(e, errno, "create the directory of published ports");
    p->dir = openat(state_fd, "ports", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p->dir < 0)
        return err_errno(e, errno, "open the directory of published ports");
    return read_files(p, e);
}

void ports_close(struct ports *p)
{
    size_t cursor = 0;
    const char *id;
    void *value;

    if (!p->by_id)
        return;
    while (map_next(p->by_id, &cursor, &id, &value))
        published_free(value);
    map_free(p->by_id);
    fd_close(p->dir);
    *p = (struct ports){.dir = -1};
}

int ports_add(struct ports *p, const char *id, const struct rules_port *ports, size_t count,
              struct err *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};

    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        ports_format(&ports[i], &text);
    if (file_write_atomic(p->dir, id, text.data, text.len, 0600, false, e) < 0)
        return err_wrap(e, "write down the published ports");
    struct published *published = published_new(id);
    published->ports = xmemdup(ports, count * sizeof(*ports));
    published->count = count;
    published_free(map_put(p->by_id, id, published));
    return 0;
}

int ports_remove(struct ports *p, const char *id, struct err *e)
{
    if (!map_get(p->by_id, id))
        return 0;
    if (unlinkat(p->dir, id, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove the file of published ports");
    published_free(map_remove(p->by_id, id));
    return 0;
}

const struct published *ports_find(const struct ports *p, const char *id)
{
    return map_get(p->by_id, id);
}

void ports_all(const struct ports *p, struct rules_port **ret, size_t *ret_count)
{
    size_t cursor = 0, count = 0;
    struct rules_port *all = NULL;
    const char *id;
    void *value;

    while (map_next(p->by_id, &cursor, &id, &value)) {
        const struct published *published = value;
        for (size_t i = 0; i < published->count; i++) {
            struct rules_port *slot = array_push(&all, &count, sizeof(*slot));
            *slot = published->ports[i];
        }
    }
    *ret = all;
    *ret_count = count;
}

/* ---- Requests ------------------------------------------------------------------------------- */

static int check_request(const struct net_port *port, struct ip *host, struct err *e)
{
    if (!protocol_name(port->protocol))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "published port %u: protocol %d is none of TCP, UDP and SCTP",
                       port->host_port, port->protocol);
    if (port->container_port == 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "published port %u: it has no container port",
                       port->host_port);
    *host = (struct ip){0};
    if (!str_empty(port->host_ip) && ip_parse(port->host_ip, host) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "published port %u: host address %.100s is not an IP address",
                       port->host_port, port->host_ip);
    return 0;
}

/* One entry per family that both the pod and the host address have; the pod's first address. */
static size_t add_families(const struct net_port *port, const struct ip *host,
                           const struct holder *pod, struct rules_port **all, size_t *count)
{
    bool seen[2] = {false, false};
    size_t added = 0;

    for (size_t i = 0; i < pod->count; i++) {
        const struct ip *ip = &pod->addresses[i];
        bool *done = &seen[ip->family == AF_INET6];
        if (*done || (host->family != 0 && host->family != ip->family))
            continue;
        *done = true;
        struct rules_port *slot = array_push(all, count, sizeof(*slot));
        *slot = (struct rules_port){.protocol = port->protocol,
                                    .host = host->family ? *host : (struct ip){ip->family, {0}},
                                    .host_port = port->host_port,
                                    .pod = *ip,
                                    .pod_port = port->container_port};
        added++;
    }
    return added;
}

int ports_resolve(const struct net_port *ports, size_t n_ports, const struct holder *pod,
                  struct rules_port **ret, size_t *ret_count, struct err *e)
{
    _cleanup_free_ struct rules_port *all = NULL;
    size_t count = 0;
    struct ip host;

    for (size_t i = 0; i < n_ports; i++) {
        if (ports[i].host_port == 0)
            continue;
        if (check_request(&ports[i], &host, e) < 0)
            return -1;
        if (add_families(&ports[i], &host, pod, &all, &count) == 0)
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "published port %u: the pod has no address of the family of %s",
                           ports[i].host_port, ports[i].host_ip);
    }
    *ret = take_ptr(all);
    *ret_count = count;
    return 0;
}

static bool conflict(const struct rules_port *a, const struct rules_port *b)
{
    return a->protocol == b->protocol && a->host_port == b->host_port &&
           a->host.family == b->host.family &&
           (ip_is_zero(&a->host) || ip_is_zero(&b->host) || ip_equal(&a->host, &b->host));
}

static socklen_t socket_address(const struct rules_port *port, struct sockaddr_storage *ret)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    struct sockaddr_in *in = (struct sockaddr_in *)ret;

    *ret = (struct sockaddr_storage){.ss_family = (sa_family_t)port->host.family};
    if (port->host.family == AF_INET) {
        in->sin_port = htons(port->host_port);
        memcpy(&in->sin_addr, port->host.bytes, 4);
        return sizeof(*in);
    }
    in6->sin6_port = htons(port->host_port);
    memcpy(&in6->sin6_addr, port->host.bytes, 16);
    return sizeof(*in6);
}

/* Whether a process of the node has the port, found out by binding it for a moment. What cannot be
 * bound for another reason (an address that the node does not have yet, a protocol that the kernel
 * lacks) has no listener. */
static bool is_listened_on(const struct rules_port *port)
{
    struct sockaddr_storage address;
    int one = 1, type = SOCK_STREAM;

    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        if (protocols[i].protocol == port->protocol)
            type = protocols[i].type;
    }
    _cleanup_close_ int fd = socket(port->host.family, type | SOCK_CLOEXEC, port->protocol);
    if (fd < 0)
        return false;
    /* With it a TCP port whose last connections linger in TIME_WAIT is free, one with a listener is
     * not. For UDP it would allow sharing. */
    if (type == SOCK_STREAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (port->host.family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    socklen_t len = socket_address(port, &address);
    return bind(fd, (struct sockaddr *)&address, len) < 0 && errno == EADDRINUSE;
}

static int check_port(const struct ports *p, const struct rules_port *port, struct err *e)
{
    char text[80];
    size_t cursor = 0;
    const char *id;
    void *value;

    describe(port, text, sizeof(text));
    while (map_next(p->by_id, &cursor, &id, &value)) {
        const struct published *published = value;
        for (size_t i = 0; i < published->count; i++) {
            if (conflict(port, &published->ports[i]))
                return err_set(e, ERR_FAILED_PRECONDITION,
                               "port %s of the node is published by sandbox %s already", text, id);
        }
    }
    if (is_listened_on(port))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "port %s of the node is in use: a process listens on it", text);
    return 0;
}

int ports_check(const struct ports *p, const struct rules_port *ports, size_t count, struct err *e)
{
    char text[80];

    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (!conflict(&ports[i], &ports[k]))
                continue;
            describe(&ports[i], text, sizeof(text));
            return err_set(e, ERR_INVALID_ARGUMENT, "port %s is asked for twice", text);
        }
        if (check_port(p, &ports[i], e) < 0)
            return -1;
    }
    return 0;
}
