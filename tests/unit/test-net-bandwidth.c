/* Bandwidth limits: what annotations mean, and what goes through a limited pod. */
#include "net-fixture.h"

#include <linux/pkt_sched.h>

#include "../../src/net/bandwidth.h"

static const char *const pools[] = {"10.85.0.0/16", "fd00:85::/64"};

/* ---- Annotations ----------------------------------------------------------------------------- */

static void annotations_are_bits_per_second(void **state)
{
    const struct key_value pairs[] = {
        {(char *)"kubernetes.io/egress-bandwidth", (char *)"1500k"},
        {(char *)"kubernetes.io/ingress-bandwidth", (char *)"10M"},
        {(char *)"example.com/ingress-bandwidth", (char *)"what"},
    };
    struct net_bandwidth got;

    (void)state;
    assert_ok(net_bandwidth_parse(pairs, ARRAY_SIZE(pairs), &got, e));
    assert_int_equal(got.ingress, 10000000);
    assert_int_equal(got.egress, 1500000);
    assert_ok(net_bandwidth_parse(NULL, 0, &got, e));
    assert_int_equal(got.ingress + got.egress, 0);
}

static void what_is_no_rate_is_refused(void **state)
{
    static const struct {
        const char *value, *says;
    } cases[] = {{"", "is not a number of bits per second"},
                 {"10Mbit", "is not a number"},
                 {"-1M", "is not a number"},
                 {"10M 5M", "is not a number"},
                 {"999", "is not between 1k and 1P"},
                 {"0", "is not between 1k and 1P"},
                 {"2P", "is not between 1k and 1P"},
                 {"99999999999999999999", "is not between"},
                 {"1", "kubernetes.io/egress-bandwidth: 1 is"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct key_value pair = {(char *)NET_EGRESS_ANNOTATION, (char *)cases[i].value};
        struct net_bandwidth got;
        assert_error(net_bandwidth_parse(&pair, 1, &got, e), ERR_INVALID_ARGUMENT, cases[i].says);
    }
}

static void a_kernel_without_it_is_told(void **state)
{
    struct rtnl_batch b = {0};
    struct tcmsg tcm = {.tcm_ifindex = 1, .tcm_parent = TC_H_ROOT};
    struct rtnl r;

    (void)state;
    assert_ok(rtnl_open(&r, e));
    struct nl_msg *m = rtnl_add_needing(&b, RTM_NEWQDISC, NLM_F_CREATE, "limit", "CONFIG_THAT");
    rtnl_put_header(m, &tcm, sizeof(tcm));
    rtnl_put_string(m, TCA_KIND, "podd-none");
    assert_error(rtnl_send(&r, &b, "lo", e), ERR_FAILED_PRECONDITION,
                 "limit lo: this kernel lacks CONFIG_THAT");
    rtnl_close(&r);
}

/* ---- Traffic --------------------------------------------------------------------------------- */

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

static void attach_limited(struct fixture *f, int netns, uint64_t ingress, uint64_t egress)
{
    struct net_pod pod = {
        .sandbox_id = "aaaaaaaaaaaa", .netns = netns, .bandwidth = {ingress, egress}};

    f->pending++;
    net_attach(f->net, &pod, on_attached, f);
    assert_settled(f, settle(f));
}

/* Sends as much as goes for a while; bits per second that arrive behind the first moment, which
 * empties the bucket. */
static double pour(int server_netns, int client_netns, const char *to)
{
    enum { WARM_UP_MS = 300, MEASURE_MS = 700 };
    static char bytes[65536];
    struct sockaddr_storage address;
    uint64_t count = 0;
    int client = -1;

    _cleanup_close_ int server =
        open_server(server_netns, SOCK_STREAM, strchr(to, ':') ? "::" : "0.0.0.0", 5001);
    socklen_t len = make_address(to, 5001, &address);
    assert_ok(client = net_socket(client_netns, address.ss_family, SOCK_STREAM, 0, e));
    _cleanup_close_ int guard = client;
    (void)!connect(client, (struct sockaddr *)&address, len);
    assert_true(wait_for(server, POLLIN, PATIENCE_MS));
    _cleanup_close_ int accepted = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(accepted >= 0 && wait_for(client, POLLOUT, PATIENCE_MS));
    int64_t begin = time_mono_ns() + WARM_UP_MS * NS_PER_MS;
    for (int64_t now = 0; now < begin + MEASURE_MS * NS_PER_MS; now = time_mono_ns()) {
        while (send(client, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0) {
        }
        for (ssize_t n; (n = recv(accepted, bytes, sizeof(bytes), 0)) > 0;)
            count += now > begin ? (uint64_t)n : 0;
        (void)wait_for(accepted, POLLIN, 2);
    }
    return (double)count * 8 * 1000 / MEASURE_MS;
}

static void assert_rate(double got, double wanted)
{
    if (got < 0.6 * wanted || got > 1.25 * wanted)
        fail_msg("%.1f Mbit/s instead of %.1f", got / 1e6, wanted / 1e6);
}

static void each_direction_has_its_limit(void **state)
{
    struct fixture *f = *state;
    int pod = netns_new();

    attach_limited(f, pod, 40000000, 10000000);
    assert_rate(pour(pod, -1, f->last.text[0]), 40e6);
    assert_rate(pour(-1, pod, "10.85.0.1"), 10e6);
    assert_rate(pour(pod, -1, f->last.text[1]), 40e6);
    assert_rate(pour(-1, pod, "fd00:85::1"), 10e6);
    close(pod);
}

static void one_direction_alone_leaves_the_other(void **state)
{
    struct fixture *f = *state;
    int pod = netns_new();

    attach_limited(f, pod, 0, 10000000);
    assert_rate(pour(-1, pod, "10.85.0.1"), 10e6);
    assert_true(pour(pod, -1, f->last.text[0]) > 100e6);
    assert_settled(f, detach(f, "aaaaaaaaaaaa"));
    close(pod);
}

/* The kernel takes the largest that an annotation may say, and the smallest. */
static void extreme_rates_are_taken(void **state)
{
    struct fixture *f = *state;
    int pod = netns_new();

    attach_limited(f, pod, 1000000000000000, 1000);
    assert_true(reaches(pod, 80, -1, f->last.text[0], 80, SOCK_STREAM, NULL));
    assert_true(pour(pod, -1, f->last.text[0]) > 100e6);
    close(pod);
}

#define room_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(annotations_are_bits_per_second),
        cmocka_unit_test(what_is_no_rate_is_refused),
        cmocka_unit_test(a_kernel_without_it_is_told),
        room_test(each_direction_has_its_limit),
        room_test(one_direction_alone_leaves_the_other),
        room_test(extreme_rates_are_taken),
    };

    if (unshare(CLONE_NEWNET) < 0) {
        perror("unshare");
        return 1;
    }
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
