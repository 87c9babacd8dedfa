/*
 * table.c - the file: a head, then slots; which slot is whose is kept in memory as well. A slot
 * never spans two pages, so that no reader ever sees half of a write.
 */
#include "table.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define SLOT_SIZE 512
#define SLOTS_MAX 100000
#define LAYOUT 1 /* of struct slot: grows when it changes */

struct head {
    char magic[12]; /* "podd-probes" */
    uint32_t layout, slot_size;
};

struct slot {
    char id[72]; /* "": free */
    int32_t kind;
    uint32_t on_hold;
    int64_t due;
    struct probe_state state;
};
_Static_assert(sizeof(struct slot) <= SLOT_SIZE && sizeof(struct head) <= SLOT_SIZE, "it fits");

struct owner {
    char *id; /* NULL: free */
    enum probe_kind kind;
};

struct probe_table {
    char *path;
    int fd; /* -1: done without */
    bool (*exists)(void *arg, const char *id);
    void *arg;
    struct owner *owners; /* by slot */
    size_t count, n_free;
    struct map *slots; /* "<id>/<kind>" -> its number and 1 */
};

static const struct head the_head = {"podd-probes", LAYOUT, SLOT_SIZE};

static off_t place_of(size_t slot)
{
    return (off_t)(slot + 1) * SLOT_SIZE;
}

static char *key_of(const char *id, enum probe_kind kind)
{
    return xasprintf("%s/%d", id, kind);
}

static void give_up(struct probe_table *t, const char *what)
{
    log_warn("health", NULL, "%s %s: %m; probes begin anew when podd is started again", what,
             t->path);
    fd_close(take_fd(&t->fd));
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

static bool read_slot(struct probe_table *t, size_t number, struct slot *ret)
{
    if (t->fd < 0 || pread(t->fd, ret, sizeof(*ret), place_of(number)) != sizeof(*ret))
        return false;
    ret->id[sizeof(ret->id) - 1] = '\0';
    ret->state.message[sizeof(ret->state.message) - 1] = '\0';
    return ret->kind >= 0 && ret->kind < PROBE_KIND_COUNT &&
           ret->state.last_result <= PROBE_FAILURE && ret->state.run_result <= PROBE_FAILURE;
}

static void take_slot(struct probe_table *t, size_t number, const char *id, enum probe_kind kind)
{
    _cleanup_free_ char *key = key_of(id, kind);

    t->owners[number].id = xstrdup(id);
    t->owners[number].kind = kind;
    map_put(t->slots, key, (void *)(number + 1));
    t->n_free--;
}

static void add_slots(struct probe_table *t, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        array_push(&t->owners, &t->count, sizeof(*t->owners));
        t->n_free++;
    }
}

static void read_all(struct probe_table *t, size_t count)
{
    struct slot slot;

    add_slots(t, count);
    for (size_t i = 0; i < count; i++)
        if (read_slot(t, i, &slot) && slot.id[0])
            take_slot(t, i, slot.id, slot.kind);
}

/* Begins the file anew unless it is one of ours. */
static void open_file(struct probe_table *t)
{
    struct head head = {0};
    struct stat st;

    t->fd = open(t->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (t->fd < 0 || fstat(t->fd, &st) < 0) {
        give_up(t, "open");
        return;
    }
    if (st.st_size >= SLOT_SIZE && st.st_size <= place_of(SLOTS_MAX) &&
        pread(t->fd, &head, sizeof(head), 0) == sizeof(head) &&
        memcmp(&head, &the_head, sizeof(head)) == 0) {
        /* The last slot is there as far as it was written. */
        read_all(t, ((size_t)st.st_size + SLOT_SIZE - 1) / SLOT_SIZE - 1);
        return;
    }
    if (st.st_size > 0)
        log_warn("health", NULL, "%s is none of this podd's: probes begin anew", t->path);
    if (ftruncate(t->fd, 0) < 0 || ftruncate(t->fd, SLOT_SIZE) < 0 ||
        pwrite(t->fd, &the_head, sizeof(the_head), 0) != sizeof(the_head))
        give_up(t, "write");
}

struct probe_table *probe_table_open(const char *path, bool (*exists)(void *arg, const char *id),
                                     void *arg)
{
    struct probe_table *t = xnew(struct probe_table);

    t->path = xstrdup(path);
    t->exists = exists;
    t->arg = arg;
    t->slots = map_new();
    open_file(t);
    return t;
}

void probe_table_close(struct probe_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->owners[i].id);
    free(t->owners);
    map_free(t->slots);
    fd_close(t->fd);
    free(t->path);
    free(t);
}

/* ---- Claiming ----------------------------------------------------------------------------------
 */

static void free_slot(struct probe_table *t, size_t number)
{
    struct owner *o = &t->owners[number];
    _cleanup_free_ char *key = key_of(o->id, o->kind);

    map_remove(t->slots, key);
    free(take_ptr(o->id));
    t->n_free++;
}

/* Room for one more. Looks at all slots only when none is free, and sees to it that it is many
 * probes until that is so again. */
static void make_room(struct probe_table *t)
{
    if (t->n_free)
        return;
    for (size_t i = 0; i < t->count; i++)
        if (t->owners[i].id && !t->exists(t->arg, t->owners[i].id))
            free_slot(t, i);
    if (t->n_free <= t->count / 4)
        add_slots(t, t->count < 16 ? 16 : t->count);
}

static size_t find_free(const struct probe_table *t)
{
    size_t number = 0;

    while (t->owners[number].id)
        number++;
    return number;
}

bool probe_table_claim(struct probe_table *t, const char *id, enum probe_kind kind,
                       size_t *ret_slot, struct kept_probe *ret)
{
    _cleanup_free_ char *key = key_of(id, kind);
    size_t number = (size_t)map_get(t->slots, key);
    struct slot slot;

    if (number == 0) {
        make_room(t);
        *ret_slot = find_free(t);
        take_slot(t, *ret_slot, id, kind);
        return false;
    }
    *ret_slot = number - 1;
    if (!read_slot(t, *ret_slot, &slot) || !str_equal(slot.id, id))
        return false;
    *ret = (struct kept_probe){.on_hold = slot.on_hold, .due = slot.due, .state = slot.state};
    return true;
}

void probe_table_put(struct probe_table *t, size_t number, const char *id, enum probe_kind kind,
                     const struct kept_probe *kept)
{
    struct slot slot = {.kind = kind, .on_hold = kept->on_hold, .due = kept->due};

    if (t->fd < 0 || !str_equal(t->owners[number].id, id) || t->owners[number].kind != kind ||
        strlen(id) >= sizeof(slot.id))
        return;
    memcpy(slot.id, id, strlen(id));
    slot.state = kept->state;
    if (pwrite(t->fd, &slot, sizeof(slot), place_of(number)) != sizeof(slot))
        give_up(t, "write");
}
