/*
 * cni-pods.c - who is attached to the CNI network: what net.c asks for becomes what a member wants
 * (cni-member.c), and what records and namespaces say at a start does too.
 */
#include "cni-member.h"

/* ---- What the room is asked for -------------------------------------------------------------- */

struct refusal {
    net_attached_fn *fn;
    void *arg;
    struct err e;
};

static void refuse_now(void *arg)
{
    struct refusal *r = arg;

    r->fn(r->arg, NULL, &r->e);
    err_clear(&r->e);
    free(r);
}

static int attach(struct cni *c, const struct net_pod *pod, struct member **ret, struct err *e)
{
    struct cni_conf *conf = cni_dir_conf(c->dir, e);
    struct cni_attachment *a;

    if (!conf) {
        cni_dir_look(c->dir);
        return -1;
    }
    if (map_get(c->members, pod->sandbox_id))
        return err_set(e, ERR_ALREADY_EXISTS, "it has one already");
    if (cni_attachment_new(pod, conf, c->ranges, &a, e) < 0)
        return -1;
    if (cni_attachment_write(c->cache_fd, a, e) < 0) {
        cni_attachment_free(a);
        return -1;
    }
    *ret = member_new(c, a);
    return 0;
}

/* A wish that no plugin takes is not an error for other runtimes either; but it is said. */
static void warn_of_deaf(const struct cni_attachment *a)
{
    static const char *const wishes[][2] = {{"portMappings", "host ports are not published"},
                                            {"bandwidth", "bandwidth is not limited"}};

    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++)
        if (json_object_get(a->runtime, wishes[i][0]) && !cni_conf_can(a->conf, wishes[i][0]))
            log_warn("net", a->id, "%s: no plugin of CNI network %s has the capability %s",
                     wishes[i][1], a->conf->name, wishes[i][0]);
}

void cni_attach(struct cni *c, const struct net_pod *pod, net_attached_fn *fn, void *arg)
{
    struct err e = ERR_INIT;
    struct member *m = NULL;

    if (attach(c, pod, &m, &e) < 0) {
        struct refusal *r = xnew(struct refusal);
        err_wrap(&e, "network of sandbox %s", pod->sandbox_id);
        *r = (struct refusal){.fn = fn, .arg = arg, .e = e};
        loop_post(c->host.loop, refuse_now, r);
        return;
    }
    warn_of_deaf(m->a);
    m->wants_add = true;
    m->attached = fn;
    m->attached_arg = arg;
    m->netns = fd_dup(pod->netns); /* for a DEL after a failure */
    if (m->netns < 0)
        m->netns = -1;
    member_enqueue(m);
    cni_pump(c);
}

void cni_hold(struct cni *c, const char *sandbox_id, int netns)
{
    struct member *m = map_get(c->members, sandbox_id);

    if (!m || m->netns >= 0 || m->a->deleting)
        return;
    int fd = fd_dup(netns);
    m->netns = fd < 0 ? -1 : fd;
}

void cni_detach(struct cni *c, const char *sandbox_id, net_done_fn *fn, void *arg)
{
    struct member *m = map_get(c->members, sandbox_id);
    struct waiter *w = xnew(struct waiter);

    w->fn = fn;
    w->arg = arg;
    if (!m) {
        loop_post(c->host.loop, member_told, w);
        return;
    }
    list_append(&m->waiters, &w->link);
    m->wants_delete = true;
    member_enqueue(m);
    cni_pump(c);
}

void cni_reconcile(struct cni *c, char *const *live_sandbox_ids, size_t count)
{
    struct map *live = map_new();
    size_t cursor = 0, dead = 0;
    const char *id;
    void *value;

    for (size_t i = 0; i < count; i++)
        map_put(live, live_sandbox_ids[i], c);
    while (map_next(c->members, &cursor, &id, &value)) {
        struct member *m = value;
        bool lives = map_get(live, id) != NULL;
        dead += !lives;
        m->wants_delete |= !lives;
        if (lives) {
            fd_close(m->netns); /* until net_hold() */
            m->netns = -1;
        }
        m->wants_check =
            lives && m->a->result && m->a->conf->version >= CNI_0_4_0 && !m->a->conf->disable_check;
        member_enqueue(m);
    }
    map_free(live);
    if (dead > 0)
        log_info("net", NULL, "calling DEL for %zu sandboxes that are gone", dead);
    c->gc_wanted = true;
    cni_pump(c);
}

/* ---- The rest -------------------------------------------------------------------------------- */

void cni_pods_open(struct cni *c)
{
    c->members = map_new();
    list_init(&c->queue);
    c->retry = timer_new(c->host.loop, members_retry, c);
}

void cni_pods_add(void *cni, struct cni_attachment *a_take)
{
    member_new(cni, a_take);
}

/* Called before anybody may end a shim that was left. */
void cni_pods_settle(struct cni *c)
{
    struct map *half_done = map_new();
    size_t cursor = 0;
    const char *id;
    void *value;

    while (map_next(c->members, &cursor, &id, &value)) {
        struct member *m = value;
        m->netns = cni_attachment_open_netns(m->a);
        if (!m->a->result || m->a->deleting)
            map_put(half_done, id, value);
    }
    if (map_count(half_done) > 0)
        cni_kill_orphans(half_done);
    map_free(half_done);
}

void cni_pods_close(struct cni *c)
{
    _cleanup_err_ struct err e = ERR_INIT;
    size_t cursor = 0;
    void *value;

    err_set(&e, ERR_CANCELLED, "podd is stopping");
    if (c->gc)
        cni_chain_cancel(c->gc);
    while (map_next(c->members, &cursor, NULL, &value)) {
        struct member *m = value;
        if (m->chain)
            cni_chain_cancel(m->chain);
        if (m->attached)
            m->attached(m->attached_arg, NULL, &e);
        members_tell(&m->waiters, &e);
        member_free(m);
    }
    map_free(c->members);
    timer_free(c->retry);
}

void cni_pods_trouble(const struct cni *c, struct strbuf *text)
{
    size_t cursor = 0, unclean = 0, failed = 0;
    const char *why_unclean = NULL, *why_failed = NULL;
    void *value;

    while (map_next(c->members, &cursor, NULL, &value)) {
        const struct member *m = value;
        if (!m->complaint)
            continue;
        if (m->a->deleting) {
            unclean++;
            why_unclean = m->complaint;
        } else {
            failed++;
            why_failed = m->complaint;
        }
    }
    if (unclean > 0)
        strbuf_addf(text, "%s%zu stopped pods are not cleaned up yet: %s", text->len ? "; " : "",
                    unclean, why_unclean);
    if (failed > 0)
        strbuf_addf(text, "%s%zu running pods fail CHECK: %s", text->len ? "; " : "", failed,
                    why_failed);
}
