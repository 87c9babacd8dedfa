/*
 * fuzz-net-cni.c - a configuration, a result, an error or a record of CNI mode out of any text,
 * which one by its first letter: read or refused, and what is read can be written and read again.
 */
#include "../../src/net/cni-attachment.h"
#include "../../src/net/cni-result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_conf(const char *text, size_t len)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_conf *c, *again;

    if (cni_conf_parse(text, len, "f", &c, &e) < 0) {
        if (e.code != ERR_INVALID_ARGUMENT)
            abort();
        return;
    }
    for (size_t i = 0; i < json_array_size(c->plugins); i++) {
        const json_t *plugin = json_array_get(c->plugins, i);
        if (!cni_plugin_type(plugin) || strchr(cni_plugin_type(plugin), '/'))
            abort();
        _cleanup_free_ char *request = cni_request(c, plugin, NULL, NULL, NULL);
        if (!request)
            abort();
    }
    if (cni_conf_from_json(c->list, "f", &again, &e) < 0 || again->version != c->version ||
        !str_equal(again->name, c->name))
        abort();
    cni_conf_unref(again);
    cni_conf_unref(c);
}

static void check_result(const char *text, size_t len, enum cni_version version)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_json_ json_t *result = NULL, *again = NULL;
    struct net_addresses addresses;

    if (cni_result_parse(text, len, version, &result, &e) < 0)
        return;
    _cleanup_free_ char *written = json_dumps(result, 0);
    if (!written || cni_result_parse(written, strlen(written), version, &again, &e) < 0 ||
        !json_equal(result, again))
        abort();
    if (cni_result_addresses(result, "eth0", &addresses, &e) == 0 &&
        (addresses.count == 0 || addresses.count > NET_ADDRESSES_MAX))
        abort();
}

static void check_failure(const char *text, size_t len)
{
    _cleanup_err_ struct err one = ERR_INIT, other = ERR_INIT;
    const struct bytes said = {(uint8_t *)text, len}, nothing = {(uint8_t *)"", 0};

    cni_failure(&said, &nothing, 256, &one);
    cni_failure(&nothing, &said, 256, &other);
    for (const char *p = err_text(&one); *p; p++)
        if ((unsigned char)*p < ' ')
            abort();
    if (one.code == ERR_OK || other.code == ERR_OK)
        abort();
}

static void check_record(const char *text, size_t len)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct cni_attachment *a;

    if (cni_attachment_parse(text, len, "f", &a, &e) == 0)
        cni_attachment_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    _cleanup_free_ char *text = xmemdup(data + 1, size - 1);
    switch (data[0]) {
    case 'c':
        check_conf(text, size - 1);
        break;
    case 'r':
        check_result(text, size - 1, CNI_0_3_1);
        check_result(text, size - 1, CNI_1_1_0);
        break;
    case 'e':
        check_failure(text, size - 1);
        break;
    default:
        check_record(text, size - 1);
    }
    return 0;
}
