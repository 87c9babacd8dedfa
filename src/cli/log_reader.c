/*
 * log_reader.c - a record is `time stream tag text`; P records are pieces of a line that the next
 * record goes on with. Records that are not whole yet are left for later.
 *
 * A file keeps its inode when it is rotated away. So the reader finds by its inode which number its
 * file has by now, and goes on with the number below until it is at the newest.
 */
#include "log_reader.h"

#include <sys/stat.h>

/* ---- One record
 * ----------------------------------------------------------------------------------- */

static void print_start(const struct log_reader *r, FILE *out, const char *line, size_t time_len)
{
    if (r->options->prefix)
        fprintf(out, "[%s/%s] ", r->pod, r->container);
    if (r->options->timestamps)
        fprintf(out, "%.*s ", (int)time_len, line);
}

static void print_record(struct log_reader *r, const char *line, size_t len)
{
    const char *end = line + len;
    const char *stream = memchr(line, ' ', len);
    const char *tag = stream ? memchr(stream + 1, ' ', (size_t)(end - stream - 1)) : NULL;
    const char *text = tag ? memchr(tag + 1, ' ', (size_t)(end - tag - 1)) : NULL;

    if (!text) { /* not a record: show what there is */
        printf("%.*s\n", (int)len, line);
        return;
    }
    if (r->options->since[0] && strncmp(line, r->options->since, (size_t)(stream - line)) < 0)
        return;
    FILE *out = str_starts_with(stream + 1, "stderr") ? stderr : stdout;
    if (!r->continued)
        print_start(r, out, line, (size_t)(stream - line));
    fwrite(text + 1, 1, (size_t)(end - text - 1), out);
    r->continued = tag[1] == 'P';
    if (!r->continued)
        fputc('\n', out);
}

static void drain_file(struct log_reader *r)
{
    for (;;) {
        long start = ftell(r->file);
        ssize_t len = getline(&r->line, &r->cap, r->file);
        if (len < 0)
            break;
        if (r->line[len - 1] != '\n') { /* still being written: come back to it */
            fseek(r->file, start, SEEK_SET);
            break;
        }
        print_record(r, r->line, (size_t)len - 1);
    }
    clearerr(r->file);
    fflush(stdout);
    fflush(stderr);
}

/* ---- Its files
 * ------------------------------------------------------------------------------------ */

static char *file_path(const char *path, int number)
{
    return number ? xasprintf("%s.%d", path, number) : xstrdup(path);
}

/* The oldest file that there is; 0 when the log was never rotated. */
static int oldest_number(const char *path)
{
    for (int number = 1;; number++) {
        _cleanup_free_ char *older = file_path(path, number);
        if (access(older, F_OK) < 0)
            return number - 1;
    }
}

/* The number that the file has now; one more than the oldest when it was removed. */
static int own_number(const struct log_reader *r)
{
    struct stat own, other;
    int oldest = oldest_number(r->path);

    if (fstat(fileno(r->file), &own) < 0)
        return oldest + 1;
    for (int number = 0; number <= oldest; number++) {
        _cleanup_free_ char *path = file_path(r->path, number);
        if (stat(path, &other) == 0 && own.st_ino == other.st_ino && own.st_dev == other.st_dev)
            return number;
    }
    return oldest + 1;
}

/* Goes over to the next newer file. False: there is none (yet). */
static bool go_on(struct log_reader *r)
{
    for (;;) {
        int number = own_number(r);
        if (number == 0)
            return false;
        _cleanup_free_ char *path = file_path(r->path, number - 1);
        FILE *next = fopen(path, "re");
        if (!next)
            return false;
        if (own_number(r) != number) { /* rotated meanwhile: it may be another one */
            fclose(next);
            continue;
        }
        drain_file(r); /* nobody writes to it any more */
        fclose(r->file);
        r->file = next;
        return true;
    }
}

void log_reader_drain(struct log_reader *r)
{
    if (!r->file)
        return;
    do
        drain_file(r);
    while (go_on(r));
}

/* ---- Opening
 * -------------------------------------------------------------------------------------- */

/* Moves to where the last n records begin, by counting newlines from the end. Returns how many
 * there are, n at most. */
static int64_t seek_tail(FILE *file, int64_t n)
{
    char chunk[65536];
    int64_t seen = 0;
    long at;

    if (fseek(file, 0, SEEK_END) < 0)
        return 0;
    at = ftell(file);
    while (at > 0) {
        long size = at < (long)sizeof(chunk) ? at : (long)sizeof(chunk);
        at -= size;
        fseek(file, at, SEEK_SET);
        if (fread(chunk, 1, (size_t)size, file) != (size_t)size)
            break;
        for (long i = size - 1; i >= 0; i--) {
            if (chunk[i] == '\n' && seen++ == n) {
                fseek(file, at + i + 1, SEEK_SET);
                return n;
            }
        }
    }
    fseek(file, 0, SEEK_SET);
    return seen;
}

/* The file with the first of the last n records, there; n < 0: the oldest. NULL (and errno): there
 * is none. */
static FILE *open_tail(const char *path, int64_t n)
{
    int oldest = oldest_number(path);
    FILE *file = NULL;

    for (int number = n < 0 ? oldest : 0; number <= oldest; number++) {
        _cleanup_free_ char *name = file_path(path, number);
        FILE *older = fopen(name, "re");
        if (!older)
            continue;
        if (file)
            fclose(file);
        file = older;
        if (n < 0)
            break;
        n -= seek_tail(file, n);
        if (n == 0)
            break;
    }
    return file;
}

int log_reader_open(struct log_reader *r, char *path_take, struct err *e)
{
    _cleanup_free_ char *path = path_take;
    FILE *file = open_tail(path, r->file ? -1 : r->options->tail);

    if (!file)
        return err_errno(e, errno, "open %s", path);
    if (r->file) {
        log_reader_drain(r);
        fclose(r->file);
    }
    r->file = file;
    free(r->path);
    r->path = take_ptr(path);
    return 0;
}

void log_reader_free(struct log_reader *r)
{
    if (r->file)
        fclose(r->file);
    free(r->pod);
    free(r->container);
    free(r->path);
    free(r->line);
}
