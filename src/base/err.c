/*
 * err.c - the one kind of failure that travels through podd: a code and a sentence.
 *
 * A sentence is written once, where the failing thing is known (err_set, err_errno), and grows to
 * the left on its way up (err_wrap). Setting an error over another would lose the first cause, so
 * that is asserted against. All functions keep errno: callers may still look at it afterwards,
 * e.g. for ENOENT.
 */
#include <assert.h>
#include <stdio.h>

#include <podd/base.h>

static int set_message(struct err *e, enum err_code code, char *message_take)
{
    assert(e && e->code == ERR_OK && !e->message);
    assert(code != ERR_OK);
    e->code = code;
    e->message = message_take;
    return -1;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    va_start(ap, fmt);
    char *message = xvasprintf(fmt, ap);
    va_end(ap);
    errno = saved;
    return set_message(e, code, message);
}

static enum err_code code_of_errno(int errnum)
{
    switch (errnum) {
    case EACCES:
    case EPERM:
        return ERR_PERMISSION_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERR_RESOURCE_EXHAUSTED;
    case ETIMEDOUT:
        return ERR_DEADLINE_EXCEEDED;
    default:
        return ERR_UNKNOWN;
    }
}

int err_errno(struct err *e, int errnum, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    if (errnum < 0)
        errnum = -errnum;
    va_start(ap, fmt);
    _cleanup_free_ char *what = xvasprintf(fmt, ap);
    va_end(ap);

    /* strerrordesc_np() is neither translated nor shared between threads as strerror() is. */
    const char *text = strerrordesc_np(errnum);
    char *message =
        text ? xasprintf("%s: %s", what, text) : xasprintf("%s: errno %d", what, errnum);
    errno = saved;
    return set_message(e, code_of_errno(errnum), message);
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    assert(e && e->code != ERR_OK);
    va_start(ap, fmt);
    _cleanup_free_ char *prefix = xvasprintf(fmt, ap);
    va_end(ap);

    char *message = xasprintf("%s: %s", prefix, err_text(e));
    free(e->message);
    e->message = message;
    errno = saved;
    return -1;
}

void err_clear(struct err *e)
{
    free(e->message);
    *e = (struct err)ERR_INIT;
}

int err_move(struct err *dst, struct err *src)
{
    assert(dst && dst->code == ERR_OK && !dst->message);
    *dst = *src;
    *src = (struct err)ERR_INIT;
    return -1;
}

void err_copy(struct err *dst, const struct err *src)
{
    assert(dst && dst->code == ERR_OK && !dst->message);
    dst->code = src->code;
    dst->message = xstrdup(src->message);
}

const char *err_text(const struct err *e)
{
    return e->message ? e->message : "";
}

const char *err_code_name(enum err_code code)
{
    static const char *const names[] = {
        [ERR_OK] = "OK",
        [ERR_CANCELLED] = "CANCELLED",
        [ERR_UNKNOWN] = "UNKNOWN",
        [ERR_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [ERR_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [ERR_NOT_FOUND] = "NOT_FOUND",
        [ERR_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [ERR_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [ERR_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [ERR_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [ERR_ABORTED] = "ABORTED",
        [ERR_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [ERR_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [ERR_INTERNAL] = "INTERNAL",
        [ERR_UNAVAILABLE] = "UNAVAILABLE",
        [ERR_DATA_LOSS] = "DATA_LOSS",
        [ERR_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    static_assert(ARRAY_SIZE(names) == ERR_UNAUTHENTICATED + 1, "one name per code");

    size_t i = (size_t)code;
    return i < ARRAY_SIZE(names) ? names[i] : "UNKNOWN";
}
