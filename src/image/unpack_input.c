/*
 * unpack_input.c - the compressed stream of a layer: decompressed, digested and limited.
 *
 * Digests are taken of both sides while the bytes pass: of the stream as it came (which the
 * manifest names) and of the tar (which the configuration names as diff_id). The compression is
 * told by the first bytes, not by what a media type claims. A stream may consist of several gzip
 * members or zstd frames, as parallel compressors write them; what follows must be one more or the
 * end. A bomb is stopped by the ratio of the two byte counts, early enough to have cost little.
 */
#include <zlib.h>
#include <zstd.h>

#include "unpack.h"

enum {
    IN_SIZE = 128 << 10,
    OUT_SIZE = 256 << 10,
};

enum compression { COMPRESSION_UNKNOWN, COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

struct input {
    int fd;
    const struct unpack_limits *limits;
    enum compression compression;
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool between;  /* members or frames: the stream may end here */
    bool eof, end; /* of the fd; of everything */
    size_t pos, len;
    uint64_t n_in, n_out;
    struct digester *in_digest, *out_digest;
    unsigned char in[IN_SIZE];
    unsigned char out[OUT_SIZE];
};

struct input *input_new(int fd, const struct unpack_limits *limits)
{
    struct input *in = xnew(struct input);

    in->fd = fd;
    in->limits = limits;
    in->in_digest = digester_new();
    in->out_digest = digester_new();
    return in;
}

void input_free(struct input *in)
{
    if (!in)
        return;
    if (in->compression == COMPRESSION_GZIP)
        inflateEnd(&in->gzip);
    ZSTD_freeDStream(in->zstd);
    digester_free(in->in_digest);
    digester_free(in->out_digest);
    free(in);
}

/* Reads more when nothing is left. */
static int fill(struct input *in, struct err *e)
{
    if (in->pos < in->len || in->eof)
        return 0;
    ssize_t n;
    do
        n = read(in->fd, in->in, sizeof(in->in));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, errno, "read the layer");
    in->eof = n == 0;
    in->pos = 0;
    in->len = (size_t)n;
    in->n_in += (uint64_t)n;
    digester_add(in->in_digest, in->in, (size_t)n);
    return 0;
}

static bool starts_with(const struct input *in, const char *magic, size_t len)
{
    return in->len >= len && memcmp(in->in, magic, len) == 0;
}

/* The first read must hold the magic number: pipes and sockets may deliver less than that. */
static int fill_magic(struct input *in, struct err *e)
{
    while (in->len < 6) {
        ssize_t n = read(in->fd, in->in + in->len, sizeof(in->in) - in->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "read the layer");
        if (n == 0) {
            in->eof = true;
            break;
        }
        in->len += (size_t)n;
    }
    in->n_in = in->len;
    digester_add(in->in_digest, in->in, in->len);
    return 0;
}

static int detect(struct input *in, struct err *e)
{
    if (fill_magic(in, e) < 0)
        return -1;
    if (in->len == 0)
        return err_set(e, ERR_DATA_LOSS, "the stream is empty");
    if (starts_with(in, "\x1f\x8b", 2)) {
        if (inflateInit2(&in->gzip, 15 + 16) != Z_OK)
            return err_set(e, ERR_RESOURCE_EXHAUSTED, "gzip: out of memory");
        in->compression = COMPRESSION_GZIP;
    } else if (starts_with(in, "\x28\xb5\x2f\xfd", 4)) {
        in->zstd = ZSTD_createDStream();
        if (!in->zstd)
            return err_set(e, ERR_RESOURCE_EXHAUSTED, "zstd: out of memory");
        in->compression = COMPRESSION_ZSTD;
    } else if (starts_with(in,
                           "\xfd"
                           "7zXZ",
                           5) ||
               starts_with(in, "BZh", 3)) {
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "xz and bzip2 are not supported; use gzip, zstd or a plain tar");
    } else {
        in->compression = COMPRESSION_NONE;
        in->between = true;
    }
    return 0;
}

static ssize_t read_plain(struct input *in, const void **ret)
{
    size_t n = in->len - in->pos;

    *ret = in->in + in->pos;
    in->pos = in->len;
    return (ssize_t)n;
}

static ssize_t read_gzip(struct input *in, const void **ret, struct err *e)
{
    z_stream *z = &in->gzip;

    if (in->between && in->pos < in->len) {
        inflateReset(z);
        in->between = false;
    }
    z->next_in = in->in + in->pos;
    z->avail_in = (uInt)(in->len - in->pos);
    z->next_out = in->out;
    z->avail_out = OUT_SIZE;
    int r = inflate(z, Z_NO_FLUSH);
    in->pos = in->len - z->avail_in;
    if (r == Z_STREAM_END)
        in->between = true;
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return err_set(e, ERR_DATA_LOSS, "the gzip stream is damaged: %s",
                       z->msg ? z->msg : "unexpected data");
    *ret = in->out;
    return OUT_SIZE - (ssize_t)z->avail_out;
}

static ssize_t read_zstd(struct input *in, const void **ret, struct err *e)
{
    ZSTD_inBuffer from = {in->in, in->len, in->pos};
    ZSTD_outBuffer to = {in->out, OUT_SIZE, 0};
    size_t r = ZSTD_decompressStream(in->zstd, &to, &from);

    if (ZSTD_isError(r))
        return err_set(e, ERR_DATA_LOSS, "the zstd stream is damaged: %s", ZSTD_getErrorName(r));
    in->between = r == 0;
    in->pos = from.pos;
    *ret = in->out;
    return (ssize_t)to.pos;
}

static ssize_t read_piece(struct input *in, const void **ret, struct err *e)
{
    switch (in->compression) {
    case COMPRESSION_GZIP:
        return read_gzip(in, ret, e);
    case COMPRESSION_ZSTD:
        return read_zstd(in, ret, e);
    case COMPRESSION_NONE:
    case COMPRESSION_UNKNOWN:
        break;
    }
    return read_plain(in, ret);
}

static int check_limits(const struct input *in, struct err *e)
{
    if (in->n_out > in->limits->tar_bytes)
        return err_set(e, ERR_RESOURCE_EXHAUSTED, "the layer unpacks to more than %llu bytes",
                       (unsigned long long)in->limits->tar_bytes);
    if (in->n_out > in->limits->ratio_free && in->n_out / in->limits->ratio > in->n_in)
        return err_set(e, ERR_RESOURCE_EXHAUSTED,
                       "the layer unpacks to more than %u times its size", in->limits->ratio);
    return 0;
}

ssize_t input_read(struct input *in, const void **ret, struct err *e)
{
    if (in->compression == COMPRESSION_UNKNOWN && detect(in, e) < 0)
        return -1;
    while (!in->end) {
        if (fill(in, e) < 0)
            return -1;
        bool exhausted = in->eof && in->pos == in->len;
        ssize_t n = exhausted && in->between ? 0 : read_piece(in, ret, e);
        if (n < 0)
            return -1;
        if (n > 0) {
            in->n_out += (uint64_t)n;
            digester_add(in->out_digest, *ret, (size_t)n);
            return check_limits(in, e) < 0 ? -1 : n;
        }
        if (exhausted && !in->between)
            return err_set(e, ERR_DATA_LOSS, "the compressed stream ends too early");
        in->end = exhausted;
    }
    return 0;
}

int input_finish(struct input *in, struct unpack_result *ret, struct err *e)
{
    const void *ignored;
    ssize_t n;

    while ((n = input_read(in, &ignored, e)) > 0)
        ;
    if (n < 0)
        return -1;
    digester_finish(in->in_digest, ret->input_digest);
    digester_finish(in->out_digest, ret->tar_digest);
    ret->input_bytes = in->n_in;
    ret->tar_bytes = in->n_out;
    return 0;
}
