/* Pods on a node, with real links: who reaches whom, and what is left afterwards. */
#include "net-fixture.h"

static const char *const pools[] = {"10.85.0.0/16", "fd00:85::/64"};

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    fixture_init(f);
    assert_ok(open_room(f, "podd0", pools, 2, e));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    assert_ok(net_destroy(f->net, e));
    fixture_deinit(f);
    free(f);
    return 0;
}

static void pods_and_node_reach_each_other(void **state)
{
    struct fixture *f = *state;
    struct net_addresses a, b;
    char seen[46];
    int ns[2] = {netns_new(), netns_new()};

    assert_settled(f, attach(f, "aaaaaaaaaa01", ns[0], NULL, 0));
    a = f->last;
    assert_settled(f, attach(f, "aaaaaaaaaa02", ns[1], NULL, 0));
    b = f->last;
    assert_int_equal(a.count, 2);
    assert_string_equal(a.text[0], "10.85.0.2");
    assert_string_equal(a.text[1], "fd00:85::2");
    assert_string_equal(b.text[0], "10.85.0.3");
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        for (size_t i = 0; i < 2; i++) {
            assert_true(reaches(ns[1], 80, ns[0], b.text[i], 80, type, seen));
            assert_string_equal(seen, a.text[i]);
            assert_true(reaches(ns[0], 80, -1, a.text[i], 80, type, seen));
        }
        assert_true(reaches(-1, 8888, ns[0], "10.85.0.1", 8888, type, seen));
        assert_true(reaches(ns[0], 80, ns[0], "127.0.0.1", 80, type, seen));
        assert_true(reaches(ns[0], 80, ns[0], "::1", 80, type, seen));
    }
    assert_settled(f, detach(f, "aaaaaaaaaa01"));
    assert_settled(f, detach(f, "aaaaaaaaaa02"));
    close_all(ns, 2);
}

static void delete_link(const char *name)
{
    struct rtnl r;

    assert_ok(rtnl_open(&r, e));
    assert_ok(link_delete(&r, name, e));
    rtnl_close(&r);
}

/* ---- The outside ----------------------------------------------------------------------------- */

static void outside_sees_the_node_address_of_a_pod(void **state)
{
    struct fixture *f = *state;
    char seen[46];
    int pod = netns_new(), far = netns_new();

    join_namespaces(far, "uplink0", "192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9");
    assert_settled(f, attach(f, "bbbbbbbbbb01", pod, NULL, 0));
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        assert_true(reaches(far, 80, pod, "192.0.2.9", 80, type, seen));
        assert_string_equal(seen, "192.0.2.1");
        assert_true(reaches(far, 80, pod, "2001:db8::9", 80, type, seen));
        assert_string_equal(seen, "2001:db8::1");
    }
    assert_settled(f, detach(f, "bbbbbbbbbb01"));
    delete_link("uplink0");
    close(pod);
    close(far);
}

/* A pod that takes an address which is not its own does not get past the node. */
static void forged_source_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct netns_visit visit = {0};
    struct rtnl inside;
    struct ip forged;
    int pod = netns_new(), far = netns_new();

    join_namespaces(far, "uplink0", "192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9");
    assert_settled(f, attach(f, "bbbbbbbbbb02", pod, NULL, 0));
    assert_ok(netns_enter(&visit, pod, e));
    assert_ok(rtnl_open(&inside, e));
    netns_leave(&visit);
    assert_int_equal(ip_parse("203.0.113.7", &forged), 0);
    assert_ok(address_add(&inside, rtnl_link_index(&inside, "eth0"), &forged, 32, e));
    rtnl_close(&inside);

    _cleanup_close_ int server = open_server(far, SOCK_DGRAM, "0.0.0.0", 53);
    int client = -1;
    assert_ok(client = net_socket(pod, AF_INET, SOCK_DGRAM, 0, e));
    struct sockaddr_storage from, to;
    socklen_t from_len = make_address("203.0.113.7", 1000, &from);
    socklen_t to_len = make_address("192.0.2.9", 53, &to);
    assert_int_equal(sendto(client, "a", 1, 0, (struct sockaddr *)&to, to_len), 1);
    assert_true(wait_for(server, POLLIN, PATIENCE_MS)); /* with its own address it arrives */
    char byte;
    assert_int_equal(recv(server, &byte, 1, 0), 1);
    close(client);
    assert_ok(client = net_socket(pod, AF_INET, SOCK_DGRAM, 0, e));
    assert_int_equal(bind(client, (struct sockaddr *)&from, from_len), 0);
    assert_int_equal(sendto(client, "b", 1, 0, (struct sockaddr *)&to, to_len), 1);
    assert_false(wait_for(server, POLLIN, REFUSAL_MS));
    close(client);
    assert_settled(f, detach(f, "bbbbbbbbbb02"));
    delete_link("uplink0");
    close(pod);
    close(far);
}

/* ---- The first packet ------------------------------------------------------------------------ */

/* Sends one datagram and returns after how many milliseconds it is there, or -1. */
static int64_t travel_ms(int from, int server, const char *to, unsigned port)
{
    struct sockaddr_storage address;
    socklen_t len = make_address(to, port, &address);
    int client = -1;
    char byte;

    assert_ok(client = net_socket(from, address.ss_family, SOCK_DGRAM, 0, e));
    int64_t begin = time_mono_ns();
    ssize_t sent = sendto(client, "a", 1, 0, (struct sockaddr *)&address, len);
    close(client);
    if (sent != 1 || !wait_for(server, POLLIN, PATIENCE_MS) || recv(server, &byte, 1, 0) != 1)
        return -1;
    return (time_mono_ns() - begin) / NS_PER_MS;
}

/* Neighbour discovery repeats after a second: a lost first packet shows. */
static void the_first_packet_arrives(void **state)
{
    enum { PODS = 20 };
    struct fixture *f = *state;
    int ns[PODS];
    char id[16];

    int node4 = open_server(-1, SOCK_DGRAM, "0.0.0.0", 7777);
    int node6 = open_server(-1, SOCK_DGRAM, "::", 7777);
    for (int i = 0; i < PODS; i++) {
        ns[i] = netns_new();
        snprintf(id, sizeof(id), "%012x", i);
        assert_settled(f, attach(f, id, ns[i], NULL, 0));
        /* By turns: the pod speaks first, or is spoken to. */
        for (int k = 0; k < 2; k++) {
            int server = open_server(ns[i], SOCK_DGRAM, k ? "::" : "0.0.0.0", 7777);
            int64_t out = 0, in = 0;
            /* The kernel joins the group that IPv6 neighbours ask in from a worker of its own;
             * nobody can be asked whether that has happened. Any container takes longer to start.
             */
            if (k == 1)
                usleep(10000);
            if (i % 2 == 0)
                out = travel_ms(ns[i], k ? node6 : node4, k ? "fd00:85::1" : "10.85.0.1", 7777);
            in = travel_ms(-1, server, f->last.text[k], 7777);
            if (out < 0 || out > 400 || in < 0 || in > 400)
                fail_msg("pod %d, IPv%d: %d ms out, %d ms in", i, k ? 6 : 4, (int)out, (int)in);
            close(server);
        }
    }
    close(node4);
    close(node6);
    close_all(ns, PODS);
}

/* What each pod's start sends to all others would make starting many quadratic. (With IPv6 the
 * kernel of each pod reports its two groups to all of them; nothing can turn that off.) */
static void pods_that_come_do_not_disturb_the_others(void **state)
{
    enum { PODS = 20 };
    static const char *const v4[] = {"10.86.0.0/16"};
    struct fixture f;
    struct net_usage usage;
    int ns[PODS];
    char id[16];
    size_t count = 0;

    (void)state;
    fixture_init(&f);
    assert_ok(open_room(&f, "podd1", v4, 1, e));
    for (int i = 0; i < PODS; i++) {
        ns[i] = netns_new();
        snprintf(id, sizeof(id), "%012x", i);
        assert_settled(&f, attach(&f, id, ns[i], NULL, 0));
    }
    assert_ok(net_read_usage(ns[0], &usage, 1, &count, e));
    assert_true(usage.rx_packets <= 2); /* the bridge's IGMP, not one per pod */
    assert_ok(net_destroy(f.net, e));
    fixture_deinit(&f);
    close_all(ns, PODS);
}

/* ---- What a pod has -------------------------------------------------------------------------- */

static int read_in(int netns, const char *path)
{
    struct netns_visit visit = {0};
    int value = -1;

    assert_ok(netns_enter(&visit, netns, e));
    int r = sysctl_read(path, &value);
    netns_leave(&visit);
    return r < 0 ? r : value;
}

static void pods_take_no_router_advertisements(void **state)
{
    struct fixture *f = *state;
    int pod = netns_new();

    assert_settled(f, attach(f, "cccccccccc01", pod, NULL, 0));
    assert_int_equal(read_in(pod, "net/ipv6/conf/eth0/accept_ra"), 0);
    assert_int_equal(read_in(pod, "net/ipv6/conf/eth0/disable_ipv6"), 0);
    assert_settled(f, detach(f, "cccccccccc01"));
    close(pod);
}

static void a_pool_without_ipv6_means_pods_without_ipv6(void **state)
{
    static const char *const v4[] = {"10.86.0.0/24"};
    struct fixture f;
    char seen[46];
    int ns[2] = {netns_new(), netns_new()};

    (void)state;
    fixture_init(&f);
    assert_ok(open_room(&f, "podd1", v4, 1, e));
    assert_settled(&f, attach(&f, "cccccccccc02", ns[0], NULL, 0));
    assert_int_equal(f.last.count, 1);
    assert_settled(&f, attach(&f, "dddddddddd02", ns[1], NULL, 0));
    assert_int_equal(read_in(ns[0], "net/ipv6/conf/eth0/disable_ipv6"), 1);
    assert_true(reaches(ns[0], 80, ns[1], "10.86.0.2", 80, SOCK_STREAM, seen));
    assert_ok(net_destroy(f.net, e));
    fixture_deinit(&f);
    close_all(ns, 2);
}

static void counters_are_read_inside_the_pod(void **state)
{
    struct fixture *f = *state;
    struct net_usage usage[4];
    size_t count = 0;
    char seen[46];
    int pod = netns_new();

    assert_settled(f, attach(f, "cccccccccc03", pod, NULL, 0));
    assert_true(reaches(pod, 80, -1, f->last.text[0], 80, SOCK_STREAM, seen));
    assert_ok(net_read_usage(pod, usage, ARRAY_SIZE(usage), &count, e));
    assert_int_equal(count, 1);
    assert_string_equal(usage[0].name, "eth0");
    assert_true(usage[0].rx_packets >= 3 && usage[0].tx_packets >= 2);
    assert_true(usage[0].rx_bytes > usage[0].rx_packets);
    assert_settled(f, detach(f, "cccccccccc03"));
    close(pod);
}

/* Neighbours that remember an address of a pod that is gone reach the pod that has it now. */
static void a_reused_address_works_at_once(void **state)
{
    static const char *const tiny[] = {"10.87.0.0/29"}; /* five pods */
    struct fixture f;
    char id[16], seen[46];
    int ns[8];

    (void)state;
    fixture_init(&f);
    assert_ok(open_room(&f, "podd1", tiny, 1, e));
    for (int i = 0; i < 5; i++) {
        ns[i] = netns_new();
        snprintf(id, sizeof(id), "%012x", i);
        assert_settled(&f, attach(&f, id, ns[i], NULL, 0));
    }
    assert_true(reaches(ns[1], 80, ns[0], "10.87.0.3", 80, SOCK_STREAM, seen));
    assert_true(reaches(ns[1], 80, -1, "10.87.0.3", 80, SOCK_STREAM, seen));
    assert_settled(&f, detach(&f, "000000000001"));
    ns[5] = netns_new();
    assert_settled(&f, attach(&f, "000000000005", ns[5], NULL, 0));
    assert_string_equal(f.last.text[0], "10.87.0.3");
    /* The old namespace is still there, and still has the address: it must not answer. */
    int64_t begin = time_mono_ns();
    assert_true(reaches(ns[5], 80, ns[0], "10.87.0.3", 80, SOCK_STREAM, seen));
    assert_true(reaches(ns[5], 80, -1, "10.87.0.3", 80, SOCK_STREAM, seen));
    assert_true(time_mono_ns() - begin < 500 * NS_PER_MS);
    assert_ok(net_destroy(f.net, e));
    fixture_deinit(&f);
    close_all(ns, 6);
}

/* ---- Many, and the end ----------------------------------------------------------------------- */

static void a_full_pool_is_an_error_and_leaks_nothing(void **state)
{
    static const char *const tiny[] = {"10.88.0.0/24", "10.87.0.0/30"}; /* 253 pods, and one */
    struct fixture f;
    int ns[2] = {netns_new(), netns_new()};

    (void)state;
    fixture_init(&f);
    assert_ok(open_room(&f, "podd1", tiny, 2, e));
    assert_settled(&f, attach(&f, "eeeeeeeeee01", ns[0], NULL, 0));
    assert_string_equal(f.last.text[1], "10.87.0.2");
    assert_int_equal(attach(&f, "ffffffffff02", ns[1], NULL, 0), -1);
    assert_int_equal(f.error.code, ERR_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err_text(&f.error), "no free address in pool 10.87.0.0/30"));
    assert_int_equal(count_files(&f, "leases"), 2);
    assert_settled(&f, detach(&f, "eeeeeeeeee01"));
    assert_settled(&f, attach(&f, "ffffffffff02", ns[1], NULL, 0));
    assert_ok(net_destroy(f.net, e));
    fixture_deinit(&f);
    close_all(ns, 2);
}

static void two_hundred_at_once_get_two_hundred_addresses(void **state)
{
    enum { PODS = 200 };
    struct fixture *f = *state;
    int ns[PODS];
    char id[16];

    size_t links = count_links();
    for (int i = 0; i < PODS; i++)
        ns[i] = netns_new();
    for (int i = 0; i < PODS; i++) {
        snprintf(id, sizeof(id), "%012x", i);
        begin_attach(f, id, ns[i], NULL, 0);
    }
    assert_settled(f, settle(f));
    assert_int_equal(count_files(f, "leases"), 2 * PODS); /* names are addresses: all differ */
    assert_int_equal(count_links(), links + PODS);
    for (int i = 0; i < PODS; i++) {
        snprintf(id, sizeof(id), "%012x", i);
        begin_detach(f, id);
    }
    assert_settled(f, settle(f));
    assert_int_equal(count_files(f, "leases"), 0);
    close_all(ns, PODS);
    for (int i = 0; count_links() > links && i < 500; i++)
        linger(f, 10);
    assert_int_equal(count_links(), links);
}

static void a_link_whose_namespace_stays_is_cut_off_and_deleted_later(void **state)
{
    struct fixture *f = *state;
    int pod = netns_new();

    size_t links = count_links();
    assert_settled(f, attach(f, "abababababab01", pod, NULL, 0));
    assert_int_equal(count_links(), links + 1);
    int64_t begin = time_mono_ns();
    assert_settled(f, detach(f, "abababababab01"));
    assert_true(time_mono_ns() - begin < 15 * NS_PER_MS); /* did not wait for the kernel */
    _cleanup_close_ int server = open_server(pod, SOCK_STREAM, "0.0.0.0", 80);
    assert_false(converse(server, SOCK_STREAM, -1, f->last.text[0], 80, REFUSAL_MS, NULL));
    for (int i = 0; count_links() > links && i < 50; i++)
        linger(f, 100);
    assert_int_equal(count_links(), links);
    close(pod);
}

static void detaching_what_is_not_there_is_success(void **state)
{
    struct fixture *f = *state;

    assert_settled(f, detach(f, "acacacacacac01"));
    assert_settled(f, detach(f, "no such sandbox"));
}

static void a_dead_namespace_is_an_error_and_leaks_nothing(void **state)
{
    struct fixture *f = *state;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    size_t links = count_links();
    assert_int_equal(attach(f, "adadadadadad01", null, NULL, 0), -1);
    assert_non_null(strstr(err_text(&f->error), "network namespace"));
    assert_int_equal(count_files(f, "leases"), 0);
    assert_int_equal(count_links(), links);
    close(null);
}

static void failing_half_way_undoes_all(void **state)
{
    struct fixture *f = *state;
    int pod = netns_new();

    /* There is an eth0 already. */
    join_namespaces(pod, "uplink1", "198.51.100.1", "198.51.100.2", "2001:db8:1::1",
                    "2001:db8:1::2");
    struct netns_visit visit = {0};
    struct rtnl r;
    struct rtnl_batch b = {0};
    struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
    assert_ok(netns_enter(&visit, pod, e));
    assert_ok(rtnl_open(&r, e));
    netns_leave(&visit);
    struct nl_msg *m = rtnl_add(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create");
    rtnl_put_header(m, &ifi, sizeof(ifi));
    rtnl_put_string(m, IFLA_IFNAME, "eth0");
    struct nlattr *info = rtnl_nest(m, IFLA_LINKINFO);
    rtnl_put_string(m, IFLA_INFO_KIND, "bridge");
    rtnl_nest_end(m, info);
    assert_ok(rtnl_send(&r, &b, "eth0", e));
    rtnl_close(&r);

    size_t links = count_links();
    struct net_port port = {IPPROTO_TCP, 80, 8080, NULL};
    assert_int_equal(attach(f, "aeaeaeaeaeae01", pod, &port, 1), -1);
    assert_non_null(strstr(err_text(&f->error), "create veth pdaeaeaeaeaeae"));
    assert_int_equal(count_files(f, "leases"), 0);
    assert_int_equal(count_files(f, "ports"), 0);
    assert_int_equal(count_links(), links);
    close(pod);
}

static void no_descriptor_is_left(void **state)
{
    struct fixture *f = *state;
    char id[16];

    size_t before = count_fds();
    for (int i = 0; i < 20; i++) {
        struct net_port port = {IPPROTO_UDP, 53, (uint16_t)(5300 + i), "127.0.0.1"};
        int pod = netns_new();
        snprintf(id, sizeof(id), "%012x", i);
        assert_settled(f, attach(f, id, pod, &port, 1));
        assert_settled(f, detach(f, id));
        close(pod);
    }
    linger(f, 200); /* what is cleaned up in the background has its own sockets meanwhile */
    assert_int_equal(count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pods_and_node_reach_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(outside_sees_the_node_address_of_a_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forged_source_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_packet_arrives, set_up, tear_down),
        cmocka_unit_test(pods_that_come_do_not_disturb_the_others),
        cmocka_unit_test_setup_teardown(pods_take_no_router_advertisements, set_up, tear_down),
        cmocka_unit_test(a_pool_without_ipv6_means_pods_without_ipv6),
        cmocka_unit_test_setup_teardown(counters_are_read_inside_the_pod, set_up, tear_down),
        cmocka_unit_test(a_reused_address_works_at_once),
        cmocka_unit_test(a_full_pool_is_an_error_and_leaks_nothing),
        cmocka_unit_test_setup_teardown(two_hundred_at_once_get_two_hundred_addresses, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_link_whose_namespace_stays_is_cut_off_and_deleted_later,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(detaching_what_is_not_there_is_success, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_namespace_is_an_error_and_leaks_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(failing_half_way_undoes_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_descriptor_is_left, set_up, tear_down),
    };

    if (unshare(CLONE_NEWNET) < 0) {
        perror("unshare");
        return 1;
    }
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
