/*
 * log.c - one line per event on stderr.
 *
 * `ts level room object message`, the first four without blanks, so that grep and cut work on
 * them. Whatever is a control character is escaped: a container or a client cannot forge a line or
 * talk to a terminal. Each line is one write(2), hence lines of threads do not mix as long as they
 * are at most PIPE_BUF or go to a file or the journal's stream. A line that cannot be written is
 * dropped: there is nowhere to tell it.
 */
#include <stdatomic.h>

#include <podd/base.h>

enum { MESSAGE_MAX = 8192 };

static _Atomic(enum log_level) current_level = LOG_INFO;

static const char *const level_names[] = {
    [LOG_ERROR] = "error",
    [LOG_WARN] = "warn",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
    atomic_store(&current_level, level);
}

enum log_level log_get_level(void)
{
    return atomic_load(&current_level);
}

int log_level_parse(const char *s, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (str_equal(s, level_names[i])) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* How many bytes at p make up a control character: the ASCII ones, and U+0080 to U+009F, which
 * terminals obey too. 0 when it is none. */
static size_t control_len(const unsigned char *p)
{
    if (*p < 0x20 || *p == 0x7f)
        return 1;
    return p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f ? 2 : 0;
}

static void add_escaped(struct strbuf *b, const char *s, bool one_word)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t limit = b->len + MESSAGE_MAX;

    for (; *p && b->len < limit; p++) {
        size_t n = one_word && *p == ' ' ? 1 : control_len(p);

        if (n == 0)
            strbuf_add(b, p, 1);
        else if (*p == '\n')
            strbuf_adds(b, "\\n");
        else if (*p == '\t')
            strbuf_adds(b, "\\t");
        else
            strbuf_addf(b, "\\x%02x", *p);
        if (n == 2)
            strbuf_addf(b, "\\x%02x", *++p);
    }
    if (*p)
        strbuf_adds(b, "...");
}

void log_write(enum log_level level, const char *room, const char *object, const char *fmt, ...)
{
    int saved = errno;
    char ts[TIME_TEXT_SIZE];
    va_list ap;

    if (level > log_get_level())
        return;
    va_start(ap, fmt);
    _cleanup_free_ char *message = xvasprintf(fmt, ap);
    va_end(ap);

    _cleanup_strbuf_ struct strbuf line = {0};
    time_format(time_now_ns(), ts);
    strbuf_addf(&line, "%s %s ", ts, level_names[level]);
    add_escaped(&line, str_empty(room) ? "-" : room, true);
    strbuf_adds(&line, " ");
    add_escaped(&line, str_empty(object) ? "-" : object, true);
    strbuf_adds(&line, " ");
    add_escaped(&line, message, false);
    strbuf_adds(&line, "\n");

    ssize_t n;
    do
        n = write(STDERR_FILENO, line.data, line.len);
    while (n < 0 && errno == EINTR);
    errno = saved;
}
