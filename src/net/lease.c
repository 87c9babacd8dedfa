/*
 * lease.c - who has which address: pools in memory, leases as files.
 *
 * A lease is the file <state>/net/leases/<address>, created exclusively before the address is used
 * and holding the sandbox id; removing the file ends it. The pools' bitmaps are only an index of
 * these files and are rebuilt from them at start. A crash between the two system calls of a lease
 * leaves an empty file, which belongs to nobody and is removed at the next start; one after them
 * leaves a lease whose sandbox nobody knows, which reconciling frees.
 *
 * The file `cursors` remembers which address each pool gave last, so that a restart does not make
 * addresses come round early. It has fixed-width lines and is rewritten in place: it is a hint, so
 * that failing to write it is only a warning.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lease.h"

enum {
    ID_MAX = 255,
    CURSOR_LINE = IP_TEXT_SIZE + 4 + 12, /* CIDR, blank, offset, newline */
};

static void holder_free(struct holder *h)
{
    if (!h)
        return;
    free(h->id);
    free(h->addresses);
    free(h);
}

static void holder_freep(struct holder **h)
{
    holder_free(*h);
}

static struct holder *holder_ensure(struct ipam *i, const char *id)
{
    struct holder *h = map_get(i->holders, id);

    if (!h) {
        h = xnew(struct holder);
        h->id = xstrdup(id);
        map_put(i->holders, id, h);
    }
    return h;
}

static void holder_add(struct holder *h, const struct ip *ip)
{
    struct ip *slot = array_push(&h->addresses, &h->count, sizeof(*h->addresses));

    *slot = *ip;
}

static void mark_address(struct ipam *i, const struct ip *ip)
{
    for (size_t p = 0; p < i->n_pools; p++)
        (void)pool_mark(&i->pools[p], ip);
}

static void clear_address(struct ipam *i, const struct ip *ip)
{
    for (size_t p = 0; p < i->n_pools; p++)
        (void)pool_clear(&i->pools[p], ip);
}

/* ---- Reading back --------------------------------------------------------------------------- */

static bool id_is_sound(const struct bytes *content)
{
    if (content->len == 0 || content->len > ID_MAX)
        return false;
    for (size_t k = 0; k < content->len; k++) {
        if (content->data[k] <= ' ' || content->data[k] > '~')
            return false;
    }
    return true;
}

/* Whatever cannot be a lease goes, and is told: an empty file is the trace of a crash. */
static int read_lease(struct ipam *i, const char *name, struct err *e)
{
    _cleanup_bytes_ struct bytes content = {0};
    _cleanup_err_ struct err why = ERR_INIT;
    struct ip ip;

    bool sound = ip_parse(name, &ip) == 0 &&
                 file_read(i->dir, name, ID_MAX + 1, &content, &why) == 0 && id_is_sound(&content);
    if (sound) {
        holder_add(holder_ensure(i, (const char *)content.data), &ip);
        mark_address(i, &ip);
        return 0;
    }
    log_warn("net", name, "removing an address lease that names no sandbox");
    return tree_remove(i->dir, name, e);
}

static void dir_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int read_leases(struct ipam *i, struct err *e)
{
    _cleanup_strv_ char **names = NULL;
    CLEANUP(dir_closep) DIR *d = NULL;

    int fd = openat(i->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !(d = fdopendir(fd))) {
        int saved = errno;
        fd_close(fd);
        return err_errno(e, saved, "read the address leases");
    }
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] != '.')
            strv_push(&names, entry->d_name);
    }
    for (size_t k = 0; k < strv_len(names); k++) {
        if (read_lease(i, names[k], e) < 0)
            return -1;
    }
    return 0;
}

int ipam_open(struct ipam *i, int state_fd, struct err *e)
{
    *i = (struct ipam){.dir = -1, .cursors = -1};
    i->holders = map_new();
    if (mkdirat(state_fd, "leases", 0700) < 0 && errno != EEXIST)
        return err_errno(e, errno, "create the directory of address leases");
    i->dir = openat(state_fd, "leases", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (i->dir < 0)
        return err_errno(e, errno, "open the directory of address leases");
    i->cursors = openat(state_fd, "cursors", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (i->cursors < 0)
        return err_errno(e, errno, "open the file of pool cursors");
    return read_leases(i, e);
}

void ipam_close(struct ipam *i)
{
    size_t cursor = 0;
    const char *id;
    void *h;

    if (!i->holders)
        return;
    while (map_next(i->holders, &cursor, &id, &h))
        holder_free(h);
    map_free(i->holders);
    for (size_t p = 0; p < i->n_pools; p++)
        pool_deinit(&i->pools[p]);
    fd_close(i->dir);
    fd_close(i->cursors);
    *i = (struct ipam){.dir = -1, .cursors = -1};
}

/* ---- Pools ---------------------------------------------------------------------------------- */

static void restore_cursors(struct ipam *i)
{
    char text[CURSOR_LINE * NET_POOLS_MAX + 1], cidr[IP_TEXT_SIZE + 4];

    ssize_t len = pread(i->cursors, text, sizeof(text) - 1, 0);
    if (len <= 0)
        return;
    text[len] = '\0';
    for (size_t p = 0; p < i->n_pools; p++) {
        struct pool *pool = &i->pools[p];
        cidr_format(&pool->cidr, cidr);
        for (char *line = text; line + CURSOR_LINE <= text + len; line += CURSOR_LINE) {
            char name[IP_TEXT_SIZE + 4];
            unsigned offset;
            if (sscanf(line, "%49s %u", name, &offset) == 2 && str_equal(name, cidr) &&
                offset < pool->end)
                pool->cursor = offset;
        }
    }
}

static void store_cursors(struct ipam *i)
{
    char text[CURSOR_LINE * NET_POOLS_MAX + 1], cidr[IP_TEXT_SIZE + 4];

    for (size_t p = 0; p < i->n_pools; p++) {
        cidr_format(&i->pools[p].cidr, cidr);
        snprintf(text + p * CURSOR_LINE, CURSOR_LINE + 1, "%-50s %10u\n", cidr, i->pools[p].cursor);
    }
    size_t len = i->n_pools * CURSOR_LINE;
    if (pwrite(i->cursors, text, len, 0) != (ssize_t)len)
        log_warn("net", "cursors",
                 "cannot be written; addresses may be reused early after a "
                 "restart");
}

static int check_pools(const struct cidr *cidrs, size_t count, struct err *e)
{
    char a[IP_TEXT_SIZE + 4], b[IP_TEXT_SIZE + 4];

    if (count == 0 || count > NET_POOLS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "1 to %d address pools are needed, not %zu",
                       NET_POOLS_MAX, count);
    for (size_t k = 0; k < count; k++) {
        for (size_t m = 0; m < k; m++) {
            if (!cidr_overlaps(&cidrs[k], &cidrs[m]))
                continue;
            cidr_format(&cidrs[m], a);
            cidr_format(&cidrs[k], b);
            return err_set(e, ERR_INVALID_ARGUMENT, "pools %s and %s overlap", a, b);
        }
    }
    return 0;
}

int ipam_set_pools(struct ipam *i, const struct cidr *cidrs, size_t count, struct err *e)
{
    struct pool pools[NET_POOLS_MAX] = {0};
    size_t cursor = 0;
    const char *id;
    void *value;

    if (check_pools(cidrs, count, e) < 0)
        return -1;
    for (size_t p = 0; p < count; p++) {
        if (pool_init(&pools[p], &cidrs[p], e) < 0) {
            while (p-- > 0)
                pool_deinit(&pools[p]);
            return -1;
        }
    }
    for (size_t p = 0; p < i->n_pools; p++)
        pool_deinit(&i->pools[p]);
    memcpy(i->pools, pools, sizeof(pools));
    i->n_pools = count;
    while (map_next(i->holders, &cursor, &id, &value)) {
        const struct holder *h = value;
        for (size_t k = 0; k < h->count; k++)
            mark_address(i, &h->addresses[k]);
    }
    restore_cursors(i);
    return 0;
}

/* ---- Leasing -------------------------------------------------------------------------------- */

/* 0, 1 when somebody else's file is there, or -errno. */
static int write_lease(struct ipam *i, const struct ip *ip, const char *id)
{
    char name[IP_TEXT_SIZE];

    ip_format(ip, name);
    _cleanup_close_ int fd =
        openat(i->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? 1 : -errno;
    int r = fd_write_all(fd, id, strlen(id));
    if (r < 0)
        unlinkat(i->dir, name, 0);
    return r;
}

static int lease_from(struct ipam *i, struct pool *pool, const char *id, struct ip *ret,
                      struct err *e)
{
    char cidr[IP_TEXT_SIZE + 4], name[IP_TEXT_SIZE];
    struct ip ip;

    cidr_format(&pool->cidr, cidr);
    while (pool_take(pool, &ip)) {
        int r = write_lease(i, &ip, id);
        if (r == 0) {
            *ret = ip;
            return 0;
        }
        ip_format(&ip, name);
        if (r < 0) {
            (void)pool_clear(pool, &ip);
            return err_errno(e, r, "write the lease of address %s", name);
        }
        /* It stays marked: whoever wrote it, we do not give it a second time. */
        log_warn("net", name, "the address has a lease that is not ours; skipping it");
    }
    return err_set(e, ERR_RESOURCE_EXHAUSTED, "no free address in pool %s: all %u are in use", cidr,
                   pool->end - POOL_FIRST);
}

static int remove_lease(struct ipam *i, const struct ip *ip, struct err *e)
{
    char name[IP_TEXT_SIZE];

    ip_format(ip, name);
    if (unlinkat(i->dir, name, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove the lease of address %s", name);
    clear_address(i, ip);
    return 0;
}

int ipam_lease(struct ipam *i, const char *id, const struct holder **ret, struct err *e)
{
    CLEANUP(holder_freep) struct holder *h = xnew(struct holder);

    if (map_get(i->holders, id))
        return err_set(e, ERR_ALREADY_EXISTS, "sandbox %s has addresses already", id);
    h->id = xstrdup(id);
    for (size_t p = 0; p < i->n_pools; p++) {
        struct ip ip;
        if (lease_from(i, &i->pools[p], id, &ip, e) == 0) {
            holder_add(h, &ip);
            continue;
        }
        for (size_t k = 0; k < h->count; k++) {
            _cleanup_err_ struct err second = ERR_INIT;
            if (remove_lease(i, &h->addresses[k], &second) < 0)
                log_warn("net", id, "%s", err_text(&second));
        }
        return -1;
    }
    *ret = h;
    map_put(i->holders, id, take_ptr(h));
    store_cursors(i);
    return 0;
}

int ipam_release(struct ipam *i, const char *id, struct err *e)
{
    struct holder *h = map_get(i->holders, id);

    if (!h)
        return 0;
    /* From the end, so that a failure leaves the rest in the index, to be tried again. */
    while (h->count > 0) {
        if (remove_lease(i, &h->addresses[h->count - 1], e) < 0)
            return -1;
        h->count--;
    }
    map_remove(i->holders, id);
    holder_free(h);
    return 0;
}

const struct holder *ipam_find(const struct ipam *i, const char *id)
{
    return map_get(i->holders, id);
}

bool ipam_is_leased(const struct ipam *i, const struct ip *ip)
{
    for (size_t p = 0; p < i->n_pools; p++) {
        if (pool_is_marked(&i->pools[p], ip))
            return true;
    }
    return false;
}

bool ipam_uses(const struct ipam *i, const struct cidr *cidr)
{
    size_t cursor = 0;
    const char *id;
    void *value;

    while (map_next(i->holders, &cursor, &id, &value)) {
        const struct holder *h = value;
        for (size_t k = 0; k < h->count; k++) {
            if (cidr_contains(cidr, &h->addresses[k]))
                return true;
        }
    }
    return false;
}
