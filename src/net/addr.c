/*
 * addr.c - IP addresses and CIDRs as values.
 *
 * Both families are byte strings in network order, so that comparing, masking and counting are the
 * same code for both. Texts come from configuration and from the CRI: everything but the plain
 * notation is refused, so that one address has one spelling wherever it is a key or a file name.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "addr.h"

size_t ip_size(const struct ip *ip)
{
    return ip->family == AF_INET ? 4 : 16;
}

int ip_parse(const char *s, struct ip *ret)
{
    struct ip ip = {0};

    if (str_empty(s) || strlen(s) >= IP_TEXT_SIZE)
        return -EINVAL;
    ip.family = strchr(s, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(ip.family, s, ip.bytes) != 1)
        return -EINVAL;
    *ret = ip;
    return 0;
}

void ip_format(const struct ip *ip, char *ret)
{
    if (!inet_ntop(ip->family, ip->bytes, ret, IP_TEXT_SIZE))
        ret[0] = '\0';
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, ip_size(a)) == 0;
}

bool ip_is_zero(const struct ip *ip)
{
    static const uint8_t zero[16];

    return memcmp(ip->bytes, zero, ip_size(ip)) == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
    if (ip->family == AF_INET)
        return ip->bytes[0] == 127;
    return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)ip->bytes);
}

/* Whether a and b agree in their first `bits` bits. */
static bool prefix_equal(const struct ip *a, const struct ip *b, unsigned bits)
{
    size_t whole = bits / 8;
    unsigned rest = bits % 8;

    if (a->family != b->family || memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

/* Zeroes all behind the first `bits` bits. */
static struct ip ip_masked(const struct ip *ip, unsigned bits)
{
    struct ip masked = *ip;

    for (size_t i = 0; i < sizeof(masked.bytes); i++) {
        unsigned keep = bits > 8 * i ? bits - 8 * (unsigned)i : 0;
        if (keep < 8)
            masked.bytes[i] &= (uint8_t)(0xff00u >> keep);
    }
    return masked;
}

struct cidr cidr_of(const struct ip *ip, unsigned prefix)
{
    return (struct cidr){.base = ip_masked(ip, prefix), .prefix = prefix};
}

int cidr_parse(const char *s, struct cidr *ret, struct err *e)
{
    char text[IP_TEXT_SIZE], first[IP_TEXT_SIZE];
    struct cidr c = {0};
    uint64_t prefix;

    const char *slash = s ? strchr(s, '/') : NULL;
    if (!slash || (size_t)(slash - s) >= sizeof(text))
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%.100s is not a CIDR such as 10.85.0.0/16 or fd00:85::/64", s ? s : "");
    memcpy(text, s, (size_t)(slash - s));
    text[slash - s] = '\0';
    if (ip_parse(text, &c.base) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "%.100s: %s is not an IP address", s, text);
    if (parse_uint(slash + 1, 8 * ip_size(&c.base), &prefix) < 0)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%.100s: the prefix length must be a number from 0 to %zu", s,
                       8 * ip_size(&c.base));
    c.prefix = (unsigned)prefix;

    struct ip masked = ip_masked(&c.base, c.prefix);
    if (!ip_equal(&masked, &c.base)) {
        ip_format(&masked, first);
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "%.100s has bits set behind its prefix; the network is %s/%u", s, first,
                       c.prefix);
    }
    *ret = c;
    return 0;
}

void cidr_format(const struct cidr *c, char *ret)
{
    char base[IP_TEXT_SIZE];

    ip_format(&c->base, base);
    snprintf(ret, IP_TEXT_SIZE + 4, "%s/%u", base, c->prefix);
}

bool cidr_contains(const struct cidr *c, const struct ip *ip)
{
    return prefix_equal(&c->base, ip, c->prefix);
}

bool cidr_overlaps(const struct cidr *a, const struct cidr *b)
{
    return prefix_equal(&a->base, &b->base, a->prefix < b->prefix ? a->prefix : b->prefix);
}

bool cidr_within(const struct cidr *inner, const struct cidr *outer)
{
    return inner->prefix >= outer->prefix && cidr_contains(outer, &inner->base);
}

struct ip cidr_nth(const struct cidr *c, uint32_t offset)
{
    struct ip ip = c->base;
    uint64_t carry = offset;

    for (size_t i = ip_size(&ip); i-- > 0 && carry > 0;) {
        carry += ip.bytes[i];
        ip.bytes[i] = (uint8_t)carry;
        carry >>= 8;
    }
    return ip;
}

int cidr_offset(const struct cidr *c, const struct ip *ip, uint32_t *ret)
{
    uint64_t offset = 0;

    if (!cidr_contains(c, ip))
        return -ERANGE;
    for (size_t i = 0; i < ip_size(ip); i++) {
        /* The base has no host bits, hence a difference is a bit of the host part. */
        offset = offset << 8 | (ip->bytes[i] ^ c->base.bytes[i]);
        if (offset > UINT32_MAX)
            return -ERANGE;
    }
    *ret = (uint32_t)offset;
    return 0;
}
