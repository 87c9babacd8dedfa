/* Published ports: from outside, from the node, over loopback, between pods; who may have them. */
#include "net-fixture.h"

static const char *const pools[] = {"10.85.0.0/16", "fd00:85::/64"};

/* A node with an uplink to the outside and two pods, the first of which publishes ports. */
struct town {
    struct fixture f; /* first */
    int outside, web, other;
};

static const struct net_port web_ports[] = {
    {IPPROTO_TCP, 80, 8080, NULL},        {IPPROTO_UDP, 53, 5353, ""},
    {IPPROTO_TCP, 80, 8081, "127.0.0.1"}, {IPPROTO_TCP, 80, 8082, "192.0.2.1"},
    {IPPROTO_TCP, 80, 8083, "::1"},       {IPPROTO_TCP, 99, 0, NULL},
};

static int set_up(void **state)
{
    struct town *t = xnew(struct town);

    fixture_init(&t->f);
    assert_ok(open_room(&t->f, "podd0", pools, 2, e));
    t->outside = netns_new();
    t->web = netns_new();
    t->other = netns_new();
    join_namespaces(t->outside, "uplink0", "192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9");
    assert_settled(&t->f, attach(&t->f, "aaaaaaaaaaaa", t->other, NULL, 0));
    assert_settled(&t->f, attach(&t->f, "bbbbbbbbbbbb", t->web, web_ports, ARRAY_SIZE(web_ports)));
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct town *t = *state;
    struct rtnl r;

    assert_ok(net_destroy(t->f.net, e));
    fixture_deinit(&t->f);
    assert_ok(rtnl_open(&r, e));
    assert_ok(link_delete(&r, "uplink0", e));
    rtnl_close(&r);
    close(t->outside);
    close(t->web);
    close(t->other);
    free(t);
    return 0;
}

static bool web_answers(struct town *t, int from, const char *to, unsigned port, char *seen)
{
    bool udp = port == 5353;

    return reaches(t->web, udp ? 53 : 80, from, to, port, udp ? SOCK_DGRAM : SOCK_STREAM, seen);
}

static bool web_is_silent(struct town *t, int from, const char *to, unsigned port)
{
    _cleanup_close_ int server =
        open_server(t->web, SOCK_STREAM, strchr(to, ':') ? "::" : "0.0.0.0", 80);

    return !converse(server, SOCK_STREAM, from, to, port, REFUSAL_MS, NULL);
}

static void outside_reaches_published_ports_and_keeps_its_address(void **state)
{
    struct town *t = *state;
    char seen[46];

    assert_true(web_answers(t, t->outside, "192.0.2.1", 8080, seen));
    assert_string_equal(seen, "192.0.2.9");
    assert_true(web_answers(t, t->outside, "192.0.2.1", 5353, seen));
    assert_string_equal(seen, "192.0.2.9");
    assert_true(web_answers(t, t->outside, "2001:db8::1", 8080, seen));
    assert_string_equal(seen, "2001:db8::9");
    assert_true(web_answers(t, t->outside, "192.0.2.1", 8082, seen));
    assert_true(web_is_silent(t, t->outside, "192.0.2.1", 8081)); /* only on loopback */
    assert_true(web_is_silent(t, t->outside, "2001:db8::1", 8083));
    assert_true(web_is_silent(t, t->outside, "192.0.2.1", 80)); /* not published by that number */
}

static void node_reaches_them_by_its_address_and_over_loopback(void **state)
{
    struct town *t = *state;
    char seen[46];

    assert_true(web_answers(t, -1, "192.0.2.1", 8080, seen));
    assert_true(web_answers(t, -1, "192.0.2.1", 8082, seen));
    assert_true(web_answers(t, -1, "2001:db8::1", 8080, seen));
    assert_true(web_answers(t, -1, "127.0.0.1", 8080, seen));
    assert_string_equal(seen, "10.85.0.1"); /* the pod sees the bridge */
    assert_true(web_answers(t, -1, "127.0.0.1", 5353, seen));
    assert_true(web_answers(t, -1, "127.0.0.1", 8081, seen));
    assert_true(web_answers(t, -1, "127.3.2.1", 8080, seen));
    assert_true(web_answers(t, -1, "::1", 8080, seen));
    assert_string_equal(seen, "fd00:85::1");
    assert_true(web_answers(t, -1, "::1", 8083, seen));
    assert_true(web_answers(t, -1, "::1", 5353, seen));
    assert_true(web_is_silent(t, -1, "127.0.0.1", 8082)); /* only on the uplink */
}

static void loopback_services_of_the_node_still_work(void **state)
{
    char seen[46];

    (void)state;
    assert_true(reaches(-1, 8090, -1, "127.0.0.1", 8090, SOCK_STREAM, seen));
    assert_string_equal(seen, "127.0.0.1");
    assert_true(reaches(-1, 8090, -1, "::1", 8090, SOCK_DGRAM, seen));
    assert_string_equal(seen, "::1");
}

static void pods_reach_them_also_the_pod_itself(void **state)
{
    struct town *t = *state;
    char seen[46];

    assert_true(web_answers(t, t->other, "192.0.2.1", 8080, seen));
    assert_true(web_answers(t, t->other, "10.85.0.1", 5353, seen));
    assert_true(web_answers(t, t->other, "2001:db8::1", 8080, seen));
    assert_true(web_answers(t, t->web, "192.0.2.1", 8080, seen));
    assert_true(web_answers(t, t->web, "10.85.0.1", 8080, seen));
    assert_true(web_answers(t, t->web, "fd00:85::1", 8080, seen));
    assert_true(web_answers(t, t->web, "192.0.2.1", 5353, seen));
}

/* In that namespace, packets for 127.0.0.1 go out to the node instead of to lo. */
static void send_loopback_to_the_node(int netns, const char *device, const char *node)
{
    const struct {
        const char *to;
        unsigned prefix;
    } own[] = {{"127.0.0.1", 32}, {"127.0.0.0", 8}};
    struct netns_visit visit = {0};
    struct rtnl_batch b = {0};
    struct ip to, gateway;
    struct rtnl r;
    char path[64];

    snprintf(path, sizeof(path), "net/ipv4/conf/%s/route_localnet", device);
    assert_ok(netns_enter(&visit, netns, e));
    assert_ok(rtnl_open(&r, e));
    assert_int_equal(sysctl_write(path, "1"), 0);
    netns_leave(&visit);
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        struct rtmsg rtm = {.rtm_family = AF_INET,
                            .rtm_dst_len = (uint8_t)own[i].prefix,
                            .rtm_table = RT_TABLE_LOCAL,
                            .rtm_scope = RT_SCOPE_HOST,
                            .rtm_type = RTN_LOCAL};
        struct nl_msg *m = rtnl_add(&b, RTM_DELROUTE, 0, "delete");
        rtnl_put_header(m, &rtm, sizeof(rtm));
        assert_int_equal(ip_parse(own[i].to, &to), 0);
        rtnl_put_ip(m, RTA_DST, &to);
    }
    struct rtmsg rtm = {.rtm_family = AF_INET,
                        .rtm_dst_len = 8,
                        .rtm_table = RT_TABLE_MAIN,
                        .rtm_scope = RT_SCOPE_UNIVERSE,
                        .rtm_type = RTN_UNICAST};
    struct nl_msg *m = rtnl_add(&b, RTM_NEWROUTE, NLM_F_CREATE, "add");
    rtnl_put_header(m, &rtm, sizeof(rtm));
    rtnl_put_ip(m, RTA_DST, &to);
    assert_int_equal(ip_parse(node, &gateway), 0);
    rtnl_put_ip(m, RTA_GATEWAY, &gateway);
    rtnl_put_u32(m, RTA_OIF, (uint32_t)rtnl_link_index(&r, device));
    assert_ok(rtnl_send(&r, &b, device, e));
    rtnl_close(&r);
}

/* CVE-2020-8558: a neighbour sends to 127.0.0.1 with the node's hardware address. */
static void neighbours_do_not_reach_loopback(void **state)
{
    struct town *t = *state;
    const struct {
        int netns;
        const char *device, *node, *sysctl;
    } places[] = {
        {t->outside, "up0", "192.0.2.1", "net/ipv4/conf/uplink0/route_localnet"},
        {t->other, "eth0", "10.85.0.1", "net/ipv4/conf/podd0/route_localnet"},
    };
    int value;

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        int ns = places[i].netns;
        char seen[46] = "";
        send_loopback_to_the_node(ns, places[i].device, places[i].node);
        assert_int_equal(sysctl_read(places[i].sysctl, &value), 0);
        assert_int_equal(value, 0);
        _cleanup_close_ int local = open_server(-1, SOCK_DGRAM, "127.0.0.1", 7000);
        assert_false(converse(local, SOCK_DGRAM, ns, "127.0.0.1", 7000, REFUSAL_MS, NULL));
        assert_true(web_is_silent(t, ns, "127.0.0.1", 8080));
        /* The packets do come: with the sysctl that podd never sets they reach the service. But
         * published ports are not translated for them even then. */
        assert_int_equal(sysctl_write(places[i].sysctl, "1"), 0);
        (void)converse(local, SOCK_DGRAM, ns, "127.0.0.1", 7000, PATIENCE_MS, seen);
        assert_string_not_equal(seen, "");
        assert_true(web_is_silent(t, ns, "127.0.0.1", 8080));
        assert_true(web_is_silent(t, ns, "127.0.0.1", 8081));
        assert_int_equal(sysctl_write(places[i].sysctl, "0"), 0);
    }
}

/* ---- Who may have a port --------------------------------------------------------------------- */

static void a_port_of_another_pod_is_refused(void **state)
{
    struct town *t = *state;
    const struct net_port wanted[] = {
        {IPPROTO_TCP, 1, 8080, NULL},
        {IPPROTO_TCP, 1, 8080, "127.0.0.1"},
        {IPPROTO_TCP, 1, 8082, NULL},
    };
    int pod = netns_new();

    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        assert_int_equal(attach(&t->f, "cccccccccccc", pod, &wanted[i], 1), -1);
        assert_int_equal(t->f.error.code, ERR_FAILED_PRECONDITION);
        assert_non_null(strstr(err_text(&t->f.error), "published by sandbox bbbbbbbbbbbb"));
    }
    const struct net_port other = {IPPROTO_UDP, 1, 8080, NULL};
    assert_settled(&t->f, attach(&t->f, "cccccccccccc", pod, &other, 1));
    close(pod);
}

static void a_port_with_a_listener_is_refused(void **state)
{
    struct town *t = *state;
    const struct net_port tcp = {IPPROTO_TCP, 1, 9090, NULL}, udp = {IPPROTO_UDP, 1, 9091, NULL};
    int pod = netns_new();

    int listener = open_server(-1, SOCK_STREAM, "127.0.0.1", 9090);
    int bound = open_server(-1, SOCK_DGRAM, "::1", 9091);
    assert_int_equal(attach(&t->f, "cccccccccccc", pod, &tcp, 1), -1);
    assert_non_null(strstr(err_text(&t->f.error), "a process listens on it"));
    assert_int_equal(attach(&t->f, "cccccccccccc", pod, &udp, 1), -1);
    assert_non_null(strstr(err_text(&t->f.error), "a process listens on it"));
    close(listener);
    close(bound);
    assert_settled(&t->f, attach(&t->f, "cccccccccccc", pod, &tcp, 1));
    close(pod);
}

static void nonsense_is_refused(void **state)
{
    struct town *t = *state;
    const struct {
        struct net_port port;
        const char *says;
    } cases[] = {
        {{IPPROTO_ICMP, 1, 7001, NULL}, "none of TCP, UDP and SCTP"},
        {{IPPROTO_TCP, 0, 7001, NULL}, "no container port"},
        {{IPPROTO_TCP, 1, 7001, "localhost"}, "is not an IP address"},
        {{IPPROTO_TCP, 1, 7001, "1.2.3.4; drop"}, "is not an IP address"},
    };
    int pod = netns_new();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(attach(&t->f, "cccccccccccc", pod, &cases[i].port, 1), -1);
        assert_int_equal(t->f.error.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(err_text(&t->f.error), cases[i].says));
    }
    const struct net_port twice[] = {{IPPROTO_TCP, 1, 7001, NULL}, {IPPROTO_TCP, 2, 7001, NULL}};
    assert_int_equal(attach(&t->f, "cccccccccccc", pod, twice, 2), -1);
    assert_non_null(strstr(err_text(&t->f.error), "asked for twice"));
    close(pod);
}

/* ---- Coming and going ------------------------------------------------------------------------ */

static void a_port_moves_with_its_pod_also_for_udp_clients(void **state)
{
    struct town *t = *state;
    const struct net_port dns = {IPPROTO_UDP, 53, 5353, NULL};
    struct sockaddr_storage to;
    socklen_t len = make_address("192.0.2.1", 5353, &to);
    int client = -1, next = netns_new();
    char byte;

    /* One client, one source port: the kernel takes it for one connection. */
    assert_ok(client = net_socket(t->outside, AF_INET, SOCK_DGRAM, 0, e));
    int old_server = open_server(t->web, SOCK_DGRAM, "0.0.0.0", 53);
    assert_int_equal(sendto(client, "a", 1, 0, (struct sockaddr *)&to, len), 1);
    assert_true(wait_for(old_server, POLLIN, PATIENCE_MS));
    assert_int_equal(recv(old_server, &byte, 1, 0), 1);
    assert_settled(&t->f, detach(&t->f, "bbbbbbbbbbbb"));
    assert_settled(&t->f, attach(&t->f, "dddddddddddd", next, &dns, 1));
    linger(&t->f, 150);
    int new_server = open_server(next, SOCK_DGRAM, "0.0.0.0", 53);
    assert_int_equal(sendto(client, "b", 1, 0, (struct sockaddr *)&to, len), 1);
    assert_true(wait_for(new_server, POLLIN, PATIENCE_MS));
    close(client);
    close(old_server);
    close(new_server);
    close(next);
}

/* Clients that asked in vain before the port was published. */
static void udp_clients_of_before_reach_the_pod(void **state)
{
    struct town *t = *state;
    const struct net_port port = {IPPROTO_UDP, 53, 6363, NULL};
    struct sockaddr_storage to;
    socklen_t len = make_address("192.0.2.1", 6363, &to);
    int client = -1, pod = netns_new();

    /* Somebody on the node takes the first packet silently, so that no error comes back. */
    int sink = open_server(-1, SOCK_DGRAM, "0.0.0.0", 6363);
    assert_ok(client = net_socket(t->outside, AF_INET, SOCK_DGRAM, 0, e));
    assert_int_equal(sendto(client, "a", 1, 0, (struct sockaddr *)&to, len), 1);
    assert_true(wait_for(sink, POLLIN, PATIENCE_MS));
    close(sink);
    assert_settled(&t->f, attach(&t->f, "dddddddddddd", pod, &port, 1));
    linger(&t->f, 150);
    int server = open_server(pod, SOCK_DGRAM, "0.0.0.0", 53);
    assert_int_equal(sendto(client, "b", 1, 0, (struct sockaddr *)&to, len), 1);
    assert_true(wait_for(server, POLLIN, PATIENCE_MS));
    close(client);
    close(server);
    close(pod);
}

static char *list_table(void)
{
    struct strbuf text = {0};
    char buffer[4096];
    FILE *p = popen("nft list table inet podd-podd0 2>&1", "r");

    assert_non_null(p);
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), p)) > 0;)
        strbuf_add(&text, buffer, n);
    pclose(p);
    return strbuf_take(&text);
}

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s failed", command);
}

static void the_table_shows_what_is_published(void **state)
{
    struct town *t = *state;

    char *text = list_table();
    assert_non_null(strstr(text, "tcp . 8080 : 10.85.0.3 . 80"));
    assert_non_null(strstr(text, "udp . 5353 : fd00:85::3 . 53"));
    assert_non_null(strstr(text, "tcp . 127.0.0.1 . 8081 : 10.85.0.3 . 80"));
    assert_null(strstr(text, ". 99"));
    free(text);
    assert_settled(&t->f, detach(&t->f, "bbbbbbbbbbbb"));
    text = list_table();
    assert_null(strstr(text, "10.85.0.3"));
    assert_null(strstr(text, "fd00:85::3"));
    assert_null(strstr(text, "8080"));
    free(text);
    assert_int_equal(count_files(&t->f, "ports"), 0);
}

/* What nft(8) lists is what there is: saving and loading it again changes nothing. */
static void the_table_survives_nft_save_and_load(void **state)
{
    struct town *t = *state;
    char seen[46];

    run("nft list table inet podd-podd0 > /tmp/podd-test-net.nft && nft delete table inet "
        "podd-podd0 && nft -f /tmp/podd-test-net.nft; s=$?; rm /tmp/podd-test-net.nft; exit $s");
    assert_true(web_answers(t, -1, "127.0.0.1", 8080, seen));
    assert_true(web_answers(t, t->web, "192.0.2.1", 8080, seen));
    assert_true(reaches(-1, 8090, -1, "127.0.0.1", 8090, SOCK_STREAM, seen));
}

static void a_flushed_table_is_restored(void **state)
{
    struct town *t = *state;
    static const char *const blows[] = {
        "nft flush ruleset",
        "nft delete table inet podd-podd0",
        "nft flush chain inet podd-podd0 publish",
        "nft flush map inet podd-podd0 any4",
        "nft delete element inet podd-podd0 any4 '{ tcp . 8080 }'",
    };
    char seen[46];

    char *before = list_table();
    for (size_t i = 0; i < ARRAY_SIZE(blows); i++) {
        run(blows[i]);
        linger(&t->f, 300);
        char *after = list_table();
        if (strlen(before) != strlen(after))
            fail_msg("after %s:\n%s", blows[i], after);
        free(after);
        assert_true(web_answers(t, t->outside, "192.0.2.1", 8080, seen));
    }
    free(before);
}

static void a_drop_of_the_user_stays_a_drop(void **state)
{
    struct town *t = *state;
    char seen[46];

    run("nft add rule inet podd-podd0 user tcp dport 8080 drop");
    assert_true(web_is_silent(t, t->outside, "192.0.2.1", 8080));
    assert_true(web_answers(t, t->outside, "192.0.2.1", 8082, seen));
    /* podd's own repairs leave it alone */
    run("nft flush chain inet podd-podd0 source_nat");
    linger(&t->f, 300);
    assert_true(web_is_silent(t, t->outside, "192.0.2.1", 8080));
    run("nft flush chain inet podd-podd0 user");
    assert_true(web_answers(t, t->outside, "192.0.2.1", 8080, seen));
    run("nft add rule inet podd-podd0 user_forward tcp dport 80 drop");
    assert_true(web_is_silent(t, t->outside, "192.0.2.1", 8080));
    run("nft add table inet mine && nft add chain inet mine c '{ type filter hook prerouting "
        "priority -150; }' && nft add rule inet mine c tcp dport 8082 drop && nft flush chain inet "
        "podd-podd0 user_forward");
    assert_true(web_is_silent(t, t->outside, "192.0.2.1", 8082));
    run("nft delete table inet mine");
    assert_true(web_answers(t, t->outside, "192.0.2.1", 8082, seen));
}

#define town_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        town_test(outside_reaches_published_ports_and_keeps_its_address),
        town_test(node_reaches_them_by_its_address_and_over_loopback),
        town_test(loopback_services_of_the_node_still_work),
        town_test(pods_reach_them_also_the_pod_itself),
        town_test(neighbours_do_not_reach_loopback),
        town_test(a_port_of_another_pod_is_refused),
        town_test(a_port_with_a_listener_is_refused),
        town_test(nonsense_is_refused),
        town_test(a_port_moves_with_its_pod_also_for_udp_clients),
        town_test(udp_clients_of_before_reach_the_pod),
        town_test(the_table_shows_what_is_published),
        town_test(the_table_survives_nft_save_and_load),
        town_test(a_flushed_table_is_restored),
        town_test(a_drop_of_the_user_stays_a_drop),
    };
    struct rtnl r;
    struct err error = ERR_INIT;

    if (unshare(CLONE_NEWNET) < 0) {
        perror("unshare");
        return 1;
    }
    if (rtnl_open(&r, &error) < 0 || link_set_up(&r, "lo", &error) < 0) {
        fprintf(stderr, "%s\n", err_text(&error));
        return 1;
    }
    rtnl_close(&r);
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
