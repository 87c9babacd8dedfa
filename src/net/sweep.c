/*
 * sweep.c - what is cleaned up after a pod is gone or has come, without anybody waiting.
 *
 * Soon, some milliseconds later: connections that the kernel would go on translating the old way
 * (conntrack.c). One walk through the kernel's table takes 10 ms however little is in it, so it
 * serves all pods that came and went in the meantime.
 *
 * Late, some seconds later: normally there is nothing left to do, as the pod's processes have
 * ended, and the kernel has freed its namespace and with it both ends of the link. If something
 * still holds the namespace (a process that a container left in another's hands, a debugger), the
 * link is still there, cut off. Such links are deleted now, which takes the kernel 25 ms each, and
 * what the node still knows of the addresses is forgotten: connections that were made to the last,
 * and hardware addresses, which a node with few neighbours would keep for ever.
 *
 * What a crash interrupts here is done by reconciling at the next start.
 */
#include "conntrack.h"
#include "room.h"

enum { SOON_MS = 20, LATE_MS = 3000 };

struct pile {
    struct sweep *sweep;
    struct timer *timer;
    int delay_ms;
    bool late, armed;
    char **ids; /* whose links go */
    struct ip *addresses;
    size_t n_addresses;
    struct rules_port *ports;
    size_t n_ports;
};

struct sweep {
    struct net *net;
    struct pile soon, late;
};

struct sweep_job {
    struct job job; /* first */
    struct net *net;
    struct pile pile; /* what was on it */
};

static void pile_clear(struct pile *p)
{
    strv_free(p->ids);
    free(p->addresses);
    free(p->ports);
}

/* The sandbox may have been attached again, and the address given to another: both are live. */
static void drop_live(struct net *n, struct pile *p)
{
    size_t kept = 0;

    pthread_mutex_lock(&n->state);
    for (char **id = p->ids; id && *id; id++) {
        if (ipam_find(&n->ipam, *id))
            (*id)[0] = '\0';
    }
    for (size_t i = 0; i < p->n_addresses; i++) {
        if (!ipam_is_leased(&n->ipam, &p->addresses[i]))
            p->addresses[kept++] = p->addresses[i];
    }
    p->n_addresses = kept;
    pthread_mutex_unlock(&n->state);
}

static void rtnl_closep(struct rtnl *r)
{
    rtnl_close(r);
}

static int delete_links(struct rtnl *r, char *const *ids, struct err *e)
{
    char name[IFNAMSIZ];

    for (; ids && *ids; ids++) {
        veth_name(*ids, name);
        if (**ids == '\0' || rtnl_link_index(r, name) < 0)
            continue;
        log_info("net", *ids, "the pod's namespace is still there; deleting its link %s", name);
        if (link_delete(r, name, e) < 0)
            return -1;
    }
    return 0;
}

static int forget_pods(struct net *n, const struct pile *p, struct err *e)
{
    CLEANUP(rtnl_closep) struct rtnl r = {.fd = -1};

    if (!p->late)
        return 0;
    if (rtnl_open(&r, e) < 0 || delete_links(&r, p->ids, e) < 0)
        return -1;
    int bridge = rtnl_link_index(&r, n->bridge);
    return bridge < 0 ? 0 : neighbours_forget(&r, bridge, p->addresses, p->n_addresses, e);
}

static void sweep_run(struct job *j)
{
    struct sweep_job *s = container_of(j, struct sweep_job, job);
    struct pile *p = &s->pile;
    _cleanup_err_ struct err e = ERR_INIT;
    size_t deleted;

    drop_live(s->net, p);
    struct conntrack_filter filter = {p->addresses, p->n_addresses, p->ports, p->n_ports};
    if (forget_pods(s->net, p, &e) < 0 || conntrack_flush(&filter, &deleted, &e) < 0)
        log_warn("net", NULL, "while cleaning up after pods: %s", err_text(&e));
}

static void sweep_finish(struct job *j)
{
    struct sweep_job *s = container_of(j, struct sweep_job, job);

    pile_clear(&s->pile);
    free(s);
}

static void on_timer(void *arg)
{
    struct pile *p = arg;
    struct net *n = p->sweep->net;
    struct sweep_job *s = xnew(struct sweep_job);

    s->job = (struct job){.run = sweep_run, .finish = sweep_finish};
    s->net = n;
    s->pile = *p;
    *p = (struct pile){
        .sweep = p->sweep, .timer = p->timer, .delay_ms = p->delay_ms, .late = p->late};
    queue_push(&n->slow, &s->job);
}

/* Not restarted by each: under a constant stream of pods it would never fire. */
static void arm(struct pile *p)
{
    if (!p->armed)
        timer_start(p->timer, p->delay_ms);
    p->armed = true;
}

static void add_addresses(struct pile *p, const struct ip *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ip *slot = array_push(&p->addresses, &p->n_addresses, sizeof(*slot));
        *slot = addresses[i];
    }
}

static void pile_init(struct pile *p, struct sweep *s, int delay_ms)
{
    p->sweep = s;
    p->delay_ms = delay_ms;
    p->timer = timer_new(s->net->loop, on_timer, p);
}

struct sweep *sweep_new(struct net *n)
{
    struct sweep *s = xnew(struct sweep);

    s->net = n;
    pile_init(&s->soon, s, SOON_MS);
    pile_init(&s->late, s, LATE_MS);
    s->late.late = true;
    return s;
}

void sweep_free(struct sweep *s)
{
    if (!s)
        return;
    timer_free(s->soon.timer);
    timer_free(s->late.timer);
    pile_clear(&s->soon);
    pile_clear(&s->late);
    free(s);
}

/* Without a sweep the room is closing: the next start does it. */

void sweep_links(struct sweep *s, const char *id, const struct ip *addresses, size_t count)
{
    if (!s)
        return;
    strv_push(&s->late.ids, id);
    add_addresses(&s->late, addresses, count);
    arm(&s->late);
}

void sweep_addresses(struct sweep *s, const struct ip *addresses, size_t count)
{
    if (!s || count == 0)
        return;
    add_addresses(&s->soon, addresses, count);
    arm(&s->soon);
}

void sweep_udp_ports(struct sweep *s, const struct rules_port *ports, size_t count)
{
    for (size_t i = 0; s && i < count; i++) {
        if (ports[i].protocol != IPPROTO_UDP)
            continue;
        struct rules_port *slot = array_push(&s->soon.ports, &s->soon.n_ports, sizeof(*slot));
        *slot = ports[i];
        arm(&s->soon);
    }
}
