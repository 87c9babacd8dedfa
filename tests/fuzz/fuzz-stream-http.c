/*
 * fuzz-stream-http.c - the HTTP request that begins a stream, from its bytes to the answer.
 */
#include "../../src/cri/stream_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decide(const struct http_head *head, enum stream_kind kind)
{
    _cleanup_strbuf_ struct strbuf out = {0};
    struct upgrade u;

    upgrade_decide(head, kind, &u);
    upgrade_answer(&u, kind, &out);
    bool switches = str_starts_with(out.data, "HTTP/1.1 101 ");
    if (switches != (u.protocol != NULL) || !strstr(out.data, "\r\n\r\n"))
        abort();
    if (!switches && !str_starts_with(out.data, "HTTP/1.1 4"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *copy = xmemdup(data, size);
    _cleanup_err_ struct err e = ERR_INIT;
    struct http_head head = {0};
    enum stream_kind kind;

    int r = http_head_parse(copy, size, &head, &e);
    if ((r < 0) != (e.code != ERR_OK) || (r > 0 && head.len > size))
        abort();
    if (r <= 0)
        return 0;
    http_path_parse(head.path, &kind);
    decide(&head, STREAM_EXEC);
    decide(&head, STREAM_PORT_FORWARD);
    return 0;
}
