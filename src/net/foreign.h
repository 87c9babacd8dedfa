/*
 * foreign.h - rules of others that leave pods cut off from the world.
 */
#ifndef PODD_NET_FOREIGN_H
#define PODD_NET_FOREIGN_H

#include <podd/base.h>

/* A chain that drops what is forwarded unless a rule accepts it, while no rule names the bridge. */
struct foreign_drop {
    int family;  /* AF_INET, AF_INET6, or AF_UNSPEC for both */
    bool legacy; /* of iptables-legacy */
    bool has_docker_user;
    char table[64], chain[64];
};

/* The first such chain for pods of these families, in the network namespace of the calling thread.
 * Reads much when there are many rules: not for the event loop. */
int foreign_find_drop(const char *bridge, const char *own_table, bool v4, bool v6, bool *ret_found,
                      struct foreign_drop *ret, struct err *e) MUST_CHECK;
/* The same of iptables-legacy's tables, which nf_tables knows nothing of. */
int foreign_find_legacy_drop(const char *bridge, int family, bool *ret_found,
                             struct foreign_drop *ret, struct err *e) MUST_CHECK;
/* What it means and what to type, for people. */
void foreign_explain(const struct foreign_drop *drop, const char *bridge, struct strbuf *to);

/* Whether the text stands in the bytes, as a name with its NUL. */
bool foreign_mentions(const void *bytes, size_t len, const char *name);

#endif
