/*
 * addr.h - IP addresses and CIDRs as values. Pure: no system calls, no state.
 */
#ifndef PODD_NET_ADDR_H
#define PODD_NET_ADDR_H

#include <netinet/in.h>

#include <podd/base.h>

#define IP_TEXT_SIZE 46

struct ip {
    int family; /* AF_INET, AF_INET6; 0: none */
    uint8_t bytes[16];
};

struct cidr {
    struct ip base; /* host bits are zero */
    unsigned prefix;
};

size_t ip_size(const struct ip *ip); /* 4 or 16 */
/* The whole string, in the usual notation; 0 or -EINVAL. */
int ip_parse(const char *s, struct ip *ret) MUST_CHECK;
void ip_format(const struct ip *ip, char *ret /* IP_TEXT_SIZE */);
bool ip_equal(const struct ip *a, const struct ip *b);
bool ip_is_zero(const struct ip *ip);
bool ip_is_loopback(const struct ip *ip);

/* "10.85.0.0/16", "fd00:85::/64". Host bits must be zero. */
int cidr_parse(const char *s, struct cidr *ret, struct err *e) MUST_CHECK;
/* The network of that prefix length that the address lies in. */
struct cidr cidr_of(const struct ip *ip, unsigned prefix);
void cidr_format(const struct cidr *c, char *ret /* IP_TEXT_SIZE + 4 */);
bool cidr_contains(const struct cidr *c, const struct ip *ip);
bool cidr_overlaps(const struct cidr *a, const struct cidr *b);
/* All of `inner` lies in `outer`. */
bool cidr_within(const struct cidr *inner, const struct cidr *outer);
/* The address that lies `offset` behind the first; the caller knows that it is inside. */
struct ip cidr_nth(const struct cidr *c, uint32_t offset);
/* The reverse; -ERANGE when ip is outside or its offset needs more than 32 bits. */
int cidr_offset(const struct cidr *c, const struct ip *ip, uint32_t *ret) MUST_CHECK;

#endif
