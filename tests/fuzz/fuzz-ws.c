/*
 * fuzz-ws.c - what a client sends in a WebSocket: the same messages from any pieces.
 *
 * The first byte chooses the size of the pieces.
 */
#include "../../src/cri/ws_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t mix(uint64_t sum, uint64_t n)
{
    return (sum ^ n) * 1099511628211u;
}

static uint64_t run(const uint8_t *data, size_t size, size_t piece)
{
    struct ws_reader *r = ws_reader_new();
    uint64_t sum = 1469598103934665603u;
    struct ws_event event;
    int found = 0;

    while (size > 0 && found >= 0) {
        _cleanup_err_ struct err e = ERR_INIT;
        size_t left = size < piece ? size : piece;
        const uint8_t *p = data;
        data += left;
        size -= left;
        while ((found = ws_reader_next(r, &p, &left, &event, &e)) > 0) {
            if (event.type != WS_PIECE && event.len > 125)
                abort();
            for (size_t i = 0; i < event.len; i++)
                sum = mix(sum, event.data[i]);
            if (event.type != WS_PIECE || event.end)
                sum = mix(sum, 256 + event.type);
        }
        if (found == 0 && left > 0)
            abort();
    }
    ws_reader_free(r);
    return mix(sum, found < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (run(data + 1, size - 1, SIZE_MAX) != run(data + 1, size - 1, 1 + (size_t)data[0]))
        abort();
    return 0;
}
