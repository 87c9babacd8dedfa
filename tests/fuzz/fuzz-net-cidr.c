/*
 * fuzz-net-cidr.c - addresses, CIDRs, pools and lines of published ports out of any text: read or
 * refused, and what is read comes out the same when written and read again.
 */
#include "../../src/net/pool.h"
#include "../../src/net/ports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const char *text)
{
    char written[IP_TEXT_SIZE];
    struct ip ip, again;

    if (ip_parse(text, &ip) < 0)
        return;
    ip_format(&ip, written);
    if (ip_parse(written, &again) < 0 || !ip_equal(&ip, &again))
        abort();
}

static void check_pool(const struct cidr *c)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct pool p;
    struct ip ip;

    if (pool_init(&p, c, &e) < 0) {
        if (e.code != ERR_INVALID_ARGUMENT)
            abort();
        return;
    }
    struct ip gateway = pool_gateway(&p);
    if (!cidr_contains(c, &gateway) || !pool_take(&p, &ip) || !cidr_contains(c, &ip) ||
        ip_equal(&ip, &gateway) || pool_mark(&p, &ip) || !pool_clear(&p, &ip))
        abort();
    pool_deinit(&p);
}

static void check_cidr(const char *text)
{
    _cleanup_err_ struct err e = ERR_INIT;
    char written[IP_TEXT_SIZE + 4];
    struct cidr c, again;

    if (cidr_parse(text, &c, &e) < 0) {
        if (e.code != ERR_INVALID_ARGUMENT)
            abort();
        return;
    }
    cidr_format(&c, written);
    if (cidr_parse(written, &again, &e) < 0 || !cidr_within(&c, &again) || !cidr_within(&again, &c))
        abort();
    check_pool(&c);
}

static void check_port(const char *text)
{
    _cleanup_strbuf_ struct strbuf written = {0};
    struct rules_port port, again;

    if (ports_parse(text, &port) < 0)
        return;
    ports_format(&port, &written);
    if (ports_parse(written.data, &again) < 0 || memcmp(&port, &again, sizeof(port)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);

    check_address(text);
    check_cidr(text);
    check_port(text);
    return 0;
}
