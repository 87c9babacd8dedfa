/*
 * foreign-legacy.c - the tables of iptables-legacy, which nf_tables knows nothing of.
 *
 * They are read as iptables does, by getsockopt(2) on a raw socket: a head that says where the
 * built-in chains begin and where their policies are, then all rules in one piece. Asking for a
 * table makes it, so it is asked for only when there is one.
 */
#include <net/if.h> /* before the kernel's header of the same name */
#include <netinet/in.h>

#include <assert.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdio.h>
#include <sys/socket.h>

#include "foreign.h"

static const char filter_table[] = "filter";
enum { TABLE_MAX = 256 << 20, NAMES_MAX = 4096 };

/* The two families differ in the numbers, and in where a rule says how long its matches are. */
struct legacy {
    const char *names; /* the file that lists the tables */
    int level, get_info, get_entries;
    size_t target_offset;
};

static const struct legacy kinds[] = {
    {"/proc/thread-self/net/ip_tables_names", IPPROTO_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES,
     offsetof(struct ipt_entry, target_offset)},
    {"/proc/thread-self/net/ip6_tables_names", IPPROTO_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES,
     offsetof(struct ip6t_entry, target_offset)},
};

static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo) &&
                  sizeof(struct ipt_get_entries) == sizeof(struct ip6t_get_entries),
              "heads are alike");

static bool has_filter_table(const struct legacy *kind)
{
    _cleanup_bytes_ struct bytes names = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    char *rest;

    if (file_read(AT_FDCWD, kind->names, NAMES_MAX, &names, &e) < 0)
        return false; /* a kernel without it */
    rest = (char *)names.data;
    for (char *name; (name = strsep(&rest, "\n"));) {
        if (str_equal(name, filter_table))
            return true;
    }
    return false;
}

static int read_table(const struct legacy *kind, int fd, struct ipt_getinfo *info,
                      struct ipt_get_entries **ret, struct err *e)
{
    socklen_t len = sizeof(*info);

    *info = (struct ipt_getinfo){0};
    memcpy(info->name, filter_table, sizeof(filter_table));
    if (getsockopt(fd, kind->level, kind->get_info, info, &len) < 0 || info->size > TABLE_MAX)
        return err_errno(e, errno, "read the head of iptables-legacy's rules");
    _cleanup_free_ struct ipt_get_entries *entries = xcalloc(1, sizeof(*entries) + info->size);
    memcpy(entries->name, filter_table, sizeof(filter_table));
    entries->size = info->size;
    len = (socklen_t)(sizeof(*entries) + info->size);
    if (getsockopt(fd, kind->level, kind->get_entries, entries, &len) < 0) {
        if (errno == EAGAIN) /* it changed in between; the next look sees it */
            return 0;
        return err_errno(e, errno, "read iptables-legacy's rules");
    }
    *ret = take_ptr(entries);
    return 0;
}

/* The policy is the verdict of the chain's last rule. */
static bool policy_drops(const struct legacy *kind, const struct ipt_getinfo *info,
                         const struct ipt_get_entries *table)
{
    const char *rule = (const char *)table->entrytable + info->underflow[NF_INET_FORWARD];
    size_t room = info->size - info->underflow[NF_INET_FORWARD];
    struct xt_standard_target target;
    uint16_t offset;

    if (info->underflow[NF_INET_FORWARD] >= info->size ||
        room < kind->target_offset + sizeof(offset))
        return false;
    memcpy(&offset, rule + kind->target_offset, sizeof(offset));
    if (room < offset + sizeof(target))
        return false;
    memcpy(&target, rule + offset, sizeof(target));
    return target.target.u.user.name[0] == '\0' && target.verdict == -NF_DROP - 1;
}

int foreign_find_legacy_drop(const char *bridge, int family, bool *ret_found,
                             struct foreign_drop *ret, struct err *e)
{
    const struct legacy *kind = &kinds[family == AF_INET6];
    _cleanup_free_ struct ipt_get_entries *table = NULL;
    struct ipt_getinfo info;

    if (!has_filter_table(kind))
        return 0;
    _cleanup_close_ int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0)
        return err_errno(e, errno, "open a raw socket");
    if (read_table(kind, fd, &info, &table, e) < 0)
        return -1;
    if (!table || !policy_drops(kind, &info, table) ||
        foreign_mentions(table->entrytable, info.size, bridge))
        return 0;
    *ret = (struct foreign_drop){.family = family,
                                 .legacy = true,
                                 .has_docker_user =
                                     foreign_mentions(table->entrytable, info.size, "DOCKER-USER"),
                                 .table = "filter",
                                 .chain = "FORWARD"};
    *ret_found = true;
    return 0;
}
