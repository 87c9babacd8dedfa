/* fuzz-image-manifest.c - documents of registries: manifests and indexes of every announced type,
 * configurations, and the unpacker's report. The first byte chooses. */
#include <stdint.h>

#include "manifest.h"
#include "unpacker.h"

static const char *const TYPES[] = {
    NULL,
    "",
    "application/json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
};

static void try_manifest(const void *data, size_t size, const char *type)
{
    const struct platform machine = {"linux", "amd64", "v1"};
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_manifest_ struct manifest m = {0};

    if (manifest_parse(data, size, type, &m, &e) < 0)
        return;
    if (m.is_index) {
        manifest_choose(&m, &machine, &e);
        return;
    }
    if (!digest_valid(m.config.digest))
        abort();
    for (size_t i = 0; i < m.n_layers; i++)
        if (!digest_valid(m.layers[i].digest))
            abort();
}

static void try_config(const void *data, size_t size)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_document_ struct image_document d = {0};

    if (image_document_parse(data, size, &d, &e) < 0)
        return;
    for (char **entry = d.config.env; entry && *entry; entry++)
        if (!strchr(*entry, '='))
            abort();
}

static void try_report(const void *data, size_t size)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct unpack_report r;

    if (unpack_report_parse(data, size, &r, &e) == 0)
        unpack_report_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned kind = data[0] % (ARRAY_SIZE(TYPES) + 2);
    if (kind < ARRAY_SIZE(TYPES))
        try_manifest(data + 1, size - 1, TYPES[kind]);
    else if (kind == ARRAY_SIZE(TYPES))
        try_config(data + 1, size - 1);
    else
        try_report(data + 1, size - 1);
    return 0;
}
