/*
 * http.c - the HTTP(S) probe: a GET whose status is from 200 to 399.
 *
 * libcurl does HTTP; its sockets are made inside the pod's network namespace (socket_open). As
 * kubelet does: no proxy, no kept connections, certificates are not verified, at most 10 KiB of
 * body are read, and redirects are followed (ten at most) only while they stay on the same host; a
 * redirect to elsewhere is a warning, which counts as success.
 */
#include "private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define BODY_MAX (10 * 1024)
#define REDIRECTS_MAX 10

struct http_state {
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    char *url, *hostname;
    size_t body_len;
    char body[256]; /* its beginning, for messages */
    int redirects;
    char error[CURL_ERROR_SIZE];
};

static curl_socket_t socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct probe_attempt *a = arg;
    _cleanup_err_ struct err e = ERR_INIT;
    int fd = net_socket(a->netns, address->family, address->socktype, address->protocol, &e);

    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static size_t body_write(char *data, size_t size, size_t count, void *arg)
{
    struct http_state *t = arg;
    size_t len = size * count;

    if (t->body_len < sizeof(t->body) - 1) {
        size_t room = sizeof(t->body) - 1 - t->body_len;
        memcpy(t->body + t->body_len, data, len < room ? len : room);
    }
    t->body_len += len;
    return t->body_len > BODY_MAX ? 0 : len; /* 0 ends the transfer: the status is known */
}

/* The host of a URL, without port; NULL when it has none. Caller frees with curl_free. */
static char *url_host(const char *url)
{
    CURLU *u = curl_url();
    char *host = NULL;

    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK)
        curl_url_get(u, CURLUPART_HOST, &host, 0);
    curl_url_cleanup(u);
    return host;
}

static void on_done(void *arg, CURL *easy, CURLcode result);

static void follow(struct probe_attempt *a, const char *url, long status)
{
    struct http_state *t = a->state;
    char *host = url_host(url);
    bool same = host && strcasecmp(host, t->hostname) == 0;

    curl_free(host);
    if (!same) {
        attempt_finish(a, PROBE_WARNING, "HTTP status %ld redirects to another host, %s", status,
                       url);
        return;
    }
    if (++t->redirects > REDIRECTS_MAX) {
        attempt_finish(a, PROBE_FAILURE, "stopped after %d redirects", REDIRECTS_MAX);
        return;
    }
    _cleanup_free_ char *next = xstrdup(url); /* curl's own until the next transfer */
    t->body_len = 0;
    curl_easy_setopt(t->easy, CURLOPT_URL, next);
    http_start(a->health->http, t->easy, on_done, a);
}

static void on_done(void *arg, CURL *easy, CURLcode result)
{
    struct probe_attempt *a = arg;
    struct http_state *t = a->state;
    char *redirect = NULL;
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK && !(result == CURLE_WRITE_ERROR && t->body_len > BODY_MAX)) {
        attempt_finish(a, PROBE_FAILURE, "Get \"%s\": %s", t->url,
                       t->error[0] ? t->error : curl_easy_strerror(result));
        return;
    }
    curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &redirect);
    if (redirect)
        follow(a, redirect, status);
    else if (a->spec->any_status || (status >= 200 && status < 400))
        attempt_finish(a, PROBE_SUCCESS, "HTTP status %ld", status);
    else
        attempt_finish(a, PROBE_FAILURE, "HTTP probe failed with statuscode: %ld%s%s", status,
                       t->body_len ? ": " : "", t->body);
}

/* The request's headers; also finds the Host that was asked for. */
static const char *add_headers(struct probe_attempt *a, struct http_state *t)
{
    const char *host = NULL;
    bool agent = false;

    for (size_t i = 0; i < a->spec->n_headers; i++) {
        const struct key_value *header = &a->spec->headers[i];
        /* "Name:" tells curl to leave a header out, which is what an empty value means. */
        _cleanup_free_ char *line =
            xasprintf("%s:%s%s", header->key, str_empty(header->value) ? "" : " ", header->value);
        t->headers = curl_slist_append(t->headers, line);
        agent = agent || strcasecmp(header->key, "User-Agent") == 0;
        if (strcasecmp(header->key, "Host") == 0 && !str_empty(header->value))
            host = header->value;
    }
    if (!agent)
        t->headers =
            curl_slist_append(t->headers, a->spec->any_status ? "User-Agent: kube-lifecycle/1.36"
                                                              : "User-Agent: kube-probe/1.36");
    return host;
}

static char *make_url(const struct probe_attempt *a, const char *host)
{
    const char *path = str_empty(a->spec->path) ? "/" : a->spec->path;
    bool v6 = strchr(host, ':') != NULL;

    return xasprintf("%s://%s%s%s:%u%s%s", a->spec->https ? "https" : "http", v6 ? "[" : "", host,
                     v6 ? "]" : "", a->spec->port, path[0] == '/' ? "" : "/", path);
}

static void set_target(struct probe_attempt *a, struct http_state *t, const char *host_header)
{
    /* TLS takes the name it asks for from the URL: put the Host there and say where it lives. */
    if (a->spec->https && host_header) {
        bool v6 = strchr(a->host, ':') != NULL;
        _cleanup_free_ char *to =
            xasprintf("::%s%s%s:%u", v6 ? "[" : "", a->host, v6 ? "]" : "", a->spec->port);
        t->connect_to = curl_slist_append(NULL, to);
        curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->connect_to);
        t->url = make_url(a, host_header);
    } else {
        t->url = make_url(a, a->host);
    }
    char *host = url_host(t->url);
    t->hostname = xstrdup(host ? host : "");
    curl_free(host);
    curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
}

static void http_begin(struct probe_attempt *a)
{
    struct http_state *t = xnew(struct http_state);

    a->state = t;
    t->easy = curl_easy_init();
    set_target(a, t, add_headers(a, t));
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, socket_open);
    curl_easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, a);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, body_write);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    http_start(a->health->http, t->easy, on_done, a);
}

static void http_end(struct probe_attempt *a)
{
    struct http_state *t = a->state;

    http_cancel(a->health->http, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);
    free(t->url);
    free(t->hostname);
    free(t);
    a->state = NULL;
}

const struct probe_way probe_way_http = {http_begin, http_end};
