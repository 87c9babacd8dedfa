/*
 * message.c - unpacks envelopes into blocks straight from the kernel.
 *
 * A container's spec is hundreds of small objects. On the heap they would mix with what lives
 * longer and leave holes; here they are cut one after the other from blocks of their own, and
 * disappear with one munmap(2) when the container has been started. That keeps a shim that has
 * seen many containers as small as a new one.
 */
#include <sys/mman.h>

#include "message.h"

enum {
    BLOCK_SIZE = 64 * 1024, /* only what is touched costs memory */
    ALIGN = 16,
    TOTAL_MAX = 4 * FRAME_MAX, /* a frame can describe many times its size of objects */
};

struct message_block {
    struct message_block *next;
    size_t size;
};

static bool add_block(struct message *m, size_t need)
{
    size_t size = need + BLOCK_SIZE;

    size -= size % BLOCK_SIZE;
    if (m->total + size > TOTAL_MAX)
        return false;
    struct message_block *b =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b == MAP_FAILED)
        return false;
    b->next = m->blocks;
    b->size = size;
    m->blocks = b;
    m->size = size;
    m->used = (sizeof(*b) + ALIGN - 1) / ALIGN * ALIGN;
    m->total += size;
    return true;
}

static void *message_alloc(void *arg, size_t size)
{
    struct message *m = arg;

    if (size > TOTAL_MAX)
        return NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (m->size - m->used < size && !add_block(m, size + ALIGN))
        return NULL;
    void *p = (uint8_t *)m->blocks + m->used;
    m->used += size;
    return p;
}

static void message_forget(void *arg, void *pointer)
{
    /* With all the others. */
}

static void free_blocks(struct message_block *b)
{
    while (b) {
        struct message_block *next = b->next;
        munmap(b, b->size);
        b = next;
    }
}

struct message *message_unpack(const uint8_t *data, size_t len)
{
    struct message m = {0};
    ProtobufCAllocator allocator = {
        .alloc = message_alloc, .free = message_forget, .allocator_data = &m};
    struct message *ret = message_alloc(&m, sizeof(*ret)); /* it lives in its own memory */

    if (ret)
        m.env = podd__shim__envelope__unpack(&allocator, len, data);
    if (!m.env) {
        free_blocks(m.blocks);
        return NULL;
    }
    *ret = m;
    return ret;
}

void message_free(struct message *m)
{
    if (m)
        free_blocks(m->blocks);
}
