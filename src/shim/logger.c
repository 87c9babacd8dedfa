/*
 * logger.c - turns a byte stream into CRI log records and writes them.
 *
 * A read of up to 128 KiB lands in the shared buffer; the beginning of a line left over from the
 * read before (its "carry", never longer than a record) is copied right in front of it, so that
 * lines are contiguous. Records are gathered and written with one write(2) per read or per 256 KiB,
 * always whole records, hence none is torn between two files or mixed with the other stream's.
 * All records of one read carry the same time.
 *
 * The container must never wait for a disk. When writing fails, the records are dropped and
 * counted, and the next successful write is preceded by a record that says how many bytes of the
 * container were lost and why. A record that got on disk in part is cut off again; should that fail
 * too, the next write ends its line first.
 *
 * Rotation happens between two writes, by renames only: whoever reads the file has all of it. When
 * it fails the log goes on in the same file, and it is tried again a file's size later.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "logger.h"

enum {
    TIME_LEN = 30, /* "2006-01-02T15:04:05.000000000Z" */
    TAG_AT = TIME_LEN + 8,
    HEADER_LEN = TIME_LEN + 10, /* time, " stdout F " */
    RECORD_MAX = HEADER_LEN + LOG_LINE_MAX + 1,
    MAP_SIZE = LOG_LINE_MAX + LOG_READ_SIZE + LOG_OUT_SIZE,
};
_Static_assert((int)RECORD_MAX <= (int)LOG_OUT_SIZE, "a record must fit into the buffer");

static const char *const stream_names[] = {
    [LOG_STDOUT] = "stdout",
    [LOG_STDERR] = "stderr",
};

/* ---- The buffer ----------------------------------------------------------------------------- */

int log_buffer_init(struct log_buffer *b)
{
    void *map = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        return -errno;
    madvise(map, MAP_SIZE, MADV_NOHUGEPAGE); /* most of it is never touched */
    *b = (struct log_buffer){.map = map};
    b->in = b->map + LOG_LINE_MAX;
    b->out = b->in + LOG_READ_SIZE;
    return 0;
}

void log_buffer_free(struct log_buffer *b)
{
    if (b->map)
        munmap(b->map, MAP_SIZE);
    *b = (struct log_buffer){0};
}

void log_buffer_trim(struct log_buffer *b)
{
    madvise(b->map, MAP_SIZE, MADV_DONTNEED);
    b->used_max = 0;
}

/* ---- The file ------------------------------------------------------------------------------- */

/* A link is never followed. One that leads nowhere, as other runtimes leave them behind, would keep
 * the container from starting for ever, so it goes. */
static int open_no_link(const char *path)
{
    /* O_NONBLOCK: a FIFO or a terminal in its place must not make us wait. */
    static const int flags =
        O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags, 0640);

    if (fd >= 0 || errno != ELOOP)
        return fd;
    if (access(path, F_OK) < 0 && errno == ENOENT && unlink(path) == 0)
        return open(path, flags, 0640);
    errno = ELOOP;
    return -1;
}

static int open_file(const char *path, uint64_t *ret_size, struct err *e)
{
    struct stat st;
    _cleanup_close_ int fd = open_no_link(path);

    if (fd < 0 && errno == ELOOP)
        return err_set(e, ERR_FAILED_PRECONDITION, "open log file %s: it is a symbolic link", path);
    if (fd < 0)
        return err_errno(e, errno, "open log file %s", path);
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "stat log file %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_FAILED_PRECONDITION, "log file %s: not a regular file", path);
    *ret_size = (uint64_t)st.st_size;
    return take_fd(&fd);
}

void logger_init(struct logger *l, const char *path, size_t line_max)
{
    assert(line_max <= LOG_LINE_MAX);
    *l = (struct logger){.fd = -1};
    l->path = str_empty(path) ? NULL : xstrdup(path);
    l->line_max = line_max ? line_max : LOG_LINE_DEFAULT;
}

int logger_open(struct logger *l, struct err *e)
{
    return logger_reopen(l, e);
}

int logger_reopen(struct logger *l, struct err *e)
{
    if (!l->path)
        return 0;
    int fd = open_file(l->path, &l->size, e);
    if (fd < 0)
        return -1;
    /* Nothing is buffered: what was read before is in the old file. */
    fd_close(l->fd);
    l->fd = fd;
    l->torn = false;
    l->rotate_at = l->size_max;
    return 0;
}

void logger_rotate(struct logger *l, uint64_t size_max, unsigned files_max)
{
    l->size_max = l->rotate_at = size_max;
    l->files_max = files_max;
}

/* The file becomes number 1, and each other one the next; the last falls off. */
static int shift_files(const struct logger *l, struct err *e)
{
    for (unsigned i = l->files_max - 1; i > 0; i--) {
        _cleanup_free_ char *from = i > 1 ? xasprintf("%s.%u", l->path, i - 1) : xstrdup(l->path);
        _cleanup_free_ char *to = xasprintf("%s.%u", l->path, i);
        if (rename(from, to) < 0 && errno != ENOENT)
            return err_errno(e, errno, "rename log file %s to %s", from, to);
    }
    return 0;
}

/* Makes room for `len` bytes more. */
static void rotate_for(struct logger *l, size_t len)
{
    _cleanup_err_ struct err e = ERR_INIT;

    if (!l->size_max || !l->size || l->size + len <= l->rotate_at)
        return;
    if (shift_files(l, &e) == 0 && logger_reopen(l, &e) == 0)
        return;
    log_error("shim", NULL, "rotate: %s", err_text(&e));
    l->rotate_at = l->size + l->size_max;
}

void logger_free(struct logger *l)
{
    fd_close(take_fd(&l->fd));
    for (int i = 0; i < LOG_N_STREAMS; i++)
        free(l->lines[i].carry);
    free(l->path);
    *l = (struct logger){.fd = -1};
}

/* ---- Writing records ------------------------------------------------------------------------ */

/* How many of the bytes in whole records came from the container: their texts, and for each F the
 * newline. */
static uint64_t payload_of(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;

    for (const uint8_t *end = p + len; p < end;) {
        const uint8_t *nl = memchr(p + HEADER_LEN, '\n', (size_t)(end - p) - HEADER_LEN);
        assert(nl);
        sum += (uint64_t)(nl - p) - HEADER_LEN + (p[TAG_AT] == 'F');
        p = nl + 1;
    }
    return sum;
}

/* The file ends with the first `tail` bytes of a record: takes them away. */
static void cut_tail(struct logger *l, size_t tail)
{
    /* After an appending write the file offset is behind what was written. */
    off_t end = lseek(l->fd, 0, SEEK_CUR);

    if (end < (off_t)tail || ftruncate(l->fd, end - (off_t)tail) < 0)
        l->torn = true;
}

/* Writes whole records; returns how many bytes of them are in the file, and why not all. */
static size_t write_records(struct logger *l, const uint8_t *data, size_t len, int *ret_errno)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write(l->fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            *ret_errno = n < 0 ? errno : ENOSPC;
            break;
        }
        done += (size_t)n;
    }
    l->size += done;
    if (done == len || done == 0)
        return done;
    const uint8_t *nl = memrchr(data, '\n', done);
    size_t whole = nl ? (size_t)(nl - data) + 1 : 0;
    if (whole < done)
        cut_tail(l, done - whole);
    return whole;
}

static void make_header(uint8_t ret[HEADER_LEN], enum log_stream stream)
{
    char time[TIME_TEXT_SIZE];

    time_format(time_now_ns(), time);
    memcpy(ret, time, TIME_LEN);
    ret[TIME_LEN] = ' ';
    memcpy(ret + TIME_LEN + 1, stream_names[stream], 6);
    memcpy(ret + TIME_LEN + 7, " F ", 3);
}

/* Tells in the log what was lost. False: that cannot be written either. */
static bool write_notice(struct logger *l, enum log_stream stream)
{
    struct log_line *line = &l->lines[stream];
    uint8_t header[HEADER_LEN];
    char text[256];
    int why;

    make_header(header, stream);
    int len = snprintf(text, sizeof(text), "%.*spodd: %llu bytes of output were lost here: %s\n",
                       HEADER_LEN, (const char *)header, (unsigned long long)line->dropped,
                       strerror(line->dropped_errno));
    if (write_records(l, (const uint8_t *)text, (size_t)len, &why) < (size_t)len)
        return false;
    line->dropped = 0;
    return true;
}

/* Brings the file into a state in which records can follow. */
static bool make_ready(struct logger *l, enum log_stream stream)
{
    if (l->torn) {
        if (write(l->fd, "\n", 1) != 1)
            return false;
        l->torn = false;
    }
    return !l->lines[stream].dropped || write_notice(l, stream);
}

/* Writes or drops what was gathered. */
static void flush(struct logger *l, struct log_buffer *b, enum log_stream stream)
{
    struct log_line *line = &l->lines[stream];
    size_t len = b->out_len, done = 0;
    int why = line->dropped_errno;

    b->out_len = 0;
    if (l->fd < 0 || len == 0)
        return;
    rotate_for(l, len);
    if (make_ready(l, stream))
        done = write_records(l, b->out, len, &why);
    else if (!line->dropped)
        why = errno;
    if (done == len)
        return;
    line->dropped += payload_of(b->out + done, len - done);
    line->dropped_errno = why;
}

/* ---- Making records ------------------------------------------------------------------------- */

/* What stays the same for all records of one read. */
struct batch {
    struct logger *l;
    struct log_buffer *b;
    enum log_stream stream;
    uint8_t header[HEADER_LEN];
};

static void put_record(struct batch *batch, char tag, const uint8_t *text, size_t len)
{
    struct log_buffer *b = batch->b;

    if (b->out_len + HEADER_LEN + len + 1 > LOG_OUT_SIZE)
        flush(batch->l, b, batch->stream);
    uint8_t *p = b->out + b->out_len;
    memcpy(p, batch->header, HEADER_LEN);
    p[TAG_AT] = (uint8_t)tag;
    memcpy(p + HEADER_LEN, text, len);
    p[HEADER_LEN + len] = '\n';
    b->out_len += HEADER_LEN + len + 1;
    if (b->out_len > b->used_max)
        b->used_max = b->out_len;
}

/* Makes records of the bytes from start on; those before scan are known to have no newline.
 * Returns the beginning of the unfinished line, at most line_max bytes before end. */
static const uint8_t *put_lines(struct batch *batch, const uint8_t *start, const uint8_t *scan,
                                const uint8_t *end)
{
    size_t max = batch->l->line_max;

    for (;;) {
        const uint8_t *nl = memchr(scan, '\n', (size_t)(end - scan));
        const uint8_t *stop = nl ? nl : end;

        for (; (size_t)(stop - start) > max; start += max)
            put_record(batch, 'P', start, max);
        if (!nl)
            return start;
        put_record(batch, 'F', start, (size_t)(nl - start));
        start = scan = nl + 1;
    }
}

static void keep_carry(struct log_line *line, const uint8_t *data, size_t len)
{
    if (len == 0) {
        free(take_ptr(line->carry));
    } else {
        line->carry = xrealloc(line->carry, len);
        memcpy(line->carry, data, len);
    }
    line->carry_len = len;
}

void logger_feed(struct logger *l, struct log_buffer *b, enum log_stream stream, size_t n)
{
    struct log_line *line = &l->lines[stream];
    struct batch batch = {.l = l, .b = b, .stream = stream};
    uint8_t *start = b->in - line->carry_len;

    if (n > b->used_max)
        b->used_max = n;
    if (!l->path)
        return;
    if (line->carry_len)
        memcpy(start, line->carry, line->carry_len);
    make_header(batch.header, stream);
    const uint8_t *rest = put_lines(&batch, start, b->in, b->in + n);
    flush(l, b, stream);
    keep_carry(line, rest, (size_t)(b->in + n - rest));
}

void logger_finish(struct logger *l, struct log_buffer *b, enum log_stream stream)
{
    struct log_line *line = &l->lines[stream];
    struct batch batch = {.l = l, .b = b, .stream = stream};

    if (line->carry_len) {
        make_header(batch.header, stream);
        put_record(&batch, 'P', line->carry, line->carry_len);
        flush(l, b, stream);
        keep_carry(line, NULL, 0);
    }
    if (line->dropped && l->fd >= 0)
        (void)make_ready(l, stream); /* the last chance; nowhere else to tell it */
}
