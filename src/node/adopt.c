/*
 * adopt.c - takes up what runs when podd starts: sandboxes by the uid of their pod, containers by
 * name. Nothing that runs is touched. What belongs to no declared pod any more is ended and
 * removed, with its files.
 */
#include "private.h"
#include "translate.h"

#include <dirent.h>
#include <fcntl.h>

static void adopt_container(struct declared *d, struct container *c)
{
    struct member *m = declared_member(d, c->name);
    _cleanup_free_ char *dir = declared_volume_dir(d);

    if (!m)
        return;
    const struct container *before = member_container(m);
    if (before && before->attempt > c->attempt) {
        termination_of(&m->last, m, c);
        return;
    }
    if (before)
        termination_of(&m->last, m, before);
    bool ended = c->state == CONTAINER_EXITED || c->state == CONTAINER_UNKNOWN;
    if (ended && m->attempt > c->attempt) {
        /* Its next life was begun, and did not come to be. */
        termination_of(&m->last, m, c);
        return;
    }
    free(m->id);
    m->id = xstrdup(c->id);
    m->attempt = c->attempt;
    m->post_started = c->state == CONTAINER_RUNNING; /* by the podd before, as kubelet has it */
    free(m->termination_file);
    m->termination_file = xasprintf("%s/.podd/%s.%u.message", dir, c->name, c->attempt);
}

static void adopt_containers(struct declared *d, struct sandbox *s)
{
    list_for_each (it, &s->containers)
        adopt_container(d, container_of_sibling(it));
    for (size_t i = d->n_init; i < d->n_members; i++)
        if (d->members[i].id)
            d->initialized = true;
    if (d->finished)
        for (size_t i = 0; i < d->n_members; i++)
            member_note_end(&d->members[i]);
}

static void stale_removed(struct op *op, const char *id, const struct err *e)
{
    if (e->code != ERR_OK)
        log_warn("node", op->pod->key, "remove an old sandbox: %s", err_text(e));
}

static void remove_stale(struct declared *d, const char *id)
{
    struct op *op = op_new(d, NULL, stale_removed, NULL);

    sandbox_remove(d->node->config.pods, id, op_on_done, op);
}

/* ---- What nobody declares ----------------------------------------------------------------------
 */

static struct declared *make_remains(struct node *n, const struct sandbox *s)
{
    log_warn("node", s->id, "belongs to no declared pod any more (it was of %s/%s); removing it",
             s->namespace_, s->name);
    struct declared *d = declared_new_remains(n, s->namespace_, s->name, s->uid);
    _cleanup_free_ char *grace = xstrndup((char *)s->asked.data, s->asked.len);
    if (parse_int(grace, 0, INT32_MAX, &d->grace) < 0)
        d->grace = 30;
    return d;
}

struct sweep_job {
    char *dir, *memory_dir;
    char **names, **memory_names; /* strv */
};

static void sweep_work(void *arg)
{
    const struct sweep_job *job = arg;

    for (char **name = job->names; name && *name; name++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", job->dir, *name);
        _cleanup_err_ struct err e = ERR_INIT;
        if (tree_remove(AT_FDCWD, path, &e) < 0)
            log_warn("node", NULL, "remove volumes that no pod owns: %s", err_text(&e));
    }
    for (char **name = job->memory_names; name && *name; name++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", job->memory_dir, *name);
        _cleanup_err_ struct err e = ERR_INIT;
        if (volumes_remove_memory(path, &e) < 0)
            log_warn("node", NULL, "remove volumes that no pod owns: %s", err_text(&e));
    }
}

static void sweep_done(void *arg)
{
    struct sweep_job *job = arg;

    free(job->dir);
    free(job->memory_dir);
    strv_free(job->names);
    strv_free(job->memory_names);
    free(job);
}

/* The entries of a directory of volumes that are of no pod. Missing: none was ever made. */
static char **find_ownerless(struct node *n, const char *dir)
{
    DIR *stream = opendir(dir);
    char **names = NULL;

    for (struct dirent *entry; stream && (entry = readdir(stream));)
        if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, "..") &&
            !map_get(n->uids, entry->d_name))
            strv_push(&names, entry->d_name);
    if (stream)
        closedir(stream);
    return names;
}

/* Volumes of pods that are gone: a crash came between their record and their files. Looked for
 * before a new pod can be declared, removed in the background. */
static void sweep_volumes(struct node *n)
{
    struct sweep_job *job = xnew(struct sweep_job);

    job->dir = xasprintf("%s/volumes", n->config.root);
    job->memory_dir = xasprintf("%s/volumes", n->config.state);
    job->names = find_ownerless(n, job->dir);
    job->memory_names = find_ownerless(n, job->memory_dir);
    loop_work(n->config.loop, sweep_work, sweep_done, job);
}

/* ---- All ---------------------------------------------------------------------------------------
 */

struct ids {
    char **v;
};

static void collect(void *arg, const struct sandbox *s)
{
    struct ids *ids = arg;

    if (str_equal(s->origin, NODE_ORIGIN))
        strv_push(&ids->v, s->id);
}

static void adopt_sandbox(struct node *n, struct sandbox *s)
{
    struct declared *d = map_get(n->uids, s->uid);

    if (!d)
        d = make_remains(n, s);
    struct sandbox *before = declared_sandbox(d);
    if (before && before->attempt > s->attempt) {
        if (d->manifest && !d->deleting)
            remove_stale(d, s->id);
        return;
    }
    if (before && d->manifest && !d->deleting)
        remove_stale(d, before->id);
    free(d->sandbox_id);
    d->sandbox_id = xstrdup(s->id);
    d->sandbox_attempt = s->attempt;
    d->network_released = d->finished && s->state == SANDBOX_NOTREADY;
}

void adopt_all(struct node *n)
{
    struct ids ids = {0};

    sandbox_for_each(n->config.pods, collect, &ids);
    for (char **id = ids.v; id && *id; id++) {
        struct sandbox *s = sandbox_find(n->config.pods, *id, NULL);
        if (s)
            adopt_sandbox(n, s);
    }
    strv_free(ids.v);
    list_for_each (it, &n->declared) {
        struct declared *d = container_of(it, struct declared, item);
        struct sandbox *s = declared_sandbox(d);
        if (s && d->manifest)
            adopt_containers(d, s);
    }
    sweep_volumes(n);
}
