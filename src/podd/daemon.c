/*
 * daemon.c - wires the rooms together and takes them apart.
 *
 * struct daemon owns one of each room; each member is NULL until its step was done, so that
 * daemon_close() can undo any prefix of daemon_open() in reverse. Closing a room never touches
 * pods: what is torn down here is only this process's view of them.
 */
#include "daemon.h"

#include "podd/cri.h"
#include "podd/health.h"
#include "podd/image.h"
#include "podd/net.h"
#include "podd/node.h"
#include "podd/pod.h"
#include "podd/rpc.h"
#include "podd/runtime.h"
#include "podd/shim.h"

#include "metrics.h"
#include "notify.h"
#include "paths.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHUTDOWN_GRACE_MS 2000

struct daemon {
    const struct config *config;
    struct loop *loop;
    int lock_fd;
    struct rpc_server *server;
    struct zygote *zygote;
    struct image_store *images;
    struct net *net;
    struct pods *pods;
    struct health *health;
    struct node *node;
    struct cri *cri;
    struct metrics *metrics; /* NULL also where nobody asked for them */
    bool systemd_cgroups;
    bool stopping;
};

/* ---- Opening ----------------------------------------------------------------------------------
 */

static int check_kernel(struct err *e)
{
    struct kernel_features features;

    return kernel_probe(&features, e);
}

/* The kubelet chooses systemd where it has booted, and so does `auto`. systemd hands cgroups over
 * in the v2 tree only: on v1 each controller would need its own. */
static int choose_cgroup_driver(struct daemon *d, struct err *e)
{
    bool booted = access("/run/systemd/system", F_OK) == 0;
    bool v2 = cgroup_mode() == CGROUP_V2;

    if (d->config->cgroup_driver == CGROUP_DRIVER_SYSTEMD && !(booted && v2))
        return err_set(e, ERR_FAILED_PRECONDITION,
                       "cgroup_driver: systemd cannot work here: %s; use auto or cgroupfs",
                       booted ? "this machine has cgroup v1 controllers"
                              : "systemd has not booted this machine");
    d->systemd_cgroups = d->config->cgroup_driver != CGROUP_DRIVER_CGROUPFS && booted && v2;
    return 0;
}

/* 0700 and root's: nothing below may be reached by other users (images hold setuid files). */
static int open_private_directory(const char *path, struct err *e)
{
    struct stat st;

    if (dir_ensure(path, 0700, e) < 0)
        return -1;
    if (stat(path, &st) < 0)
        return err_errno(e, errno, "stat %s", path);
    if (st.st_uid != 0)
        return err_set(e, ERR_PERMISSION_DENIED, "%s belongs to uid %u, not to root", path,
                       (unsigned)st.st_uid);
    if ((st.st_mode & 077) != 0 && chmod(path, 0700) < 0)
        return err_errno(e, errno, "close %s to other users", path);
    return 0;
}

/* Two daemons on one root would undo each other's work. */
static int lock_root(struct daemon *d, struct err *e)
{
    _cleanup_free_ char *path = xasprintf("%s/lock", d->config->root);
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_ALREADY_EXISTS,
                       "another podd is running on %s; give this one its own --root, --state and "
                       "--socket",
                       d->config->root);
    d->lock_fd = take_fd(&fd);
    return 0;
}

static int prepare_directories(struct daemon *d, struct err *e)
{
    if (open_private_directory(d->config->root, e) < 0 ||
        open_private_directory(d->config->state, e) < 0)
        return -1;
    return lock_root(d, e);
}

static int open_images(struct daemon *d, struct err *e)
{
    _cleanup_free_ char *unpack = program_path("podd-unpack");
    const struct image_store_config config = {
        .root = d->config->root,
        .unpack_path = unpack,
        .registries = d->config->registries,
        .n_registries = d->config->n_registries,
    };
    return image_store_open(d->loop, &config, &d->images, e);
}

static int open_net(struct daemon *d, struct err *e)
{
    _cleanup_free_ char *state = xasprintf("%s/net", d->config->state);
    _cleanup_free_ char *cache = xasprintf("%s/cni", d->config->root);
    const struct net_cni_config cni = {
        .config_dir = d->config->network.cni.config_dir,
        .plugin_dirs = d->config->network.cni.plugin_dirs,
        .timeout_ms = d->config->network.cni.timeout * 1000LL,
        .cache_dir = cache,
    };
    struct net_config config = {
        .cni = d->config->network.mode == NETWORK_MODE_CNI ? &cni : NULL,
        .bridge = d->config->network.bridge,
        .n_pools = d->config->network.n_pools,
        .mtu = d->config->network.mtu,
        .state_dir = state,
    };
    for (size_t i = 0; i < config.n_pools; i++)
        config.pools[i] = d->config->network.pools[i];
    return net_open(d->loop, &config, &d->net, e);
}

static int open_pods(struct daemon *d, struct err *e)
{
    _cleanup_free_ char *shim = program_path("podd-shim");
    if (zygote_start(d->loop, shim, &d->zygote, e) < 0)
        return -1;

    const struct pods_config config = {
        .loop = d->loop,
        .zygote = d->zygote,
        .images = d->images,
        .net = d->net,
        .root = d->config->root,
        .state = d->config->state,
        .restrict_oom_score_adj = d->config->restrict_oom_score_adj,
        .seccomp_default_profile = d->config->seccomp_default_profile,
        .cgroup_parent = "/podd",
        .dns_servers = d->config->network.dns,
        .cdi_dirs = d->config->cdi_dirs,
        .systemd_cgroups = d->systemd_cgroups,
    };
    return pods_open(&config, &d->pods, e);
}

static void on_shutdown_call(void *arg);

static int listen_remote(struct daemon *d, struct err *e)
{
    const struct rpc_tls tls = {
        .address = d->config->listen.address,
        .cert = d->config->listen.cert,
        .key = d->config->listen.key,
        .client_ca = d->config->listen.client_ca,
        .readers = d->config->listen.readers,
        .full = d->config->listen.full,
    };
    return rpc_server_listen_tls(d->server, &tls, e);
}

static int open_services(struct daemon *d, struct err *e)
{
    d->health = health_new(d->loop, d->pods, d->config->state);

    const struct node_config node = {
        .loop = d->loop,
        .pods = d->pods,
        .images = d->images,
        .net = d->net,
        .health = d->health,
        .root = d->config->root,
        .state = d->config->state,
        .dns_servers = d->config->network.dns,
        .log_root = d->config->log_root,
        .log_size_max = d->config->logs.max_size,
        .log_files_max = d->config->logs.max_files,
        .manifest_dir = d->config->manifests,
        .restrict_oom_score_adj = d->config->restrict_oom_score_adj,
        .on_shutdown = on_shutdown_call,
        .on_shutdown_arg = d,
    };
    if (node_open(&node, &d->node, e) < 0)
        return -1;

    const struct cri_config cri = {
        .loop = d->loop,
        .pods = d->pods,
        .images = d->images,
        .net = d->net,
        .root = d->config->root,
        .state = d->config->state,
        .socket = d->config->socket,
        .streaming_address = d->config->streaming.address,
        .streaming_port = d->config->streaming.port,
        .systemd_cgroups = d->systemd_cgroups,
    };
    if (cri_open(&cri, &d->cri, e) < 0)
        return -1;

    cri_register(d->cri, d->server);
    node_register(d->node, d->server);
    rpc_server_add_health(d->server);
    if (d->config->listen.address && listen_remote(d, e) < 0)
        return -1;
    const struct metrics_sources sources = {.pods = d->pods,
                                            .images = d->images,
                                            .health = d->health,
                                            .node = d->node,
                                            .server = d->server};
    if (d->config->metrics.address &&
        metrics_open(d->loop, &sources, d->config->metrics.address, &d->metrics, e) < 0)
        return -1;
    return rpc_server_start(d->server, e);
}

static int daemon_open(struct daemon *d, struct err *e)
{
    if (check_kernel(e) < 0 || choose_cgroup_driver(d, e) < 0 || prepare_directories(d, e) < 0)
        return -1;
    d->loop = loop_new();
    d->server = rpc_server_new(d->loop);
    if (rpc_server_listen(d->server, d->config->socket, e) < 0)
        return -1;
    if (open_images(d, e) < 0 || open_net(d, e) < 0 || open_pods(d, e) < 0)
        return -1;
    return open_services(d, e);
}

/* ---- Closing ----------------------------------------------------------------------------------
 */

static void daemon_close(struct daemon *d)
{
    metrics_close(d->metrics);
    if (d->cri)
        cri_close(d->cri);
    if (d->node)
        node_close(d->node);
    if (d->health)
        health_free(d->health);
    if (d->pods)
        pods_close(d->pods);
    if (d->zygote)
        zygote_free(d->zygote);
    if (d->net)
        net_close(d->net);
    if (d->images)
        image_store_close(d->images);
    if (d->server)
        rpc_server_free(d->server);
    if (d->loop)
        loop_free(d->loop);
    fd_close(d->lock_fd);
}

static void on_server_down(void *arg)
{
    struct daemon *d = arg;
    loop_stop(d->loop);
}

static void daemon_stop(struct daemon *d, const char *why)
{
    if (d->stopping)
        return;
    d->stopping = true;
    log_info("podd", NULL, "stopping (%s); pods go on", why);
    notify_send("STOPPING=1");
    rpc_server_shutdown(d->server, SHUTDOWN_GRACE_MS, on_server_down, d);
}

static void on_signal(void *arg, int signo)
{
    daemon_stop(arg, signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_shutdown_call(void *arg)
{
    daemon_stop(arg, "asked by a client");
}

/* ---- Running ----------------------------------------------------------------------------------
 */

static void on_recovered(void *arg)
{
    struct daemon *d = arg;

    cri_set_ready(d->cri);
    node_start(d->node);
    rpc_server_set_health(d->server, "", true);
    log_info("podd", NULL, "ready on %s, version %s", d->config->socket, PODD_VERSION);
    notify_send("READY=1");
}

int daemon_run(const struct config *config, struct err *e)
{
    struct daemon d = {.config = config, .lock_fd = -1};

    umask(022);
    int r = daemon_open(&d, e);
    if (r == 0) {
        loop_on_signal(d.loop, SIGTERM, on_signal, &d);
        loop_on_signal(d.loop, SIGINT, on_signal, &d);
        pods_recover(d.pods, on_recovered, &d);
        loop_run(d.loop);
    }
    daemon_close(&d);
    return r;
}
