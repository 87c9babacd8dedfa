/* Opening the room: what it refuses, what it adopts, what it finds after a crash. */
#include "net-fixture.h"

#include <libnftnl/chain.h>
#include <linux/netfilter/nf_tables.h>

#include "../../src/net/nft.h"

#include <sys/file.h>
#include <sys/wait.h>

static const char *const pools[] = {"10.85.0.0/16", "fd00:85::/64"};

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s failed", command);
}

static char *output_of(const char *command)
{
    struct strbuf text = {0};
    char buffer[4096];
    FILE *p = popen(command, "r");

    assert_non_null(p);
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), p)) > 0;)
        strbuf_add(&text, buffer, n);
    pclose(p);
    return strbuf_take(&text);
}

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    fixture_init(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->net)
        assert_ok(net_destroy(f->net, e));
    fixture_deinit(f);
    free(f);
    /* What a failed test left, so that it fails alone. */
    return system("for l in lan0 lan1 uplink0 br0 podd0 podd1; do ip link del $l; done 2>/dev/null;"
                  "nft flush ruleset");
}

/* Until what was under way in the background is finished, and the directory is free. */
static void close_room(struct fixture *f)
{
    char path[128];

    net_close(f->net);
    f->net = NULL;
    snprintf(path, sizeof(path), "%s/lock", f->state);
    for (int i = 0; i < 400; i++) {
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
            return;
        linger(f, 5);
    }
    fail_msg("%s is still locked", path);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static void unusable_configurations_are_refused(void **state)
{
    static const struct {
        const char *bridge, *pools[2];
        size_t n;
        const char *says;
    } cases[] = {
        {"podd0", {"10.85.0.0/33"}, 1, "prefix length"},
        {"podd0", {"10.85.0.0/16", "10.85.1.0/24"}, 2, "overlap"},
        {"podd0", {"10.85.0.0/31"}, 1, "too small"},
        {"podd0", {NULL}, 0, "address pools are needed"},
        {"", {"10.85.0.0/16"}, 1, "bridge name"},
        {"a-name-too-long-for-linux", {"10.85.0.0/16"}, 1, "bridge name"},
        {"../x", {"10.85.0.0/16"}, 1, "bridge name"},
        {"po dd", {"10.85.0.0/16"}, 1, "bridge name"},
    };
    struct fixture *f = *state;

    size_t links = count_links();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_error(open_room(f, cases[i].bridge, cases[i].pools, cases[i].n, e),
                     ERR_INVALID_ARGUMENT, cases[i].says);
    assert_int_equal(count_links(), links);
}

static void pools_that_the_node_has_routes_into_are_refused(void **state)
{
    struct fixture *f = *state;

    run("ip link add lan0 type veth peer name lan1 && ip link set lan0 up && ip addr add "
        "10.85.7.1/24 dev lan0");
    assert_error(open_room(f, "podd0", pools, 2, e), ERR_INVALID_ARGUMENT,
                 "pool 10.85.0.0/16 collides with the node's route to 10.85.7.0/24 on lan0");
    run("ip addr flush dev lan0 && ip addr add fd00:85::7/120 dev lan0");
    assert_error(open_room(f, "podd0", pools, 2, e), ERR_INVALID_ARGUMENT,
                 "pool fd00:85::/64 collides");
    run("ip addr flush dev lan0 && ip addr add 192.0.2.1/24 dev lan0 && "
        "ip route add 10.0.0.0/8 via 192.0.2.9");
    assert_ok(open_room(f, "podd0", pools, 2, e)); /* the way to the rest of a cluster */
    run("ip link del lan0");
}

static void a_name_that_is_something_else_is_refused(void **state)
{
    struct fixture *f = *state;

    run("ip link add podd0 type veth peer name lan1");
    assert_error(open_room(f, "podd0", pools, 2, e), ERR_FAILED_PRECONDITION,
                 "podd0 is not a bridge but a link of kind veth");
    run("ip link del podd0");
    assert_ok(open_room(f, "podd0", pools, 2, e));
}

static void a_bridge_of_an_administrator_is_used_and_left(void **state)
{
    struct fixture *f = *state;

    run("ip link add br0 type bridge && ip addr add 192.0.2.1/24 dev br0");
    assert_ok(open_room(f, "br0", pools, 2, e));
    int pod = netns_new();
    assert_settled(f, attach(f, "aaaaaaaaaaaa", pod, NULL, 0));
    assert_true(reaches(pod, 80, -1, f->last.text[0], 80, SOCK_STREAM, NULL));
    assert_ok(net_destroy(f->net, e));
    close_room(f);
    close(pod);
    run("ip -o addr show dev br0 | grep -q 192.0.2.1 && ip link del br0");
}

static void two_rooms_need_two_bridges_and_two_directories(void **state)
{
    struct fixture *f = *state;
    struct fixture other;
    static const char *const other_pools[] = {"10.86.0.0/16"};
    int ns[2] = {netns_new(), netns_new()};

    fixture_init(&other);
    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_settled(f, attach(f, "aaaaaaaaaaaa", ns[0], NULL, 0));
    assert_error(open_room(&other, "podd1", pools, 1, e), ERR_INVALID_ARGUMENT, "on podd0");
    assert_error(open_room(&other, "podd0", other_pools, 1, e), ERR_FAILED_PRECONDITION,
                 "belongs to another podd");
    struct fixture same = other;
    memcpy(same.state, f->state, sizeof(same.state));
    assert_error(open_room(&same, "podd1", other_pools, 1, e), ERR_FAILED_PRECONDITION,
                 "in use by another podd");

    assert_ok(open_room(&other, "podd1", other_pools, 1, e));
    assert_settled(&other, attach(&other, "bbbbbbbbbbbb", ns[1], NULL, 0));
    assert_true(reaches(ns[1], 80, ns[0], other.last.text[0], 80, SOCK_STREAM, NULL));
    assert_ok(net_reconcile(other.net, NULL, 0, e)); /* its own pod only */
    assert_true(reaches(ns[0], 80, -1, f->last.text[0], 80, SOCK_STREAM, NULL));
    assert_ok(net_destroy(other.net, e));
    fixture_deinit(&other);
    assert_true(reaches(ns[0], 80, -1, f->last.text[0], 80, SOCK_STREAM, NULL));
    close_all(ns, 2);
}

/* ---- Again ----------------------------------------------------------------------------------- */

static void a_second_start_finds_pods_as_they_were(void **state)
{
    struct fixture *f = *state;
    const struct net_port port = {IPPROTO_TCP, 80, 8080, NULL};
    char *live[] = {(char *)"aaaaaaaaaaaa"};
    int ns[2] = {netns_new(), netns_new()};

    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_settled(f, attach(f, "aaaaaaaaaaaa", ns[0], &port, 1));
    char *before = output_of("nft list ruleset; ip addr show dev podd0");
    close_room(f);
    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_ok(net_reconcile(f->net, live, 1, e));
    char *after = output_of("nft list ruleset; ip addr show dev podd0");
    assert_string_equal(before, after);
    free(before);
    free(after);
    assert_true(reaches(ns[0], 80, -1, "127.0.0.1", 8080, SOCK_STREAM, NULL));
    assert_true(reaches(ns[0], 80, -1, "10.85.0.2", 80, SOCK_STREAM, NULL));
    assert_int_equal(attach(f, "bbbbbbbbbbbb", ns[1], &port, 1), -1);
    assert_non_null(strstr(err_text(&f->error), "published by sandbox aaaaaaaaaaaa"));
    assert_settled(f, attach(f, "bbbbbbbbbbbb", ns[1], NULL, 0));
    assert_string_not_equal(f->last.text[0], "10.85.0.2");
    assert_settled(f, detach(f, "aaaaaaaaaaaa"));
    close_all(ns, 2);
}

static void a_lost_table_is_back_after_a_start(void **state)
{
    struct fixture *f = *state;
    const struct net_port port = {IPPROTO_UDP, 53, 5353, NULL};
    int pod = netns_new();

    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_settled(f, attach(f, "aaaaaaaaaaaa", pod, &port, 1));
    char *before = output_of("nft list ruleset");
    close_room(f);
    run("nft flush ruleset");
    assert_ok(open_room(f, "podd0", pools, 2, e));
    char *after = output_of("nft list ruleset");
    assert_string_equal(before, after);
    free(before);
    free(after);
    close(pod);
}

static void a_table_of_another_shape_is_replaced(void **state)
{
    struct fixture *f = *state;

    run("nft add table inet podd-podd0 && nft add chain inet podd-podd0 publish "
        "'{ type filter hook input priority 7; }' && "
        "nft add set inet podd-podd0 any4 '{ type ipv4_addr; }'");
    assert_ok(open_room(f, "podd0", pools, 2, e));
    char *text = output_of("nft list ruleset");
    assert_non_null(strstr(text, "map any4"));
    assert_null(strstr(text, "priority 7"));
    free(text);
}

static const char *list_any4(void)
{
    static char text[65536];
    FILE *p = popen("nft list map inet podd-podd0 any4", "r");

    assert_non_null(p);
    text[fread(text, 1, sizeof(text) - 1, p)] = '\0';
    pclose(p);
    return text;
}

/* A process that attaches and is killed at some moment; a second that reconciles. */
static void crash_somewhere(const char *state_dir, int pod, unsigned microseconds)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct fixture f = {.loop = loop_new()};
        struct err e = ERR_INIT;
        const struct net_port port = {IPPROTO_TCP, 80, 8080, NULL};
        snprintf(f.state, sizeof(f.state), "%s", state_dir);
        if (open_room(&f, "podd0", pools, 2, &e) < 0) {
            fprintf(stderr, "%s\n", err_text(&e));
            _exit(1);
        }
        begin_attach(&f, "aaaaaaaaaaaa", pod, &port, 1);
        f.pending++; /* never stops by itself */
        loop_run(f.loop);
        _exit(1);
    }
    usleep(microseconds);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void a_kill_at_any_moment_leaks_nothing(void **state)
{
    struct fixture *f = *state;

    assert_ok(open_room(f, "podd0", pools, 2, e));
    char *clean = output_of("nft list ruleset");
    size_t links = count_links();
    /* From before the room is open until after the pod is there; how long that takes depends on
     * the machine. */
    unsigned in_time = 0, half_way = 0;
    for (unsigned i = 0; in_time < 10 && i < 200; i++) {
        int pod = netns_new();
        close_room(f);
        crash_somewhere(f->state, pod, 2000 + i * 300);
        size_t leases = count_files(f, "leases");
        in_time += leases > 0;
        half_way += leases > 0 && !strstr(list_any4(), "8080");
        assert_ok(open_room(f, "podd0", pools, 2, e));
        assert_ok(net_reconcile(f->net, NULL, 0, e));
        assert_int_equal(count_files(f, "leases"), 0);
        assert_int_equal(count_files(f, "ports"), 0);
        assert_int_equal(count_links(), links);
        char *now = output_of("nft list ruleset");
        assert_string_equal(now, clean);
        free(now);
        close(pod);
    }
    free(clean);
    assert_int_equal(in_time, 10);
    print_message("killed half-way %u times\n", half_way);
}

static void destroying_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    const struct net_port port = {IPPROTO_TCP, 80, 8080, NULL};
    int pod = netns_new();

    size_t links = count_links();
    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_settled(f, attach(f, "aaaaaaaaaaaa", pod, &port, 1));
    assert_ok(net_destroy(f->net, e));
    close_room(f);
    linger(f, 100);
    assert_int_equal(count_links(), links);
    char *text =
        output_of("nft list ruleset; ip route; ip -6 route | grep -v -e fe80 -e ^multicast");
    assert_string_equal(text, "");
    free(text);
    close(pod);
}

/* ---- Changes --------------------------------------------------------------------------------- */

static int set_pools(struct fixture *f, const char *const *texts, size_t count)
{
    f->pending++;
    net_set_pools(f->net, texts, count, on_done, f);
    return settle(f);
}

static void other_pools_are_for_new_pods_and_old_ones_go_on(void **state)
{
    static const char *const next[] = {"10.200.3.0/24"};
    static const char *const wrong[] = {"10.200.3.0/24", "10.200.0.0/16"};
    struct fixture *f = *state;
    char seen[46];
    int ns[3] = {netns_new(), netns_new(), netns_new()};

    assert_ok(open_room(f, "podd0", pools, 1, e));
    join_namespaces(ns[2], "uplink0", "192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9");
    assert_settled(f, attach(f, "aaaaaaaaaaaa", ns[0], NULL, 0));
    assert_int_equal(set_pools(f, wrong, 2), -1);
    assert_int_equal(f->error.code, ERR_INVALID_ARGUMENT);
    assert_settled(f, set_pools(f, next, 1));
    assert_settled(f, set_pools(f, next, 1)); /* the kubelet says it again */
    assert_settled(f, attach(f, "bbbbbbbbbbbb", ns[1], NULL, 0));
    assert_string_equal(f->last.text[0], "10.200.3.2");
    assert_true(reaches(ns[0], 80, ns[1], "10.85.0.2", 80, SOCK_STREAM, seen));
    assert_true(reaches(ns[2], 80, ns[0], "192.0.2.9", 80, SOCK_STREAM, seen));
    assert_string_equal(seen, "192.0.2.1");
    assert_true(reaches(ns[2], 80, ns[1], "192.0.2.9", 80, SOCK_STREAM, seen));
    assert_string_equal(seen, "192.0.2.1");
    /* Started again with the new pools, the old one is kept for the pod, and goes with it. */
    close_room(f);
    assert_ok(open_room(f, "podd0", pools, 1, e)); /* the configuration's, which do not count */
    assert_true(reaches(ns[2], 80, ns[0], "192.0.2.9", 80, SOCK_STREAM, seen));
    assert_settled(f, detach(f, "aaaaaaaaaaaa"));
    close_room(f);
    assert_ok(open_room(f, "podd0", pools, 1, e));
    int another = netns_new();
    assert_settled(f, attach(f, "cccccccccccc", another, NULL, 0));
    assert_string_equal(f->last.text[0], "10.200.3.3");
    close(another);
    run("! ip -o addr show dev podd0 | grep -q 10.85");
    run("ip link del uplink0");
    close_all(ns, 3);
}

static void a_broken_file_of_given_pools_is_told(void **state)
{
    struct fixture *f = *state;
    char command[128];

    assert_int_equal(mkdir(f->state, 0700) < 0 ? errno : 0, EEXIST);
    snprintf(command, sizeof(command), "echo 10.0.0.0/99 > %s/pools", f->state);
    run(command);
    assert_error(open_room(f, "podd0", pools, 1, e), ERR_INVALID_ARGUMENT,
                 "/pools (remove it to use the configured pools): address pool: 10.0.0.0/99");
}

/* What another kernel would do: a chain of a type that this one does not know. */
static void a_missing_part_of_the_kernel_is_named(void **state)
{
    struct nftnl_chain *c = nftnl_chain_alloc();
    struct nft_batch b;
    struct nft nft;

    (void)state;
    assert_ok(nft_open(&nft, e));
    run("nft add table inet podd-none");
    nft_batch_init(&b, &nft);
    nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, "podd-none");
    nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, "x");
    nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "none");
    nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, 0);
    nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, 0);
    nftnl_chain_nlmsg_build_payload(
        nft_batch_message(&b, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "make a chain of that type"), c);
    nft_batch_next(&b);
    nftnl_chain_free(c);
    assert_error(nft_batch_commit(&b, &nft, e), ERR_FAILED_PRECONDITION,
                 "this kernel's nf_tables cannot make a chain of that type");
    nft_batch_clear(&b);
    nft_close(&nft);
    run("nft delete table inet podd-none");
}

static void the_mtu_is_that_of_the_uplink(void **state)
{
    struct fixture *f = *state;

    run("ip link add lan0 type veth peer name lan1 && ip link set lan0 up mtu 1380 && "
        "ip addr add 192.0.2.1/24 dev lan0 && ip route add default via 192.0.2.9");
    assert_ok(open_room(f, "podd0", pools, 2, e));
    int pod = netns_new();
    assert_settled(f, attach(f, "aaaaaaaaaaaa", pod, NULL, 0));
    char *text = output_of("ip link show dev podd0; ip link show dev pdaaaaaaaaaaaa");
    char *first = strstr(text, "mtu 1380");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "mtu 1380"));
    free(text);
    run("ip link del lan0");
    close(pod);
}

static void the_status_says_what_is_wrong(void **state)
{
    struct fixture *f = *state;

    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_ok(net_status(f->net, e));
    run("ip link set podd0 down");
    assert_error(net_status(f->net, e), ERR_FAILED_PRECONDITION, "bridge podd0 is down");
    run("ip link set podd0 up");
    run("echo 0 > /proc/sys/net/ipv4/ip_forward");
    assert_error(net_status(f->net, e), ERR_FAILED_PRECONDITION, "IPv4 forwarding");
    run("echo 1 > /proc/sys/net/ipv4/ip_forward");
    run("nft flush ruleset");
    assert_error(net_status(f->net, e), ERR_UNAVAILABLE, "was removed");
    linger(f, 200);
    assert_ok(net_status(f->net, e));
    run("ip link del podd0");
    assert_error(net_status(f->net, e), ERR_FAILED_PRECONDITION, "bridge podd0 is gone");
}

static void router_advertisements_of_the_uplink_go_on_being_accepted(void **state)
{
    struct fixture *f = *state;
    int value;

    run("echo 0 > /proc/sys/net/ipv6/conf/all/forwarding; ip link add lan0 type veth peer name "
        "lan1 && "
        "echo 1 > /proc/sys/net/ipv6/conf/lan0/accept_ra");
    assert_ok(open_room(f, "podd0", pools, 2, e));
    assert_int_equal(sysctl_read("net/ipv6/conf/lan0/accept_ra", &value), 0);
    assert_int_equal(value, 2);
    assert_int_equal(sysctl_read("net/ipv6/conf/podd0/accept_ra", &value), 0);
    assert_int_equal(value, 0);
    run("ip link del lan0");
}

/* Rules of the shape that Docker and kube-proxy make, through iptables and nft. */
static void other_tables_are_left_alone(void **state)
{
    struct fixture *f = *state;

    run("iptables -t nat -N DOCKER && iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL "
        "-j DOCKER && iptables -t nat -A DOCKER -p tcp --dport 9999 -j DNAT --to 172.17.0.2:80");
    run("nft add table ip kube-proxy && nft add chain ip kube-proxy nat-prerouting "
        "'{ type nat hook prerouting priority dstnat; }'");
    char *before = output_of("nft list ruleset");
    assert_ok(open_room(f, "podd0", pools, 2, e));
    int ns[2] = {netns_new(), netns_new()};
    const struct net_port port = {IPPROTO_TCP, 80, 8080, NULL};
    join_namespaces(ns[1], "uplink0", "192.0.2.1", "192.0.2.9", "2001:db8::1", "2001:db8::9");
    assert_settled(f, attach(f, "aaaaaaaaaaaa", ns[0], &port, 1));
    assert_true(reaches(ns[0], 80, ns[1], "192.0.2.1", 8080, SOCK_STREAM, NULL));
    assert_ok(net_destroy(f->net, e));
    close_room(f);
    char *after = output_of("nft list ruleset");
    assert_string_equal(before, after);
    free(before);
    free(after);
    run("ip link del uplink0; nft flush ruleset");
    close_all(ns, 2);
}

#define room_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        room_test(unusable_configurations_are_refused),
        room_test(pools_that_the_node_has_routes_into_are_refused),
        room_test(a_name_that_is_something_else_is_refused),
        room_test(a_bridge_of_an_administrator_is_used_and_left),
        room_test(two_rooms_need_two_bridges_and_two_directories),
        room_test(a_second_start_finds_pods_as_they_were),
        room_test(a_lost_table_is_back_after_a_start),
        room_test(a_table_of_another_shape_is_replaced),
        room_test(a_kill_at_any_moment_leaks_nothing),
        room_test(destroying_leaves_nothing),
        room_test(other_pools_are_for_new_pods_and_old_ones_go_on),
        room_test(a_broken_file_of_given_pools_is_told),
        room_test(a_missing_part_of_the_kernel_is_named),
        room_test(the_mtu_is_that_of_the_uplink),
        room_test(the_status_says_what_is_wrong),
        room_test(router_advertisements_of_the_uplink_go_on_being_accepted),
        room_test(other_tables_are_left_alone),
    };

    if (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up") != 0) {
        perror("make a network namespace");
        return 1;
    }
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
