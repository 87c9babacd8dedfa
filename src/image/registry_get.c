/*
 * registry_get.c - one GET from a registry, until it has succeeded or nothing helps any more.
 *
 *        start ──> send ──> answer 200/206 ──> done
 *                   ^ │
 *                   │ ├─ 401 ─────────────> log in ───────────────> send
 *                   │ ├─ 3xx ─────────────> check the target ─────> send there
 *                   │ ├─ broken, 429, 5xx > wait ─────────────────> send (what is still missing)
 *                   │ └─ anything else ───> the next endpoint ────> send; or fail
 *                   └───────────────────────────────────────────────┘
 *
 * A stream is delivered in order and each byte once. What arrived stays: after a break only the
 * rest is asked for (Range), and if the server sends all of it again, the known part is skipped.
 * Whether the parts fit together is not decided here: the receiver knows the digest.
 *
 * Redirects: at most five, never from https to http, and credentials go only to the endpoint they
 * are for. Attempts are limited in a row; a break that came after real progress does not count.
 */
#include "registry.h"

enum {
    REDIRECTS_MAX = 5,
    LOGINS_MAX = 2,
    RETRIES_MAX = 5,         /* of a broken connection */
    BUSY_RETRIES_MAX = 2,    /* of 429 and 5xx */
    PROGRESS_MIN = 64 << 10, /* so many bytes make a retry free */
    BACKOFF_FIRST_MS = 200,
    BACKOFF_MAX_MS = 5000,
    RETRY_AFTER_MAX_S = 30,
    ERROR_BODY_MAX = 16 << 10,
};

/* What the body of the current answer is. */
enum body { BODY_UNSEEN, BODY_WANTED, BODY_ERROR };

struct registry_get {
    struct registry *registry;
    char *path, *accept, *what;
    uint64_t size, limit;
    struct registry_events events;
    void *arg;

    size_t endpoint, tried; /* the current one; how many have been current */
    char *redirect;         /* where the endpoint sent us, or NULL */
    unsigned redirects, logins, retries;
    unsigned generation; /* of the authorization that was sent */
    bool authorized;     /* it was sent */

    struct transfer *transfer;
    struct token_request *token;
    struct timer *timer;

    enum body body;
    uint64_t offset;       /* bytes delivered */
    uint64_t offset_begin; /* the same, at the beginning of this attempt */
    uint64_t skip;         /* bytes of this answer that are known already */
    struct strbuf document;
    struct strbuf error_body;
    struct err fatal; /* why on_data has aborted */
};

static void send_request(struct registry_get *g);

static struct endpoint *current(struct registry_get *g)
{
    return &g->registry->endpoints[g->endpoint];
}

static void destroy(struct registry_get *g)
{
    registry_release(g->registry);
    timer_free(g->timer);
    free(g->path);
    free(g->accept);
    free(g->what);
    free(g->redirect);
    strbuf_free(&g->document);
    strbuf_free(&g->error_body);
    err_clear(&g->fatal);
    free(g);
}

void registry_get_cancel(struct registry_get *g)
{
    if (!g)
        return;
    transfer_cancel(g->transfer);
    token_request_cancel(g->token);
    destroy(g);
}

void registry_get_resume(struct registry_get *g)
{
    if (g->transfer)
        transfer_resume(g->transfer);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void succeed(struct registry_get *g)
{
    struct bytes body = {.data = (uint8_t *)g->document.data, .len = g->document.len};
    _cleanup_free_ char *type = xstrdup(transfer_header(g->transfer, "Content-Type", 0));

    g->transfer = NULL;
    g->registry->preferred = g->endpoint;
    g->events.on_done(g->arg, g->events.on_data ? NULL : &body, type, NULL);
    destroy(g);
}

static void fail(struct registry_get *g, struct err *e)
{
    g->events.on_done(g->arg, NULL, NULL, e);
    err_clear(e);
    destroy(g);
}

/* This endpoint cannot help: on to the next, or the end. Takes what *e holds. */
static void give_up_endpoint(struct registry_get *g, struct err *e)
{
    struct registry *r = g->registry;

    if (++g->tried >= r->n_endpoints) {
        fail(g, e);
        return;
    }
    log_info("image", current(g)->name, "%s; trying the next server", err_text(e));
    err_clear(e);
    g->endpoint = (g->endpoint + 1) % r->n_endpoints;
    g->redirects = g->logins = g->retries = 0;
    free(take_ptr(g->redirect));
    send_request(g);
}

/* ---- Retries --------------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
    struct registry_get *g = arg;

    free(take_ptr(g->redirect)); /* signed addresses expire */
    g->redirects = 0;
    send_request(g);
}

static int64_t backoff(const struct registry_get *g, const char *retry_after)
{
    uint64_t seconds = 0;
    int64_t ms = BACKOFF_FIRST_MS << (g->retries < 6 ? g->retries : 6);

    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    if (retry_after && parse_uint(retry_after, RETRY_AFTER_MAX_S, &seconds) == 0 &&
        (int64_t)seconds * 1000 > ms)
        ms = (int64_t)seconds * 1000;
    return ms;
}

static void retry(struct registry_get *g, unsigned max, const char *retry_after, struct err *e)
{
    if (g->offset - g->offset_begin >= PROGRESS_MIN)
        g->retries = 0;
    if (g->retries >= max) {
        give_up_endpoint(g, e);
        return;
    }
    log_debug("image", g->what, "%s; trying again", err_text(e));
    err_clear(e);
    if (!g->timer)
        g->timer = timer_new(transfers_loop(g->registry->transfers), on_timer, g);
    timer_start(g->timer, backoff(g, retry_after));
    g->retries++;
}

/* ---- Redirects ------------------------------------------------------------------------------- */

static int check_redirect(struct registry_get *g, const char *location, char **ret, struct err *e)
{
    const char *from = g->redirect ? g->redirect : current(g)->url.text;
    _cleanup_url_ struct url base = {0}, target = {0};

    if (++g->redirects > REDIRECTS_MAX)
        return err_set(e, ERR_UNKNOWN, "%s: more than %d redirects", g->what, REDIRECTS_MAX);
    if (!location)
        return err_set(e, ERR_UNKNOWN, "%s: a redirect of %s has no target", g->what,
                       current(g)->name);
    _cleanup_free_ char *full =
        g->redirect ? xstrdup(from)
                    : xasprintf("%s/v2/%s/%s", from, g->registry->ref.repository, g->path);
    if (url_parse(full, NULL, &base, e) < 0 || url_parse(location, full, &target, e) < 0)
        return err_wrap(e, "%s: redirect of %s", g->what, current(g)->name);
    if (str_equal(base.scheme, "https") && !str_equal(target.scheme, "https"))
        return err_set(e, ERR_PERMISSION_DENIED,
                       "%s: %s redirects from https to http (%s); refused", g->what,
                       current(g)->name, target.host);
    *ret = take_ptr(target.text);
    return 0;
}

static void follow_redirect(struct registry_get *g, const char *location)
{
    struct err e = ERR_INIT;
    char *target = NULL;

    if (check_redirect(g, location, &target, &e) < 0) {
        give_up_endpoint(g, &e);
        return;
    }
    free(g->redirect);
    g->redirect = target;
    send_request(g);
}

/* ---- Logging in ------------------------------------------------------------------------------ */

static void set_authorization(struct registry_get *g, char *authorization_take)
{
    struct endpoint *endpoint = current(g);

    free(endpoint->authorization);
    endpoint->authorization = authorization_take;
    endpoint->generation++;
}

static void on_token(void *arg, char *authorization_take, const struct err *e)
{
    struct registry_get *g = arg;
    struct err copy = ERR_INIT;

    g->token = NULL;
    if (e) {
        err_copy(&copy, e);
        give_up_endpoint(g, &copy);
        return;
    }
    set_authorization(g, authorization_take);
    send_request(g);
}

static int refuse_login(struct registry_get *g, struct err *e)
{
    bool had = current(g)->is_origin && !credentials_empty(&g->registry->credentials);

    return err_set(e, ERR_UNAUTHENTICATED, "unauthorized: %s %s for %s", current(g)->name,
                   had ? "does not accept the credentials" : "wants credentials", g->what);
}

/* The strongest challenge that the answer offers. */
static void find_challenge(struct transfer *t, struct challenge *ret)
{
    const char *header;

    *ret = (struct challenge){0};
    for (size_t i = 0; (header = transfer_header(t, "WWW-Authenticate", i)); i++) {
        struct challenge c;
        challenge_parse(header, &c);
        if (c.scheme > ret->scheme) {
            challenge_clear(ret);
            *ret = c;
        } else {
            challenge_clear(&c);
        }
    }
}

/* 0: something is under way. */
static int answer_challenge(struct registry_get *g, const struct challenge *c, struct err *e)
{
    const struct credentials *who = &g->registry->credentials;
    struct endpoint *endpoint = current(g);

    /* A foreign server, behind a redirect, gets nothing. */
    if (g->redirect || g->logins++ >= LOGINS_MAX)
        return refuse_login(g, e);
    if (endpoint->authorization && (!g->authorized || g->generation != endpoint->generation)) {
        send_request(g); /* somebody else has logged in meanwhile */
        return 0;
    }
    if (c->scheme == CHALLENGE_BASIC && endpoint->is_origin && who->username && !g->authorized) {
        set_authorization(g, header_basic(who->username, who->password));
        send_request(g);
        return 0;
    }
    if (c->scheme != CHALLENGE_BEARER || who->registry_token)
        return refuse_login(g, e);
    g->token = token_request_start(g->registry, endpoint, c, on_token, g, e);
    return g->token ? 0 : -1;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static int describe_status(struct registry_get *g, long status, struct err *e)
{
    struct bytes body = {.data = (uint8_t *)g->error_body.data, .len = g->error_body.len};
    _cleanup_free_ char *says = registry_error_text(&body);
    const char *name = current(g)->name, *colon = *says ? ": " : "";

    if (status == 404)
        return err_set(e, ERR_NOT_FOUND, "%s is not found at %s%s%s", g->what, name, colon, says);
    if (status == 403)
        return err_set(e, ERR_PERMISSION_DENIED, "denied: %s refuses access to %s%s%s", name,
                       g->what, colon, says);
    if (status == 429 || status >= 500)
        return err_set(e, ERR_UNKNOWN, "RegistryUnavailable: %s answers with status %ld%s%s", name,
                       status, colon, says);
    return err_set(e, ERR_UNKNOWN, "%s answers with status %ld for %s%s%s", name, status, g->what,
                   colon, says);
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The answer ended well; was it all? */
static void finish_body(struct registry_get *g)
{
    struct err e = ERR_INIT;

    if (g->size == UINT64_MAX || g->offset == g->size) {
        succeed(g);
        return;
    }
    err_set(&e, ERR_DATA_LOSS, "%s is truncated: %s sent %llu of %llu bytes", g->what,
            current(g)->name, (unsigned long long)g->offset, (unsigned long long)g->size);
    g->transfer = NULL;
    give_up_endpoint(g, &e);
}

static void handle_answer(struct registry_get *g)
{
    struct transfer *t = g->transfer;
    long status = transfer_status(t);
    struct err e = ERR_INIT;

    if (status == 200 || (status == 206 && g->offset > 0)) {
        finish_body(g);
        return;
    }
    if (status == 401) {
        struct challenge c;
        find_challenge(t, &c);
        g->transfer = NULL;
        if (answer_challenge(g, &c, &e) < 0)
            give_up_endpoint(g, &e);
        challenge_clear(&c);
        return;
    }
    _cleanup_free_ char *location = xstrdup(transfer_header(t, "Location", 0));
    _cleanup_free_ char *retry_after = xstrdup(transfer_header(t, "Retry-After", 0));
    g->transfer = NULL;
    if (is_redirect(status)) {
        follow_redirect(g, location);
        return;
    }
    describe_status(g, status, &e);
    if (status == 429 || status >= 500)
        retry(g, BUSY_RETRIES_MAX, retry_after, &e);
    else
        give_up_endpoint(g, &e);
}

static void on_done(void *arg, enum transfer_failure failure, const char *why)
{
    struct registry_get *g = arg;
    const char *name = current(g)->name;
    struct err e = ERR_INIT;

    if (g->fatal.code) {
        g->transfer = NULL;
        err_move(&e, &g->fatal);
        give_up_endpoint(g, &e);
        return;
    }
    switch (failure) {
    case TRANSFER_OK:
        handle_answer(g);
        return;
    case TRANSFER_UNREACHABLE:
        err_set(&e, ERR_UNKNOWN, "RegistryUnavailable: %s: %s", name, why);
        break;
    case TRANSFER_BROKEN:
        g->transfer = NULL;
        err_set(&e, ERR_UNKNOWN, "RegistryUnavailable: the connection to %s broke: %s", name, why);
        retry(g, RETRIES_MAX, NULL, &e);
        return;
    case TRANSFER_TLS:
        err_set(&e, ERR_UNKNOWN, "%s cannot prove its identity by TLS: %s", name, why);
        break;
    case TRANSFER_REFUSED:
        err_set(&e, ERR_UNKNOWN, "%s from %s: %s", g->what, name, why);
        break;
    }
    g->transfer = NULL;
    give_up_endpoint(g, &e);
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

/* "bytes 100-199/200" begins where we have stopped. */
static bool range_fits(const struct registry_get *g)
{
    const char *range = transfer_header(g->transfer, "Content-Range", 0);
    uint64_t begin;

    if (!range || !str_starts_with(range, "bytes "))
        return false;
    range += strlen("bytes ");
    _cleanup_free_ char *text = xstrndup(range, strcspn(range, "-"));
    return parse_uint(text, UINT64_MAX, &begin) == 0 && begin == g->offset;
}

static void begin_body(struct registry_get *g)
{
    long status = transfer_status(g->transfer);

    g->body = BODY_ERROR;
    g->skip = 0;
    if (status == 200) {
        g->body = BODY_WANTED;
        g->skip = g->offset;
    } else if (status == 206 && g->offset > 0) {
        if (range_fits(g))
            g->body = BODY_WANTED;
        else
            err_set(&g->fatal, ERR_UNKNOWN, "%s: %s continues at the wrong place", g->what,
                    current(g)->name);
    }
}

static enum transfer_verdict deliver(struct registry_get *g, const uint8_t *data, size_t len)
{
    size_t known = g->skip < len ? (size_t)g->skip : len;
    enum transfer_verdict verdict = TRANSFER_GO_ON;
    uint64_t max = g->size != UINT64_MAX ? g->size : g->limit;

    data += known;
    len -= known;
    if (len > max - g->offset) {
        err_set(&g->fatal, ERR_DATA_LOSS, "%s is larger than %llu bytes", g->what,
                (unsigned long long)max);
        return TRANSFER_ABORT;
    }
    if (len > 0 && g->events.on_data)
        verdict = g->events.on_data(g->arg, data, len);
    else
        strbuf_add(&g->document, data, len);
    if (verdict == TRANSFER_GO_ON) {
        g->skip -= known;
        g->offset += len;
    }
    return verdict;
}

static enum transfer_verdict on_data(void *arg, const void *data, size_t len)
{
    struct registry_get *g = arg;

    if (g->body == BODY_UNSEEN)
        begin_body(g);
    if (g->fatal.code)
        return TRANSFER_ABORT;
    if (g->body == BODY_WANTED)
        return deliver(g, data, len);
    if (g->error_body.len + len <= ERROR_BODY_MAX)
        strbuf_add(&g->error_body, data, len);
    return TRANSFER_GO_ON;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void add_header(char ***headers, char *header_take)
{
    strv_push(headers, header_take);
    free(header_take);
}

/* Whether `url` may see what belongs to the endpoint. */
static bool is_endpoints_own(struct registry_get *g, const char *text)
{
    _cleanup_err_ struct err ignored = ERR_INIT;
    _cleanup_url_ struct url url = {0};

    return url_parse(text, NULL, &url, &ignored) == 0 && url_same_origin(&url, &current(g)->url);
}

static void send_request(struct registry_get *g)
{
    static const struct transfer_events EVENTS = {on_data, on_done};
    struct endpoint *endpoint = current(g);
    _cleanup_free_ char *url = g->redirect ? xstrdup(g->redirect)
                                           : xasprintf("%s/v2/%s/%s", endpoint->url.text,
                                                       g->registry->ref.repository, g->path);
    _cleanup_strv_ char **headers = NULL;
    bool own = is_endpoints_own(g, url);

    if (g->accept)
        add_header(&headers, xasprintf("Accept: %s", g->accept));
    g->authorized = own && endpoint->authorization;
    g->generation = endpoint->generation;
    if (g->authorized)
        strv_push(&headers, endpoint->authorization);
    if (!g->events.on_data) {
        strbuf_free(&g->document);
        g->offset = 0;
    } else if (g->offset > 0) {
        add_header(&headers, xasprintf("Range: bytes=%llu-", (unsigned long long)g->offset));
    }
    g->offset_begin = g->offset;
    g->body = BODY_UNSEEN;
    strbuf_free(&g->error_body);
    struct transfer_request request = {
        .url = url,
        .headers = headers,
        .ca = own && endpoint->is_origin ? g->registry->ca : NULL,
    };
    g->transfer = transfer_start(g->registry->transfers, &request, &EVENTS, g);
}

struct registry_get *registry_get_start(struct registry *r, const struct registry_request *request,
                                        const struct registry_events *events, void *arg)
{
    struct registry_get *g = xnew(struct registry_get);

    g->registry = registry_hold(r);
    g->path = xstrdup(request->path);
    g->accept = xstrdup(request->accept);
    g->what = xstrdup(request->what);
    g->size = request->size;
    g->limit = request->limit;
    g->events = *events;
    g->arg = arg;
    g->endpoint = r->preferred;
    send_request(g);
    return g;
}
