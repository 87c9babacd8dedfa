/*
 * message.c - termination messages, with Kubernetes' limits. The files are written by containers:
 * they are opened without following links or waiting, and only a bounded part is read.
 */
#include "message.h"
#include "text.h"

#include <fcntl.h>

#define FILE_MAX 4096
#define LOG_TAIL (16 << 10) /* enough for the lines that count, with their times */

static int open_for_reading(const char *path)
{
    return open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

char *message_from_file(const char *path)
{
    char data[FILE_MAX];
    _cleanup_close_ int fd = path ? open_for_reading(path) : -1;
    ssize_t len = fd >= 0 ? fd_read_full(fd, data, sizeof(data)) : 0;

    return len > 0 ? text_clean(data, (size_t)len, FILE_MAX) : NULL;
}

/* ---- Logs --------------------------------------------------------------------------------------
 */

/* Where the text of a line begins: behind the third blank. */
static const char *line_text(const char *line, const char *end)
{
    for (int blanks = 0; blanks < 3; blanks++) {
        line = memchr(line, ' ', (size_t)(end - line));
        if (!line)
            return NULL;
        line++;
    }
    return line;
}

/* A line whose tag is P goes on in the next one. */
static bool is_partial(const char *text)
{
    return text[-2] == 'P';
}

static void add_line(struct strbuf *out, const char *line, const char *end)
{
    const char *text = line_text(line, end);

    if (!text)
        return;
    strbuf_add(out, text, (size_t)(end - text));
    if (!is_partial(text))
        strbuf_adds(out, "\n");
}

static const char *last_lines(const char *text, const char *end)
{
    const char *start = end;
    int lines = 0;

    for (; start > text; start--)
        if (start < end && start[-1] == '\n' && ++lines == MESSAGE_LINES_MAX)
            break;
    return start;
}

char *message_of_log_text(const char *text, size_t len, bool cut)
{
    _cleanup_strbuf_ struct strbuf out = {0};
    const char *end = text + len;

    if (cut) {
        text = memchr(text, '\n', len);
        text = text ? text + 1 : end;
    }
    for (const char *line = last_lines(text, end); line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        add_line(&out, line, stop ? stop : end);
        line = stop ? stop + 1 : end;
    }
    if (out.len == 0)
        return NULL;
    size_t skip = out.len > MESSAGE_LOG_MAX ? out.len - MESSAGE_LOG_MAX : 0;
    return text_clean(out.data + skip, out.len - skip, MESSAGE_LOG_MAX);
}

char *message_from_log(const char *path)
{
    _cleanup_close_ int fd = str_empty(path) ? -1 : open_for_reading(path);
    _cleanup_free_ char *data = NULL;

    if (fd < 0)
        return NULL;
    off_t size = lseek(fd, 0, SEEK_END), start = size > LOG_TAIL ? size - LOG_TAIL : 0;
    if (size < 0 || lseek(fd, start, SEEK_SET) < 0)
        return NULL;
    data = xmalloc(LOG_TAIL);
    ssize_t len = fd_read_full(fd, data, LOG_TAIL);
    return len > 0 ? message_of_log_text(data, (size_t)len, start > 0) : NULL;
}
