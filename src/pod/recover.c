/*
 * recover.c - after a start: finding out what is true, and finishing or undoing what was half done.
 *
 * What is found                               what it means, what is done
 *   record ready, this boot                   its shim should be there: connected to, in parallel
 *     the shim is gone                        as if it had died now: exit records, cgroups
 *     it does not answer                      tried again in the background; the rest goes on
 *     a container the shim does not know      half made or half removed: removed
 *     a container that only the shim knows    its record was the first to go: killed, removed
 *   record ready, another boot                the machine was restarted: nothing is left of it
 *   a directory without a readable record     half made or half removed: shim, cgroups, files
 *
 * At the end nets and root file systems are told what is alive, and drop the rest.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>

#include "apparmor.h"
#include "private.h"

enum {
    TIME_LIMIT_MS = 3000, /* then lists are given with what is known */
    RETRY_MS = 1000,      /* to connect to a shim that does not answer */
    ORPHAN_RETRY_MS = 20, /* until a killed container can be removed */
    ORPHAN_RETRIES = 500,
    CGROUP_TIMEOUT_MS = 5000,
};

struct recovery {
    struct pods *p;
    unsigned pending;
    bool told;
    struct timer *limit;
    void (*done)(void *arg);
    void *arg;
};

static const struct err no_error = ERR_INIT;

/* ---- The end -------------------------------------------------------------------------------- */

static void note_alive(void *arg, const struct sandbox *s)
{
    if (s->state == SANDBOX_READY)
        strv_push(arg, s->id);
}

static void note_container(void *arg, const struct container *c)
{
    strv_push(arg, c->id);
}

static void reconcile(struct pods *p)
{
    _cleanup_strv_ char **sandboxes = NULL, **containers = NULL;
    _cleanup_err_ struct err net = ERR_INIT, rootfs = ERR_INIT;

    sandbox_for_each(p, note_alive, &sandboxes);
    container_for_each(p, note_container, &containers);
    if (net_reconcile(p->net, sandboxes, strv_len(sandboxes), &net) < 0)
        log_error("pod", NULL, "network of pods that are gone: %s", err_text(&net));
    if (rootfs_reconcile(p->images, containers, strv_len(containers), &rootfs) < 0)
        log_error("pod", NULL, "files of containers that are gone: %s", err_text(&rootfs));
}

static void recovery_tell(struct recovery *r)
{
    if (r->told || r->p->closing)
        return;
    r->told = true;
    reconcile(r->p);
    r->done(r->arg);
}

static void recovery_end_one(struct recovery *r)
{
    if (--r->pending > 0)
        return;
    recovery_tell(r);
    timer_free(r->limit);
    pods_release(r->p);
    free(r);
}

static void on_limit(void *arg)
{
    struct recovery *r = arg;

    log_warn("pod", NULL, "%u pods could not be looked at yet: their shims do not answer",
             r->pending);
    recovery_tell(r);
}

/* ---- Containers of a shim that is there ----------------------------------------------------- */

/* A container that no record knows. The kill takes a moment, then it can be removed. */
struct orphan {
    struct pods *p;
    char sandbox_id[ID_SIZE], id[ID_SIZE];
    unsigned attempts;
    struct timer *timer;
};

static void orphan_try(void *arg);

static void orphan_free(struct orphan *o)
{
    timer_free(o->timer);
    pods_release(o->p);
    free(o);
}

static struct shim *orphan_shim(const struct orphan *o)
{
    const struct sandbox *s = o->p->closing ? NULL : sandbox_by_id(o->p, o->sandbox_id);

    return s ? s->priv->shim : NULL;
}

static void on_orphan_removed(void *arg, const struct err *e)
{
    struct orphan *o = arg;
    struct shim *shim = orphan_shim(o);

    if (!shim || e->code == ERR_OK || e->code == ERR_NOT_FOUND) {
        orphan_free(o);
        return;
    }
    if (++o->attempts > ORPHAN_RETRIES) {
        log_warn("pod", o->id, "a container without a record is left: %s", err_text(e));
        orphan_free(o);
        return;
    }
    if (o->attempts == 1)
        shim_signal(shim, o->id, SIGKILL, true, NULL, NULL);
    timer_start(o->timer, ORPHAN_RETRY_MS);
}

static void orphan_try(void *arg)
{
    struct orphan *o = arg;
    struct shim *shim = orphan_shim(o);

    if (shim)
        shim_remove(shim, o->id, on_orphan_removed, o);
    else
        orphan_free(o);
}

static void orphan_begin(struct sandbox *s, const char *id)
{
    struct orphan *o;

    if (!id_is_valid(id)) {
        log_warn("pod", s->id, "its shim has a container with a malformed id");
        return;
    }
    log_info("pod", id, "removed: it was half made or half removed");
    o = xnew(struct orphan);
    o->p = pods_hold(s->priv->pods);
    memcpy(o->sandbox_id, s->id, ID_SIZE);
    memcpy(o->id, id, ID_SIZE);
    o->timer = timer_new(o->p->loop, orphan_try, o);
    orphan_try(o);
}

static void on_half_removed(void *arg, const struct err *e)
{
    if (e->code != ERR_OK)
        log_warn("pod", NULL, "a half-made container is left: %s", err_text(e));
}

static void drop_half_done(struct container *c)
{
    log_info("pod", c->id, "removed: it was half made or half removed");
    container_exited(c, &(struct container_exit){.code = 255, .reason = "Unknown"});
    container_remove(c->sandbox->priv->pods, c->id, on_half_removed, NULL);
}

static void adopt_container(struct container *c, const Podd__Shim__ContainerInfo *info)
{
    if (c->state == CONTAINER_EXITED)
        return;
    if (info->started) {
        bool news = c->state != CONTAINER_RUNNING || c->started_at != info->started_at;
        c->state = CONTAINER_RUNNING;
        c->started_at = info->started_at;
        c->pid = (pid_t)info->pid;
        if (news)
            record_note_container(c);
    }
    if (info->exit)
        container_exit_told(c, info->exit);
}

static const Podd__Shim__ContainerInfo *find_info(const Podd__Shim__InfoResponse *info,
                                                  const char *id)
{
    for (size_t i = 0; i < info->n_containers; i++)
        if (str_equal(info->containers[i]->id, id))
            return info->containers[i];
    return NULL;
}

static void adopt_containers(struct sandbox *s)
{
    const Podd__Shim__InfoResponse *info = shim_info(s->priv->shim);

    list_for_each_safe (it, &s->containers) {
        struct container *c = container_of_sibling(it);
        const Podd__Shim__ContainerInfo *known = find_info(info, c->id);
        if (known)
            adopt_container(c, known);
        else
            drop_half_done(c);
    }
    for (size_t i = 0; i < info->n_containers; i++) {
        const struct container *c = container_by_id(s->priv->pods, info->containers[i]->id);
        if (!c || c->sandbox != s)
            orphan_begin(s, info->containers[i]->id);
    }
}

/* ---- Sandboxes with a record ---------------------------------------------------------------- */

struct link {
    struct recovery *recovery;
    struct sandbox *s; /* stays: it is `connecting`, which its removal waits for */
    struct timer *retry;
};

static void link_try(void *arg);

static void link_end(struct link *l)
{
    l->s->priv->connecting = false;
    recovery_end_one(l->recovery);
    timer_free(l->retry);
    free(l);
}

static void on_linked(void *arg, struct shim *shim_take, const struct err *e)
{
    struct link *l = arg;
    struct sandbox *s = l->s;

    if (l->recovery->p->closing) {
        shim_free(shim_take);
        return;
    }
    if (e->code == ERR_OK) {
        s->priv->shim = shim_take;
        s->priv->connecting = false;
        adopt_containers(s);
        link_end(l);
    } else if (e->code == ERR_NOT_FOUND) {
        log_info("pod", s->id, "its shim has gone while podd was not running");
        s->priv->connecting = false;
        sandbox_lost_shim(s);
        link_end(l);
    } else {
        log_warn("pod", s->id, "%s; trying again", err_text(e));
        timer_start(l->retry, RETRY_MS);
    }
}

static void link_try(void *arg)
{
    struct link *l = arg;
    struct sandbox *s = l->s;
    _cleanup_free_ char *directory = sandbox_state_dir(s->priv->pods, s->id);

    shim_connect(s->priv->pods->loop, directory, s->priv->shim_pid, s->priv->shim_start_time,
                 &shim_link_events, s, on_linked, l);
}

static void recover_sandbox(struct recovery *r, struct sandbox *s)
{
    struct link *l;

    if (s->priv->stopped)
        return; /* written after all else was */
    if (s->state != SANDBOX_READY || !str_equal(s->priv->boot_id, boot_id())) {
        sandbox_lost_shim(s); /* again perhaps: it may have been half done */
        return;
    }
    l = xnew(struct link);
    l->recovery = r;
    l->s = s;
    l->retry = timer_new(r->p->loop, link_try, l);
    s->priv->connecting = true;
    r->pending++;
    link_try(l);
}

/* ---- Directories without a record ----------------------------------------------------------- */

struct stray {
    struct recovery *recovery;
    struct sandbox *s; /* nobody else knows it */
    char *root_dir, *state_dir;
    struct err e;
};

/* cgroups of containers whose records can be read. A shim that answered has removed them. */
static void stray_clean_cgroups(struct stray *y)
{
    DIR *dir = opendir(y->root_dir);

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        _cleanup_err_ struct err e = ERR_INIT;
        _cleanup_bytes_ struct bytes data = {0};
        _cleanup_free_ char *owner = NULL;
        struct container *c = NULL;
        if (str_ends_with(entry->d_name, ".container") &&
            file_read(dirfd(dir), entry->d_name, 64 << 20, &data, &e) == 0 &&
            record_decode_container(data.data, data.len, &c, &owner, &e) == 0 &&
            y->e.code == ERR_OK)
            (void)!cgroup_destroy(c->cgroup_path, CGROUP_TIMEOUT_MS, &y->e);
        container_object_free(c);
    }
    if (dir)
        closedir(dir);
}

static void stray_work(void *arg)
{
    struct stray *y = arg;

    stray_clean_cgroups(y);
    if (y->e.code == ERR_OK && tree_remove(AT_FDCWD, y->state_dir, &y->e) == 0)
        (void)!tree_remove(AT_FDCWD, y->root_dir, &y->e);
}

static void stray_done(void *arg)
{
    struct stray *y = arg;

    if (!y->recovery->p->closing) {
        if (y->e.code != ERR_OK)
            log_warn("pod", y->s->id, "what is left of it cannot be removed: %s", err_text(&y->e));
        recovery_end_one(y->recovery);
        sandbox_object_free(y->s);
    }
    free(y->root_dir);
    free(y->state_dir);
    err_clear(&y->e);
    free(y);
}

static void on_stray_ended(void *arg, const struct err *e)
{
    struct stray *y = arg;

    if (e->code != ERR_OK)
        err_copy(&y->e, e); /* not undone: the directory stays for the next start */
    loop_work(y->recovery->p->loop, stray_work, stray_done, y);
}

static void on_stray_shim(void *arg, struct shim *shim_take, const struct err *e)
{
    struct stray *y = arg;

    if (y->recovery->p->closing) {
        shim_free(shim_take);
        return;
    }
    if (e->code == ERR_NOT_FOUND) {
        on_stray_ended(y, &no_error);
    } else if (e->code != ERR_OK) {
        on_stray_ended(y, e);
    } else {
        y->s->priv->shim = shim_take;
        y->s->priv->shim_pid = shim_pid(shim_take);
        y->s->priv->shim_start_time = shim_start_time(shim_take);
        shim_end(y->s, on_stray_ended, y);
    }
}

static void stray_begin(struct recovery *r, const char *id)
{
    struct stray *y = xnew(struct stray);

    log_info("pod", id, "cleaned up: it was half made or half removed");
    y->recovery = r;
    y->s = sandbox_new(id);
    y->s->priv->pods = r->p;
    y->root_dir = sandbox_root_dir(r->p, id);
    y->state_dir = sandbox_state_dir(r->p, id);
    r->pending++;
    shim_connect(r->p->loop, y->state_dir, 0, 0, &shim_link_events, y->s, on_stray_shim, y);
}

/* Adds the ids of directories in `path` that have no sandbox. */
static void find_strays(struct pods *p, const char *path, char ***ids)
{
    DIR *dir = opendir(path);

    if (!dir)
        log_error("pod", NULL, "open %s: %s", path, strerror(errno));
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        bool known = !id_is_valid(entry->d_name) || sandbox_by_id(p, entry->d_name);
        for (size_t i = 0; !known && i < strv_len(*ids); i++)
            known = str_equal((*ids)[i], entry->d_name);
        if (!known)
            strv_push(ids, entry->d_name);
    }
    if (dir)
        closedir(dir);
}

/* ---- All ------------------------------------------------------------------------------------ */

static void recover_all(struct recovery *r)
{
    struct pods *p = r->p;
    _cleanup_free_ char *records = xasprintf("%s/pods", p->root);
    _cleanup_free_ char *run = xasprintf("%s/pods", p->state);
    _cleanup_strv_ char **strays = NULL;

    r->pending = 1; /* until all have begun */
    r->limit = timer_new(p->loop, on_limit, r);
    timer_start(r->limit, TIME_LIMIT_MS);
    list_for_each_safe (it, &p->all_sandboxes)
        recover_sandbox(r, container_of(it, struct sandbox_private, all)->self);
    find_strays(p, records, &strays);
    find_strays(p, run, &strays);
    for (size_t i = 0; i < strv_len(strays); i++)
        stray_begin(r, strays[i]);
    recovery_end_one(r);
}

/* Without it containers that ask for no profile go unconfined; those that ask for it are refused.
 */
static void on_apparmor_loaded(void *arg, const struct err *e)
{
    struct recovery *r = arg;

    if (r->p->closing) {
        pods_release(r->p);
        free(r);
        return;
    }
    r->p->apparmor_default_loaded = e->code == ERR_OK;
    if (e->code != ERR_OK)
        log_warn("pod", NULL,
                 "AppArmor is on, but podd's default profile cannot be loaded: %s; containers "
                 "that name no profile run unconfined",
                 err_text(e));
    recover_all(r);
}

void pods_recover(struct pods *p, void (*done)(void *arg), void *arg)
{
    struct recovery *r = xnew(struct recovery);

    r->p = pods_hold(p);
    r->done = done;
    r->arg = arg;
    if (p->kernel.apparmor)
        apparmor_default_load(p->loop, APPARMOR_PARSER, APPARMOR_PARSER_TIMEOUT_MS,
                              on_apparmor_loaded, r);
    else
        recover_all(r);
}
