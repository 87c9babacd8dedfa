/*
 * pool.c - which addresses of a CIDR are given out.
 *
 * One bit per address, and a cursor at the one given last: the next is searched behind it, so that
 * an address that became free is the last to be given again. Peers, proxies and the kernel's
 * connection tracking have then long forgotten who had it.
 */
#include "pool.h"

/* Networks whose addresses no pod can have. */
static const char *const unusable[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                       "224.0.0.0/3", "::/96",       "::ffff:0:0/96",
                                       "fe80::/10",   "ff00::/8"};

static int check_usable(const struct cidr *cidr, const char *text, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(unusable); i++) {
        struct cidr reserved;
        _cleanup_err_ struct err ignored = ERR_INIT;
        if (cidr_parse(unusable[i], &reserved, &ignored) == 0 && cidr_overlaps(cidr, &reserved))
            return err_set(e, ERR_INVALID_ARGUMENT,
                           "pool %s cannot be used for pods: %s is reserved", text, unusable[i]);
    }
    return 0;
}

int pool_init(struct pool *p, const struct cidr *cidr, struct err *e)
{
    char text[IP_TEXT_SIZE + 4];
    unsigned host_bits = 8 * (unsigned)ip_size(&cidr->base) - cidr->prefix;

    cidr_format(cidr, text);
    if (check_usable(cidr, text, e) < 0)
        return -1;
    if (host_bits < 2)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "pool %s is too small: it must hold the bridge and at least one pod (/%u)",
                       text, 8 * (unsigned)ip_size(&cidr->base) - 2);
    *p = (struct pool){.cidr = *cidr};
    p->end = host_bits >= 16 ? POOL_SIZE_MAX : 1u << host_bits;
    /* IPv4's last address is the broadcast address; the cap may have cut it off already. */
    if (cidr->base.family == AF_INET && host_bits <= 16)
        p->end--;
    p->bitmap = xcalloc(1, p->end / 8 + 1);
    return 0;
}

void pool_deinit(struct pool *p)
{
    free(p->bitmap);
    *p = (struct pool){0};
}

struct ip pool_gateway(const struct pool *p)
{
    return cidr_nth(&p->cidr, POOL_GATEWAY);
}

static bool is_marked(const struct pool *p, uint32_t offset)
{
    return p->bitmap[offset / 8] & 1u << offset % 8;
}

static void set_mark(struct pool *p, uint32_t offset)
{
    p->bitmap[offset / 8] |= (uint8_t)(1u << offset % 8);
    p->used++;
}

bool pool_take(struct pool *p, struct ip *ret)
{
    if (p->used >= p->end - POOL_FIRST)
        return false;
    uint32_t offset = p->cursor;
    do {
        offset++;
        if (offset < POOL_FIRST || offset >= p->end)
            offset = POOL_FIRST;
    } while (is_marked(p, offset));
    set_mark(p, offset);
    p->cursor = offset;
    *ret = cidr_nth(&p->cidr, offset);
    return true;
}

/* The offset of an address for pods, or 0. */
static uint32_t pod_offset(const struct pool *p, const struct ip *ip)
{
    uint32_t offset;

    if (cidr_offset(&p->cidr, ip, &offset) < 0 || offset < POOL_FIRST || offset >= p->end)
        return 0;
    return offset;
}

bool pool_mark(struct pool *p, const struct ip *ip)
{
    uint32_t offset = pod_offset(p, ip);

    if (offset == 0 || is_marked(p, offset))
        return false;
    set_mark(p, offset);
    return true;
}

bool pool_is_marked(const struct pool *p, const struct ip *ip)
{
    uint32_t offset = pod_offset(p, ip);

    return offset != 0 && is_marked(p, offset);
}

bool pool_clear(struct pool *p, const struct ip *ip)
{
    uint32_t offset = pod_offset(p, ip);

    if (offset == 0 || !is_marked(p, offset))
        return false;
    p->bitmap[offset / 8] &= (uint8_t) ~(1u << offset % 8);
    p->used--;
    return true;
}
