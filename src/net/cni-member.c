/*
 * cni-member.c - the plugins' work for attached pods: ADD, DEL, CHECK, in which order, and GC.
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
#include "cni-member.h"
#include "cni-result.h"

enum { RUNNING_MAX = 32, RETRY_FIRST_MS = 5000, RETRY_MOST_MS = 300000 };

static void member_run(struct member *m);
static void start_gc(struct cni *c);

/* ---- Members --------------------------------------------------------------------------------- */

struct member *member_new(struct cni *c, struct cni_attachment *a_take)
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

void member_free(struct member *m)
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

void member_enqueue(struct member *m)
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

void members_retry(void *arg)
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

void member_told(void *arg)
{
    struct waiter *w = arg;

    w->fn(w->arg, ERR_NONE);
    free(w);
}

void members_tell(struct list *waiters, const struct err *e)
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
    members_tell(&waiters, ERR_NONE);
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
        members_tell(&m->waiters, ERR_NONE);
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
