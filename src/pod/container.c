/*
 * container.c - creating a container: everything that can fail, without running anything.
 *
 *   plan     the whole spec except the user: mistakes of the request end here, nothing is made yet
 *   rootfs   on a worker thread: writable layer, overlay, user, volumes, mount sources
 *   record   before the shim hears of it; a record that its shim does not know is a half-made one
 *   shim     makes the cgroup and opens the mount sources
 *
 * A failure undoes what was made. While this goes on the sandbox is `busy`, so that it stays; when
 * it begins to stop, the next step fails.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "private.h"
#include "spec.h"
#include "volume.h"

struct create {
    struct pods *p;
    struct sandbox *s;
    struct container *c;
    struct name *name;
    struct plan *plan;
    char **layers;
    char *volumes_dir;
    struct image_user user;
    struct rootfs_ids ids; /* of the pod's user namespace; user_ns -1: the node's */
    int rootfs_fd;
    struct err why;
};

static const struct err no_error = ERR_INIT;

static void create_free(struct create *r)
{
    plan_free(r->plan);
    strv_free(r->layers);
    free(r->volumes_dir);
    image_user_clear(&r->user);
    fd_close(r->ids.user_ns);
    fd_close(r->rootfs_fd);
    err_clear(&r->why);
    pods_release(r->p);
    free(r);
}

/* ---- The end, good or bad ------------------------------------------------------------------- */

static void create_succeeded(struct create *r)
{
    struct pods *p = r->p;
    struct sandbox *s = r->s;
    struct container *c = r->c;
    struct name *name = r->name;

    c->priv->name = name;
    container_publish(s, c);
    create_free(r);
    pod_emit(p, POD_CREATED, s, c);
    name_finish(p, name, &no_error);
    sandbox_busy_end(s);
}

/* Takes r->why. */
static void create_failed(struct create *r)
{
    struct pods *p = r->p;
    struct sandbox *s = r->s;
    struct name *name = r->name;
    struct err why = r->why;
    _cleanup_err_ struct err e = ERR_INIT;

    r->why = (struct err)ERR_INIT;
    fd_close(take_fd(&r->rootfs_fd)); /* the overlay ends with its last descriptor */
    if (rootfs_remove(p->images, r->c->id, &e) < 0)
        log_warn("pod", r->c->id, "a failed creation is not undone wholly: %s", err_text(&e));
    container_release_images(r->c);
    container_object_free(r->c);
    create_free(r);
    name_finish(p, name, &why);
    err_clear(&why);
    sandbox_busy_end(s);
}

/* ---- The shim ------------------------------------------------------------------------------- */

static void on_created(void *arg, const struct err *e)
{
    struct create *r = arg;
    _cleanup_err_ struct err ignored = ERR_INIT;

    if (r->p->closing)
        return;
    if (e->code == ERR_OK) {
        create_succeeded(r);
        return;
    }
    err_copy(&r->why, e);
    if (record_unlink_container(r->c, &ignored) < 0)
        log_warn("pod", r->c->id, "%s", err_text(&ignored));
    create_failed(r);
}

static void fill_container(struct create *r)
{
    struct container *c = r->c;
    container_spec_t *spec = r->plan->spec;

    plan_set_user(r->plan, &r->user, &c->groups, &c->n_groups);
    c->uid = r->user.uid;
    c->gid = r->user.gid;
    c->tty = spec->process->tty;
    c->stdin_open = spec->stdin_open;
    c->stdin_once = spec->stdin_once;
    c->stop_signal = r->plan->stop_signal;
    c->log_path = xstrdup(spec->log_path);
    c->cgroup_path = xstrdup(spec->cgroup_path);
    c->priv->pid_target_mode = spec->pid_mode == PODD__SHIM__PID_MODE__PID_TARGET;
    c->priv->pid_target = xstrdup(spec->pid_target);
}

static void tell_shim(struct create *r)
{
    container_spec_t *spec = r->plan->spec;
    struct container *c = r->c;

    if (!r->s->priv->shim || r->s->priv->stopping) {
        err_set(&r->why, ERR_FAILED_PRECONDITION, "sandbox " ID_SHORT " is not ready", r->s->id);
        create_failed(r);
        return;
    }
    fill_container(r);
    c->priv->process = spec->process; /* for as long as it takes to encode it */
    container_set_env(c);
    if (record_write_container(c, &r->why) < 0) {
        c->priv->process = NULL;
        create_failed(r);
        return;
    }
    struct image_mounts *volumes = &r->plan->image_mounts;
    shim_create(r->s->priv->shim, spec, take_fd(&r->rootfs_fd), volumes->fds, volumes->count,
                on_created, r);
    free(take_ptr(volumes->fds)); /* taken */
    spec->process = NULL;         /* the container's from now on */
}

/* ---- The root file system ------------------------------------------------------------------- */

static int check_sources(struct create *r)
{
    for (size_t i = 0; i < strv_len(r->plan->sources); i++)
        if (access(r->plan->sources[i], F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
            return err_set(&r->why, ERR_FAILED_PRECONDITION,
                           "mount source %s does not exist on the node", r->plan->sources[i]);
    return 0;
}

static int make_volumes(struct create *r)
{
    if (!r->plan->volumes)
        return 0;
    if (mkdir(r->volumes_dir, 0755) < 0)
        return err_errno(&r->why, errno, "make %s", r->volumes_dir);
    for (size_t i = 0; i < strv_len(r->plan->volumes); i++) {
        _cleanup_free_ char *dest = xasprintf("%s/%zu", r->volumes_dir, i);
        if (volume_make(r->rootfs_fd, r->plan->volumes[i], dest, r->ids.uid, r->ids.gid, &r->why) <
            0)
            return -1;
    }
    return 0;
}

/* The directory of the log; who reads logs finds the file by the path that was asked for. */
static int make_log_directory(struct create *r)
{
    const char *slash = strrchr(r->plan->spec->log_path, '/');

    if (!slash)
        return 0;
    _cleanup_free_ char *directory =
        xstrndup(r->plan->spec->log_path, (size_t)(slash - r->plan->spec->log_path));
    if (*directory && access(directory, F_OK) < 0 && dir_ensure(directory, 0755, &r->why) < 0)
        return err_wrap(&r->why, "log directory");
    return 0;
}

static void rootfs_work(void *arg)
{
    struct create *r = arg;

    if (check_sources(r) < 0 ||
        rootfs_create(r->p->images, r->c->id, r->layers, r->ids.user_ns < 0 ? NULL : &r->ids,
                      &r->rootfs_fd, &r->why) < 0 ||
        image_user_resolve(r->rootfs_fd, r->plan->user, &r->user, &r->why) < 0 ||
        make_volumes(r) < 0 ||
        image_mounts_open(&r->plan->image_mounts, r->p->images, r->ids.user_ns < 0 ? NULL : &r->ids,
                          &r->why) < 0)
        return;
    (void)!make_log_directory(r); /* the last: r->why tells */
}

static void rootfs_done(void *arg)
{
    struct create *r = arg;

    if (r->p->closing)
        return;
    if (r->why.code != ERR_OK)
        create_failed(r);
    else
        tell_shim(r);
}

/* ---- The request ---------------------------------------------------------------------------- */

static struct container *container_make(struct pods *p, struct sandbox *s,
                                        const struct container_config *config,
                                        const struct image *image, const char *id)
{
    struct container *c = container_new(id);

    c->sandbox = s;
    c->name = str_or_empty(config->name);
    c->attempt = config->attempt;
    c->created_at = created_at_next(p);
    c->image = str_or_empty(config->image);
    c->image_id = xstrdup(image->id);
    c->image_digest = xstrdup(strv_len(image->repo_digests) ? image->repo_digests[0] : image->id);
    c->labels = key_values_dup(config->labels, config->n_labels);
    c->n_labels = config->n_labels;
    c->annotations = key_values_dup(config->annotations, config->n_annotations);
    c->n_annotations = config->n_annotations;
    c->asked = bytes_dup(&config->asked);
    c->priv->fingerprint = fingerprint_container(config);
    return c;
}

/* What its devices by CDI need; empty when it asks for none. */
static int find_devices(struct pods *p, const struct container_config *config,
                        struct cdi_request *ret, struct err *e)
{
    _cleanup_strv_ char **names = NULL;

    *ret = (struct cdi_request){0};
    if (cdi_names(config->cdi_devices, config->annotations, config->n_annotations, &names, e) < 0)
        return -1;
    return names ? cdi_find(p->cdi, names, ret, e) : 0;
}

static int make_plan(struct create *r, const struct container_config *config,
                     const struct image *image, struct err *e)
{
    const struct sandbox_private *priv = r->s->priv;
    CLEANUP(cdi_request_clear) struct cdi_request devices;
    if (find_devices(r->p, config, &devices, e) < 0)
        return -1;
    _cleanup_free_ char *files_dir = sandbox_state_dir(r->p, r->s->id);
    struct spec_input in = {
        .config = config,
        .image = &image->config,
        .container_id = r->c->id,
        .cdi = &devices,
        .hostname = r->s->hostname,
        .log_directory = r->s->log_directory,
        .cgroup_parent = r->s->cgroup_parent,
        .files_dir = files_dir,
        .host_network = r->s->host_network,
        .host_ipc = priv->host_ipc,
        .privileged_allowed = priv->privileged,
        .uid_maps = priv->uid_maps,
        .n_uid_maps = priv->n_uid_maps,
        .gid_maps = priv->gid_maps,
        .n_gid_maps = priv->n_gid_maps,
        .volumes_dir = r->volumes_dir,
        .seccomp_default_profile = r->p->seccomp_default_profile,
        .restrict_oom_score_adj = r->p->restrict_oom_score_adj,
        .kernel = &r->p->kernel,
        .apparmor_default_loaded = r->p->apparmor_default_loaded,
    };

    return plan_make(&in, &r->plan, e);
}

/* The worker uses it while the sandbox may go. */
static int take_user_namespace(struct create *r, struct err *e)
{
    const struct sandbox_private *priv = r->s->priv;

    if (priv->n_uid_maps == 0)
        return 0;
    r->ids.uid = priv->uid_maps[0].host_id;
    r->ids.gid = priv->gid_maps[0].host_id;
    r->ids.user_ns = fd_dup(shim_user_ns(priv->shim));
    return r->ids.user_ns < 0 ? err_errno(e, r->ids.user_ns, "the pod's user namespace") : 0;
}

/* The container whose processes another one wants to share. */
static int check_target(struct sandbox *s, const char *id, struct err *e)
{
    struct container *target = container_by_id(s->priv->pods, id ? id : "");

    if (!target || target->sandbox != s)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "PID namespace of container %s: there is no such container in this pod",
                       id ? id : "");
    if (target->state != CONTAINER_RUNNING)
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "PID namespace of container %s: it is not running", id);
    return 0;
}

static struct sandbox *find_ready(struct pods *p, const char *id, struct err *e)
{
    struct sandbox *s = sandbox_find(p, id, e);

    if (s && (s->state != SANDBOX_READY || s->priv->stopping || !s->priv->shim)) {
        err_set(e, ERR_FAILED_PRECONDITION, "sandbox " ID_SHORT " is not ready", s->id);
        return NULL;
    }
    return s;
}

static void create_begin(struct sandbox *s, const struct container_config *config, const char *key,
                         pod_id_fn *fn, void *arg)
{
    struct pods *p = s->priv->pods;
    const struct image *image = image_find(p->images, config->image);
    _cleanup_free_ char *id = id_new();
    struct err e = ERR_INIT;

    if (!image) {
        err_set(&e, ERR_NOT_FOUND, "image %s not found: pull it first", config->image);
        id_later(p, fn, arg, NULL, &e);
        return;
    }
    struct create *r = xnew(struct create);
    r->p = pods_hold(p);
    r->s = s;
    r->rootfs_fd = -1;
    r->ids.user_ns = -1;
    r->c = container_make(p, s, config, image, id);
    r->volumes_dir = xasprintf("%s/containers/%s/volumes", p->root, id);
    if (make_plan(r, config, image, &e) < 0 || take_user_namespace(r, &e) < 0 ||
        image_mounts_find(&r->plan->image_mounts, p->images, &e) < 0) {
        container_object_free(r->c);
        create_free(r);
        id_later(p, fn, arg, NULL, &e);
        return;
    }
    r->c->priv->volume_images = image_mounts_ids(&r->plan->image_mounts);
    r->layers = strv_dup(image->layers, strv_len(image->layers));
    container_hold_images(r->c);
    r->name = name_add(p, key, id, r->c->priv->fingerprint);
    name_wait(r->name, fn, arg);
    s->priv->busy++;
    loop_work(p->loop, rootfs_work, rootfs_done, r);
}

/* The name is taken: by a request under way, or by an object. */
static void answer_retry(struct pods *p, struct name *n, const struct container_config *config,
                         pod_id_fn *fn, void *arg)
{
    struct container *c = container_by_id(p, n->id);
    struct err e = ERR_INIT;

    if (n->fingerprint != fingerprint_container(config)) {
        err_set(&e, ERR_ALREADY_EXISTS,
                "container %s (attempt %u) exists as %s, with another configuration", config->name,
                config->attempt, n->id);
    } else if (n->busy) {
        name_wait(n, fn, arg);
        return;
    } else if (!c || c->state != CONTAINER_CREATED || c->priv->starting || c->priv->removing) {
        err_set(&e, ERR_ALREADY_EXISTS,
                "container %s (attempt %u) exists as %s and has been started: remove it first",
                config->name, config->attempt, n->id);
    }
    id_later(p, fn, arg, e.code == ERR_OK ? n->id : NULL, &e);
}

void container_create(struct pods *p, const char *sandbox_id, const struct container_config *config,
                      pod_id_fn *fn, void *arg)
{
    struct err e = ERR_INIT;
    struct sandbox *s = find_ready(p, sandbox_id, &e);

    if (s && str_empty(config->name)) {
        err_set(&e, ERR_INVALID_ARGUMENT, "the container has no name");
        s = NULL;
    }
    if (s && str_empty(config->image)) {
        err_set(&e, ERR_INVALID_ARGUMENT, "container %s names no image", config->name);
        s = NULL;
    }
    if (s && config->security.pid == NAMESPACE_TARGET &&
        check_target(s, config->security.pid_target, &e) < 0)
        s = NULL;
    if (!s) {
        id_later(p, fn, arg, NULL, &e);
        return;
    }
    _cleanup_free_ char *key = name_key_container(s->id, config->name, config->attempt);
    struct name *n = name_find(p, key);
    if (n)
        answer_retry(p, n, config, fn, arg);
    else
        create_begin(s, config, key, fn, arg);
}
