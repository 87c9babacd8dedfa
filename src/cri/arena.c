/*
 * arena.c - memory that lives as long as one request: messages and arrays that borrow from each
 * other, built without a thought for who frees what.
 */
#include "private.h"

/* Small requests need one small block; a list of thousands needs few large ones, instead of several
 * pieces of the heap for each of its items. */
#define BLOCK_FIRST 1024
#define BLOCK_LARGEST (64 << 10)
#define ALIGNMENT 16

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    char data[] __attribute__((aligned(ALIGNMENT)));
};

/* The layout that protobuf-c gives every map<string, string> entry. */
struct map_entry {
    ProtobufCMessage base;
    char *key, *value;
};

static struct arena_block *add_block(struct arena *a, size_t needed)
{
    size_t size = a->blocks ? 2 * a->blocks->size : BLOCK_FIRST;

    if (size > BLOCK_LARGEST)
        size = BLOCK_LARGEST;
    if (size < needed)
        size = needed;
    struct arena_block *block = xcalloc(1, sizeof(*block) + size);
    block->next = a->blocks;
    block->size = size;
    a->blocks = block;
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t needed = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_block *block = a->blocks;

    if (needed < size)
        abort(); /* more than there can be */
    if (!block || block->size - block->used < needed)
        block = add_block(a, needed);
    void *place = block->data + block->used;
    block->used += needed;
    return place;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    size_t size = strlen(text) + 1;
    return memcpy(arena_alloc(a, size), text, size);
}

void arena_free(struct arena *a)
{
    for (struct arena_block *block = a->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    a->blocks = NULL;
}

void *arena_message(struct arena *a, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = arena_alloc(a, descriptor->sizeof_message);

    protobuf_c_message_init(descriptor, message);
    return message;
}

/* protobuf-c's allocator on an arena: nothing is freed before the arena is. */
static void *allocate(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void free_nothing(void *arena, void *pointer)
{
}

void *arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, const void *data,
                   size_t len)
{
    ProtobufCAllocator allocator = {allocate, free_nothing, a};

    return protobuf_c_message_unpack(descriptor, &allocator, len, data);
}

char **arena_strv(struct arena *a, char *const *strings, size_t n)
{
    char **v = arena_alloc(a, (n + 1) * sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = strings[i];
    return v;
}

struct key_value *arena_from_map(struct arena *a, void *entries, size_t n)
{
    struct map_entry **map = entries;
    struct key_value *values = arena_alloc(a, n * sizeof(*values));

    for (size_t i = 0; i < n; i++)
        values[i] = (struct key_value){map[i]->key, map[i]->value};
    return values;
}

void *arena_to_map(struct arena *a, const ProtobufCMessageDescriptor *entry,
                   const struct key_value *values, size_t n)
{
    struct map_entry **map = arena_alloc(a, n * sizeof(*map));

    for (size_t i = 0; i < n; i++) {
        map[i] = arena_message(a, entry);
        map[i]->key = values[i].key;
        map[i]->value = values[i].value;
    }
    return map;
}

bool labels_match(const struct key_value *labels, size_t n, void *selector_entries,
                  size_t n_selector)
{
    struct map_entry **selector = selector_entries;

    for (size_t i = 0; i < n_selector; i++) {
        bool found = false;
        for (size_t j = 0; j < n && !found; j++)
            found = str_equal(labels[j].key, selector[i]->key) &&
                    str_equal(labels[j].value, selector[i]->value);
        if (!found)
            return false;
    }
    return true;
}

struct bytes arena_pack(struct arena *a, const ProtobufCMessage *message)
{
    struct bytes packed = {.len = protobuf_c_message_get_packed_size(message)};

    packed.data = arena_alloc(a, packed.len + 1);
    protobuf_c_message_pack(message, packed.data);
    return packed;
}
