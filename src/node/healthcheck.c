/*
 * healthcheck.c - an image's HEALTHCHECK as probes, for containers whose manifest gives none.
 *
 * A startup probe until the first success, with the start period's worth of failures on top of the
 * retries, then a liveness probe: so the container is not ready before its check has succeeded, and
 * is restarted when the check has failed `retries` times in a row. Docker's defaults where the
 * image is silent.
 */
#include "healthcheck.h"

#define INTERVAL_DEFAULT 30
#define TIMEOUT_DEFAULT 30
#define RETRIES_DEFAULT 3

struct healthcheck {
    struct probe_exec exec;
    struct manifest_probe startup, liveness;
};

/* A probe's command expands $(NAME); this one is to be run as it stands. */
static char *escape(const char *word)
{
    struct strbuf text = {0};

    for (; *word; word++)
        strbuf_addf(&text, *word == '$' ? "$$" : "%c", *word);
    return text.data ? strbuf_take(&text) : xstrdup("");
}

static char **make_command(char *const *check)
{
    char **command = NULL;

    if (str_equal(check[0], "CMD-SHELL")) {
        strv_push(&command, "/bin/sh");
        strv_push(&command, "-c");
    } else if (!str_equal(check[0], "CMD")) {
        return NULL; /* NONE, or what nobody has defined yet */
    }
    for (check++; *check; check++) {
        _cleanup_free_ char *word = escape(*check);
        strv_push(&command, word);
    }
    return command;
}

/* Seconds, rounded up, as probes count. */
static int64_t seconds_or(int64_t ns, int64_t fallback)
{
    int64_t seconds = ns / NS_PER_SEC + (ns % NS_PER_SEC > 0);

    if (ns <= 0)
        return fallback;
    return seconds < INT32_MAX ? seconds : INT32_MAX;
}

static void set(struct opt_int *value, int64_t to)
{
    value->set = true;
    value->value = to < INT32_MAX ? to : INT32_MAX;
}

struct healthcheck *healthcheck_new(const struct image_config *image)
{
    char *const *check = image->healthcheck;
    char **command = check && check[0] && check[1] ? make_command(check) : NULL;

    if (!command)
        return NULL;
    struct healthcheck *h = xnew(struct healthcheck);
    int64_t interval = seconds_or(image->health_interval_ns, INTERVAL_DEFAULT);
    int64_t retries = image->health_retries > 0 ? image->health_retries : RETRIES_DEFAULT;
    h->exec.command = command;
    h->liveness.exec = &h->exec;
    set(&h->liveness.period, interval);
    set(&h->liveness.timeout, seconds_or(image->health_timeout_ns, TIMEOUT_DEFAULT));
    set(&h->liveness.failure_threshold, retries);
    h->startup = h->liveness;
    int64_t start = seconds_or(image->health_start_period_ns, 0);
    set(&h->startup.failure_threshold, (start + interval - 1) / interval + retries);
    return h;
}

void healthcheck_free(struct healthcheck *h)
{
    if (!h)
        return;
    strv_free(h->exec.command);
    free(h);
}

const struct manifest_probe *healthcheck_probe(const struct healthcheck *h, enum probe_kind kind)
{
    if (!h || kind == PROBE_READINESS)
        return NULL;
    return kind == PROBE_STARTUP ? &h->startup : &h->liveness;
}
