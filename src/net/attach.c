/*
 * attach.c - one pod comes, one pod goes: the jobs behind net_attach() and net_detach().
 *
 * Coming: lease, published ports written down, link, rules; a failure undoes what was done in the
 * reverse order. Going: what lets others reach the pod first (its bridge port, its rules), then its
 * files; the link itself dies with the pod's namespace, which the kernel does without anybody
 * waiting, and is only looked after later (sweep.c). Each step may be the last before a crash: the
 * files say what there is, and reconciling does the rest.
 */
#include "cni.h"
#include "room.h"
#include "veth.h"

enum { ID_MAX = 200 };

bool sandbox_id_is_sound(const char *id)
{
    if (str_empty(id) || strlen(id) > ID_MAX || id[0] == '.')
        return false;
    for (const char *p = id; *p; p++) {
        if (*p <= ' ' || *p > '~' || *p == '/')
            return false;
    }
    return true;
}

static void log_second(const char *id, const struct err *e)
{
    log_warn("net", id, "while undoing a failed attach: %s", err_text(e));
}

/* ---- Coming ---------------------------------------------------------------------------------- */

struct attach_job {
    struct job job; /* first */
    struct net *net;
    char *id;
    int netns; /* borrowed */
    struct net_port *ports;
    size_t n_ports;
    struct net_bandwidth bandwidth;
    net_attached_fn *fn;
    void *arg;
    struct net_addresses addresses;
    struct rules_port *published; /* owned: what has become of the ports */
    size_t n_published;
    struct err error;
};

static int write_ports(struct net *n, struct attach_job *a, const struct holder *holder,
                       struct err *e)
{
    if (ports_resolve(a->ports, a->n_ports, holder, &a->published, &a->n_published, e) < 0 ||
        ports_check(&n->ports, a->published, a->n_published, e) < 0)
        return -1;
    return ports_add(&n->ports, a->id, a->published, a->n_published, e);
}

/* A namespace that this sandbox had before may not be gone yet; its link goes. But two sandboxes
 * whose ids begin alike would have links of the same name. */
static int clear_name(struct net *n, const char *id, const char *name, struct err *e)
{
    size_t cursor = 0;
    const char *other;
    void *holder;

    if (rtnl_link_index(&n->rtnl, name) < 0)
        return 0;
    while (map_next(n->ipam.holders, &cursor, &other, &holder)) {
        char its_name[IFNAMSIZ];
        veth_name(other, its_name);
        if (!str_equal(other, id) && str_equal(its_name, name))
            return err_set(e, ERR_ALREADY_EXISTS,
                           "the id begins like that of sandbox %s, which has link %s already",
                           other, name);
    }
    return link_delete(&n->rtnl, name, e);
}

static int make_link(struct net *n, const struct attach_job *a, const struct holder *holder,
                     struct err *e)
{
    char name[IFNAMSIZ];

    veth_name(a->id, name);
    struct veth_spec spec = {.host_name = name,
                             .bridge = n->bridge,
                             .bridge_index = n->bridge_index,
                             .mtu = n->mtu,
                             .netns = a->netns,
                             .pools = n->ipam.pools,
                             .addresses = holder->addresses,
                             .count = holder->count,
                             .bandwidth = a->bandwidth};
    if (clear_name(n, a->id, name, e) < 0)
        return -1;
    return veth_create(&n->rtnl, &spec, e);
}

static void undo_link(struct net *n, const char *id)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char name[IFNAMSIZ];

    veth_name(id, name);
    if (link_delete(&n->rtnl, name, &e) < 0)
        log_second(id, &e);
}

static int attach(struct net *n, struct attach_job *a, struct err *e)
{
    const struct holder *holder;

    if (!sandbox_id_is_sound(a->id))
        return err_set(e, ERR_INVALID_ARGUMENT, "the sandbox id cannot be a file name");
    if (ipam_lease(&n->ipam, a->id, &holder, e) < 0)
        return -1;
    if (write_ports(n, a, holder, e) == 0 && make_link(n, a, holder, e) == 0) {
        if (rules_add_ports(&n->rules, &n->nft, a->published, a->n_published, e) == 0) {
            a->addresses.count = holder->count;
            for (size_t i = 0; i < holder->count; i++)
                ip_format(&holder->addresses[i], a->addresses.text[i]);
            return 0;
        }
        undo_link(n, a->id);
    }
    _cleanup_err_ struct err second = ERR_INIT;
    if (ports_remove(&n->ports, a->id, &second) < 0 || ipam_release(&n->ipam, a->id, &second) < 0)
        log_second(a->id, &second);
    return -1;
}

static void attach_run(struct job *j)
{
    struct attach_job *a = container_of(j, struct attach_job, job);

    pthread_mutex_lock(&a->net->state);
    if (attach(a->net, a, &a->error) < 0)
        err_wrap(&a->error, "network of sandbox %s", a->id);
    pthread_mutex_unlock(&a->net->state);
}

static void attach_finish(struct job *j)
{
    struct attach_job *a = container_of(j, struct attach_job, job);

    bool ok = a->error.code == ERR_OK;

    if (ok)
        sweep_udp_ports(a->net->sweep, a->published, a->n_published);
    a->fn(a->arg, ok ? &a->addresses : NULL, &a->error);
    for (size_t i = 0; i < a->n_ports; i++)
        free((char *)a->ports[i].host_ip);
    free(a->ports);
    free(a->published);
    free(a->id);
    err_clear(&a->error);
    free(a);
}

void net_attach(struct net *n, const struct net_pod *pod, net_attached_fn *fn, void *arg)
{
    if (n->cni) {
        cni_attach(n->cni, pod, fn, arg);
        return;
    }
    struct attach_job *a = xnew(struct attach_job);

    *a = (struct attach_job){.job = {.run = attach_run, .finish = attach_finish},
                             .net = n,
                             .id = xstrdup(pod->sandbox_id),
                             .netns = pod->netns,
                             .bandwidth = pod->bandwidth,
                             .fn = fn,
                             .arg = arg};
    for (size_t i = 0; i < pod->n_ports; i++) {
        struct net_port *port = array_push(&a->ports, &a->n_ports, sizeof(*port));
        *port = pod->ports[i];
        port->host_ip = xstrdup(pod->ports[i].host_ip);
    }
    queue_push(&n->jobs, &a->job);
}

/* ---- Going ----------------------------------------------------------------------------------- */

struct detach_job {
    struct job job; /* first */
    struct net *net;
    char *id;
    net_done_fn *fn;
    void *arg;
    struct ip addresses[NET_ADDRESSES_MAX]; /* those it had */
    size_t count;
    bool link_present, published;
    struct err error;
};

/* The kernel refuses to delete what somebody flushed meanwhile: then all is put right. */
static int unpublish(struct net *n, const char *id, struct err *e)
{
    const struct published *published = ports_find(&n->ports, id);
    _cleanup_err_ struct err refused = ERR_INIT;

    if (!published)
        return 0;
    if (rules_remove_ports(&n->rules, &n->nft, published->ports, published->count, &refused) == 0)
        return ports_remove(&n->ports, id, e);
    log_warn("net", id, "%s; restoring the table", err_text(&refused));
    if (ports_remove(&n->ports, id, e) < 0)
        return -1;
    _cleanup_free_ struct rules_port *all = NULL;
    size_t count;
    ports_all(&n->ports, &all, &count);
    return rules_sync(&n->rules, &n->nft, all, count, e);
}

int pod_release(struct net *n, const char *id, struct err *e)
{
    if (unpublish(n, id, e) < 0)
        return -1;
    return ipam_release(&n->ipam, id, e);
}

static int detach(struct net *n, struct detach_job *d, struct err *e)
{
    const struct holder *holder = ipam_find(&n->ipam, d->id);
    char name[IFNAMSIZ];

    for (size_t i = 0; holder && i < holder->count && i < NET_ADDRESSES_MAX; i++)
        d->addresses[d->count++] = holder->addresses[i];
    d->published = ports_find(&n->ports, d->id) != NULL;
    veth_name(d->id, name);
    if (veth_cut(&n->rtnl, name, &d->link_present, e) < 0)
        return -1;
    return pod_release(n, d->id, e);
}

static void detach_run(struct job *j)
{
    struct detach_job *d = container_of(j, struct detach_job, job);

    pthread_mutex_lock(&d->net->state);
    if (detach(d->net, d, &d->error) < 0)
        err_wrap(&d->error, "network of sandbox %s", d->id);
    pthread_mutex_unlock(&d->net->state);
}

static void detach_finish(struct job *j)
{
    struct detach_job *d = container_of(j, struct detach_job, job);

    if (d->published)
        sweep_addresses(d->net->sweep, d->addresses, d->count);
    if (d->link_present || d->count > 0)
        sweep_links(d->net->sweep, d->id, d->addresses, d->count);
    d->fn(d->arg, &d->error);
    free(d->id);
    err_clear(&d->error);
    free(d);
}

void net_detach(struct net *n, const char *sandbox_id, net_done_fn *fn, void *arg)
{
    if (n->cni) {
        cni_detach(n->cni, sandbox_id, fn, arg);
        return;
    }
    struct detach_job *d = xnew(struct detach_job);

    *d = (struct detach_job){.job = {.run = detach_run, .finish = detach_finish},
                             .net = n,
                             .id = xstrdup(sandbox_id),
                             .fn = fn,
                             .arg = arg};
    queue_push(&n->jobs, &d->job);
}
