/*
 * pods.c - all pods of this daemon: opening, closing, and finding objects.
 *
 * The registry holds what may be listed: a sandbox from when it is ready, a container from when it
 * is created, both until their removal is beyond undoing. Ids are 64 random hex digits. Whole ids
 * are looked up in a map; shorter ones, which only people type, by a walk over all objects.
 */
#include <fcntl.h>
#include <sys/random.h>

#include "apparmor.h"
#include "cdi.h"
#include "private.h"
#include "scope.h"

/* ---- Opening, closing ----------------------------------------------------------------------- */

static int make_directories(struct pods *p, struct err *e)
{
    _cleanup_free_ char *records = xasprintf("%s/pods", p->root);
    _cleanup_free_ char *run = xasprintf("%s/pods", p->state);

    if (dir_ensure(records, 0700, e) < 0)
        return -1;
    return dir_ensure(run, 0700, e);
}

static struct sandbox *sandbox_of(struct list *item)
{
    return container_of(item, struct sandbox_private, all)->self;
}

static struct container *container_of_all(struct list *item)
{
    return container_of(item, struct container_private, all)->self;
}

/* Before anybody may remove an image. */
static void hold_images(struct pods *p)
{
    list_for_each (it, &p->all_containers) {
        container_hold_images(container_of_all(it));
    }
}

int pods_open(const struct pods_config *config, struct pods **ret, struct err *e)
{
    struct pods *p = xnew(struct pods);

    p->refs = 1;
    p->loop = config->loop;
    p->zygote = config->zygote;
    p->images = config->images;
    p->net = config->net;
    p->root = xstrdup(config->root);
    p->state = xstrdup(config->state);
    p->restrict_oom_score_adj = config->restrict_oom_score_adj;
    p->seccomp_default_profile = xstrdup(config->seccomp_default_profile);
    if (config->dns_servers)
        p->dns_servers = strv_dup(config->dns_servers, strv_len(config->dns_servers));
    p->cgroup_parent = xstrdup(str_empty(config->cgroup_parent) ? "/podd" : config->cgroup_parent);
    if (config->systemd_cgroups)
        p->systemd = systemd_new(p->loop);
    p->cdi = cdi_new(config->cdi_dirs);
    p->sandboxes = map_new();
    p->containers = map_new();
    p->names = map_new();
    list_init(&p->all_sandboxes);
    list_init(&p->all_containers);
    list_init(&p->watches);
    if (getrandom(&p->exec_prefix, sizeof(p->exec_prefix), 0) != sizeof(p->exec_prefix))
        p->exec_prefix = (uint64_t)time_now_ns();
    if (kernel_probe(&p->kernel, e) < 0 || make_directories(p, e) < 0 || records_load(p, e) < 0) {
        pods_close(p);
        return -1;
    }
    hold_images(p);
    *ret = p;
    return 0;
}

static void free_names(struct pods *p)
{
    size_t cursor = 0;
    void *name;

    while (map_next(p->names, &cursor, NULL, &name))
        name_release(p, name);
    map_free(p->names);
}

struct pods *pods_hold(struct pods *p)
{
    p->refs++;
    return p;
}

void pods_release(struct pods *p)
{
    if (--p->refs > 0)
        return;
    cdi_free(p->cdi);
    free(p->root);
    free(p->state);
    free(p->seccomp_default_profile);
    strv_free(p->dns_servers);
    free(p->cgroup_parent);
    free(p);
}

void pods_close(struct pods *p)
{
    if (!p)
        return;
    /* Freeing a shim answers what waits for it: see `closing`. */
    p->closing = true;
    list_for_each_safe (it, &p->all_containers) {
        struct container *c = container_of_all(it);
        container_withdraw(c);
        container_object_free(c);
    }
    list_for_each_safe (it, &p->all_sandboxes) {
        struct sandbox *s = sandbox_of(it);
        sandbox_withdraw(s);
        sandbox_object_free(s);
    }
    list_for_each_safe (it, &p->watches)
        pod_watch_free(pod_watch_of(it));
    systemd_free(take_ptr(p->systemd));
    free_names(p);
    map_free(p->sandboxes);
    map_free(p->containers);
    pods_release(p);
}

const char *pods_apparmor_default(const struct pods *p)
{
    return p->apparmor_default_loaded ? APPARMOR_DEFAULT_PROFILE : NULL;
}

char *sandbox_root_dir(const struct pods *p, const char *id)
{
    return xasprintf("%s/pods/%s", p->root, id);
}

char *sandbox_state_dir(const struct pods *p, const char *id)
{
    return xasprintf("%s/pods/%s", p->state, id);
}

int64_t created_at_next(struct pods *p)
{
    int64_t now = time_now_ns();

    if (now <= p->last_created_at) /* the clock was set back, or is coarse */
        now = p->last_created_at + 1;
    p->last_created_at = now;
    return now;
}

/* ---- What may be listed --------------------------------------------------------------------- */

/* Both lists are in the order of creation, which is not that of publishing: making an object takes
 * more or less long, and records are read pod by pod. A list that is sent in pieces relies on it.
 * The place is near the end, so the search begins there. */
static void list_sandbox(struct pods *p, struct sandbox *s)
{
    struct list *behind = p->all_sandboxes.prev;

    while (behind != &p->all_sandboxes && sandbox_of(behind)->created_at > s->created_at)
        behind = behind->prev;
    list_append(behind->next, &s->priv->all);
}

static void list_container(struct pods *p, struct container *c)
{
    struct list *behind = p->all_containers.prev;

    while (behind != &p->all_containers && container_of_all(behind)->created_at > c->created_at)
        behind = behind->prev;
    list_append(behind->next, &c->priv->all);
}

static void list_sibling(struct sandbox *s, struct container *c)
{
    struct list *behind = s->containers.prev;

    while (behind != &s->containers && container_of_sibling(behind)->created_at > c->created_at)
        behind = behind->prev;
    list_append(behind->next, &c->siblings);
}

void sandbox_publish(struct pods *p, struct sandbox *s)
{
    if (s->created_at > p->last_created_at)
        p->last_created_at = s->created_at;
    map_put(p->sandboxes, s->id, s);
    list_sandbox(p, s);
    s->priv->published = true;
}

void sandbox_withdraw(struct sandbox *s)
{
    map_remove(s->priv->pods->sandboxes, s->id);
    list_remove(&s->priv->all);
    s->priv->published = false;
}

void container_publish(struct sandbox *s, struct container *c)
{
    struct pods *p = s->priv->pods;

    if (c->created_at > p->last_created_at)
        p->last_created_at = c->created_at;
    c->sandbox = s;
    map_put(p->containers, c->id, c);
    list_container(p, c);
    list_sibling(s, c);
}

void container_withdraw(struct container *c)
{
    map_remove(c->sandbox->priv->pods->containers, c->id);
    list_remove(&c->priv->all);
    list_remove(&c->siblings);
}

/* ---- Finding -------------------------------------------------------------------------------- */

struct sandbox *sandbox_by_id(struct pods *p, const char *id)
{
    return map_get(p->sandboxes, id);
}

struct container *container_by_id(struct pods *p, const char *id)
{
    return map_get(p->containers, id);
}

/* The only value whose key begins with `prefix`; *ambiguous when there are several. */
static void *find_by_prefix(const struct map *m, const char *prefix, bool *ambiguous)
{
    void *found = NULL, *value;
    const char *key;
    size_t cursor = 0;

    *ambiguous = false;
    if (str_empty(prefix) || strlen(prefix) >= ID_SIZE - 1)
        return NULL;
    while (map_next(m, &cursor, &key, &value)) {
        if (!str_starts_with(key, prefix))
            continue;
        *ambiguous = found != NULL;
        if (*ambiguous)
            return NULL;
        found = value;
    }
    return found;
}

static void *find_object(const struct map *m, const char *what, const char *id, struct err *e)
{
    bool ambiguous = false;

    if (!id)
        id = "";
    void *object = map_get(m, id);
    if (!object)
        object = find_by_prefix(m, id, &ambiguous);
    if (!object && e)
        err_set(e, ambiguous ? ERR_INVALID_ARGUMENT : ERR_NOT_FOUND,
                ambiguous ? "%s %s: several ids begin like this" : "%s %s does not exist", what,
                str_empty(id) ? "\"\"" : id);
    return object;
}

struct sandbox *sandbox_find(struct pods *p, const char *id, struct err *e)
{
    return find_object(p->sandboxes, "pod sandbox", id, e);
}

struct container *container_find(struct pods *p, const char *id, struct err *e)
{
    return find_object(p->containers, "container", id, e);
}

void sandbox_for_each(struct pods *p, void (*fn)(void *arg, const struct sandbox *s), void *arg)
{
    list_for_each_safe (it, &p->all_sandboxes)
        fn(arg, sandbox_of(it));
}

void container_for_each(struct pods *p, void (*fn)(void *arg, const struct container *c), void *arg)
{
    list_for_each_safe (it, &p->all_containers)
        fn(arg, container_of_all(it));
}

pid_t sandbox_pid(const struct sandbox *s)
{
    return s->priv->shim ? shim_pid(s->priv->shim) : 0;
}

int sandbox_netns(const struct sandbox *s)
{
    return s->priv->shim && !s->host_network ? shim_netns(s->priv->shim) : -1;
}

bool sandbox_ids(const struct sandbox *s, struct id_range *ret_uids, struct id_range *ret_gids)
{
    if (s->priv->n_uid_maps == 0 || s->priv->n_gid_maps == 0)
        return false;
    *ret_uids = s->priv->uid_maps[0];
    *ret_gids = s->priv->gid_maps[0];
    return true;
}

const char *sandbox_own_cgroup(const struct sandbox *s)
{
    return str_equal(s->cgroup_parent, s->priv->pods->cgroup_parent) ? NULL : s->cgroup_parent;
}

int sandbox_set_asked(struct pods *p, const char *id, const struct bytes *asked, struct err *e)
{
    struct sandbox *s = sandbox_find(p, id, e);

    if (!s)
        return -1;
    struct bytes old = s->asked;
    s->asked = bytes_dup(asked);
    if (record_write_sandbox(s, e) < 0) {
        bytes_free(&s->asked);
        s->asked = old;
        return -1;
    }
    bytes_free(&old);
    return 0;
}
