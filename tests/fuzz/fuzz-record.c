/*
 * Records of sandboxes and containers. The first byte chooses: whole files as they are, or the
 * message of one or the other kind in a right header, so that the fuzzer gets past the checksum.
 */
#include <endian.h>
#include <zlib.h>

#include "private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_sandbox(const void *data, size_t len)
{
    _cleanup_err_ struct err e = ERR_INIT;
    struct sandbox *s = NULL;

    if (record_decode_sandbox(data, len, &s, &e) < 0)
        return;
    /* What is accepted can be written again. */
    struct bytes again = record_encode_sandbox(s);
    bytes_free(&again);
    sandbox_object_free(s);
}

static void decode_container(const void *data, size_t len)
{
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *owner = NULL;
    struct container *c = NULL;

    if (record_decode_container(data, len, &c, &owner, &e) < 0)
        return;
    c->sandbox = sandbox_new(owner);
    struct bytes again = record_encode_container(c);
    bytes_free(&again);
    sandbox_object_free(c->sandbox);
    container_object_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t kind = *data++;
    size--;
    if (kind == 'r') {
        decode_sandbox(data, size);
        decode_container(data, size);
        return 0;
    }
    const uint32_t header[4] = {htole32(0x52444f50), htole32(1), htole32((uint32_t)size),
                                htole32((uint32_t)crc32(0, data, (unsigned)size))};
    uint8_t *file = xmalloc(sizeof(header) + size);
    memcpy(file, header, sizeof(header));
    memcpy(file + sizeof(header), data, size);
    if (kind == 's')
        decode_sandbox(file, sizeof(header) + size);
    else
        decode_container(file, sizeof(header) + size);
    free(file);
    return 0;
}
