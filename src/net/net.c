/*
 * net.c - the room as a whole: opening, closing, reconciling, changing pools.
 *
 * At start everything that has a name is compared with the files below <state>/net, which are the
 * truth: the bridge and its addresses are made or adopted, the nf_tables table is made anew in one
 * transaction, so that no packet sees half of it, and once the caller knows which sandboxes live,
 * leases, published ports and links of all others are given back.
 *
 * Pools that a master gave (net_set_pools) are in the file `pools`: a kubelet tells the pod CIDR
 * once, and does not know when podd starts again. Until a reboot they count instead of the
 * configuration's.
 *
 * In CNI mode all calls are handed on to cni.c. Nothing of the rest is there then.
 *
 * One podd per state directory, by a lock on it, and one per bridge, by the bridge's alias.
 */
#include <fcntl.h>
#include <sys/file.h>

#include "cni.h"
#include "conntrack.h"
#include "room.h"

static const char pools_file[] = "pools";
enum { POOLS_FILE_MAX = 4096 };

/* ---- Opening --------------------------------------------------------------------------------- */

/* The name goes into the table's name and into paths below /proc/sys. */
static int check_bridge_name(const char *name, struct err *e)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (str_empty(name) || strlen(name) >= IFNAMSIZ || strspn(name, allowed) != strlen(name) ||
        name[0] == '-')
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "bridge name %.50s: 1 to %d letters, digits, '_' and '-' are allowed",
                       name ? name : "", IFNAMSIZ - 1);
    return 0;
}

static int parse_pools(const char *const *texts, size_t count, struct cidr *ret, struct err *e)
{
    if (count == 0 || count > NET_POOLS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "1 to %d address pools are needed, not %zu",
                       NET_POOLS_MAX, count);
    for (size_t i = 0; i < count; i++) {
        if (cidr_parse(texts[i], &ret[i], e) < 0)
            return err_wrap(e, "address pool");
    }
    return 0;
}

static int open_state(struct net *n, struct err *e)
{
    if (dir_ensure(n->state_dir, 0700, e) < 0)
        return -1;
    n->state_fd = open(n->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n->state_fd < 0)
        return err_errno(e, errno, "open %s", n->state_dir);
    n->lock_fd = openat(n->state_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (n->lock_fd < 0)
        return err_errno(e, errno, "open %s/lock", n->state_dir);
    if (flock(n->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_FAILED_PRECONDITION, "%s is in use by another podd", n->state_dir);
    return 0;
}

/* With `state`. The pools first in memory, then in the kernel. */
static int apply_pools(struct net *n, const struct cidr *pools, size_t count, struct err *e)
{
    _cleanup_free_ struct rules_port *ports = NULL;
    size_t n_ports;

    if (node_setup(n, pools, count, e) < 0)
        return -1;
    ports_all(&n->ports, &ports, &n_ports);
    return rules_sync(&n->rules, &n->nft, ports, n_ports, e);
}

/* One CIDR a line. */
static int read_given_pools(struct net *n, struct cidr *pools, size_t *count, struct err *e)
{
    _cleanup_bytes_ struct bytes text = {0};
    _cleanup_strv_ char **lines = NULL;
    char *rest;

    if (faccessat(n->state_fd, pools_file, F_OK, 0) < 0)
        return 0;
    if (file_read(n->state_fd, pools_file, POOLS_FILE_MAX, &text, e) < 0)
        return -1;
    rest = (char *)text.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (*line)
            strv_push(&lines, line);
    }
    if (parse_pools((const char *const *)lines, strv_len(lines), pools, e) < 0)
        return err_wrap(e, "%s/%s (remove it to use the configured pools)", n->state_dir,
                        pools_file);
    *count = strv_len(lines);
    log_info("net", n->bridge, "using the pools that a master gave (%s/%s)", n->state_dir,
             pools_file);
    return 0;
}

static int write_given_pools(struct net *n, const struct cidr *pools, size_t count, struct err *e)
{
    _cleanup_strbuf_ struct strbuf text = {0};

    for (size_t i = 0; i < count; i++) {
        char line[IP_TEXT_SIZE + 4];
        cidr_format(&pools[i], line);
        strbuf_addf(&text, "%s\n", line);
    }
    return file_write_atomic(n->state_fd, pools_file, text.data, text.len, 0600, false, e);
}

static int start(struct net *n, const struct net_config *config, struct err *e)
{
    struct cidr pools[NET_POOLS_MAX];
    size_t n_pools = config->n_pools;

    if (check_bridge_name(config->bridge, e) < 0 ||
        parse_pools(config->pools, n_pools, pools, e) < 0 || open_state(n, e) < 0 ||
        read_given_pools(n, pools, &n_pools, e) < 0)
        return -1;
    rules_init(&n->rules, config->bridge);
    memcpy(n->bridge, config->bridge, strlen(config->bridge) + 1);
    if (ipam_open(&n->ipam, n->state_fd, e) < 0 ||
        ipam_set_pools(&n->ipam, pools, n_pools, e) < 0 ||
        ports_open(&n->ports, n->state_fd, e) < 0)
        return -1;
    if (rtnl_open(&n->rtnl, e) < 0 || nft_open(&n->nft, e) < 0 || nft_open(&n->status_nft, e) < 0)
        return -1;
    if (apply_pools(n, pools, n_pools, e) < 0)
        return -1;
    n->sweep = sweep_new(n);
    if (watch_new(n, &n->watch, e) < 0)
        return -1;
    n->lookout = lookout_new(n);
    return 0;
}

/* Also of a half-opened one. */
static void net_free(struct net *n)
{
    lookout_free(n->lookout);
    watch_free(n->watch);
    sweep_free(n->sweep);
    ipam_close(&n->ipam);
    ports_close(&n->ports);
    rtnl_close(&n->rtnl);
    nft_close(&n->nft);
    nft_close(&n->status_nft);
    queue_deinit(&n->jobs);
    queue_deinit(&n->slow);
    pthread_mutex_destroy(&n->state);
    fd_close(n->lock_fd);
    fd_close(n->state_fd);
    free(n->state_dir);
    free(n);
}

static void free_when_idle(void *arg)
{
    struct net *n = arg;

    if (n->closing && n->jobs.unfinished == 0 && n->slow.unfinished == 0)
        net_free(n);
}

static int open_cni(struct loop *loop, const struct net_config *config, struct net **ret,
                    struct err *e)
{
    struct cni *cni;

    if (cni_open(loop, config->cni, &cni, e) < 0)
        return -1;
    *ret = xnew(struct net);
    (*ret)->cni = cni;
    return 0;
}

int net_open(struct loop *loop, const struct net_config *config, struct net **ret, struct err *e)
{
    if (config->cni)
        return open_cni(loop, config, ret, e);
    struct net *n = xnew(struct net);

    *n = (struct net){.loop = loop,
                      .state_dir = xstrdup(config->state_dir),
                      .state_fd = -1,
                      .lock_fd = -1,
                      .wanted_mtu = config->mtu,
                      .rtnl.fd = -1};
    pthread_mutex_init(&n->state, NULL);
    queue_init(&n->jobs, loop, free_when_idle, n);
    queue_init(&n->slow, loop, free_when_idle, n);
    if (start(n, config, e) < 0) {
        net_free(n);
        return -1;
    }
    *ret = n;
    return 0;
}

void net_close(struct net *n)
{
    if (!n)
        return;
    if (n->cni) {
        cni_close(n->cni);
        free(n);
        return;
    }
    n->closing = true;
    lookout_free(take_ptr(n->lookout));
    watch_free(take_ptr(n->watch));
    sweep_free(take_ptr(n->sweep));
    free_when_idle(n);
}

/* ---- Reconciling, destroying ----------------------------------------------------------------- */

static struct map *ids_as_map(char *const *ids, size_t count)
{
    static char present;
    struct map *m = map_new();

    for (size_t i = 0; i < count; i++)
        map_put(m, ids[i], &present);
    return m;
}

/* Ids of `owners` (leases or published ports) that are not live. */
static void add_dead(const struct map *owners, const struct map *live, char ***dead)
{
    size_t cursor = 0;
    const char *id;
    void *value;

    while (map_next(owners, &cursor, &id, &value)) {
        if (!map_get(live, id))
            strv_push(dead, id);
    }
}

static void forget_dead(struct net *n, const struct ip *addresses, size_t count)
{
    struct conntrack_filter filter = {.addresses = addresses, .n_addresses = count};
    _cleanup_err_ struct err e = ERR_INIT;
    size_t deleted;

    if (conntrack_flush(&filter, &deleted, &e) < 0 ||
        neighbours_forget(&n->rtnl, n->bridge_index, addresses, count, &e) < 0)
        log_warn("net", NULL, "the kernel still knows addresses of lost sandboxes: %s",
                 err_text(&e));
}

static int release_dead(struct net *n, const struct map *live, size_t *ret_count, struct err *e)
{
    _cleanup_free_ struct ip *addresses = NULL;
    _cleanup_strv_ char **dead = NULL;
    size_t n_addresses = 0;

    add_dead(n->ipam.holders, live, &dead);
    add_dead(n->ports.by_id, live, &dead);
    for (size_t i = 0; i < strv_len(dead); i++) {
        const struct holder *holder = ipam_find(&n->ipam, dead[i]);
        for (size_t k = 0; holder && k < holder->count; k++) {
            struct ip *slot = array_push(&addresses, &n_addresses, sizeof(*slot));
            *slot = holder->addresses[k];
        }
        if (pod_release(n, dead[i], e) < 0)
            return -1;
    }
    forget_dead(n, addresses, n_addresses);
    *ret_count = strv_len(dead);
    return 0;
}

int net_reconcile(struct net *n, char *const *live_sandbox_ids, size_t count, struct err *e)
{
    if (n->cni) {
        cni_reconcile(n->cni, live_sandbox_ids, count);
        return 0;
    }
    struct map *live = ids_as_map(live_sandbox_ids, count);
    size_t released = 0, links = 0;

    pthread_mutex_lock(&n->state);
    int r = release_dead(n, live, &released, e);
    if (r == 0)
        r = node_delete_orphans(n, &links, e);
    pthread_mutex_unlock(&n->state);
    map_free(live);
    if (r == 0 && (released > 0 || links > 0))
        log_info("net", NULL, "gave back the network of %zu lost sandboxes, deleted %zu links",
                 released, links);
    return r;
}

static int remove_files(struct net *n, struct err *e)
{
    static const char *const names[] = {"leases", "ports", "cursors", pools_file};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (tree_remove(n->state_fd, names[i], e) < 0)
            return -1;
    }
    return 0;
}

int net_destroy(struct net *n, struct err *e)
{
    if (n->cni)
        return cni_destroy(n->cni, e);
    watch_free(take_ptr(n->watch)); /* or it would bring the table back */
    pthread_mutex_lock(&n->state);
    int r = rules_remove_table(&n->rules, &n->nft, e);
    if (r == 0)
        r = node_destroy(n, e);
    if (r == 0)
        r = remove_files(n, e);
    pthread_mutex_unlock(&n->state);
    return r;
}

int net_status(struct net *n, struct err *e)
{
    return n->cni ? cni_status(n->cni, e) : node_status(n, e);
}

const char *net_warning(struct net *n)
{
    return n->cni ? cni_warning(n->cni) : lookout_warning(n->lookout);
}

const char *net_warning_reason(struct net *n)
{
    return n->cni ? "CNITrouble" : "ForwardingDropped";
}

/* podd's own links die with the pod's namespace, and the sooner the better. */
void net_hold(struct net *n, const char *sandbox_id, int netns)
{
    if (n->cni && netns >= 0)
        cni_hold(n->cni, sandbox_id, netns);
}

/* ---- Other pools ----------------------------------------------------------------------------- */

struct pools_job {
    struct job job; /* first */
    struct net *net;
    struct cidr pools[NET_POOLS_MAX];
    size_t count;
    net_done_fn *fn;
    void *arg;
    struct err error;
};

static bool pools_equal(const struct ipam *i, const struct cidr *pools, size_t count)
{
    bool equal = i->n_pools == count;

    for (size_t p = 0; equal && p < count; p++)
        equal = ip_equal(&i->pools[p].cidr.base, &pools[p].base) &&
                i->pools[p].cidr.prefix == pools[p].prefix;
    return equal;
}

static int change_pools(struct net *n, const struct pools_job *p, struct err *e)
{
    struct cidr before[NET_POOLS_MAX];
    size_t n_before = n->ipam.n_pools;

    if (pools_equal(&n->ipam, p->pools, p->count))
        return 0;
    for (size_t i = 0; i < n_before; i++)
        before[i] = n->ipam.pools[i].cidr;
    if (ipam_set_pools(&n->ipam, p->pools, p->count, e) < 0)
        return -1;
    if (apply_pools(n, p->pools, p->count, e) == 0 &&
        write_given_pools(n, p->pools, p->count, e) == 0)
        return 0;
    _cleanup_err_ struct err second = ERR_INIT;
    if (ipam_set_pools(&n->ipam, before, n_before, &second) < 0 ||
        apply_pools(n, before, n_before, &second) < 0)
        log_error("net", n->bridge, "cannot return to the pools of before: %s", err_text(&second));
    return -1;
}

static void pools_run(struct job *j)
{
    struct pools_job *p = container_of(j, struct pools_job, job);

    pthread_mutex_lock(&p->net->state);
    if (p->error.code == ERR_OK)
        (void)change_pools(p->net, p, &p->error);
    pthread_mutex_unlock(&p->net->state);
}

static void pools_finish(struct job *j)
{
    struct pools_job *p = container_of(j, struct pools_job, job);

    p->fn(p->arg, &p->error);
    err_clear(&p->error);
    free(p);
}

void net_set_pools(struct net *n, const char *const *pools, size_t count, net_done_fn *fn,
                   void *arg)
{
    if (n->cni) {
        cni_set_pools(n->cni, pools, count, fn, arg);
        return;
    }
    struct pools_job *p = xnew(struct pools_job);

    p->job = (struct job){.run = pools_run, .finish = pools_finish};
    p->net = n;
    p->count = count;
    p->fn = fn;
    p->arg = arg;
    (void)parse_pools(pools, count, p->pools, &p->error);
    queue_push(&n->jobs, &p->job);
}
