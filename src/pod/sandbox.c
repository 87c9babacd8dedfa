/*
 * sandbox.c - making a pod ready for containers.
 *
 * A table of named steps; each begins something and ends in step_done(). The first that fails turns
 * the walk around: the steps before it are undone in reverse. A step that fails leaves nothing of
 * its own behind. Nobody can see the sandbox before the last step; all that can is the name, which
 * is reserved from the first moment on, so that a retry joins.
 *
 *   directories  the intent: from here on a restart of podd undoes what it finds by the id
 *   shim         is forked; resolv.conf and hostname are written while the zygote works
 *   scope        where the pod's parent is a slice: systemd makes a cgroup around the shim
 *   network      lease, links, addresses
 *   files        hosts, which needs the addresses
 *   record       from here on the pod survives podd
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "files.h"
#include "private.h"
#include "scope.h"
#include "slice.h"
#include "sysctl.h"

enum { SHM_SIZE_DEFAULT = 64 << 20 };

struct run {
    struct pods *p;
    struct sandbox *s;
    struct name *name;
    spawn_request_t request;
    char *state_dir, *root_dir;
    char *slice; /* NULL: the pod has no scope of systemd's */
    struct strbuf resolv_conf;
    struct net_port *ports;
    size_t n_ports;
    struct net_bandwidth bandwidth;
    char **dns_servers, **dns_searches, **dns_options; /* strv, for CNI plugins */
    size_t step;
    bool undoing;
    struct err why;       /* of the failure that is being undone */
    struct err files_why; /* files written while the shim was forked */
    struct err scope_why; /* the shim could not move within its scope */
    struct err undo_why;  /* the network could not be given back */
};

struct step {
    const char *name;
    void (*run)(struct run *r);
    void (*undo)(struct run *r);
};

static void step_done(struct run *r, const struct err *e);
static void undo_done(struct run *r);

static const struct err no_error = ERR_INIT;

static void undo_nothing(struct run *r)
{
    undo_done(r);
}

/* ---- directories ---------------------------------------------------------------------------- */

static int make_directory(const char *path, struct err *e)
{
    if (mkdir(path, 0700) < 0)
        return err_errno(e, errno, "make %s", path);
    return 0;
}

static void run_directories(struct run *r)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (make_directory(r->root_dir, &e) == 0 && make_directory(r->state_dir, &e) < 0)
        rmdir(r->root_dir);
    step_done(r, &e);
}

static void remove_directories_work(void *arg)
{
    struct run *r = arg;

    /* The run directory first: while <root>/pods/<id> is there, a restart looks for the rest. */
    if (tree_remove(AT_FDCWD, r->state_dir, &r->undo_why) == 0)
        (void)!tree_remove(AT_FDCWD, r->root_dir, &r->undo_why);
}

static void remove_directories_done(void *arg)
{
    struct run *r = arg;

    if (r->undo_why.code != ERR_OK)
        log_warn("pod", r->s->id, "a failed start is not undone wholly: %s",
                 err_text(&r->undo_why));
    undo_done(r);
}

static void undo_directories(struct run *r)
{
    /* A network that could not be given back keeps the directory: see kept(). */
    if (r->undo_why.code != ERR_OK)
        undo_done(r);
    else
        loop_work(r->p->loop, remove_directories_work, remove_directories_done, r);
}

/* ---- shim ----------------------------------------------------------------------------------- */

static void on_shim(void *arg, struct shim *shim_take, const struct err *e)
{
    struct run *r = arg;

    if (r->p->closing) {
        shim_free(shim_take);
        return;
    }
    if (e->code == ERR_OK) {
        r->s->priv->shim = shim_take;
        r->s->priv->shim_pid = shim_pid(shim_take);
        r->s->priv->shim_start_time = shim_start_time(shim_take);
    }
    step_done(r, e);
}

static void run_shim(struct run *r)
{
    struct strbuf hostname = {0};

    shim_spawn(r->p->zygote, &r->request, &shim_link_events, r->s, on_shim, r);
    strbuf_adds(&hostname, r->s->hostname);
    strbuf_adds(&hostname, "\n");
    if (pod_file_write(r->state_dir, "resolv.conf", &r->resolv_conf, r->s, &r->files_why) == 0)
        (void)!pod_file_write(r->state_dir, "hostname", &hostname, r->s, &r->files_why);
    strbuf_free(&hostname);
}

static void shim_ended(void *arg, const struct err *e)
{
    struct run *r = arg;

    if (e->code != ERR_OK)
        log_warn("pod", r->s->id, "a failed start is not undone wholly: %s", err_text(e));
    undo_done(r);
}

static void undo_shim(struct run *r)
{
    shim_end(r->s, shim_ended, r);
}

/* ---- scope ---------------------------------------------------------------------------------- */

static void adopt_shim_work(void *arg)
{
    struct run *r = arg;

    (void)!cgroup_adopt(r->s->cgroup_parent, "shim", r->s->priv->shim_pid, &r->scope_why);
}

static void adopt_shim_done(void *arg)
{
    struct run *r = arg;

    step_done(r, &r->scope_why);
}

static void on_scope(void *arg, const struct err *e)
{
    struct run *r = arg;

    if (e->code != ERR_OK || r->p->closing)
        step_done(r, e);
    else
        loop_work(r->p->loop, adopt_shim_work, adopt_shim_done, r);
}

/* The shim keeps the scope: it is the one process that is there as long as the pod. */
static void run_scope(struct run *r)
{
    const struct sandbox *s = r->s;

    if (!r->slice) {
        step_done(r, &no_error);
        return;
    }
    _cleanup_free_ char *name = scope_name(s->id);
    _cleanup_free_ char *description = xasprintf("podd pod %s/%s", s->namespace_, s->name);
    const struct scope_request request = {
        .name = name, .slice = r->slice, .description = description, .pid = s->priv->shim_pid};
    systemd_start_scope(r->p->systemd, &request, on_scope, r);
}

/* ---- network -------------------------------------------------------------------------------- */

static void on_attached(void *arg, const struct net_addresses *addresses, const struct err *e)
{
    struct run *r = arg;

    if (e->code == ERR_OK)
        r->s->addresses = *addresses;
    step_done(r, e);
}

static void run_network(struct run *r)
{
    if (r->s->host_network) {
        step_done(r, &no_error);
        return;
    }
    struct net_pod pod = {.sandbox_id = r->s->id,
                          .name = r->s->name,
                          .namespace_ = r->s->namespace_,
                          .uid = r->s->uid,
                          .pid = r->s->priv->shim_pid,
                          .netns = shim_netns(r->s->priv->shim),
                          .ports = r->ports,
                          .n_ports = r->n_ports,
                          .bandwidth = r->bandwidth,
                          .dns_servers = r->dns_servers,
                          .dns_searches = r->dns_searches,
                          .dns_options = r->dns_options};
    net_attach(r->p->net, &pod, on_attached, r);
}

static void on_detached(void *arg, const struct err *e)
{
    struct run *r = arg;

    if (e->code != ERR_OK && r->undo_why.code == ERR_OK)
        err_copy(&r->undo_why, e);
    undo_done(r);
}

static void undo_network(struct run *r)
{
    if (r->s->host_network)
        undo_done(r);
    else
        net_detach(r->p->net, r->s->id, on_detached, r);
}

/* ---- files, record -------------------------------------------------------------------------- */

static void run_files(struct run *r)
{
    _cleanup_strbuf_ struct strbuf hosts = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (r->files_why.code != ERR_OK)
        err_copy(&e, &r->files_why);
    else if (hosts_make(r->s, &hosts, &e) == 0)
        (void)!pod_file_write(r->state_dir, "hosts", &hosts, r->s, &e);
    step_done(r, &e);
}

static void run_record(struct run *r)
{
    _cleanup_err_ struct err e = ERR_INIT;

    r->s->state = SANDBOX_READY;
    if (record_write_sandbox(r->s, &e) < 0)
        r->s->state = SANDBOX_NOTREADY;
    step_done(r, &e);
}

/* ---- The walk ------------------------------------------------------------------------------- */

static const struct step steps[] = {
    {"directories", run_directories, undo_directories},
    {"shim", run_shim, undo_shim},
    {"scope", run_scope, undo_nothing}, /* it ends with the shim */
    {"network", run_network, undo_network},
    {"files", run_files, undo_nothing},
    {"record", run_record, undo_nothing},
};
enum { STEP_SHIM = 1 };

static void run_free(struct run *r)
{
    free(r->request.hostname);
    for (size_t i = 0; i < r->request.n_sysctls; i++)
        podd__shim__sysctl__free_unpacked(r->request.sysctls[i], NULL);
    free(r->request.sysctls);
    for (size_t i = 0; i < r->request.n_uid_maps; i++)
        free(r->request.uid_maps[i]);
    free(r->request.uid_maps);
    for (size_t i = 0; i < r->request.n_gid_maps; i++)
        free(r->request.gid_maps[i]);
    free(r->request.gid_maps);
    free(r->state_dir);
    free(r->root_dir);
    free(r->slice);
    strbuf_free(&r->resolv_conf);
    for (size_t i = 0; i < r->n_ports; i++)
        free((char *)r->ports[i].host_ip);
    free(r->ports);
    strv_free(r->dns_servers);
    strv_free(r->dns_searches);
    strv_free(r->dns_options);
    err_clear(&r->why);
    err_clear(&r->files_why);
    err_clear(&r->scope_why);
    err_clear(&r->undo_why);
    pods_release(r->p);
    free(r);
}

static void run_succeeded(struct run *r)
{
    struct pods *p = r->p;
    struct sandbox *s = r->s;
    struct name *name = r->name;

    s->priv->name = name;
    sandbox_publish(p, s);
    run_free(r);
    pod_emit(p, POD_CREATED, s, NULL);
    pod_emit(p, POD_STARTED, s, NULL);
    name_finish(p, name, &no_error);
}

/* What could not be given back stays visible, as a sandbox that is not ready: stopping it tries
 * again, and a restart does. */
static bool kept(struct run *r)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (r->undo_why.code == ERR_OK || access(r->root_dir, F_OK) < 0)
        return false;
    log_warn("pod", r->s->id, "a failed start is not undone wholly, stop the sandbox again: %s",
             err_text(&r->undo_why));
    r->s->state = SANDBOX_NOTREADY;
    if (record_write_sandbox(r->s, &e) < 0) {
        log_warn("pod", r->s->id, "%s", err_text(&e));
        return false;
    }
    sandbox_publish(r->p, r->s);
    return true;
}

static void run_failed(struct run *r)
{
    struct pods *p = r->p;
    struct name *name = r->name;
    struct sandbox *s = r->s;
    struct err why = r->why;

    r->why = (struct err)ERR_INIT;
    if (!kept(r))
        sandbox_object_free(s);
    run_free(r);
    name_finish(p, name, &why);
    err_clear(&why);
}

static void undo_done(struct run *r)
{
    if (r->p->closing)
        return; /* a restart undoes the rest */
    if (r->step == 0) {
        run_failed(r);
        return;
    }
    r->step--;
    steps[r->step].undo(r);
}

static void step_done(struct run *r, const struct err *e)
{
    struct err why = ERR_INIT;

    if (r->p->closing)
        return;
    err_copy(&why, e);
    if (why.code == ERR_OK && r->step >= STEP_SHIM && !r->s->priv->shim)
        err_set(&why, ERR_UNAVAILABLE, "the shim died");
    if (why.code == ERR_OK) {
        r->step++;
        if (r->step == ARRAY_SIZE(steps))
            run_succeeded(r);
        else
            steps[r->step].run(r);
        return;
    }
    log_debug("pod", r->s->id, "step %s failed: %s", steps[r->step].name, err_text(&why));
    err_wrap(&why, "start of pod %s/%s", r->s->namespace_, r->s->name);
    r->why = why;
    /* When the shim died on the way, the current step has succeeded and is undone too. */
    if (e->code == ERR_OK)
        r->step++;
    undo_done(r);
}

/* ---- The request ---------------------------------------------------------------------------- */

static int request_fill(struct run *r, const struct sandbox_config *config, struct err *e)
{
    spawn_request_t *request = &r->request;
    const struct sandbox_private *priv = r->s->priv;

    podd__shim__spawn_request__init(request);
    request->sandbox_id = r->s->id;
    request->directory = r->state_dir;
    request->host_network = r->s->host_network;
    request->host_ipc = priv->host_ipc;
    /* One that asks for a name of its own gets one, whatever its network. */
    request->host_uts = r->s->host_network && str_empty(config->hostname);
    request->shared_pid = priv->shared_pid;
    request->hostname = xstrdup(r->s->hostname);
    request->shm_size = config->shm_size ? config->shm_size : SHM_SIZE_DEFAULT;
    request->uid_maps = id_maps_new(priv->uid_maps, priv->n_uid_maps);
    request->n_uid_maps = priv->n_uid_maps;
    request->gid_maps = id_maps_new(priv->gid_maps, priv->n_gid_maps);
    request->n_gid_maps = priv->n_gid_maps;
    if (net_bandwidth_parse(config->annotations, config->n_annotations, &r->bandwidth, e) < 0)
        return -1;
    if (r->s->host_network && (r->bandwidth.ingress || r->bandwidth.egress))
        log_warn("pod", r->s->id,
                 "bandwidth limits have no effect in a pod with the node's network");
    return sysctl_plan(config, request, e);
}

static void run_begin(struct pods *p, const struct sandbox_config *config, const char *key,
                      pod_id_fn *fn, void *arg)
{
    _cleanup_free_ char *id = id_new();
    struct run *r = xnew(struct run);
    struct err e = ERR_INIT;

    r->p = pods_hold(p);
    r->s = sandbox_from_config(p, config, id);
    r->state_dir = sandbox_state_dir(p, id);
    r->root_dir = sandbox_root_dir(p, id);
    if (p->systemd && !str_empty(config->cgroup_parent))
        r->slice = xstrdup(slice_name(config->cgroup_parent));
    if (request_fill(r, config, &e) < 0 ||
        resolv_conf_make(config, p->dns_servers, &r->resolv_conf, &e) < 0) {
        sandbox_object_free(r->s);
        run_free(r);
        id_later(p, fn, arg, NULL, &e);
        return;
    }
    r->ports = xcalloc(config->n_ports ? config->n_ports : 1, sizeof(*r->ports));
    for (size_t i = 0; i < config->n_ports; i++) {
        r->ports[i] = config->ports[i];
        r->ports[i].host_ip = xstrdup(config->ports[i].host_ip);
    }
    r->n_ports = config->n_ports;
    if (config->dns_given) {
        r->dns_servers = strv_dup(config->dns_servers, strv_len(config->dns_servers));
        r->dns_searches = strv_dup(config->dns_searches, strv_len(config->dns_searches));
        r->dns_options = strv_dup(config->dns_options, strv_len(config->dns_options));
    }
    r->name = name_add(p, key, id, r->s->priv->fingerprint);
    name_wait(r->name, fn, arg);
    steps[0].run(r);
}

/* The name is taken: by a request under way, or by an object. */
static void answer_retry(struct pods *p, struct name *n, const struct sandbox_config *config,
                         pod_id_fn *fn, void *arg)
{
    struct sandbox *s = sandbox_by_id(p, n->id);
    struct err e = ERR_INIT;

    if (n->fingerprint != fingerprint_sandbox(config)) {
        err_set(&e, ERR_ALREADY_EXISTS,
                "pod %s/%s (attempt %u) exists as %s, with another configuration",
                config->namespace_ ? config->namespace_ : "", config->name, config->attempt, n->id);
    } else if (n->busy) {
        name_wait(n, fn, arg);
        return;
    } else if (!s || s->state != SANDBOX_READY || s->priv->stopping) {
        err_set(&e, ERR_ALREADY_EXISTS,
                "pod %s/%s (attempt %u) exists as %s and has been stopped: remove it first",
                config->namespace_ ? config->namespace_ : "", config->name, config->attempt, n->id);
    }
    id_later(p, fn, arg, e.code == ERR_OK ? n->id : NULL, &e);
}

void sandbox_run(struct pods *p, const struct sandbox_config *config, pod_id_fn *fn, void *arg)
{
    struct err e = ERR_INIT;

    if (sandbox_config_check(p, config, &e) < 0) {
        id_later(p, fn, arg, NULL, &e);
        return;
    }
    _cleanup_free_ char *key =
        name_key_sandbox(config->name, config->namespace_, config->uid, config->attempt);
    struct name *n = name_find(p, key);
    if (n)
        answer_retry(p, n, config, fn, arg);
    else
        run_begin(p, config, key, fn, arg);
}
