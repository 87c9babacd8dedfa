/*
 * node_status.c - the GetNode call: what this node is, has and suffers from, asked of the kernel
 * anew each time.
 */
#include "private.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#define DISK_PRESSURE_PERCENT 10 /* kubelet's: less than this is left */

static void count_running(void *arg, const struct container *c)
{
    uint32_t *count = arg;
    *count += c->state == CONTAINER_RUNNING;
}

static void count_ready(void *arg, const struct sandbox *s)
{
    uint32_t *count = arg;
    *count += s->state == SANDBOX_READY;
}

/* ---- Resources ---------------------------------------------------------------------------------
 */

static void read_resources(const struct node *n, Podd__V1__NodeResources *capacity,
                           Podd__V1__NodeResources *allocatable)
{
    struct sysinfo memory;
    struct statvfs disk;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    capacity->cpu_millis = cpus > 0 ? (uint64_t)cpus * 1000 : 0;
    if (sysinfo(&memory) == 0)
        capacity->memory = (uint64_t)memory.totalram * memory.mem_unit;
    allocatable->cpu_millis = capacity->cpu_millis;
    allocatable->memory = capacity->memory;
    if (statvfs(n->config.root, &disk) < 0) {
        log_warn("node", n->config.root, "statvfs: %m");
        return;
    }
    capacity->disk = (uint64_t)disk.f_blocks * disk.f_frsize;
    allocatable->disk = (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* ---- Addresses ---------------------------------------------------------------------------------
 */

/* The address that packets to the world would leave from; NULL: there is no such route. Nothing is
 * sent. Caller frees. */
static char *outward_address(int family, const char *somewhere)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct sockaddr *at = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    void *ip = family == AF_INET ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr;
    socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
    _cleanup_close_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char text[INET6_ADDRSTRLEN];

    if (fd < 0 || inet_pton(family, somewhere, ip) != 1 || connect(fd, at, len) < 0 ||
        getsockname(fd, at, &len) < 0 || !inet_ntop(family, ip, text, sizeof(text)))
        return NULL;
    return xstrdup(text);
}

/* ---- The answer --------------------------------------------------------------------------------
 */

static void set_condition(Podd__V1__Condition *c, const char *type, bool status, const char *reason,
                          const char *message)
{
    podd__v1__condition__init(c);
    c->type = (char *)type;
    c->status = status;
    c->reason = (char *)reason;
    c->message = (char *)message;
}

static const char *why_not_ready(const struct node *n, const struct err *network)
{
    if (!n->started)
        return "podd is still finding out what runs";
    if (n->halted)
        return "podd is stopping its pods";
    return err_is_set(network) ? err_text(network) : "";
}

void node_status_reply(struct node *n, struct rpc_call *call)
{
    Podd__V1__GetNodeResponse response = PODD__V1__GET_NODE_RESPONSE__INIT;
    Podd__V1__NodeResources capacity = PODD__V1__NODE_RESOURCES__INIT, allocatable = capacity;
    Podd__V1__Condition conditions[3], *all[] = {&conditions[0], &conditions[1], &conditions[2]};
    _cleanup_free_ char *v4 = outward_address(AF_INET, "192.0.2.1");
    _cleanup_free_ char *v6 = outward_address(AF_INET6, "2001:db8::1");
    char *addresses[] = {v4 ? v4 : v6, v6};
    _cleanup_err_ struct err network = ERR_INIT;
    struct utsname kernel;

    if (uname(&kernel) < 0) {
        call_fail(call, ERR_INTERNAL, "uname: %m");
        return;
    }
    bool connected = net_status(n->config.net, &network) == 0;
    const char *warning = net_warning(n->config.net);
    read_resources(n, &capacity, &allocatable);
    response.name = n->hostname;
    response.version = (char *)PODD_VERSION;
    response.kernel_version = kernel.release;
    response.architecture = kernel.machine;
    response.started_at = n->started_at;
    response.ready = n->started && !n->halted && connected;
    response.reason = (char *)why_not_ready(n, &network);
    sandbox_for_each(n->config.pods, count_ready, &response.pods);
    container_for_each(n->config.pods, count_running, &response.containers_running);
    response.capacity = &capacity;
    response.allocatable = &allocatable;
    response.addresses = addresses;
    response.n_addresses = (v4 != NULL) + (v6 != NULL);

    bool full = allocatable.disk < capacity.disk / 100 * DISK_PRESSURE_PERCENT;
    set_condition(&conditions[0], "Ready", response.ready,
                  response.ready ? "PoddReady" : "PoddNotReady", response.reason);
    set_condition(&conditions[1], "NetworkReady", connected,
                  !connected ? "NetworkNotReady"
                  : warning  ? net_warning_reason(n->config.net)
                             : "NetworkReady",
                  !connected ? err_text(&network)
                  : warning  ? warning
                             : "");
    set_condition(&conditions[2], "DiskPressure", full, full ? "DiskIsFilling" : "DiskHasRoom", "");
    response.conditions = all;
    response.n_conditions = ARRAY_SIZE(all);
    rpc_reply(call, &response.base);
}
