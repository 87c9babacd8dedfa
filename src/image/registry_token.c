/*
 * registry_token.c - logging in to a registry.
 *
 * The "Basic" challenge is answered with the password itself. For "Bearer" a token is asked for at
 * the challenge's realm: with the password or the refresh token when the realm is trusted to see
 * them, else anonymously, which is enough for public images.
 */
#include "json.h"
#include "registry.h"

enum { ANSWER_MAX = 1 << 20 };

struct token_request {
    struct registry *registry;
    char *realm_name;
    bool anonymous;
    bool withheld; /* there are credentials, but they are not for this realm */
    struct transfer *transfer;
    struct strbuf answer;
    void (*fn)(void *arg, char *authorization_take, const struct err *e);
    void *arg;
};

static void destroy(struct token_request *t)
{
    registry_release(t->registry);
    free(t->realm_name);
    strbuf_free(&t->answer);
    free(t);
}

void token_request_cancel(struct token_request *t)
{
    if (!t)
        return;
    transfer_cancel(t->transfer);
    destroy(t);
}

static enum transfer_verdict on_data(void *arg, const void *data, size_t len)
{
    struct token_request *t = arg;

    if (t->answer.len + len > ANSWER_MAX)
        return TRANSFER_ABORT;
    strbuf_add(&t->answer, data, len);
    return TRANSFER_GO_ON;
}

/* The token in the answer, as a header. */
static char *parse_answer(const struct token_request *t, struct err *e)
{
    _cleanup_json_ json_t *j =
        json_load_strict(t->answer.data, t->answer.len, "the answer of the token server", e);
    bool bad = false;

    if (!j)
        return NULL;
    const char *token = json_get_text(j, "token", &bad);
    if (str_empty(token))
        token = json_get_text(j, "access_token", &bad);
    char *header = bad || str_empty(token) ? NULL : header_bearer(token);
    if (!header)
        err_set(e, ERR_UNKNOWN, "the token server %s sent no token", t->realm_name);
    return header;
}

static int check_answer(struct token_request *t, enum transfer_failure failure, const char *why,
                        long status, struct err *e)
{
    if (failure == TRANSFER_UNREACHABLE || failure == TRANSFER_BROKEN ||
        (failure == TRANSFER_OK && status >= 500))
        return err_set(e, ERR_UNKNOWN, "RegistryUnavailable: the token server %s: %s",
                       t->realm_name, failure == TRANSFER_OK ? "internal error" : why);
    if (failure != TRANSFER_OK)
        return err_set(e, ERR_UNKNOWN, "the token server %s: %s", t->realm_name, why);
    if (status == 200)
        return 0;
    if (status == 400 || status == 401 || status == 403)
        return err_set(e, ERR_UNAUTHENTICATED, "unauthorized: the token server %s %s%s",
                       t->realm_name,
                       t->anonymous ? "denies anonymous access" : "refuses the credentials",
                       t->withheld ? " (the credentials were not sent there: it is not the "
                                     "registry they are for)"
                                   : "");
    return err_set(e, ERR_UNKNOWN, "the token server %s answers with status %ld", t->realm_name,
                   status);
}

static void on_done(void *arg, enum transfer_failure failure, const char *why)
{
    struct token_request *t = arg;
    _cleanup_err_ struct err e = ERR_INIT;
    char *authorization = NULL;

    if (check_answer(t, failure, why, transfer_status(t->transfer), &e) == 0)
        authorization = parse_answer(t, &e);
    t->fn(t->arg, authorization, e.code ? &e : NULL);
    destroy(t);
}

/* service=...&scope=... */
static char *common_parameters(const struct challenge *c, const char *default_scope)
{
    _cleanup_free_ char *service = url_escape(c->service ? c->service : "");
    _cleanup_free_ char *scope = url_escape(c->scope ? c->scope : default_scope);

    return xasprintf("service=%s&scope=%s", service, scope);
}

static void send_request(struct token_request *t, const struct url *realm, const char *ca,
                         const struct challenge *c)
{
    static const struct transfer_events EVENTS = {on_data, on_done};
    const struct credentials *who = &t->registry->credentials;
    _cleanup_free_ char *scope = xasprintf("repository:%s:pull", t->registry->ref.repository);
    _cleanup_free_ char *parameters = common_parameters(c, scope);
    _cleanup_free_ char *url =
        xasprintf("%s%c%s", realm->text, strchr(realm->text, '?') ? '&' : '?', parameters);
    _cleanup_free_ char *form = NULL;
    _cleanup_strv_ char **headers = NULL;
    struct transfer_request request = {.url = url, .ca = ca};

    if (!t->anonymous && who->identity_token) {
        _cleanup_free_ char *token = url_escape(who->identity_token);
        form = xasprintf("grant_type=refresh_token&client_id=podd&%s&refresh_token=%s", parameters,
                         token);
        request.form = form;
        request.url = realm->text;
    } else if (!t->anonymous) {
        _cleanup_free_ char *basic = header_basic(who->username, who->password);
        strv_push(&headers, basic);
    }
    request.headers = headers;
    t->transfer = transfer_start(t->registry->transfers, &request, &EVENTS, t);
}

struct token_request *token_request_start(
    struct registry *r, const struct endpoint *endpoint, const struct challenge *challenge,
    void (*fn)(void *arg, char *authorization_take, const struct err *e), void *arg, struct err *e)
{
    _cleanup_url_ struct url realm = {0};
    const struct credentials *who = &r->credentials;
    bool has = endpoint->is_origin && (who->username || who->identity_token);

    if (url_parse(challenge->realm, NULL, &realm, e) < 0) {
        err_wrap(e, "the registry %s names a token server", endpoint->name);
        return NULL;
    }
    if (str_equal(endpoint->url.scheme, "https") && str_equal(realm.scheme, "http")) {
        err_set(e, ERR_PERMISSION_DENIED,
                "the registry %s names a token server without TLS (%s); refused", endpoint->name,
                realm.text);
        return NULL;
    }
    struct token_request *t = xnew(struct token_request);
    t->registry = registry_hold(r);
    t->realm_name = xasprintf("%s:%u", realm.host, realm.port);
    t->withheld = has && !realm_is_trusted(&endpoint->url, &realm);
    t->anonymous = !has || t->withheld;
    t->fn = fn;
    t->arg = arg;
    bool own = url_same_origin(&endpoint->url, &realm) && endpoint->is_origin;
    send_request(t, &realm, own ? r->ca : NULL, challenge);
    return t;
}
