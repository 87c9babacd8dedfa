/*
 * url.c - URLs, parsed by libcurl, which is also who will use them: a second opinion about where a
 * host name ends would be a hole.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>

#include "url.h"

enum { URL_MAX = 8192 };

static void curlu_freep(CURLU **u)
{
    curl_url_cleanup(*u);
}

static char *get_part(CURLU *u, CURLUPart part, unsigned flags)
{
    char *value = NULL, *copy;

    if (curl_url_get(u, part, &value, flags) != CURLUE_OK)
        return NULL;
    copy = xstrdup(value);
    curl_free(value);
    return copy;
}

static int refuse(const char *text, const char *why, struct err *e)
{
    return err_set(e, ERR_INVALID_ARGUMENT, "the URL \"%.200s\" is refused: %s", text, why);
}

static int check_parts(CURLU *u, const char *text, struct err *e)
{
    _cleanup_free_ char *user = get_part(u, CURLUPART_USER, 0);
    _cleanup_free_ char *password = get_part(u, CURLUPART_PASSWORD, 0);

    if (user || password)
        return refuse(text, "it contains a user name or password", e);
    return 0;
}

int url_parse(const char *text, const char *base, struct url *ret, struct err *e)
{
    CLEANUP(curlu_freep) CURLU *u = curl_url();
    _cleanup_url_ struct url url = {0};
    uint64_t port = 0;

    if (!text || strlen(text) > URL_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "a URL is missing or too long");
    for (const char *c = text; *c; c++)
        if (!isgraph((unsigned char)*c))
            return refuse("(unprintable)", "it has control characters or spaces", e);
    if ((base && curl_url_set(u, CURLUPART_URL, base, 0) != CURLUE_OK) ||
        curl_url_set(u, CURLUPART_URL, text, 0) != CURLUE_OK)
        return refuse(text, "it is malformed", e);
    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    if (check_parts(u, text, e) < 0)
        return -1;
    url.text = get_part(u, CURLUPART_URL, 0);
    url.scheme = get_part(u, CURLUPART_SCHEME, 0);
    url.host = get_part(u, CURLUPART_HOST, 0);
    _cleanup_free_ char *port_text = get_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    if (!url.text || str_empty(url.host) || !port_text || parse_uint(port_text, 65535, &port) < 0)
        return refuse(text, "it is malformed", e);
    if (!str_equal(url.scheme, "http") && !str_equal(url.scheme, "https"))
        return refuse(text, "only http and https are spoken here", e);
    for (char *c = url.host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    url.port = (unsigned)port;
    *ret = url;
    url = (struct url){0};
    return 0;
}

void url_clear(struct url *u)
{
    free(u->text);
    free(u->scheme);
    free(u->host);
    *u = (struct url){0};
}

bool url_same_origin(const struct url *a, const struct url *b)
{
    return a->port == b->port && str_equal(a->scheme, b->scheme) && str_equal(a->host, b->host);
}

bool host_is_loopback(const char *host)
{
    struct in_addr address;
    size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    _cleanup_free_ char *name = xstrndup(host, len);

    if (str_equal(name, "localhost") || str_equal(name, "[::1]"))
        return true;
    return inet_pton(AF_INET, name, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

char *url_escape(const char *text)
{
    struct strbuf b = {0};

    for (; *text; text++)
        if (isalnum((unsigned char)*text) || strchr("-._~", *text))
            strbuf_add(&b, text, 1);
        else
            strbuf_addf(&b, "%%%02X", (unsigned char)*text);
    return strbuf_take(&b);
}
