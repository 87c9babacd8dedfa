/*
 * setup.c - the beginning of a container's life: its image, its files, its creation and its start.
 *
 * Each step is an operation; its end kicks the pod, and the next pass finds the next step. A step
 * that fails is tried again after a back-off, and says in the status and in an event why.
 */
#include "private.h"
#include "resources.h"
#include "translate.h"

#include <fcntl.h>
#include <sys/stat.h>

#define NODE_HOSTS "/etc/hosts"

static void try_later(struct member *m, struct backoff *b)
{
    int64_t now = time_now_ns();

    backoff_fail(b, now);
    m->due = now + b->delay_ns;
}

/* ---- Images ------------------------------------------------------------------------------------
 */

/* Without a policy of its own, an image of the tag latest is always asked for. */
static enum pull_policy pull_policy_of(const char *image, int policy)
{
    struct image_ref ref = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (policy != PULL_UNSET)
        return (enum pull_policy)policy;
    if (image_ref_parse(image, &ref, &e) < 0)
        return PULL_IF_NOT_PRESENT;
    bool latest = !ref.digest && str_equal(ref.tag, "latest");
    image_ref_clear(&ref);
    return latest ? PULL_ALWAYS : PULL_IF_NOT_PRESENT;
}

/* The index-th image that the container needs: its own, then those of the volumes it mounts. NULL
 * when there are no more. */
static const char *wanted_image(const struct member *m, size_t index, int *ret_policy)
{
    const struct pod_spec *spec = m->pod->manifest->spec;

    *ret_policy = m->spec->pull;
    if (index == 0)
        return m->spec->image;
    for (size_t i = 0; i < m->spec->mounts.count; i++) {
        const struct manifest_volume *v = spec_find_volume(spec, container_mount(m->spec, i)->name);
        if (!v->image || --index > 0)
            continue;
        *ret_policy = v->image->pull;
        return v->image->reference;
    }
    return NULL;
}

static const char *current_image(const struct member *m)
{
    int policy;

    return wanted_image(m, m->images_ready, &policy);
}

static void pull_done(struct op *op, const char *id, const struct err *e)
{
    struct member *m = op->member;
    const char *image = current_image(m);

    m->pull = NULL;
    if (e->code == ERR_CANCELLED)
        return;
    if (e->code != ERR_OK) {
        bool again = m->pull_backoff.delay_ns > 0;
        try_later(m, &m->pull_backoff);
        event_add(m->pod, m, true, "Failed", "Failed to pull image \"%s\": %s", image, err_text(e));
        if (again)
            member_set_waiting(m, "ImagePullBackOff", "Back-off pulling image \"%s\": %s", image,
                               err_text(e));
        else
            member_set_waiting(m, "ErrImagePull", "%s", err_text(e));
        return;
    }
    int64_t took = time_mono_ns() - m->pull_started;
    event_add(m->pod, m, false, "Pulled", "Successfully pulled image \"%s\" in %lld.%03llds", image,
              (long long)(took / NS_PER_SEC), (long long)(took % NS_PER_SEC / NS_PER_MS));
    m->pull_backoff = (struct backoff){0};
    m->images_ready++;
}

static void pull_start(struct member *m, const char *image)
{
    static const struct image_pull_events events = {.on_done = op_on_id};
    struct op *op = op_new(m->pod, m, pull_done, NULL);

    event_add(m->pod, m, false, "Pulling", "Pulling image \"%s\"", image);
    m->pull_started = time_mono_ns();
    struct image_pull *pull =
        image_pull_start(m->pod->node->config.images, image, NULL, &events, op);
    if (m->op == op) /* else it was answered already */
        m->pull = pull;
}

/* True when the image is there. */
static bool image_sync(struct member *m, const char *image, enum pull_policy policy)
{
    bool here = image_find(m->pod->node->config.images, image) != NULL;

    if (policy == PULL_NEVER && !here) {
        try_later(m, &m->pull_backoff);
        member_set_waiting(m, "ErrImageNeverPull",
                           "image \"%s\" is not on this node, and imagePullPolicy is Never", image);
        event_add(m->pod, m, true, "ErrImageNeverPull",
                  "Container image \"%s\" is not present with pull policy of Never", image);
        return false;
    }
    if (policy == PULL_ALWAYS || !here) {
        pull_start(m, image);
        return false;
    }
    event_add(m->pod, m, false, "Pulled", "Container image \"%s\" already present on machine",
              image);
    m->pull_backoff = (struct backoff){0};
    return true;
}

/* True when all of them are there. */
static bool images_sync(struct member *m)
{
    const char *image;
    int policy;

    while ((image = wanted_image(m, m->images_ready, &policy))) {
        if (!image_sync(m, image, pull_policy_of(image, policy)))
            return false;
        m->images_ready++;
    }
    return true;
}

/* ---- Files -------------------------------------------------------------------------------------
 */

struct files_job {
    struct work_job base;
    char *log_dir, *file_dir;
    char *termination_file;
    char *hosts_file, *hosts; /* NULL: the pod's own */
    bool add_node_hosts;
};

static void files_job_free(struct files_job *job)
{
    err_clear(&job->base.err);
    free(job->log_dir);
    free(job->file_dir);
    free(job->termination_file);
    free(job->hosts_file);
    free(job->hosts);
    free(job);
}

static int write_hosts(const struct files_job *job, struct err *e)
{
    _cleanup_bytes_ struct bytes node = {0};
    _cleanup_strbuf_ struct strbuf text = {0};

    if (job->add_node_hosts) {
        if (file_read(AT_FDCWD, NODE_HOSTS, 1 << 20, &node, e) < 0)
            return -1;
        strbuf_add(&text, node.data, node.len);
    }
    strbuf_adds(&text, job->hosts);
    return file_write_atomic(AT_FDCWD, job->hosts_file, text.data, text.len, 0644, false, e);
}

/* The file of the termination message: any user of the container may write to it. */
static int make_termination_file(const char *path, struct err *e)
{
    _cleanup_close_ int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);

    if (fd < 0 || fchmod(fd, 0666) < 0)
        return err_errno(e, errno, "make %s", path);
    return 0;
}

static void files_work(struct work_job *base)
{
    const struct files_job *job = container_of(base, struct files_job, base);

    if (dir_ensure(job->log_dir, 0755, &base->err) < 0 ||
        dir_ensure(job->file_dir, 0700, &base->err) < 0 ||
        make_termination_file(job->termination_file, &base->err) < 0)
        return;
    if (job->hosts_file && write_hosts(job, &base->err) < 0)
        return;
}

/* ---- Creating ----------------------------------------------------------------------------------
 */

static void create_failed(struct member *m, const char *reason, const struct err *e)
{
    try_later(m, &m->create_backoff);
    member_set_waiting(m, reason, "%s", err_text(e));
    event_add(m->pod, m, true, "Failed", "Error: %s", err_text(e));
    log_warn("node", m->pod->key, "container %s: %s", m->spec->name, err_text(e));
}

static void started(struct op *op, const char *id, const struct err *e)
{
    struct member *m = op->member;

    if (e->code != ERR_OK) {
        member_set_waiting(m, "RunContainerError", "%s", err_text(e));
        event_add(m->pod, m, true, "Failed", "Error: %s", err_text(e));
        log_warn("node", m->pod->key, "start container %s: %s", m->spec->name, err_text(e));
        return;
    }
    event_add(m->pod, m, false, "Started", "Started container %s", m->spec->name);
    declared_touch(m->pod);
}

static void start_container(struct member *m)
{
    struct op *op = op_new(m->pod, m, started, NULL);

    container_start_up(m->pod->node->config.pods, m->id, op_on_done, op);
}

static void created(struct op *op, const char *id, const struct err *e)
{
    struct member *m = op->member;

    if (e->code != ERR_OK) {
        create_failed(m, "CreateContainerError", e);
        return;
    }
    m->id = xstrdup(id);
    m->create_backoff = (struct backoff){0};
    event_add(m->pod, m, false, "Created", "Created container %s", m->spec->name);
    if (!m->pod->deleting && !m->pod->node->halted)
        start_container(m);
}

static int make_plan(struct member *m, const struct files_job *job, struct container_plan *plan,
                     struct err *e)
{
    struct declared *d = m->pod;
    const struct sandbox *s = declared_sandbox(d);
    const struct image *image = image_find(d->node->config.images, m->spec->image);
    const char *ips[NET_ADDRESSES_MAX];

    if (!s)
        return err_set(e, ERR_UNAVAILABLE, "the pod's sandbox is gone");
    if (!image)
        return err_set(e, ERR_NOT_FOUND, "image %s is not on this node any more", m->spec->image);
    const struct member *target = m->spec->target ? declared_member(d, m->spec->target) : NULL;
    if (target && !member_is_running(target))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "container %s, whose processes it should see, does not run",
                       m->spec->target);
    for (size_t i = 0; i < s->addresses.count; i++)
        ips[i] = s->addresses.text[i];
    struct volumes_place volumes = declared_volumes_place(d);
    const struct container_place place = {
        .manifest = d->manifest,
        .uid = d->uid,
        .first_id = d->first_id,
        .node_name = d->node->hostname,
        .ips = ips,
        .n_ips = s->addresses.count,
        .attempt = m->attempt,
        .volumes = &volumes,
        .can_recurse_readonly = d->node->kernel.recursive_read_only,
        .termination_file = job->termination_file,
        .hosts_file = job->hosts_file,
        .pid_target = target ? target->id : NULL,
        .image_user = image->config.user,
        .node_memory = resources_node_memory(),
        .objects = declared_objects(d),
        .log_size_max = d->node->config.log_size_max,
        .log_files_max = d->node->config.log_files_max,
    };
    int r = container_plan_make(m->spec, &place, plan, e);
    volumes_place_clear(&volumes);
    return r;
}

/* ---- Sub paths ---------------------------------------------------------------------------------
 */

struct create_job {
    struct work_job base;
    struct container_plan plan;
};

static void create_container(struct member *m, struct container_plan *plan)
{
    struct declared *d = m->pod;
    struct op *op = op_new(d, m, created, NULL);

    container_create(d->node->config.pods, d->sandbox_id, &plan->config, op_on_id, op);
}

/* A volume that podd fills has what it has; in others a missing directory is made. */
static void sub_paths_work(struct work_job *base)
{
    const struct create_job *job = container_of(base, struct create_job, base);
    const struct container_config *config = &job->plan.config;

    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct mount_config *m = &config->mounts[i];
        if (m->sub_path && !m->readonly &&
            volume_make_sub_path(m->host_path, m->sub_path, &base->err) < 0)
            return;
    }
}

static void sub_paths_done(struct op *op, const char *id, const struct err *e)
{
    struct create_job *job = op->job;
    struct member *m = op->member;

    if (e->code != ERR_OK)
        create_failed(m, "CreateContainerConfigError", e);
    else if (!m->pod->deleting && !m->pod->node->halted)
        create_container(m, &job->plan);
    container_plan_free(&job->plan);
    err_clear(&job->base.err);
    free(job);
}

static bool has_sub_path(const struct container_config *config)
{
    for (size_t i = 0; i < config->n_mounts; i++)
        if (config->mounts[i].sub_path)
            return true;
    return false;
}

static void create_planned(struct member *m, struct container_plan *plan)
{
    if (!has_sub_path(&plan->config)) {
        create_container(m, plan);
        container_plan_free(plan);
        return;
    }
    struct create_job *job = xnew(struct create_job);
    job->base.work = sub_paths_work;
    job->plan = *plan;
    op_work(m->pod->node->config.loop, op_new(m->pod, m, sub_paths_done, job), &job->base);
}

static void files_done(struct op *op, const char *id, const struct err *e)
{
    struct files_job *job = op->job;
    struct member *m = op->member;
    struct declared *d = m->pod;
    struct container_plan plan;
    _cleanup_err_ struct err why = ERR_INIT;

    if (e->code != ERR_OK) {
        create_failed(m, "CreateContainerConfigError", e);
    } else if (!d->deleting && !d->node->halted) {
        if (make_plan(m, job, &plan, &why) < 0) {
            create_failed(m, "CreateContainerConfigError", &why);
            if (why.code == ERR_NOT_FOUND)
                m->images_ready = 0;
        } else {
            free(m->termination_file);
            m->termination_file = xstrdup(job->termination_file);
            create_planned(m, &plan);
        }
    }
    files_job_free(job);
}

static void files_start(struct member *m)
{
    struct declared *d = m->pod;
    const struct sandbox *s = declared_sandbox(d);
    struct files_job *job = xnew(struct files_job);
    _cleanup_free_ char *log_dir = declared_log_dir(d), *volume_dir = declared_volume_dir(d);

    job->base.work = files_work;
    job->log_dir = xasprintf("%s/%s", log_dir, m->spec->name);
    job->file_dir = xasprintf("%s/.podd", volume_dir);
    job->termination_file = xasprintf("%s/%s.%u.message", job->file_dir, m->spec->name, m->attempt);
    if (d->manifest->spec->host_aliases.count && s) {
        const char *ips[NET_ADDRESSES_MAX];
        for (size_t i = 0; i < s->addresses.count; i++)
            ips[i] = s->addresses.text[i];
        job->add_node_hosts = d->manifest->spec->host_network.value;
        job->hosts = hosts_text(d->manifest, ips, s->addresses.count, NULL);
        job->hosts_file = xasprintf("%s/hosts.%u", job->file_dir, d->sandbox_attempt);
    }
    struct op *op = op_new(d, m, files_done, job);
    op_work(d->node->config.loop, op, &job->base);
}

/* ---- The pass ----------------------------------------------------------------------------------
 */

void member_start_life(struct member *m)
{
    const struct container *c = member_container(m);

    if (m->op || m->due > time_now_ns() || m->pod->node->halted)
        return;
    if (c && c->state == CONTAINER_CREATED)
        start_container(m);
    else if (!c && images_sync(m))
        files_start(m);
}
