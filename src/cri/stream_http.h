/*
 * stream_http.h - the HTTP/1.1 request that begins every stream, and what it becomes. Pure.
 */
#ifndef CRI_STREAM_HTTP_H
#define CRI_STREAM_HTTP_H

#include "podd/base.h"

#include "stream_token.h"

enum { HTTP_HEAD_MAX = 16 << 10, HTTP_HEADERS_MAX = 100 };

struct http_head {
    const char *method, *path; /* the path without a query */
    struct key_value headers[HTTP_HEADERS_MAX];
    size_t n_headers;
    size_t len; /* of the head; what follows is the stream's */
};

/* 1: the head is whole, and `data` (which had one byte of room behind it) is cut into its strings;
 * 0: more must come; -1: this is no such request. */
int http_head_parse(char *data, size_t len, struct http_head *ret, struct err *e) MUST_CHECK;
/* The kind and the token that a path of ours names; NULL when it is none. */
const char *http_path_parse(const char *path, enum stream_kind *ret_kind);

/* What is spoken after the upgrade. */
enum stream_format {
    FORMAT_SPDY,     /* streams of SPDY/3.1 */
    FORMAT_CHANNELS, /* WebSocket messages that begin with a channel */
    FORMAT_TUNNEL,   /* SPDY/3.1 inside of WebSocket messages */
};

struct stream_protocol {
    const char *name; /* "": none was asked for */
    enum stream_format format;
    bool remote, forward; /* for commands; for ports */
    bool json_status;     /* else plain text on failure */
    bool resize;
    bool base64;
    bool close_signal; /* message 255, n ends channel n */
};

struct upgrade {
    const struct stream_protocol *protocol; /* NULL: refused */
    bool websocket;
    char accept[32]; /* Sec-WebSocket-Accept */
    int status;      /* of the refusal: 400 or 403 */
    const char *reason;
};
void upgrade_decide(const struct http_head *head, enum stream_kind kind, struct upgrade *ret);
/* The answer, whole: 101, or the refusal with its text. */
void upgrade_answer(const struct upgrade *u, enum stream_kind kind, struct strbuf *out);
/* Any other answer that ends the connection. `extra` is "" or header lines. */
void http_answer(struct strbuf *out, int status, const char *extra, const char *text);

#endif
