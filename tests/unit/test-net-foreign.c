/* Rules of others that cut pods off are found, and no others. */
#include "net-fixture.h"

#include "../../src/net/foreign.h"

static void run(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s failed", command);
}

static int tear_down(void **state)
{
    (void)state;
    return system("nft flush ruleset; iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F; "
                  "iptables-legacy -X; ip6tables-legacy -P FORWARD ACCEPT; ip6tables-legacy -F");
}

/* What would be said, or "". */
static const char *look(bool v4, bool v6)
{
    static struct strbuf text;
    struct foreign_drop drop;
    bool found = false;

    strbuf_free(&text);
    assert_ok(foreign_find_drop("podd0", "podd-podd0", v4, v6, &found, &drop, e));
    if (found)
        foreign_explain(&drop, "podd0", &text);
    return found ? text.data : "";
}

static void assert_says(const char *part, bool v4, bool v6)
{
    const char *text = look(v4, v6);

    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void what_drops_nothing_is_not_told(void **state)
{
    (void)state;
    assert_string_equal(look(true, true), "");
    run("iptables -A FORWARD -i eth7 -j DROP; iptables -P INPUT DROP; iptables-legacy -A FORWARD "
        "-i "
        "eth7 -j DROP; iptables-legacy -P INPUT DROP; nft add table inet podd-podd0; nft add chain "
        "inet podd-podd0 f '{ type filter hook forward priority 0; policy drop; }'");
    assert_string_equal(look(true, true), "");
    run("iptables-legacy -P INPUT ACCEPT");
}

static void policies_of_iptables_are_told_with_the_program(void **state)
{
    (void)state;
    run("iptables -P FORWARD DROP");
    assert_says("`iptables -I FORWARD -i podd0 -j ACCEPT; iptables -I FORWARD -o podd0 -j ACCEPT`",
                true, false);
    assert_string_equal(look(false, true), ""); /* pods without IPv4 do not care */
    run("iptables -N DOCKER-USER");
    assert_says("`iptables -I DOCKER-USER -i podd0", true, true);
    run("iptables -I DOCKER-USER -i podd0 -j ACCEPT");
    assert_string_equal(look(true, true), "");
    run("ip6tables -P FORWARD DROP");
    assert_says("chain FORWARD of table ip6 filter drops", true, true);
    assert_says("`ip6tables -I FORWARD -i podd0", true, true);
}

static void policies_of_iptables_legacy_too(void **state)
{
    (void)state;
    run("iptables-legacy -P FORWARD DROP; iptables-legacy -N DOCKER-USER; iptables-legacy -A "
        "FORWARD "
        "-i podd01 -j ACCEPT");
    assert_says("`iptables-legacy -I DOCKER-USER -i podd0 -j ACCEPT; ", true, true);
    run("iptables-legacy -A DOCKER-USER -o podd0 -j ACCEPT");
    assert_string_equal(look(true, true), "");
    run("ip6tables-legacy -P FORWARD DROP");
    assert_says("`ip6tables-legacy -I FORWARD -i podd0", true, true);
    assert_string_equal(look(true, false), "");
}

static void names_in_sets_and_maps_count(void **state)
{
    (void)state;
    run("nft add table inet mine; nft add chain inet mine f "
        "'{ type filter hook forward priority 5; policy drop; }'");
    assert_says("`nft insert rule inet mine f iifname podd0 accept; nft insert rule inet mine f "
                "oifname podd0 accept`",
                true, false);
    run("nft add chain inet mine lan; nft add rule inet mine f iifname vmap '{ eth0 : drop, podd01 "
        ": "
        "jump lan }'");
    assert_says("chain f of table inet mine", false, true);
    run("nft add rule inet mine f iifname vmap '{ eth0 : drop, podd0 : jump lan }'");
    assert_string_equal(look(true, true), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_drops_nothing_is_not_told, tear_down),
        cmocka_unit_test_teardown(policies_of_iptables_are_told_with_the_program, tear_down),
        cmocka_unit_test_teardown(policies_of_iptables_legacy_too, tear_down),
        cmocka_unit_test_teardown(names_in_sets_and_maps_count, tear_down),
    };

    if (unshare(CLONE_NEWNET) < 0) {
        perror("unshare");
        return 1;
    }
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
