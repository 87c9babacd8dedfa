/*
 * cni.c - CNI mode: opening, closing, and the IP ranges that a master gives.
 *
 *   cni-dir.c         which network there is, by a directory
 *   cni-conf.c        one configuration
 *   cni-pods.c        who is attached
 *   cni-member.c      the order of ADD, DEL, CHECK and GC
 *   cni-attachment.c  what is kept of one pod, on disk too
 *   cni-status.c      whether pods can be attached
 *   cni-chain.c       one command to all plugins
 *   cni-run.c         one program
 *   cni-result.c      what it printed
 *   cni-orphans.c     programs of a podd that was killed
 *
 * podd itself makes nothing in the kernel in this mode, but for the pod's namespace, which belongs
 * to its shim, and which a plugin gets as /proc/<shim>/ns/net: a path that is the same after a
 * restart of podd and is gone with the pod. There is no bind mount that could be left behind.
 */
#include <fcntl.h>
#include <sys/file.h>

#include "addr.h"
#include "cni-room.h"

static const char ranges_file[] = "ip-ranges";
enum { RANGES_MAX = 4096 };

/* ---- IP ranges ------------------------------------------------------------------------------- */

static int make_ranges(const char *const *pools, size_t count, json_t **ret, struct err *e)
{
    _cleanup_json_ json_t *ranges = json_array();
    struct cidr cidr;

    if (count > NET_POOLS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "there are more than %d IP ranges", NET_POOLS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (cidr_parse(pools[i], &cidr, e) < 0)
            return -1;
        json_array_append_new(ranges, json_pack("[{s:s}]", "subnet", pools[i]));
    }
    *ret = take_ptr(ranges);
    return 0;
}

static int write_ranges(struct cni *c, const json_t *ranges, struct err *e)
{
    _cleanup_free_ char *text = json_dumps(ranges, JSON_COMPACT);

    return file_write_atomic(c->cache_fd, ranges_file, text, strlen(text), 0600, false, e);
}

/* A kubelet tells once, and does not know when podd starts again. */
static void read_ranges(struct cni *c)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_bytes_ struct bytes text = {0};

    if (faccessat(c->cache_fd, ranges_file, F_OK, 0) < 0)
        return;
    if (file_read(c->cache_fd, ranges_file, RANGES_MAX, &text, &e) == 0)
        c->ranges = json_loadb((const char *)text.data, text.len, 0, NULL);
    if (!json_is_array(c->ranges)) {
        log_warn("net", NULL, "%s/%s is unreadable, and not heeded", c->cache_dir, ranges_file);
        json_decref(take_ptr(c->ranges));
    }
}

struct answer {
    net_done_fn *fn;
    void *arg;
    struct err e;
};

static void answer_now(void *arg)
{
    struct answer *a = arg;

    a->fn(a->arg, &a->e);
    err_clear(&a->e);
    free(a);
}

void cni_set_pools(struct cni *c, const char *const *pools, size_t count, net_done_fn *fn,
                   void *arg)
{
    struct answer *a = xnew(struct answer);
    json_t *ranges = NULL;

    *a = (struct answer){.fn = fn, .arg = arg};
    if (make_ranges(pools, count, &ranges, &a->e) == 0) {
        if (!json_equal(ranges, c->ranges))
            (void)!write_ranges(c, ranges, &a->e);
        json_decref(c->ranges);
        c->ranges = ranges;
    }
    loop_post(c->host.loop, answer_now, a);
}

/* ---- Opening, closing ------------------------------------------------------------------------ */

static void on_dir_changed(void *arg)
{
    struct cni *c = arg;

    cni_status_renew(c);
    cni_pump(c);
}

static int open_cache(struct cni *c, struct err *e)
{
    if (dir_ensure(c->cache_dir, 0700, e) < 0)
        return -1;
    c->cache_fd = open(c->cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->cache_fd < 0)
        return err_errno(e, errno, "open %s", c->cache_dir);
    c->lock_fd = openat(c->cache_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (c->lock_fd < 0)
        return err_errno(e, errno, "open %s/lock", c->cache_dir);
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "%s is in use by another podd", c->cache_dir);
    if (cni_attachments_load(c->cache_fd, cni_pods_add, c, e) < 0)
        return -1;
    cni_pods_settle(c);
    return 0;
}

int cni_open(struct loop *loop, const struct net_cni_config *config, struct cni **ret,
             struct err *e)
{
    struct cni *c = xnew(struct cni);

    c->host = (struct cni_host){.loop = loop,
                                .plugin_dirs =
                                    strv_dup(config->plugin_dirs, strv_len(config->plugin_dirs)),
                                .timeout_ms = config->timeout_ms};
    c->cache_dir = xstrdup(config->cache_dir);
    c->cache_fd = c->lock_fd = -1;
    cni_pods_open(c);
    if (open_cache(c, e) < 0) {
        cni_close(c);
        return -1;
    }
    read_ranges(c);
    c->dir = cni_dir_open(loop, config->config_dir, on_dir_changed, c);
    cni_status_renew(c);
    *ret = c;
    return 0;
}

void cni_close(struct cni *c)
{
    if (!c)
        return;
    cni_status_close(c);
    cni_pods_close(c);
    cni_dir_close(c->dir);
    json_decref(c->ranges);
    fd_close(c->lock_fd);
    fd_close(c->cache_fd);
    strv_free(c->host.plugin_dirs);
    free(c->cache_dir);
    free(c->warning);
    free(c);
}

/* Records of pods that plugins could not clean up stay: the next start tries again. */
int cni_destroy(struct cni *c, struct err *e)
{
    if (map_count(c->members) > 0)
        log_warn("net", NULL,
                 "the CNI plugins have not cleaned up after %zu pods; their records stay "
                 "in %s",
                 map_count(c->members), c->cache_dir);
    json_decref(take_ptr(c->ranges));
    if (unlinkat(c->cache_fd, ranges_file, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove %s/%s", c->cache_dir, ranges_file);
    return 0;
}
