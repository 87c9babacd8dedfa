/*
 * cni-pods.c - who is attached to the CNI network, and what is to be done about it.
 *
 * A member has at most one chain of plugins at a time; what else it wants waits in the queue. Many
 * members run theirs side by side, up to a bound, but never beside a GC, which the specification
 * wants alone: it begins when nothing runs and nothing waits.
 *
 *   ADD    by net_attach(). When it fails, DEL follows by itself, and the caller need not wait
 *   DEL    by net_detach(); after a failed ADD; at start for pods that are no more. When it fails
 *          the caller is told success all the same, as a pod that cannot be stopped helps nobody;
 *          it is tried again, after longer and longer pauses, and at the next start
 *   CHECK  at start, for pods that live: a failure is told in log and status, nothing is changed
 *   GC     at start, once there is a configuration
 *
 * The namespace. ADD and CHECK get it by the shim's pid. A DEL on the normal way comes when the
 * shim is gone, but plugins clean up better while it is there: so podd keeps a descriptor of it
 * (net_hold()) and hands out the path of that. When podd dies meanwhile the kernel frees it, and
 * the next start calls DEL without one. A start takes hold of the namespaces that are still there
 * before it is decided which of them go.
 */
#include "cni-result.h"
#include "cni-room.h"

enum { RUNNING_MAX = 32, RETRY_FIRST_MS = 5000, RETRY_MOST_MS = 300000 };

struct waiter {
    struct list link;
    net_done_fn *fn;
    void *arg;
};

struct member {
    struct cni *cni;
    struct cni_attachment *a;
    struct list queued;
    struct cni_chain *chain; /* under way */
    bool wants_add, wants_check, wants_delete;
    net_attached_fn *attached; /* waits for ADD */
    void *attached_arg;
    int netns;           /* owned; -1: only the path of a->netns */
    struct list waiters; /* for DEL */
    int64_t retry_at;    /* monotonic ns; 0: none is due */
    unsigned failures;   /* of DEL, in a row */
    char *complaint;     /* of the last failed DEL or CHECK */
};

static void member_run(struct member *m);
static void start_gc(struct cni *c);

/* ---- Members --------------------------------------------------------------------------------- */

static struct member *member_new(struct cni *c, struct cni_attachment *a_take)
{
    struct member *m = xnew(struct member);

    m->cni = c;
    m->a = a_take;
    m->netns = -1;
    list_init(&m->queued);
    list_init(&m->waiters);
    map_put(c->members, m->a->id, m);
    return m;
}

static void member_free(struct member *m)
{
    list_remove(&m->queued);
    cni_attachment_free(m->a);
    fd_close(m->netns);
    free(m->complaint);
    free(m);
}

static bool member_is_busy(const struct member *m)
{
    return m->chain || !list_empty(&m->queued);
}

static void member_complain(struct member *m, const char *what, const struct err *e)
{
    if (str_equal(m->complaint, err_text(e)))
        return;
    free(m->complaint);
    m->complaint = xstrdup(err_text(e));
    log_warn("net", m->a->id, "%s: %s", what, err_text(e));
}

static void member_save(const struct member *m)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (cni_attachment_write(m->cni->cache_fd, m->a, &e) < 0)
        log_warn("net", m->a->id, "record of the CNI attachment: %s", err_text(&e));
}

/* ---- The order of things --------------------------------------------------------------------- */

static void member_enqueue(struct member *m)
{
    if (!member_is_busy(m) && (m->wants_add || m->wants_delete || m->wants_check))
        list_append(&m->cni->queue, &m->queued);
}

void cni_pump(struct cni *c)
{
    while (!c->gc && c->running < RUNNING_MAX && !list_empty(&c->queue)) {
        struct member *m = container_of(c->queue.next, struct member, queued);
        list_remove(&m->queued);
        member_run(m);
    }
    if (!c->gc && c->gc_wanted && c->running == 0 && list_empty(&c->queue))
        start_gc(c);
}

static void arm_retry(struct cni *c)
{
    int64_t first = 0, now = time_mono_ns();
    size_t cursor = 0;
    void *value;

    while (map_next(c->members, &cursor, NULL, &value)) {
        const struct member *m = value;
        if (m->retry_at && (!first || m->retry_at < first))
            first = m->retry_at;
    }
    if (first)
        timer_start(c->retry, first > now ? (first - now) / NS_PER_MS + 1 : 0);
}

static void on_retry(void *arg)
{
    struct cni *c = arg;
    int64_t now = time_mono_ns();
    size_t cursor = 0;
    void *value;

    while (map_next(c->members, &cursor, NULL, &value)) {
        struct member *m = value;
        if (!m->retry_at || m->retry_at > now)
            continue;
        m->retry_at = 0;
        m->wants_delete = true;
        member_enqueue(m);
    }
    arm_retry(c);
    cni_pump(c);
}

/* ---- DEL ------------------------------------------------------------------------------------- */

static void waiter_told(void *arg)
{
    struct waiter *w = arg;

    w->fn(w->arg, ERR_NONE);
    free(w);
}

static void tell_waiters(struct list *waiters, const struct err *e)
{
    while (!list_empty(waiters)) {
        struct waiter *w = container_of(waiters->next, struct waiter, link);
        list_remove(&w->link);
        w->fn(w->arg, e);
        free(w);
    }
}

static void retry_later(struct member *m)
{
    int64_t pause = RETRY_FIRST_MS;

    for (unsigned i = 0; i < m->failures && pause < RETRY_MOST_MS; i++)
        pause *= 2;
    m->failures++;
    m->retry_at = time_mono_ns() + (pause < RETRY_MOST_MS ? pause : RETRY_MOST_MS) * NS_PER_MS;
    arm_retry(m->cni);
}

static void delete_succeeded(struct member *m)
{
    struct cni *c = m->cni;
    struct list waiters;
    _cleanup_err_ struct err e = ERR_INIT;

    if (cni_attachment_unlink(c->cache_fd, m->a, &e) < 0)
        log_warn("net", m->a->id, "%s; DEL comes once more with the next start", err_text(&e));
    if (m->failures > 0)
        log_info("net", m->a->id, "the CNI plugins have cleaned up after it at last");
    map_remove(c->members, m->a->id);
    list_init(&waiters);
    list_for_each_safe (it, &m->waiters) {
        list_remove(it);
        list_append(&waiters, it);
    }
    member_free(m);
    tell_waiters(&waiters, ERR_NONE);
}

static void on_deleted(void *arg, json_t *result, const struct err *e)
{
    struct member *m = arg;
    struct cni *c = m->cni;

    m->chain = NULL;
    c->running--;
    if (e->code == ERR_OK) {
        delete_succeeded(m);
    } else {
        member_complain(m, "the network is not cleaned up, and will be tried again", e);
        /* Its links end with it, whatever a plugin does. */
        fd_close(m->netns);
        m->netns = -1;
        m->wants_delete = false;
        retry_later(m);
        tell_waiters(&m->waiters, ERR_NONE);
    }
    cni_pump(c);
}

static void run_delete(struct member *m)
{
    _cleanup_free_ char *path =
        m->netns < 0 ? xstrdup("") : xasprintf("/proc/%d/fd/%d", (int)getpid(), m->netns);
    const struct cni_order order = {
        .command = CNI_DEL, .conf = m->a->conf, .attachment = m->a, .netns = path};

    if (!m->a->deleting) {
        m->a->deleting = true;
        member_save(m);
    }
    m->wants_check = false;
    m->retry_at = 0;
    m->chain = cni_chain_start(&m->cni->host, &order, on_deleted, m);
}

/* ---- ADD ------------------------------------------------------------------------------------- */

static void add_failed(struct member *m, const struct err *e)
{
    net_attached_fn *fn = take_ptr(m->attached);

    m->wants_delete = true;
    log_debug("net", m->a->id, "ADD failed, DEL follows: %s", err_text(e));
    fn(m->attached_arg, NULL, e);
}

static void on_added(void *arg, json_t *result, const struct err *e)
{
    struct member *m = arg;
    struct cni *c = m->cni;
    struct net_addresses addresses = {0};
    _cleanup_err_ struct err why = ERR_INIT;

    m->chain = NULL;
    c->running--;
    err_copy(&why, e);
    if (why.code == ERR_OK) {
        m->a->result = json_incref(result);
        if (cni_result_addresses(result, CNI_INTERFACE, &addresses, &why) < 0)
            err_wrap(&why, "CNI network %s", m->a->conf->name);
    }
    if (why.code == ERR_OK)
        (void)!cni_attachment_write(c->cache_fd, m->a, &why);
    if (why.code != ERR_OK) {
        err_wrap(&why, "network of sandbox %s", m->a->id);
        add_failed(m, &why);
    } else {
        net_attached_fn *fn = take_ptr(m->attached);
        fd_close(m->netns);
        m->netns = -1;
        fn(m->attached_arg, &addresses, ERR_NONE);
    }
    member_enqueue(m);
    cni_pump(c);
}

static void run_add(struct member *m)
{
    const struct cni_order order = {
        .command = CNI_ADD, .conf = m->a->conf, .attachment = m->a, .netns = m->a->netns};

    m->wants_add = false;
    m->chain = cni_chain_start(&m->cni->host, &order, on_added, m);
}

/* ---- CHECK ----------------------------------------------------------------------------------- */

static void on_checked(void *arg, json_t *result, const struct err *e)
{
    struct member *m = arg;
    struct cni *c = m->cni;

    m->chain = NULL;
    c->running--;
    if (e->code != ERR_OK)
        member_complain(m, "the pod's network is not as it should be", e);
    else
        free(take_ptr(m->complaint));
    member_enqueue(m);
    cni_pump(c);
}

static void run_check(struct member *m)
{
    const struct cni_order order = {
        .command = CNI_CHECK, .conf = m->a->conf, .attachment = m->a, .netns = m->a->netns};

    m->wants_check = false;
    m->chain = cni_chain_start(&m->cni->host, &order, on_checked, m);
}

static void member_run(struct member *m)
{
    m->cni->running++;
    if (m->wants_add)
        run_add(m);
    else if (m->wants_delete)
        run_delete(m);
    else
        run_check(m);
}

/* ---- GC -------------------------------------------------------------------------------------- */

static void on_collected(void *arg, json_t *result, const struct err *e)
{
    struct cni *c = arg;

    c->gc = NULL;
    if (e->code != ERR_OK)
        log_warn("net", NULL, "garbage of pods that are gone may be left: %s", err_text(e));
    cni_pump(c);
}

static void start_gc(struct cni *c)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_conf *conf = cni_dir_conf(c->dir, &e);
    _cleanup_json_ json_t *valid = json_array();
    size_t cursor = 0;
    void *value;

    if (!conf)
        return; /* when one comes */
    c->gc_wanted = false;
    if (conf->version < CNI_1_1_0 || conf->disable_gc)
        return;
    while (map_next(c->members, &cursor, NULL, &value)) {
        const struct member *m = value;
        if (!m->a->deleting && str_equal(m->a->conf->name, conf->name))
            json_array_append_new(
                valid, json_pack("{s:s, s:s}", "containerID", m->a->id, "ifname", CNI_INTERFACE));
    }
    const struct cni_order order = {.command = CNI_GC, .conf = conf, .valid_attachments = valid};
    c->gc = cni_chain_start(&c->host, &order, on_collected, c);
}

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
        loop_post(c->host.loop, waiter_told, w);
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
        m->wants_delete = !lives;
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
    c->retry = timer_new(c->host.loop, on_retry, c);
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
        tell_waiters(&m->waiters, &e);
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
