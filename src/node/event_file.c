/*
 * event_file.c - appending to, reading and replacing the file. When it cannot be written that is
 * said once, and events are only in memory until the file is replaced: a full disk must not end
 * podd, nor fill its log. What there was is removed then, since a history with a gap would be taken
 * for a whole one after a restart.
 */
#include "event_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX (64 << 20)
#define RECORD_SIZE_MAX (64 << 10)

struct event_file {
    char *path;
    int fd; /* -1: not written to, until it is replaced */
    size_t count;
};

struct record_head {
    uint32_t len, sum;
};

/* FNV-1a: enough to tell a record from the remains of one. */
static uint32_t checksum(const uint8_t *data, size_t len)
{
    uint32_t sum = 2166136261u;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ data[i]) * 16777619u;
    return sum;
}

struct event_file *event_file_open(const char *path)
{
    struct event_file *f = xnew(struct event_file);

    f->path = xstrdup(path);
    f->fd = -1;
    return f;
}

void event_file_close(struct event_file *f)
{
    if (!f)
        return;
    fd_close(f->fd);
    free(f->path);
    free(f);
}

size_t event_file_count(const struct event_file *f)
{
    return f->count;
}

/* ---- Reading -----------------------------------------------------------------------------------
 */

/* The length of the whole record that begins here; 0: there is none. */
static size_t read_record(const uint8_t *data, size_t len, Podd__V1__Event **ret)
{
    struct record_head head;

    if (len < sizeof(head))
        return 0;
    memcpy(&head, data, sizeof(head));
    data += sizeof(head);
    if (head.len > RECORD_SIZE_MAX || head.len > len - sizeof(head) ||
        checksum(data, head.len) != head.sum)
        return 0;
    Podd__V1__Event *event = podd__v1__event__unpack(NULL, head.len, data);
    if (!event)
        return 0;
    *ret = event;
    return sizeof(head) + head.len;
}

void event_file_read(const struct event_file *f,
                     void (*fn)(void *arg, const Podd__V1__Event *event), void *arg)
{
    _cleanup_bytes_ struct bytes data = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    size_t at = 0;

    if (access(f->path, F_OK) < 0 && errno == ENOENT)
        return;
    if (file_read(AT_FDCWD, f->path, FILE_SIZE_MAX, &data, &e) < 0) {
        log_warn("node", NULL, "the events of before are lost: %s", err_text(&e));
        return;
    }
    while (at < data.len) {
        Podd__V1__Event *event = NULL;
        size_t len = read_record(data.data + at, data.len - at, &event);
        if (!len) {
            log_warn("node", NULL, "%s: from byte %zu on (of %zu) there is no whole event", f->path,
                     at, data.len);
            return;
        }
        fn(arg, event);
        podd__v1__event__free_unpacked(event, NULL);
        at += len;
    }
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void give_up(struct event_file *f, const char *why)
{
    log_warn("node", NULL, "%s: events are not kept for now: %s", f->path, why);
    fd_close(take_fd(&f->fd));
    if (unlink(f->path) < 0 && errno != ENOENT)
        log_warn("node", NULL, "remove %s: %m", f->path);
}

void event_file_add_record(struct strbuf *content, const Podd__V1__Event *event)
{
    size_t len = podd__v1__event__get_packed_size(event);
    _cleanup_free_ uint8_t *packed = xmalloc(len + 1);

    podd__v1__event__pack(event, packed);
    const struct record_head head = {.len = (uint32_t)len, .sum = checksum(packed, len)};
    strbuf_add(content, &head, sizeof(head));
    strbuf_add(content, packed, len);
}

void event_file_append(struct event_file *f, const Podd__V1__Event *event)
{
    _cleanup_strbuf_ struct strbuf record = {0};

    f->count++; /* of those that should be there: says when to try to replace it */
    if (f->fd < 0)
        return;
    event_file_add_record(&record, event);
    int r = fd_write_all(f->fd, record.data, record.len);
    if (r < 0)
        give_up(f, strerror(-r));
}

void event_file_replace(struct event_file *f, const struct strbuf *content, size_t count)
{
    _cleanup_err_ struct err e = ERR_INIT;

    fd_close(take_fd(&f->fd));
    f->count = count;
    if (file_write_atomic(AT_FDCWD, f->path, content->len ? content->data : "", content->len, 0600,
                          false, &e) < 0) {
        give_up(f, err_text(&e));
        return;
    }
    f->fd = open(f->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (f->fd < 0)
        give_up(f, strerror(errno));
}
