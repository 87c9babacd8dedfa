/*
 * foreign.c - rules of others that leave pods cut off from the world.
 *
 * In nf_tables, and between it and iptables, a packet must be let through by everybody: what podd's
 * chains accept is dropped all the same by a chain of somebody else whose policy is to drop. Docker
 * (when it has turned on forwarding itself), ufw and many a hand-made set of rules leave such a
 * policy at the forward hook. It may be there by intent, so podd does not punch a hole into it; but
 * nobody should have to find out by a pod that reaches nothing. So podd looks for such chains, and
 * says what to type.
 *
 * Whether a rule in there lets pods through cannot be known without running it. What is looked for
 * is the bridge's name: in the rules of the table and in its sets. Who has written it there has
 * thought of podd.
 */
#include <netinet/in.h> /* before any header of the kernel's that defines the same */
#include <stdio.h>      /* libnftnl's headers need it */

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "foreign.h"

enum { BUFFER_BYTES = 65536 };
static const char docker_user_chain[] = "DOCKER-USER";

struct search {
    struct mnl_socket *socket;
    uint32_t seq;
    const char *bridge, *own_table;
    bool v4, v6;
    struct foreign_drop *drops; /* owned: base chains that drop */
    uint8_t *families;          /* NFPROTO_* of each, owned */
    size_t count, n_families;
    char **docker_tables; /* strv: tables of family ip and ip6 with the chain DOCKER-USER */
    bool named;
    char **sets; /* strv: of the table that is looked at */
};

bool foreign_mentions(const void *bytes, size_t len, const char *name)
{
    return memmem(bytes, len, name, strlen(name) + 1) != NULL;
}

static void socket_closep(struct mnl_socket **s)
{
    if (*s)
        mnl_socket_close(*s);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* Lists objects of one kind, those of a table if it is given, elements of a set if it is given. */
static int dump(struct search *s, uint16_t type, uint8_t family, const char *table, const char *set,
                mnl_cb_t fn, struct err *e)
{
    _cleanup_free_ char *buffer = xmalloc(BUFFER_BYTES);
    struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
    int r = MNL_CB_OK;

    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = ++s->seq;
    struct nfgenmsg *nfg = mnl_nlmsg_put_extra_header(h, sizeof(*nfg));
    *nfg = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0};
    if (table)
        mnl_attr_put_strz(h, 1 /* NFTA_*_TABLE of all of these */, table);
    if (set)
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    if (mnl_socket_sendto(s->socket, h, h->nlmsg_len) < 0)
        return err_errno(e, errno, "ask for the rules of others");
    while (r > MNL_CB_STOP) {
        ssize_t len = mnl_socket_recvfrom(s->socket, buffer, BUFFER_BYTES);
        if (len < 0)
            return err_errno(e, errno, "list the rules of others");
        r = mnl_cb_run(buffer, (size_t)len, s->seq, mnl_socket_get_portid(s->socket), fn, s);
    }
    /* It changes meanwhile, or it went: the next look sees what has become of it. */
    if (r < 0 && errno != EINTR && errno != ENOENT)
        return err_errno(e, errno, "list the rules of others");
    return 0;
}

/* ---- Chains that drop ------------------------------------------------------------------------ */

static bool concerns(const struct search *s, uint32_t family)
{
    return (family == NFPROTO_IPV4 && s->v4) || (family == NFPROTO_IPV6 && s->v6) ||
           family == NFPROTO_INET;
}

static void note_chain(struct search *s, const struct nftnl_chain *c)
{
    uint32_t family = nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY);
    const char *table = nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE);
    const char *name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME);

    if (!table || !name || !concerns(s, family) || str_equal(table, s->own_table))
        return;
    if (str_equal(name, docker_user_chain)) {
        _cleanup_free_ char *key = xasprintf("%u %s", family, table);
        strv_push(&s->docker_tables, key);
    }
    if (!nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM) || !nftnl_chain_is_set(c, NFTNL_CHAIN_POLICY) ||
        nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM) != NF_INET_FORWARD ||
        nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) != NF_DROP)
        return;
    uint8_t *family_slot = array_push(&s->families, &s->n_families, sizeof(*family_slot));
    struct foreign_drop *drop = array_push(&s->drops, &s->count, sizeof(*drop));
    *family_slot = (uint8_t)family;
    drop->family = family == NFPROTO_IPV4 ? AF_INET : family == NFPROTO_IPV6 ? AF_INET6 : AF_UNSPEC;
    snprintf(drop->table, sizeof(drop->table), "%s", table);
    snprintf(drop->chain, sizeof(drop->chain), "%s", name);
}

static int take_chain(const struct nlmsghdr *h, void *arg)
{
    struct nftnl_chain *c = nftnl_chain_alloc();

    if (!c)
        abort();
    if (nftnl_chain_nlmsg_parse(h, c) == 0)
        note_chain(arg, c);
    nftnl_chain_free(c);
    return MNL_CB_OK;
}

/* ---- Whether the bridge is named ------------------------------------------------------------- */

static int take_text(const struct nlmsghdr *h, void *arg)
{
    struct search *s = arg;

    s->named |= foreign_mentions(mnl_nlmsg_get_payload(h), mnl_nlmsg_get_payload_len(h), s->bridge);
    return MNL_CB_OK;
}

static int take_set(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *attribute;
    struct search *s = arg;

    mnl_attr_for_each(attribute, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(attribute) == NFTA_SET_NAME &&
            mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
            strv_push(&s->sets, mnl_attr_get_str(attribute));
    }
    return MNL_CB_OK;
}

static int look_for_name(struct search *s, uint8_t family, const char *table, struct err *e)
{
    int r;

    s->named = false;
    strv_free(take_ptr(s->sets));
    r = dump(s, NFT_MSG_GETRULE, family, table, NULL, take_text, e);
    if (r == 0 && !s->named)
        r = dump(s, NFT_MSG_GETSET, family, table, NULL, take_set, e);
    for (char **set = s->sets; r == 0 && !s->named && set && *set; set++)
        r = dump(s, NFT_MSG_GETSETELEM, family, table, *set, take_text, e);
    return r;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static bool has_docker_user(const struct search *s, uint8_t family, const char *table)
{
    _cleanup_free_ char *key = xasprintf("%u %s", family, table);

    for (char **t = s->docker_tables; t && *t; t++) {
        if (str_equal(*t, key))
            return true;
    }
    return false;
}

static int find_in_nf_tables(struct search *s, bool *ret_found, struct foreign_drop *ret,
                             struct err *e)
{
    if (dump(s, NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, NULL, NULL, take_chain, e) < 0)
        return -1;
    for (size_t i = 0; i < s->count && !*ret_found; i++) {
        struct foreign_drop *drop = &s->drops[i];
        if (look_for_name(s, s->families[i], drop->table, e) < 0)
            return -1;
        if (s->named)
            continue;
        drop->has_docker_user = has_docker_user(s, s->families[i], drop->table);
        *ret = *drop;
        *ret_found = true;
    }
    return 0;
}

int foreign_find_drop(const char *bridge, const char *own_table, bool v4, bool v6, bool *ret_found,
                      struct foreign_drop *ret, struct err *e)
{
    CLEANUP(socket_closep)
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    struct search s = {
        .socket = socket, .bridge = bridge, .own_table = own_table, .v4 = v4, .v6 = v6};

    *ret_found = false;
    if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return err_errno(e, errno, "open a netfilter socket");
    int r = find_in_nf_tables(&s, ret_found, ret, e);
    if (r == 0 && v4 && !*ret_found)
        r = foreign_find_legacy_drop(bridge, AF_INET, ret_found, ret, e);
    if (r == 0 && v6 && !*ret_found)
        r = foreign_find_legacy_drop(bridge, AF_INET6, ret_found, ret, e);
    free(s.drops);
    free(s.families);
    strv_free(s.docker_tables);
    strv_free(s.sets);
    return r;
}

void foreign_explain(const struct foreign_drop *drop, const char *bridge, struct strbuf *to)
{
    const char *family = drop->family == AF_INET ? "ip" : drop->family == AF_INET6 ? "ip6" : "inet";
    const char *program = drop->family == AF_INET6 ? "ip6tables" : "iptables";
    const char *chain = drop->has_docker_user ? docker_user_chain : drop->chain;

    strbuf_addf(to,
                "pods are cut off from outside this node: chain %s of table %s %s drops what no "
                "rule of it accepts, and none names %s; ",
                drop->chain, family, drop->table, bridge);
    /* Tables of these names are iptables', which can also change them. */
    if (drop->family != AF_UNSPEC && str_equal(drop->table, "filter"))
        strbuf_addf(to,
                    "to let them through: `%s%s -I %s -i %s -j ACCEPT; %s%s -I %s -o %s -j ACCEPT`",
                    program, drop->legacy ? "-legacy" : "", chain, bridge, program,
                    drop->legacy ? "-legacy" : "", chain, bridge);
    else
        strbuf_addf(to,
                    "to let them through: `nft insert rule %s %s %s iifname %s accept; nft insert "
                    "rule %s %s %s oifname %s accept`",
                    family, drop->table, chain, bridge, family, drop->table, chain, bridge);
}
