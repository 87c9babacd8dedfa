/*
 * net-fixture.h - a node in a network namespace of its own, pods in others, an outside world in a
 * third, and packets between them. Include once per test program.
 *
 * The test's process moves into a fresh namespace before any thread exists, so that the machine's
 * network is never touched; that namespace is "the node".
 */
#ifndef PODD_TESTS_NET_FIXTURE_H
#define PODD_TESTS_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <podd/net.h>

#include "../../src/net/link.h"
#include "../../src/net/netns.h"

/* No program uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        struct err assert_error = ERR_INIT;                                                        \
        struct err *e = &assert_error;                                                             \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, err_text(&assert_error));                                    \
        err_clear(&assert_error);                                                                  \
    } while (0)

#define assert_error(call, wanted_code, part)                                                      \
    do {                                                                                           \
        struct err assert_error = ERR_INIT;                                                        \
        struct err *e = &assert_error;                                                             \
        assert_int_equal((call), -1);                                                              \
        if (assert_error.code != (wanted_code) || !strstr(err_text(&assert_error), part))          \
            fail_msg("%s: got %s: %s", #call, err_code_name(assert_error.code),                    \
                     err_text(&assert_error));                                                     \
        err_clear(&assert_error);                                                                  \
    } while (0)

/* ---- Namespaces ------------------------------------------------------------------------------ */

static int netns_new(void)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    assert_true(home >= 0);
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(setns(home, CLONE_NEWNET), 0);
    close(home);
    return fd;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fd_close(fds[i]);
}

/* Until the kernel has applied that the link has a carrier; what is sent before is dropped. */
static void wait_running(const struct rtnl *r, const char *name)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(ioctl(r->fd, SIOCGIFFLAGS, &request), 0);
        if (request.ifr_flags & IFF_RUNNING)
            return;
        usleep(1000);
    }
    fail_msg("%s does not get a carrier", name);
}

/* A veth pair between the node and another namespace, with an address each; v6 too. */
static void join_namespaces(int netns, const char *name, const char *node_ip, const char *far_ip,
                            const char *node_ip6, const char *far_ip6)
{
    struct rtnl node, far;
    struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
    struct netns_visit visit = {0};
    struct ip ip;

    assert_ok(rtnl_open(&node, e));
    assert_ok(netns_enter(&visit, netns, e));
    assert_ok(rtnl_open(&far, e));
    (void)!sysctl_write("net/ipv6/conf/default/accept_dad", "0");
    netns_leave(&visit);

    struct nl_msg *m = rtnl_add(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create");
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, name);
    struct nlattr *info = rtnl_nest(m, IFLA_LINKINFO);
    rtnl_put_string(m, IFLA_INFO_KIND, "veth");
    struct nlattr *data = rtnl_nest(m, IFLA_INFO_DATA);
    struct nlattr *peer = rtnl_nest(m, VETH_INFO_PEER);
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, "up0");
    rtnl_put_u32(m, IFLA_NET_NS_FD, (uint32_t)netns);
    rtnl_nest_end(m, peer);
    rtnl_nest_end(m, data);
    rtnl_nest_end(m, info);
    assert_ok(rtnl_send(&node, &b, name, e));
    assert_ok(link_set_up(&far, "lo", e));
    assert_ok(link_set_up(&far, "up0", e));
    assert_ok(link_set_up(&node, name, e));
    wait_running(&node, name);
    wait_running(&far, "up0");

    assert_int_equal(ip_parse(node_ip, &ip), 0);
    assert_ok(address_add(&node, rtnl_link_index(&node, name), &ip, 24, e));
    assert_int_equal(ip_parse(far_ip, &ip), 0);
    assert_ok(address_add(&far, rtnl_link_index(&far, "up0"), &ip, 24, e));
    assert_int_equal(ip_parse(node_ip6, &ip), 0);
    assert_ok(address_add(&node, rtnl_link_index(&node, name), &ip, 64, e));
    assert_int_equal(ip_parse(far_ip6, &ip), 0);
    assert_ok(address_add(&far, rtnl_link_index(&far, "up0"), &ip, 64, e));
    rtnl_close(&node);
    rtnl_close(&far);
}

/* ---- Packets --------------------------------------------------------------------------------- */

static socklen_t make_address(const char *text, unsigned port, struct sockaddr_storage *ret)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    struct sockaddr_in *in = (struct sockaddr_in *)ret;

    *ret = (struct sockaddr_storage){0};
    if (strchr(text, ':')) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
        return sizeof(*in6);
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
    return sizeof(*in);
}

static bool wait_for(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, ms) == 1 && (p.revents & events);
}

static int open_server(int netns, int type, const char *ip, unsigned port)
{
    struct sockaddr_storage address;
    int one = 1, fd = -1;

    socklen_t len = make_address(ip, port, &address);
    assert_ok(fd = net_socket(netns, address.ss_family, type, 0, e));
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    if (address.ss_family == AF_INET6)
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 16), 0);
    return fd;
}

enum { PATIENCE_MS = 1500, REFUSAL_MS = 300 };

/* A word there and a word back. Fills in whom the server saw; false when no answer came. */
static bool converse(int server, int type, int client_netns, const char *to, unsigned port, int ms,
                     char *ret_seen)
{
    struct sockaddr_storage address, seen = {0};
    socklen_t seen_len = sizeof(seen);
    char word[16];
    int client = -1;

    socklen_t len = make_address(to, port, &address);
    assert_ok(client = net_socket(client_netns, address.ss_family, type, 0, e));
    _cleanup_close_ int guard = client;
    if (connect(client, (struct sockaddr *)&address, len) < 0 && errno != EINPROGRESS)
        return false;
    _cleanup_close_ int accepted = -1;
    if (type == SOCK_STREAM) {
        if (!wait_for(server, POLLIN, ms))
            return false;
        accepted =
            accept4(server, (struct sockaddr *)&seen, &seen_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_true(accepted >= 0);
        if (!wait_for(client, POLLOUT, ms))
            return false;
    }
    if (send(client, "ping", 4, MSG_NOSIGNAL) != 4)
        return false;
    int far = type == SOCK_STREAM ? accepted : server;
    if (!wait_for(far, POLLIN, ms))
        return false;
    seen_len = sizeof(seen);
    ssize_t n = type == SOCK_STREAM
                    ? recv(far, word, sizeof(word), 0)
                    : recvfrom(far, word, sizeof(word), 0, (struct sockaddr *)&seen, &seen_len);
    if (n != 4)
        return false;
    if (type == SOCK_STREAM) {
        seen_len = sizeof(seen);
        assert_int_equal(getpeername(far, (struct sockaddr *)&seen, &seen_len), 0);
        assert_int_equal(send(far, "pong", 4, MSG_NOSIGNAL), 4);
    } else {
        assert_int_equal(sendto(far, "pong", 4, 0, (struct sockaddr *)&seen, seen_len), 4);
    }
    if (ret_seen) {
        if (seen.ss_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&seen)->sin_addr, ret_seen, 46);
        else
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&seen)->sin6_addr, ret_seen, 46);
    }
    return wait_for(client, POLLIN, ms) && recv(client, word, sizeof(word), 0) == 4;
}

/* A server in one namespace on all its addresses, a client in another. */
static bool reaches(int server_netns, unsigned server_port, int client_netns, const char *to,
                    unsigned port, int type, char *ret_seen)
{
    _cleanup_close_ int server =
        open_server(server_netns, type, strchr(to, ':') ? "::" : "0.0.0.0", server_port);

    return converse(server, type, client_netns, to, port, PATIENCE_MS, ret_seen);
}

/* ---- The room -------------------------------------------------------------------------------- */

struct fixture {
    struct loop *loop;
    struct net *net;
    char state[64];
    size_t pending;
    struct net_addresses last; /* of the attach that finished last */
    struct err error;          /* of the call that failed last */
    size_t failures;
};

static void finish_one(struct fixture *f)
{
    if (--f->pending == 0)
        loop_stop(f->loop);
}

static void keep_error(struct fixture *f, const struct err *e)
{
    if (e->code == ERR_OK)
        return;
    err_clear(&f->error);
    err_copy(&f->error, e);
    f->failures++;
}

static void on_attached(void *arg, const struct net_addresses *addresses, const struct err *e)
{
    struct fixture *f = arg;

    keep_error(f, e);
    if (addresses)
        f->last = *addresses;
    finish_one(f);
}

static void on_done(void *arg, const struct err *e)
{
    keep_error(arg, e);
    finish_one(arg);
}

static void begin_attach(struct fixture *f, const char *id, int netns, const struct net_port *ports,
                         size_t n_ports)
{
    struct net_pod pod = {.sandbox_id = id, .netns = netns, .ports = ports, .n_ports = n_ports};

    f->pending++;
    net_attach(f->net, &pod, on_attached, f);
}

static void begin_detach(struct fixture *f, const char *id)
{
    f->pending++;
    net_detach(f->net, id, on_done, f);
}

/* Until all that was begun is finished; -1 when something failed, with f->error. */
static int settle(struct fixture *f)
{
    f->failures = 0;
    err_clear(&f->error);
    if (f->pending > 0)
        loop_run(f->loop);
    return f->failures > 0 ? -1 : 0;
}

static int attach(struct fixture *f, const char *id, int netns, const struct net_port *ports,
                  size_t n_ports)
{
    begin_attach(f, id, netns, ports, n_ports);
    return settle(f);
}

static int detach(struct fixture *f, const char *id)
{
    begin_detach(f, id);
    return settle(f);
}

#define assert_settled(f, call)                                                                    \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, err_text(&(f)->error));                                      \
    } while (0)

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

/* Lets the loop go round for a while. */
static void linger(struct fixture *f, int ms)
{
    struct timer *t = timer_new(f->loop, stop_loop, f->loop);

    timer_start(t, ms);
    loop_run(f->loop);
    timer_free(t);
}

static int open_room(struct fixture *f, const char *bridge, const char *const *pools,
                     size_t n_pools, struct err *e)
{
    struct net_config config = {.bridge = bridge, .n_pools = n_pools, .state_dir = f->state};

    for (size_t i = 0; i < n_pools && i < NET_POOLS_MAX; i++)
        config.pools[i] = pools[i];
    return net_open(f->loop, &config, &f->net, e);
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.loop = loop_new()};
    snprintf(f->state, sizeof(f->state), "/tmp/podd-test-net.XXXXXX");
    assert_non_null(mkdtemp(f->state));
}

static void fixture_deinit(struct fixture *f)
{
    net_close(f->net);
    loop_free(f->loop);
    err_clear(&f->error);
    assert_ok(tree_remove(AT_FDCWD, f->state, e));
}

/* ---- Counting what is left ------------------------------------------------------------------- */

static size_t count_links(void)
{
    struct rtnl r;
    struct link_info *links = NULL;
    size_t count = 0;

    assert_ok(rtnl_open(&r, e));
    assert_ok(link_list(&r, &links, &count, e));
    rtnl_close(&r);
    free(links);
    return count;
}

static size_t count_files(const struct fixture *f, const char *what)
{
    char path[128];
    size_t count = 0;

    snprintf(path, sizeof(path), "%s/%s", f->state, what);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count;
}

static size_t count_fds(void)
{
    size_t count = 0;
    DIR *d = opendir("/proc/self/fd");

    assert_non_null(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

#endif
