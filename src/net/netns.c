/*
 * netns.c - a visit of the calling thread to a network namespace, and what is done during one:
 * sockets, sysctls, counters.
 *
 * Why a thread may do this: in Linux the network namespace belongs to the thread, not to the
 * process. Two things take it from the calling thread and keep it for good: a socket when it is
 * made, and a file of /proc/sys or /proc/thread-self/net when it is opened. So the visit lasts for
 * a few system calls of ours, none of which sleeps for long, calls back or runs another's code;
 * other threads do not notice; and what was opened goes on belonging to the pod after the return.
 * A thread that could not come back would from then on answer for the wrong network, therefore
 * that aborts the process: podd is restarted, and no container is touched.
 *
 * The descriptor of home is opened per visit rather than once: whoever calls us may live in another
 * namespace than the thread that opened the room (tests do).
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>

#include <podd/net.h>

#include "netns.h"

int netns_enter(struct netns_visit *v, int netns, struct err *e)
{
    _cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (home < 0)
        return err_errno(e, errno, "open this thread's network namespace");
    if (setns(netns, CLONE_NEWNET) < 0)
        return err_errno(e, errno, "enter the pod's network namespace");
    *v = (struct netns_visit){.away = true, .home = take_fd(&home)};
    return 0;
}

void netns_leave(struct netns_visit *v)
{
    if (!v->away)
        return;
    if (setns(v->home, CLONE_NEWNET) < 0) {
        log_error("net", NULL, "cannot return to the node's network namespace: %m");
        abort();
    }
    fd_close(v->home);
    v->away = false;
}

int sysctl_write(const char *path, const char *value)
{
    char full[256];

    snprintf(full, sizeof(full), "/proc/sys/%s", path);
    _cleanup_close_ int fd = open(full, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fd_write_all(fd, value, strlen(value));
}

int sysctl_read(const char *path, int *ret)
{
    char full[256], text[32];
    int64_t value;

    snprintf(full, sizeof(full), "/proc/sys/%s", path);
    _cleanup_close_ int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t len = fd_read_full(fd, text, sizeof(text) - 1);
    if (len < 0)
        return (int)len;
    text[len] = '\0';
    text[strcspn(text, "\n")] = '\0';
    int r = parse_int(text, INT32_MIN, INT32_MAX, &value);
    if (r < 0)
        return r;
    *ret = (int)value;
    return 0;
}

int net_socket(int netns, int domain, int type, int protocol, struct err *e)
{
    _cleanup_visit_ struct netns_visit visit = {0};

    if (netns >= 0 && netns_enter(&visit, netns, e) < 0)
        return -1;
    int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return err_errno(e, errno, "open a socket in the pod's network namespace");
    return fd;
}

/* ---- Counters ------------------------------------------------------------------------------- */

/* The interface that pods have; others are shown when something went through them. */
static const char pod_interface[] = "eth0";

/* One line of net/dev: a name, a colon, eight counters of receiving, eight of sending. */
static bool parse_counters(char *line, struct net_usage *ret)
{
    struct net_usage u = {0};
    unsigned long long n[8];

    char *colon = strchr(line, ':');
    if (!colon)
        return false;
    *colon = '\0';
    line += strspn(line, " ");
    if (strlen(line) >= sizeof(u.name))
        return false;
    memcpy(u.name, line, strlen(line) + 1);
    if (sscanf(colon + 1, "%llu %llu %llu %llu %*u %*u %*u %*u %llu %llu %llu %llu", &n[0], &n[1],
               &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]) != 8)
        return false;
    u.rx_bytes = n[0];
    u.rx_packets = n[1];
    u.rx_errors = n[2];
    u.rx_dropped = n[3];
    u.tx_bytes = n[4];
    u.tx_packets = n[5];
    u.tx_errors = n[6];
    u.tx_dropped = n[7];
    *ret = u;
    return true;
}

/* Loopback is nobody's traffic, and some kernels put unused tunnels into every namespace. */
static bool is_shown(const struct net_usage *u)
{
    return str_equal(u->name, pod_interface) ||
           (!str_equal(u->name, "lo") && (u->rx_packets > 0 || u->tx_packets > 0));
}

static int open_counters(int netns, struct err *e)
{
    _cleanup_visit_ struct netns_visit visit = {0};

    if (netns_enter(&visit, netns, e) < 0)
        return -1;
    int fd = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, errno, "open the counters of the pod's interfaces") : fd;
}

int net_read_usage(int netns, struct net_usage *ret, size_t max, size_t *ret_count, struct err *e)
{
    char text[16384], *rest = text;
    size_t count = 0;

    _cleanup_close_ int fd = open_counters(netns, e);
    if (fd < 0)
        return -1;
    ssize_t len = fd_read_full(fd, text, sizeof(text) - 1);
    if (len < 0)
        return err_errno(e, (int)len, "read the counters of the pod's interfaces");
    text[len] = '\0';
    for (char *line; count < max && (line = strsep(&rest, "\n"));) {
        struct net_usage u;
        if (parse_counters(line, &u) && is_shown(&u))
            ret[count++] = u;
    }
    *ret_count = count;
    return 0;
}
