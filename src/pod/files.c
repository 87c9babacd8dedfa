/*
 * files.c - resolv.conf, hostname and hosts of a pod.
 *
 * What goes in comes from whoever asked for the pod. Each word is checked before it is written: a
 * newline in a search domain must not become a line of its own. Words are printable ASCII; there is
 * no other kind in DNS.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "files.h"
#include "private.h"

enum { FILE_MAX = 64 << 10, HOSTNAME_LENGTH_MAX = 64 };

int hostname_check(const char *hostname, struct err *e)
{
    size_t good = strspn(hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789.-_");

    if (hostname[good] != '\0')
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "hostname: only letters, digits, '.', '-' and '_' are allowed");
    if (good == 0 || good > HOSTNAME_LENGTH_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "hostname: it must have 1 to %d characters",
                       HOSTNAME_LENGTH_MAX);
    return 0;
}

/* ---- resolv.conf ---------------------------------------------------------------------------- */

static int check_word(const char *what, const char *word, struct err *e)
{
    if (str_empty(word))
        return err_set(e, ERR_INVALID_ARGUMENT, "DNS %s: it is empty", what);
    for (const char *c = word; *c; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "DNS %s: spaces, control and non-ASCII characters are not allowed",
                           what);
    return 0;
}

/* An address, of IPv6 with a zone perhaps: fe80::1%eth0. */
static int check_server(const char *server, struct err *e)
{
    unsigned char address[sizeof(struct in6_addr)];
    char bare[INET6_ADDRSTRLEN] = "";
    size_t len = strcspn(server, "%");

    if (check_word("server", server, e) < 0)
        return -1;
    if (len < sizeof(bare))
        memcpy(bare, server, len);
    if (inet_pton(AF_INET6, bare, address) != 1 && inet_pton(AF_INET, server, address) != 1)
        return err_set(e, ERR_INVALID_ARGUMENT, "DNS server %s: this is no IP address", server);
    return 0;
}

static int add_words(struct strbuf *b, const char *keyword, const char *what, char *const *words,
                     struct err *e)
{
    size_t n = strv_len(words);

    if (n == 0)
        return 0;
    strbuf_adds(b, keyword);
    for (size_t i = 0; i < n; i++) {
        if (check_word(what, words[i], e) < 0)
            return -1;
        strbuf_adds(b, " ");
        strbuf_adds(b, words[i]);
    }
    strbuf_adds(b, "\n");
    return 0;
}

static int add_servers(struct strbuf *b, char *const *servers, struct err *e)
{
    for (size_t i = 0; i < strv_len(servers); i++) {
        if (check_server(servers[i], e) < 0)
            return -1;
        strbuf_adds(b, "nameserver ");
        strbuf_adds(b, servers[i]);
        strbuf_adds(b, "\n");
    }
    return 0;
}

static int make_given(const struct sandbox_config *config, struct strbuf *b, struct err *e)
{
    if (add_words(b, "search", "search domain", config->dns_searches, e) < 0)
        return -1;
    if (add_servers(b, config->dns_servers, e) < 0)
        return -1;
    return add_words(b, "options", "option", config->dns_options, e);
}

/* Does it name servers, all of them on the node's loopback, where a pod cannot reach them? */
static bool only_loopback(const char *text)
{
    bool any = false;

    for (const char *line = text; line && *line;) {
        char word[64];
        if (sscanf(line, "nameserver %63s", word) == 1) {
            if (!str_starts_with(word, "127.") && !str_equal(word, "::1"))
                return false;
            any = true;
        }
        line = strchr(line, '\n');
        if (line)
            line++;
    }
    return any;
}

static int add_node_file(const char *path, struct strbuf *b, struct err *e)
{
    _cleanup_bytes_ struct bytes data = {0};

    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    if (file_read(AT_FDCWD, path, FILE_MAX, &data, e) < 0)
        return -1;
    strbuf_add(b, data.data, data.len);
    return 0;
}

int resolv_conf_make(const struct sandbox_config *config, char *const *servers, struct strbuf *ret,
                     struct err *e)
{
    /* Where systemd-resolved keeps the servers that it asks itself. */
    static const char upstream[] = "/run/systemd/resolve/resolv.conf";

    if (config->dns_given)
        return make_given(config, ret, e);
    if (servers && config->network != NAMESPACE_NODE)
        return add_servers(ret, servers, e);
    if (add_node_file("/etc/resolv.conf", ret, e) < 0)
        return -1;
    if (config->network != NAMESPACE_NODE && ret->data && only_loopback(ret->data) &&
        access(upstream, R_OK) == 0) {
        strbuf_free(ret);
        return add_node_file(upstream, ret, e);
    }
    return 0;
}

/* ---- hosts ---------------------------------------------------------------------------------- */

int hosts_make(const struct sandbox *s, struct strbuf *ret, struct err *e)
{
    if (s->host_network)
        return add_node_file("/etc/hosts", ret, e);
    strbuf_adds(ret, "# Made by podd for this pod.\n"
                     "127.0.0.1\tlocalhost\n"
                     "::1\tlocalhost ip6-localhost ip6-loopback\n"
                     "fe00::0\tip6-localnet\n"
                     "fe00::0\tip6-mcastprefix\n"
                     "fe00::1\tip6-allnodes\n"
                     "fe00::2\tip6-allrouters\n");
    for (size_t i = 0; i < s->addresses.count; i++) {
        strbuf_adds(ret, s->addresses.text[i]);
        strbuf_adds(ret, "\t");
        strbuf_adds(ret, s->hostname); /* hostname_check() has seen it */
        strbuf_adds(ret, "\n");
    }
    return 0;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static uint32_t mapped_root(const struct id_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ranges[i].container_id == 0)
            return ranges[i].host_id;
    return 0;
}

int pod_file_write(const char *dir, const char *name, const struct strbuf *content,
                   const struct sandbox *s, struct err *e)
{
    const struct sandbox_private *priv = s->priv;
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

    if (fd < 0)
        return err_errno(e, errno, "make %s", path);
    int r = fd_write_all(fd, content->data, content->len);
    if (r == 0 && fchmod(fd, 0644) < 0)
        r = -errno;
    if (r == 0 && priv->n_uid_maps > 0 &&
        fchown(fd, mapped_root(priv->uid_maps, priv->n_uid_maps),
               mapped_root(priv->gid_maps, priv->n_gid_maps)) < 0)
        r = -errno;
    if (r < 0)
        return err_errno(e, r, "write %s", path);
    return 0;
}
