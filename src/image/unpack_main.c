/*
 * unpack_main.c - podd-unpack: unpacks one layer, confined, and reports.
 *
 *   fd 0  the layer: a socket or a file; tar, plain or compressed
 *   fd 3  the empty directory to unpack into
 *   fd 4  where the report goes: one JSON object, then the end
 *
 * The report is {"error": text, "code": number}, or the numbers and digests of struct
 * unpack_result. Names of opaque directories are bytes, and therefore written in hexadecimal.
 * Started by podd only; it takes no arguments.
 */
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "unpack.h"

enum { INPUT_FD = 0, TARGET_FD = 3, REPORT_FD = 4 };

static json_t *describe_opaque(char *const *paths)
{
    json_t *list = json_array();

    for (; paths && *paths; paths++) {
        size_t len = strlen(*paths);
        _cleanup_free_ char *hex = xmalloc(2 * len + 1);
        hex_encode(*paths, len, hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

static json_t *describe_result(const struct unpack_result *r)
{
    json_t *j = json_object();

    json_object_set_new(j, "input_digest", json_string(r->input_digest));
    json_object_set_new(j, "input_bytes", json_integer((json_int_t)r->input_bytes));
    json_object_set_new(j, "tar_digest", json_string(r->tar_digest));
    json_object_set_new(j, "tar_bytes", json_integer((json_int_t)r->tar_bytes));
    json_object_set_new(j, "disk_bytes", json_integer((json_int_t)r->disk_bytes));
    json_object_set_new(j, "inodes", json_integer((json_int_t)r->inodes));
    json_object_set_new(j, "skipped", json_integer((json_int_t)r->skipped));
    json_object_set_new(j, "opaque", describe_opaque(r->opaque));
    return j;
}

/* A message may quote names, which are bytes. */
static json_t *describe_error(const struct err *e)
{
    json_t *j = json_object();
    _cleanup_free_ char *text = xstrdup(err_text(e));

    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    json_object_set_new(j, "error", json_string(text));
    json_object_set_new(j, "code", json_integer(e->code));
    return j;
}

static int report(json_t *j)
{
    _cleanup_free_ char *text = json_dumps(j, JSON_COMPACT);

    json_decref(j);
    if (!text)
        return 1;
    return fd_write_all(REPORT_FD, text, strlen(text)) < 0 ? 1 : 0;
}

int main(void)
{
    struct unpack_result result = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    int target = TARGET_FD;

    /* jansson takes its seed from a device when first used; there will be none. */
    json_object_seed(0);
    if (confine_process(&target, &e) < 0 ||
        unpack_stream(INPUT_FD, target, &UNPACK_LIMITS, &result, &e) < 0)
        return report(describe_error(&e));
    int r = report(describe_result(&result));
    unpack_result_clear(&result);
    return r;
}
