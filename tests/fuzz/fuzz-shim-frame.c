/*
 * fuzz-shim-frame.c - what comes over a shim's socket: frames cut out of any bytes in any pieces,
 * envelopes unpacked from them, and nothing that says more than it holds.
 *
 * The first byte chooses the size of the pieces; the frames found must be those that a single
 * piece gives, and every envelope must pack into as many bytes as it
 * says, and say the same when it is unpacked again.
 */
#include "../../src/shim/channel.h"
#include "../../src/shim/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct digest {
    uint64_t sum;
    size_t frames;
    int error;
};

static void add(struct digest *d, const uint8_t *data, size_t len)
{
    d->frames++;
    for (size_t i = 0; i < len; i++)
        d->sum = (d->sum ^ data[i]) * 1099511628211u;
    d->sum = (d->sum ^ len) * 1099511628211u;
}

static void check_envelope(const uint8_t *data, size_t len)
{
    struct message *m = message_unpack(data, len);

    if (!m)
        return;
    size_t packed_len = podd__shim__envelope__get_packed_size(m->env);
    _cleanup_free_ uint8_t *packed = xmalloc(packed_len);
    if (podd__shim__envelope__pack(m->env, packed) != packed_len)
        abort();
    /* NULL: protobuf-c takes an unknown field number 0 in a long form, and not in the short one
     * that it writes itself. */
    struct message *again = message_unpack(packed, packed_len);
    if (again && (again->env->body_case != m->env->body_case || again->env->call != m->env->call))
        abort();
    message_free(again);
    message_free(m);
}

static struct digest read_frames(const uint8_t *data, size_t size, size_t piece, bool unpack)
{
    struct digest d = {.sum = 1469598103934665603u};
    struct frame_reader r = {0};
    const uint8_t *frame;
    size_t len, space;

    while (size && d.error == 0) {
        uint8_t *p = frame_reader_space(&r, &space);
        size_t n = size < piece ? size : piece;
        n = n < space ? n : space;
        memcpy(p, data, n);
        frame_reader_add(&r, n);
        data += n;
        size -= n;
        while ((d.error = frame_reader_next(&r, &frame, &len)) > 0) {
            add(&d, frame, len);
            if (unpack)
                check_envelope(frame, len);
        }
    }
    if (r.cap > 2 * FRAME_MAX)
        abort();
    frame_reader_free(&r);
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct digest whole = read_frames(data + 1, size - 1, SIZE_MAX, true);
    struct digest cut = read_frames(data + 1, size - 1, 1 + (size_t)data[0], false);

    if (whole.sum != cut.sum || whole.frames != cut.frames || whole.error != cut.error)
        abort();
    return 0;
}
