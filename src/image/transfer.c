/*
 * transfer.c - HTTP requests of the image room, with its rules for peers that are not trusted.
 *
 * The http room runs them on the loop. Here they get their limits: whatever the environment says of
 * proxies is ignored, only http and https are spoken, TLS is always verified, redirects are not
 * followed (registry_get.c decides about them), and a peer that sends nothing or next to nothing is
 * dropped.
 */
#include <podd/http.h>

#include "transfer.h"

enum { BUFFER_SIZE = 256 << 10 };

struct transfers {
    struct loop *loop;
    struct http *http;
    struct list all; /* struct transfer */
    struct transfer_limits limits;
};

struct transfer {
    struct list link;
    struct transfers *all;
    CURL *easy;
    struct curl_slist *headers;
    struct transfer_events events;
    void *arg;
    char *form; /* owned: libcurl does not copy it */
    size_t header_bytes;
    bool aborted;
    char error[CURL_ERROR_SIZE];
};

static void destroy(struct transfer *t)
{
    list_remove(&t->link);
    http_cancel(t->all->http, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    free(t->form);
    free(t);
}

static enum transfer_failure classify(CURLcode code, const struct transfer *t)
{
    if (t->aborted)
        return TRANSFER_REFUSED;
    switch ((int)code) {
    case CURLE_OK:
        return TRANSFER_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return TRANSFER_UNREACHABLE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return TRANSFER_TLS;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return TRANSFER_BROKEN;
    default:
        return TRANSFER_REFUSED;
    }
}

static void on_done(void *arg, CURL *easy, CURLcode code)
{
    struct transfer *t = arg;
    enum transfer_failure failure = classify(code, t);
    const char *why = t->error[0] ? t->error : curl_easy_strerror(code);

    (void)easy;
    t->events.on_done(t->arg, failure, failure == TRANSFER_OK ? NULL : why);
    destroy(t);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    switch (t->events.on_data(t->arg, data, size * n)) {
    case TRANSFER_GO_ON:
        return size * n;
    case TRANSFER_PAUSE:
        return CURL_WRITEFUNC_PAUSE;
    case TRANSFER_ABORT:
        break;
    }
    t->aborted = true;
    return CURL_WRITEFUNC_ERROR;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    (void)data;
    t->header_bytes += size * n;
    /* Fewer bytes than it had is how libcurl wants to be stopped. */
    return t->header_bytes <= t->all->limits.header_bytes ? size * n : 0;
}

struct transfers *transfers_new(struct loop *loop)
{
    struct transfers *ts = xnew(struct transfers);

    ts->loop = loop;
    ts->limits = (struct transfer_limits){
        .connect_seconds = 15,
        .slow_bytes_per_second = 1024,
        .slow_seconds = 30,
        .header_bytes = 64 << 10,
    };
    list_init(&ts->all);
    ts->http = http_new(loop);
    return ts;
}

void transfers_free(struct transfers *ts)
{
    if (!ts)
        return;
    list_for_each_safe (it, &ts->all)
        destroy(container_of(it, struct transfer, link));
    http_free(ts->http);
    free(ts);
}

struct transfer_limits *transfers_limits(struct transfers *ts)
{
    return &ts->limits;
}

struct loop *transfers_loop(struct transfers *ts)
{
    return ts->loop;
}

static void set_safety(CURL *easy, const struct transfer_limits *limits)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, limits->connect_seconds);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, limits->slow_bytes_per_second);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, limits->slow_seconds);
}

struct transfer *transfer_start(struct transfers *ts, const struct transfer_request *request,
                                const struct transfer_events *events, void *arg)
{
    struct transfer *t = xnew(struct transfer);

    t->all = ts;
    t->events = *events;
    t->arg = arg;
    t->form = xstrdup(request->form);
    t->easy = curl_easy_init();
    if (!t->easy)
        abort(); /* only without memory */
    set_safety(t->easy, &ts->limits);
    for (char *const *header = request->headers; header && *header; header++)
        t->headers = curl_slist_append(t->headers, *header);
    curl_easy_setopt(t->easy, CURLOPT_URL, request->url);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "podd/" PODD_VERSION);
    curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    if (request->ca)
        curl_easy_setopt(t->easy, CURLOPT_CAINFO, request->ca);
    if (t->form)
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->form);
    list_append(&ts->all, &t->link);
    http_start(ts->http, t->easy, on_done, t);
    return t;
}

void transfer_resume(struct transfer *t)
{
    http_resume(t->all->http, t->easy);
}

void transfer_cancel(struct transfer *t)
{
    if (t)
        destroy(t);
}

long transfer_status(struct transfer *t)
{
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

const char *transfer_header(struct transfer *t, const char *name, size_t index)
{
    struct curl_header *h;

    if (curl_easy_header(t->easy, name, index, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return NULL;
    return h->value;
}
