/*
 * log_reader.c - a record is `time stream tag text`; P records are pieces of a line that the next
 * record goes on with. Records that are not whole yet are left for later.
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

void log_reader_drain(struct log_reader *r)
{
    if (!r->file)
        return;
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

/* ---- The file
 * ------------------------------------------------------------------------------------- */

/* Moves to where the last n records begin, by counting newlines from the end. */
static void seek_tail(FILE *file, int64_t n)
{
    char chunk[65536];
    long at;

    if (n < 0 || fseek(file, 0, SEEK_END) < 0)
        return;
    at = ftell(file);
    for (int64_t seen = 0; at > 0;) {
        long size = at < (long)sizeof(chunk) ? at : (long)sizeof(chunk);
        at -= size;
        fseek(file, at, SEEK_SET);
        if (fread(chunk, 1, (size_t)size, file) != (size_t)size)
            break;
        for (long i = size - 1; i >= 0; i--) {
            if (chunk[i] == '\n' && seen++ == n) {
                fseek(file, at + i + 1, SEEK_SET);
                return;
            }
        }
    }
    fseek(file, 0, SEEK_SET);
}

int log_reader_open(struct log_reader *r, char *path_take, struct err *e)
{
    _cleanup_free_ char *path = path_take;
    FILE *file = fopen(path, "re");

    if (!file)
        return err_errno(e, errno, "open %s", path);
    if (r->file) {
        log_reader_drain(r);
        fclose(r->file);
    } else {
        seek_tail(file, r->options->tail);
    }
    r->file = file;
    free(r->path);
    r->path = take_ptr(path);
    return 0;
}

bool log_reader_is_replaced(const struct log_reader *r)
{
    struct stat now, then;

    return r->file && fstat(fileno(r->file), &then) == 0 && stat(r->path, &now) == 0 &&
           (now.st_ino != then.st_ino || now.st_dev != then.st_dev);
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
