/*
 * stream_http.c - reading the request, choosing the protocol, and the answers.
 *
 * A client offers protocols, the most wanted first, as X-Stream-Protocol-Version for SPDY or as
 * Sec-WebSocket-Protocol; both may come as one header with commas, several headers, or both. The
 * first that we speak is taken. Nothing is asked of Host and Origin: behind the kubelet they name
 * other machines, and it is the token that admits a client.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

#include "stream_http.h"

static const struct stream_protocol spdy_protocols[] = {
    {"v4.channel.k8s.io", FORMAT_SPDY, .remote = true, .json_status = true, .resize = true},
    {"v3.channel.k8s.io", FORMAT_SPDY, .remote = true, .resize = true},
    {"v2.channel.k8s.io", FORMAT_SPDY, .remote = true},
    {"channel.k8s.io", FORMAT_SPDY, .remote = true},
    {"portforward.k8s.io", FORMAT_SPDY, .forward = true},
};

/* v5 is not for ports: the clients that offer it there mean v4. */
static const struct stream_protocol websocket_protocols[] = {
    {"v5.channel.k8s.io", FORMAT_CHANNELS, .remote = true, .json_status = true, .resize = true,
     .close_signal = true},
    {"v4.channel.k8s.io", FORMAT_CHANNELS, .remote = true, .forward = true, .json_status = true,
     .resize = true},
    {"v4.base64.channel.k8s.io", FORMAT_CHANNELS, .remote = true, .forward = true,
     .json_status = true, .resize = true, .base64 = true},
    {"channel.k8s.io", FORMAT_CHANNELS, .remote = true, .resize = true},
    {"base64.channel.k8s.io", FORMAT_CHANNELS, .remote = true, .resize = true, .base64 = true},
    {"", FORMAT_CHANNELS, .remote = true, .forward = true, .resize = true},
    {"SPDY/3.1+portforward.k8s.io", FORMAT_TUNNEL, .forward = true},
    /* podd's own, for podctl: the fourth version's forwarding with half-close */
    {"v1.portforward.podd", FORMAT_CHANNELS, .forward = true, .close_signal = true},
};

/* ---- The request's head --------------------------------------------------------------------- */

static bool is_token_char(char c)
{
    return c > ' ' && c < 0x7f && !strchr("()<>@,;:\\\"/[]?={}", c);
}

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_token_char(s[i]))
            return false;
    return len > 0;
}

static int malformed(struct err *e, const char *what)
{
    return err_set(e, ERR_INVALID_ARGUMENT, "malformed HTTP request: %s", what);
}

static int parse_request_line(char *line, struct http_head *ret, struct err *e)
{
    char *path = strchr(line, ' ');
    char *version = path ? strchr(path + 1, ' ') : NULL;

    if (!version || !is_token(line, (size_t)(path - line)) || path[1] != '/')
        return malformed(e, "no method, path and version");
    *path++ = '\0';
    *version++ = '\0';
    if (!str_equal(version, "HTTP/1.1"))
        return malformed(e, "only HTTP/1.1 is spoken");
    path[strcspn(path, "?#")] = '\0';
    ret->method = line;
    ret->path = path;
    return 0;
}

static int parse_header(char *line, struct http_head *ret, struct err *e)
{
    char *colon = strchr(line, ':');

    if (!colon || !is_token(line, (size_t)(colon - line)))
        return malformed(e, "a header without a name");
    if (ret->n_headers == HTTP_HEADERS_MAX)
        return malformed(e, "too many headers");
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len > 0 && strchr(" \t", value[len - 1]))
        len--;
    *colon = '\0';
    value[len] = '\0';
    for (const char *c = value; *c; c++)
        if ((*c > 0 && *c < ' ' && *c != '\t') || *c == 0x7f)
            return malformed(e, "a control character in a header");
    ret->headers[ret->n_headers++] = (struct key_value){line, value};
    return 0;
}

int http_head_parse(char *data, size_t len, struct http_head *ret, struct err *e)
{
    char *end = memmem(data, len, "\r\n\r\n", 4);

    if (!end && len >= HTTP_HEAD_MAX)
        return malformed(e, "its head is too long");
    if (!end)
        return 0;
    ret->len = (size_t)(end - data) + 4;
    ret->n_headers = 0;
    if (ret->len > HTTP_HEAD_MAX)
        return malformed(e, "its head is too long");
    if (memchr(data, '\0', ret->len))
        return malformed(e, "a NUL in its head");
    end[2] = '\0'; /* every line now ends in \r\n, and the text after the last of them */
    for (char *line = data, *next; *line; line = next) {
        char *eol = strstr(line, "\r\n");
        *eol = '\0';
        next = eol + 2;
        int r = line == data ? parse_request_line(line, ret, e) : parse_header(line, ret, e);
        if (r < 0)
            return -1;
    }
    return ret->method ? 1 : malformed(e, "it is empty");
}

const char *http_path_parse(const char *path, enum stream_kind *ret_kind)
{
    static const struct {
        const char *prefix;
        enum stream_kind kind;
    } routes[] = {
        {"/exec/", STREAM_EXEC},
        {"/attach/", STREAM_ATTACH},
        {"/portforward/", STREAM_PORT_FORWARD},
    };

    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        if (!str_starts_with(path, routes[i].prefix))
            continue;
        *ret_kind = routes[i].kind;
        return path + strlen(routes[i].prefix);
    }
    return NULL;
}

/* ---- Lists in headers ----------------------------------------------------------------------- */

static bool contains_nocase(const char *s, const char *part)
{
    return strcasestr(s, part) != NULL;
}

static bool any_header_contains(const struct http_head *head, const char *name, const char *part)
{
    for (size_t i = 0; i < head->n_headers; i++)
        if (strcasecmp(head->headers[i].key, name) == 0 &&
            contains_nocase(head->headers[i].value, part))
            return true;
    return false;
}

static const char *first_header(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->n_headers; i++)
        if (strcasecmp(head->headers[i].key, name) == 0)
            return head->headers[i].value;
    return NULL;
}

/* All elements of all headers of that name, in order. */
static char **header_list(const struct http_head *head, const char *name)
{
    char **list = NULL;

    for (size_t i = 0; i < head->n_headers; i++) {
        if (strcasecmp(head->headers[i].key, name) != 0)
            continue;
        for (const char *p = head->headers[i].value; *p;) {
            p += strspn(p, " \t,");
            size_t len = strcspn(p, ",");
            size_t trimmed = len;
            while (trimmed > 0 && strchr(" \t", p[trimmed - 1]))
                trimmed--;
            _cleanup_free_ char *element = xstrndup(p, trimmed);
            if (trimmed > 0)
                strv_push(&list, element);
            p += len;
        }
    }
    return list;
}

/* ---- The decision --------------------------------------------------------------------------- */

static bool serves(const struct stream_protocol *p, enum stream_kind kind)
{
    return kind == STREAM_PORT_FORWARD ? p->forward : p->remote;
}

static const struct stream_protocol *choose(char *const *wanted,
                                            const struct stream_protocol *protocols, size_t n,
                                            enum stream_kind kind)
{
    for (; wanted && *wanted; wanted++)
        for (size_t i = 0; i < n; i++)
            if (str_equal(*wanted, protocols[i].name) && serves(&protocols[i], kind))
                return &protocols[i];
    return NULL;
}

static void refuse(struct upgrade *u, int status, const char *reason)
{
    u->status = status;
    u->reason = reason;
}

static void accept_key(const char *key, char ret[32])
{
    uint8_t digest[20];
    _cleanup_free_ char *text = xasprintf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);

    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
    EVP_EncodeBlock((uint8_t *)ret, digest, sizeof(digest));
}

static void decide_websocket(const struct http_head *head, enum stream_kind kind,
                             struct upgrade *ret)
{
    static char none[] = "";
    char *const no_protocol[] = {none, NULL};
    _cleanup_strv_ char **wanted = header_list(head, "Sec-WebSocket-Protocol");
    const char *key = first_header(head, "Sec-WebSocket-Key");

    ret->websocket = true;
    if (!str_equal(head->method, "GET"))
        refuse(ret, 405, "a WebSocket begins with GET");
    else if (!str_equal(first_header(head, "Sec-WebSocket-Version"), "13"))
        refuse(ret, 400, "only version 13 of WebSocket is spoken");
    else if (str_empty(key) || strlen(key) > 64)
        refuse(ret, 400, "Sec-WebSocket-Key is missing");
    else if (!(ret->protocol = choose(strv_len(wanted) ? wanted : no_protocol, websocket_protocols,
                                      ARRAY_SIZE(websocket_protocols), kind)))
        refuse(ret, 403, "none of the offered WebSocket protocols is spoken here");
    else
        accept_key(key, ret->accept);
}

static void decide_spdy(const struct http_head *head, enum stream_kind kind, struct upgrade *ret)
{
    _cleanup_strv_ char **wanted = header_list(head, "X-Stream-Protocol-Version");
    const struct stream_protocol *chosen =
        choose(wanted, spdy_protocols, ARRAY_SIZE(spdy_protocols), kind);

    if (strv_len(wanted) == 0)
        refuse(ret, 400, "X-Stream-Protocol-Version is missing");
    else if (!chosen)
        refuse(ret, 403,
               "none of the offered versions in X-Stream-Protocol-Version is spoken here");
    else if (!any_header_contains(head, "Connection", "upgrade") ||
             !any_header_contains(head, "Upgrade", "spdy/3.1"))
        refuse(ret, 400, "an upgrade to SPDY/3.1 or websocket is needed");
    else
        ret->protocol = chosen;
}

void upgrade_decide(const struct http_head *head, enum stream_kind kind, struct upgrade *ret)
{
    const char *upgrade = first_header(head, "Upgrade");

    *ret = (struct upgrade){0};
    if (upgrade && strcasecmp(upgrade, "websocket") == 0 &&
        any_header_contains(head, "Connection", "upgrade"))
        decide_websocket(head, kind, ret);
    else
        decide_spdy(head, kind, ret);
}

/* ---- Answers -------------------------------------------------------------------------------- */

static const char *status_name(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 503:
        return "Service Unavailable";
    default:
        return "Error";
    }
}

void http_answer(struct strbuf *out, int status, const char *extra, const char *text)
{
    strbuf_addf(out,
                "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "X-Content-Type-Options: nosniff\r\n%sContent-Length: %zu\r\n"
                "Connection: close\r\n\r\n%s\n",
                status, status_name(status), extra, strlen(text) + 1, text);
}

static void answer_refusal(const struct upgrade *u, enum stream_kind kind, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf extra = {0};

    strbuf_adds(&extra, "");
    if (u->status == 405)
        strbuf_adds(&extra, "Allow: GET\r\n");
    else if (u->websocket && u->status == 400)
        strbuf_adds(&extra, "Sec-WebSocket-Version: 13\r\n");
    for (size_t i = 0; i < ARRAY_SIZE(spdy_protocols); i++)
        if (!u->websocket && u->status == 403 && serves(&spdy_protocols[i], kind))
            strbuf_addf(&extra, "X-Accepted-Stream-Protocol-Versions: %s\r\n",
                        spdy_protocols[i].name);
    http_answer(out, u->status, extra.data, u->reason);
}

void upgrade_answer(const struct upgrade *u, enum stream_kind kind, struct strbuf *out)
{
    if (!u->protocol) {
        answer_refusal(u, kind, out);
        return;
    }
    strbuf_adds(out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    if (!u->websocket) {
        strbuf_addf(out, "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\n\r\n",
                    u->protocol->name);
        return;
    }
    strbuf_addf(out, "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n", u->accept);
    if (!str_empty(u->protocol->name))
        strbuf_addf(out, "Sec-WebSocket-Protocol: %s\r\n", u->protocol->name);
    strbuf_adds(out, "\r\n");
}
