/* Addresses, CIDRs, pools and leases, without a network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../../src/net/lease.h"
#include "../../src/net/link.h"
#include "../../src/net/ports.h"
#include "../../src/net/route.h"

static struct cidr cidr(const char *text)
{
    struct err e = ERR_INIT;
    struct cidr c;

    if (cidr_parse(text, &c, &e) < 0)
        fail_msg("%s: %s", text, err_text(&e));
    return c;
}

static struct ip address(const char *text)
{
    struct ip ip;

    if (ip_parse(text, &ip) < 0)
        fail_msg("%s is no address", text);
    return ip;
}

static void assert_address(const struct ip *ip, const char *text)
{
    char buffer[IP_TEXT_SIZE];

    ip_format(ip, buffer);
    assert_string_equal(buffer, text);
}

/* ---- Texts ----------------------------------------------------------------------------------- */

static void only_the_plain_notation_is_an_address(void **state)
{
    static const char *const bad[] = {"",         "1.2.3",     "1.2.3.4 ",     " 1.2.3.4",
                                      "01.2.3.4", "1.2.3.256", "0x1.2.3.4",    "1.2.3.4/8",
                                      "::g",      ":::",       "fe80::1%eth0", "1.2.3.4\n"};
    struct ip ip;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (ip_parse(bad[i], &ip) == 0)
            fail_msg("%s was taken for an address", bad[i]);
    }
    ip = address("FD00:0:0::1");
    assert_address(&ip, "fd00::1");
}

static void malformed_cidrs_are_explained(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "is not a CIDR"},
        {"10.85.0.0", "is not a CIDR"},
        {"/16", "is not an IP address"},
        {"ten/8", "is not an IP address"},
        {"10.85.0.0/", "prefix length"},
        {"10.85.0.0/33", "prefix length"},
        {"10.85.0.0/-1", "prefix length"},
        {"10.85.0.0/16 ", "prefix length"},
        {"fd00::/129", "prefix length"},
        {"10.85.0.1/16", "the network is 10.85.0.0/16"},
        {"fd00:85::1/64", "the network is fd00:85::/64"},
        {"11111111111111111111111111111111111111111111111111/8", "is not a CIDR"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        struct cidr c;
        assert_int_equal(cidr_parse(cases[i].text, &c, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        if (!strstr(err_text(&e), cases[i].says))
            fail_msg("%s: %s", cases[i].text, err_text(&e));
        err_clear(&e);
    }
}

static void counting_carries_over_bytes(void **state)
{
    struct cidr v4 = cidr("10.0.0.0/8"), v6 = cidr("fd00::/64");
    struct ip ip;
    uint32_t offset;

    (void)state;
    ip = cidr_nth(&v4, 65536 + 255);
    assert_address(&ip, "10.1.0.255");
    ip = cidr_nth(&v6, UINT32_MAX);
    assert_address(&ip, "fd00::ffff:ffff");
    assert_int_equal(cidr_offset(&v6, &ip, &offset), 0);
    assert_int_equal(offset, UINT32_MAX);
    ip = address("fd00::1:0:0");
    assert_int_equal(cidr_offset(&v6, &ip, &offset), -ERANGE);
    ip = address("11.0.0.1");
    assert_int_equal(cidr_offset(&v4, &ip, &offset), -ERANGE);
}

static void overlap_is_seen_from_both_sides(void **state)
{
    struct cidr wide = cidr("10.0.0.0/8"), narrow = cidr("10.85.0.0/20"),
                other = cidr("11.0.0.0/8");
    struct cidr v6 = cidr("::/0");

    (void)state;
    assert_true(cidr_overlaps(&wide, &narrow) && cidr_overlaps(&narrow, &wide));
    assert_false(cidr_overlaps(&wide, &other));
    assert_false(cidr_overlaps(&wide, &v6));
    assert_true(cidr_within(&narrow, &wide));
    assert_false(cidr_within(&wide, &narrow));
}

/* ---- Pools ----------------------------------------------------------------------------------- */

static struct pool pool(const char *text)
{
    struct cidr c = cidr(text);
    struct err e = ERR_INIT;
    struct pool p;

    if (pool_init(&p, &c, &e) < 0)
        fail_msg("%s: %s", text, err_text(&e));
    return p;
}

static void a_pool_spares_network_bridge_and_broadcast(void **state)
{
    struct pool p = pool("10.1.2.0/29");
    struct ip ip;

    (void)state;
    ip = pool_gateway(&p);
    assert_address(&ip, "10.1.2.1");
    for (int last = 2; last <= 6; last++) {
        char text[24];
        snprintf(text, sizeof(text), "10.1.2.%d", last);
        assert_true(pool_take(&p, &ip));
        assert_address(&ip, text);
    }
    assert_false(pool_take(&p, &ip));
    pool_deinit(&p);
}

static void a_freed_address_is_the_last_to_come_again(void **state)
{
    struct pool p = pool("10.1.2.0/29");
    struct ip first, ip;

    (void)state;
    assert_true(pool_take(&p, &first));
    assert_true(pool_clear(&p, &first));
    assert_false(pool_clear(&p, &first));
    for (int i = 0; i < 4; i++) {
        assert_true(pool_take(&p, &ip));
        assert_false(ip_equal(&ip, &first));
    }
    assert_true(pool_take(&p, &ip));
    assert_true(ip_equal(&ip, &first));
    assert_false(pool_take(&p, &ip));
    pool_deinit(&p);
}

static void every_address_of_a_pool_is_given_once(void **state)
{
    static const struct {
        const char *cidr;
        unsigned pods;
    } cases[] = {{"10.0.0.0/30", 1},     {"10.0.0.0/24", 253}, {"10.0.0.0/16", 65533},
                 {"10.0.0.0/12", 65534}, {"fd00::/126", 2},    {"fd00::/112", 65534},
                 {"fd00::/64", 65534}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct pool p = pool(cases[i].cidr);
        struct ip ip;
        unsigned count = 0;
        while (pool_take(&p, &ip)) {
            uint32_t offset;
            assert_int_equal(cidr_offset(&p.cidr, &ip, &offset), 0);
            assert_int_equal(offset, POOL_FIRST + count++);
        }
        assert_int_equal(count, cases[i].pods);
        pool_deinit(&p);
    }
}

static void unusable_pools_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"10.0.0.0/31", "too small"},        {"10.0.0.0/32", "too small"},
        {"fd00::/127", "too small"},         {"127.0.0.0/8", "127.0.0.0/8 is reserved"},
        {"224.1.0.0/16", "is reserved"},     {"169.254.0.0/16", "is reserved"},
        {"0.0.0.0/0", "is reserved"},        {"::/0", "is reserved"},
        {"fe80::/64", "is reserved"},        {"::ffff:10.0.0.0/112", "is reserved"},
        {"255.255.255.0/24", "is reserved"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cidr c = cidr(cases[i].text);
        struct err e = ERR_INIT;
        struct pool p;
        assert_int_equal(pool_init(&p, &c, &e), -1);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        if (!strstr(err_text(&e), cases[i].says))
            fail_msg("%s: %s", cases[i].text, err_text(&e));
        err_clear(&e);
    }
}

/* ---- Leases ---------------------------------------------------------------------------------- */

struct desk {
    char path[64];
    int fd;
    struct ipam ipam;
    struct err e;
};

static const char *const two_pools[] = {"10.1.2.0/29", "fd00::/120"};

static void desk_open(struct desk *d)
{
    struct cidr cidrs[2] = {cidr(two_pools[0]), cidr(two_pools[1])};

    if (ipam_open(&d->ipam, d->fd, &d->e) < 0 || ipam_set_pools(&d->ipam, cidrs, 2, &d->e) < 0)
        fail_msg("%s", err_text(&d->e));
}

static void desk_reopen(struct desk *d)
{
    ipam_close(&d->ipam);
    desk_open(d);
}

static int set_up(void **state)
{
    struct desk *d = xnew(struct desk);

    snprintf(d->path, sizeof(d->path), "/tmp/podd-test-ipam.XXXXXX");
    assert_non_null(mkdtemp(d->path));
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(d->fd >= 0);
    desk_open(d);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *d = *state;

    ipam_close(&d->ipam);
    close(d->fd);
    assert_int_equal(tree_remove(AT_FDCWD, d->path, &d->e), 0);
    err_clear(&d->e);
    free(d);
    return 0;
}

static const struct holder *lease(struct desk *d, const char *id)
{
    const struct holder *h = NULL;

    if (ipam_lease(&d->ipam, id, &h, &d->e) < 0)
        fail_msg("%s: %s", id, err_text(&d->e));
    return h;
}

static void a_lease_is_a_file_with_the_id(void **state)
{
    struct desk *d = *state;
    struct bytes content = {0};

    const struct holder *h = lease(d, "pod-a");
    assert_int_equal(h->count, 2);
    assert_address(&h->addresses[0], "10.1.2.2");
    assert_address(&h->addresses[1], "fd00::2");
    assert_int_equal(file_read(d->fd, "leases/10.1.2.2", 100, &content, &d->e), 0);
    assert_string_equal((char *)content.data, "pod-a");
    bytes_free(&content);
    assert_int_equal(ipam_lease(&d->ipam, "pod-a", &h, &d->e), -1);
    assert_int_equal(d->e.code, ERR_ALREADY_EXISTS);
    err_clear(&d->e);
    assert_int_equal(ipam_release(&d->ipam, "pod-a", &d->e), 0);
    assert_int_equal(faccessat(d->fd, "leases/10.1.2.2", F_OK, 0), -1);
    assert_int_equal(faccessat(d->fd, "leases/fd00::2", F_OK, 0), -1);
    assert_int_equal(ipam_release(&d->ipam, "pod-a", &d->e), 0);
}

static void leases_and_order_survive_a_restart(void **state)
{
    struct desk *d = *state;

    lease(d, "pod-a");
    lease(d, "pod-b");
    assert_int_equal(ipam_release(&d->ipam, "pod-b", &d->e), 0);
    desk_reopen(d);
    assert_non_null(ipam_find(&d->ipam, "pod-a"));
    assert_int_equal(ipam_find(&d->ipam, "pod-a")->count, 2);
    assert_null(ipam_find(&d->ipam, "pod-b"));
    /* 10.1.2.3 was given and is free, but not the next. */
    assert_address(&lease(d, "pod-c")->addresses[0], "10.1.2.4");
}

static void a_full_second_pool_gives_the_first_back(void **state)
{
    struct desk *d = *state;
    struct cidr cidrs[2] = {cidr("10.1.2.0/29"), cidr("fd00::/126")};
    const struct holder *h;

    assert_int_equal(ipam_set_pools(&d->ipam, cidrs, 2, &d->e), 0);
    lease(d, "a");
    lease(d, "b");
    assert_int_equal(ipam_lease(&d->ipam, "c", &h, &d->e), -1);
    assert_int_equal(d->e.code, ERR_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err_text(&d->e), "no free address in pool fd00::/126: all 2"));
    err_clear(&d->e);
    assert_int_equal(d->ipam.pools[0].used, 2);
    assert_null(ipam_find(&d->ipam, "c"));
    assert_int_equal(ipam_release(&d->ipam, "a", &d->e), 0);
    assert_address(&lease(d, "c")->addresses[1], "fd00::2");
}

static void leases_outlive_their_pool(void **state)
{
    struct desk *d = *state;
    struct cidr other = cidr("10.9.0.0/24"), old = cidr("10.1.2.0/29");

    lease(d, "pod-a");
    assert_int_equal(ipam_set_pools(&d->ipam, &other, 1, &d->e), 0);
    assert_true(ipam_uses(&d->ipam, &old));
    assert_address(&lease(d, "pod-b")->addresses[0], "10.9.0.2");
    desk_reopen(d); /* and back: pod-a still has its address */
    assert_address(&lease(d, "pod-c")->addresses[0], "10.1.2.3");
    assert_int_equal(ipam_release(&d->ipam, "pod-a", &d->e), 0);
    assert_int_equal(ipam_release(&d->ipam, "pod-c", &d->e), 0);
    assert_false(ipam_uses(&d->ipam, &old));
}

static void overlapping_pools_are_refused(void **state)
{
    struct desk *d = *state;
    struct cidr cidrs[2] = {cidr("10.0.0.0/8"), cidr("10.85.0.0/16")};

    assert_int_equal(ipam_set_pools(&d->ipam, cidrs, 2, &d->e), -1);
    assert_int_equal(d->e.code, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(err_text(&d->e), "pools 10.0.0.0/8 and 10.85.0.0/16 overlap"));
    err_clear(&d->e);
    assert_int_equal(d->ipam.n_pools, 2); /* the ones of before */
}

static void put_file(struct desk *d, const char *name, const char *content)
{
    int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
    close(fd);
}

static void traces_of_crashes_and_rubbish_are_removed(void **state)
{
    struct desk *d = *state;

    log_set_level(LOG_ERROR);
    put_file(d, "leases/10.1.2.2", "");
    put_file(d, "leases/10.1.2.3", "two words");
    put_file(d, "leases/10.1.2.4", "a good id");
    put_file(d, "leases/10.1.2.5", "good-id");
    put_file(d, "leases/not an address", "good-id");
    desk_reopen(d);
    assert_int_equal(map_count(d->ipam.holders), 1);
    assert_int_equal(ipam_find(&d->ipam, "good-id")->count, 1);
    assert_int_equal(faccessat(d->fd, "leases/10.1.2.2", F_OK, 0), -1);
    assert_int_equal(faccessat(d->fd, "leases/10.1.2.3", F_OK, 0), -1);
    assert_int_equal(faccessat(d->fd, "leases/not an address", F_OK, 0), -1);
    assert_int_equal(faccessat(d->fd, "leases/10.1.2.5", F_OK, 0), 0);
}

/* Whoever wrote it: an address with a file is not given out. */
static void a_lease_file_of_others_is_respected(void **state)
{
    struct desk *d = *state;

    log_set_level(LOG_ERROR);
    put_file(d, "leases/10.1.2.2", "somebody");
    assert_address(&lease(d, "pod-a")->addresses[0], "10.1.2.3");
}

static void rubbish_in_the_cursor_file_is_harmless(void **state)
{
    static const char *const contents[] = {"", "x", "10.1.2.0/29 99999999999", "\n\n\n%s%n"};
    struct desk *d = *state;

    for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
        assert_int_equal(unlinkat(d->fd, "cursors", 0), 0);
        put_file(d, "cursors", contents[i]);
        desk_reopen(d);
        assert_address(&lease(d, "pod-a")->addresses[0], "10.1.2.2");
        assert_int_equal(ipam_release(&d->ipam, "pod-a", &d->e), 0);
        assert_int_equal(unlinkat(d->fd, "cursors", 0), 0);
        put_file(d, "cursors", "");
    }
}

/* ---- Names and lines ------------------------------------------------------------------------- */

static void link_names_come_from_ids(void **state)
{
    char name[IFNAMSIZ], other[IFNAMSIZ];

    (void)state;
    veth_name("0123456789abcdef0123", name);
    assert_string_equal(name, "pd0123456789ab");
    veth_name("not hex", name);
    veth_name("not heX", other);
    assert_string_not_equal(name, other);
    assert_true(veth_name_is_ours(name));
    assert_false(veth_name_is_ours("pd0123456789a"));
    assert_false(veth_name_is_ours("pd0123456789xx"));
    assert_false(veth_name_is_ours("eth0"));
}

static void port_lines_are_read_as_written(void **state)
{
    static const char *const good[] = {"tcp 0.0.0.0 8080 10.85.0.2 80\n",
                                       "udp 127.0.0.1 1 10.85.0.2 65535\n",
                                       "sctp :: 65535 fd00::2 1\n"};
    static const char *const bad[] = {"",
                                      "tcp",
                                      "icmp 0.0.0.0 8080 10.85.0.2 80",
                                      "tcp 0.0.0.0 0 10.85.0.2 80",
                                      "tcp 0.0.0.0 8080 10.85.0.2 65536",
                                      "tcp :: 8080 10.85.0.2 80",
                                      "tcp 0.0.0.0 -1 10.85.0.2 80",
                                      "tcp x 8080 10.85.0.2 80"};
    struct rules_port port;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct strbuf text = {0};
        assert_int_equal(ports_parse(good[i], &port), 0);
        ports_format(&port, &text);
        assert_string_equal(text.data, good[i]);
        strbuf_free(&text);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (ports_parse(bad[i], &port) == 0)
            fail_msg("%s was taken", bad[i]);
    }
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static struct route route(const char *to, int oif, bool gateway, unsigned type)
{
    return (struct route){.to = cidr(to), .oif = oif, .has_gateway = gateway, .type = type};
}

static void only_real_collisions_collide(void **state)
{
    const struct route harmless[] = {
        route("0.0.0.0/0", 2, true, RTN_UNICAST),
        route("10.0.0.0/8", 2, true, RTN_UNICAST),    /* the way to the cluster's other nodes */
        route("10.85.0.0/16", 7, false, RTN_UNICAST), /* our own bridge's */
        route("10.85.255.255/32", 3, false, RTN_BROADCAST),
        route("192.0.2.0/24", 2, false, RTN_UNICAST),
        route("10.0.0.0/8", 0, false, RTN_BLACKHOLE),
    };
    const struct route harmful[] = {
        route("10.85.3.0/24", 3, false, RTN_UNICAST),
        route("10.85.3.0/24", 2, true, RTN_UNICAST),
        route("10.85.0.0/16", 3, false, RTN_UNICAST),
        route("10.0.0.0/8", 3, false, RTN_UNICAST), /* directly connected */
        route("10.85.9.9/32", 1, false, RTN_LOCAL),
    };
    struct cidr pool_cidr = cidr("10.85.0.0/16");

    (void)state;
    assert_null(route_collision(harmless, ARRAY_SIZE(harmless), &pool_cidr, 7));
    for (size_t i = 0; i < ARRAY_SIZE(harmful); i++)
        assert_ptr_equal(route_collision(&harmful[i], 1, &pool_cidr, 7), &harmful[i]);
}

static void the_uplink_is_the_best_default_route(void **state)
{
    struct route routes[] = {
        route("::/0", 5, true, RTN_UNICAST),
        route("0.0.0.0/0", 3, true, RTN_UNICAST),
        route("0.0.0.0/0", 4, true, RTN_UNICAST),
        route("0.0.0.0/0", 6, true, RTN_UNREACHABLE),
    };

    (void)state;
    routes[1].metric = 200;
    routes[2].metric = 100;
    assert_int_equal(route_uplink(routes, ARRAY_SIZE(routes)), 4);
    assert_int_equal(route_uplink(routes, 1), 5);
    assert_int_equal(route_uplink(NULL, 0), 0);
}

#define desk_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_plain_notation_is_an_address),
        cmocka_unit_test(malformed_cidrs_are_explained),
        cmocka_unit_test(counting_carries_over_bytes),
        cmocka_unit_test(overlap_is_seen_from_both_sides),
        cmocka_unit_test(a_pool_spares_network_bridge_and_broadcast),
        cmocka_unit_test(a_freed_address_is_the_last_to_come_again),
        cmocka_unit_test(every_address_of_a_pool_is_given_once),
        cmocka_unit_test(unusable_pools_are_refused),
        desk_test(a_lease_is_a_file_with_the_id),
        desk_test(leases_and_order_survive_a_restart),
        desk_test(a_full_second_pool_gives_the_first_back),
        desk_test(leases_outlive_their_pool),
        desk_test(overlapping_pools_are_refused),
        desk_test(traces_of_crashes_and_rubbish_are_removed),
        desk_test(a_lease_file_of_others_is_respected),
        desk_test(rubbish_in_the_cursor_file_is_harmless),
        cmocka_unit_test(link_names_come_from_ids),
        cmocka_unit_test(port_lines_are_read_as_written),
        cmocka_unit_test(only_real_collisions_collide),
        cmocka_unit_test(the_uplink_is_the_best_default_route),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
