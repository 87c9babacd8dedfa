/*
 * Frames on a byte stream, with descriptors, and what is not one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../../src/shim/channel.h"
#include "../../src/shim/message.h"
#include "../../src/shim/proc.h"

static void feed(struct frame_reader *r, const void *data, size_t len)
{
    while (len) {
        size_t space;
        uint8_t *p = frame_reader_space(r, &space);
        size_t n = len < space ? len : space;
        memcpy(p, data, n);
        frame_reader_add(r, n);
        data = (const uint8_t *)data + n;
        len -= n;
    }
}

/* The bytes of frame i: its length and contents follow from i. */
static size_t make_frame(unsigned i, uint8_t *ret)
{
    size_t len = 1 + (i * 7919u) % 5000;

    frame_header_write(ret, len);
    for (size_t k = 0; k < len; k++)
        ret[FRAME_HEADER + k] = (uint8_t)(i + k);
    return FRAME_HEADER + len;
}

static void frames_survive_any_split(void **state)
{
    enum { N = 60 };
    _cleanup_strbuf_ struct strbuf all = {0};
    static uint8_t frame[8192];

    for (unsigned i = 0; i < N; i++)
        strbuf_add(&all, frame, make_frame(i, frame));
    for (unsigned seed = 1; seed < 40; seed++) {
        struct frame_reader r = {0};
        unsigned random = seed, next = 0;
        for (size_t at = 0; at < all.len;) {
            random = random * 1103515245u + 12345u;
            size_t n = 1 + (random >> 16) % (seed * 97);
            n = n < all.len - at ? n : all.len - at;
            feed(&r, all.data + at, n);
            at += n;
            const uint8_t *data;
            size_t len;
            while (frame_reader_next(&r, &data, &len) > 0) {
                size_t want = make_frame(next++, frame) - FRAME_HEADER;
                assert_int_equal(len, want);
                assert_memory_equal(data, frame + FRAME_HEADER, want);
            }
        }
        assert_int_equal(next, N);
        assert_true(frame_reader_is_empty(&r));
        assert_null(r.data);
    }
}

static void a_header_that_lies_is_refused(void **state)
{
    static const uint8_t headers[][FRAME_HEADER] = {
        {0, 0, 0, 0}, {1, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff}};
    const uint8_t *data;
    size_t len;

    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        struct frame_reader r = {0};
        feed(&r, headers[i], FRAME_HEADER);
        assert_int_equal(frame_reader_next(&r, &data, &len), -EPROTO);
        frame_reader_free(&r);
    }
    /* The longest one allowed is not. */
    struct frame_reader r = {0};
    uint8_t header[FRAME_HEADER];
    frame_header_write(header, FRAME_MAX);
    feed(&r, header, sizeof(header));
    assert_int_equal(frame_reader_next(&r, &data, &len), 0);
    assert_true(r.cap < 64 * 1024); /* what a header claims takes no memory */
    frame_reader_free(&r);
}

struct pair {
    struct channel a, b;
};

static void pair_open(struct pair *p)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    channel_init(&p->a, fds[0]);
    channel_init(&p->b, fds[1]);
}

static void pair_close(struct pair *p)
{
    channel_close(&p->a);
    channel_close(&p->b);
}

static void send_resize(struct channel *ch, uint64_t call, const int *fds, size_t n_fds)
{
    Podd__Shim__ResizeRequest request = PODD__SHIM__RESIZE_REQUEST__INIT;

    request.id = "some id";
    request.width = 80;
    envelope_t env = envelope_of(call, PODD__SHIM__ENVELOPE__BODY_RESIZE, &request);
    channel_send(ch, &env, fds, n_fds);
}

static struct message *receive(struct channel *ch)
{
    const uint8_t *data;
    size_t len;
    int r;

    while ((r = channel_next(ch, &data, &len)) == 0)
        assert_int_equal(channel_receive(ch), 1);
    assert_int_equal(r, 1);
    struct message *m = message_unpack(data, len);
    assert_non_null(m);
    return m;
}

static ino_t inode_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return st.st_ino;
}

static void descriptors_stay_with_their_frames(void **state)
{
    struct pair p;
    int pipes[2][2], got[2];

    pair_open(&p);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pipe2(pipes[i], O_CLOEXEC), 0);
    ino_t inodes[2] = {inode_of(pipes[0][0]), inode_of(pipes[1][0])};
    send_resize(&p.a, 1, NULL, 0);
    send_resize(&p.a, 2, &pipes[0][0], 1);
    send_resize(&p.a, 3, NULL, 0);
    send_resize(&p.a, 4, (const int[]){pipes[1][0], pipes[1][1]}, 2);
    for (uint64_t call = 1; call <= 4; call++) {
        struct message *m = receive(&p.b);
        assert_int_equal(m->env->call, call);
        assert_int_equal(m->env->resize->width, 80);
        if (call == 2) {
            assert_int_equal(channel_take_fds(&p.b, 1, got), 0);
            assert_int_equal(inode_of(got[0]), inodes[0]);
            fd_close(got[0]);
        }
        if (call == 4) {
            assert_int_equal(channel_take_fds(&p.b, 2, got), 0);
            assert_int_equal(inode_of(got[1]), inodes[1]);
            assert_int_not_equal(fcntl(got[1], F_GETFD) & FD_CLOEXEC, 0);
            fd_close(got[0]);
            fd_close(got[1]);
        }
        assert_false(channel_has_stray_fds(&p.b));
        message_free(m);
    }
    assert_int_equal(channel_take_fds(&p.b, 1, got), -EPROTO);
    fd_close(pipes[0][1]);
    pair_close(&p);
}

static void descriptors_that_no_frame_names_are_noticed(void **state)
{
    struct pair p;
    int fds[CHANNEL_FDS_MAX];

    pair_open(&p);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < CHANNEL_FDS_MAX; i++)
            fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        send_resize(&p.a, 1, fds, CHANNEL_FDS_MAX);
    }
    struct message *m = receive(&p.b);
    assert_true(channel_has_stray_fds(&p.b));
    message_free(m);
    /* Those are kept, and there is no room for more. */
    assert_int_equal(channel_receive(&p.b), -EPROTO);
    pair_close(&p);
}

static void what_is_not_read_waits_and_blocks_nobody(void **state)
{
    struct pair p;
    enum { N = 30000 };

    pair_open(&p);
    for (uint64_t i = 1; i <= N; i++)
        send_resize(&p.a, i, NULL, 0);
    assert_true(p.a.out_bytes > 0);
    assert_int_equal(channel_flush(&p.a), 1);
    for (uint64_t i = 1; i <= N; i++) {
        if (i % 100 == 0)
            assert_true(channel_flush(&p.a) >= 0);
        struct message *m = receive(&p.b);
        assert_int_equal(m->env->call, i);
        message_free(m);
    }
    assert_int_equal(p.a.out_bytes, 0);
    pair_close(&p);
}

static void a_peer_that_left_ends_both_directions(void **state)
{
    struct pair p;

    pair_open(&p);
    channel_close(&p.b);
    assert_int_equal(channel_receive(&p.a), 0);
    send_resize(&p.a, 1, NULL, 0);
    assert_int_equal(channel_flush(&p.a), -EPIPE);
    pair_close(&p);
}

static void what_is_no_envelope_is_refused(void **state)
{
    static const uint8_t garbage[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3};

    assert_null(message_unpack(garbage, sizeof(garbage)));
}

static void a_frame_cannot_unpack_into_endless_memory(void **state)
{
    /* Empty mounts: two bytes each in the frame, a hundred in memory. */
    enum { N = 4 * 1024 * 1024 };
    Podd__Shim__Mount mount = PODD__SHIM__MOUNT__INIT;
    Podd__Shim__ContainerSpec spec = PODD__SHIM__CONTAINER_SPEC__INIT;
    Podd__Shim__CreateRequest create = PODD__SHIM__CREATE_REQUEST__INIT;
    _cleanup_free_ Podd__Shim__Mount **mounts = xcalloc(N, sizeof(*mounts));

    for (size_t i = 0; i < N; i++)
        mounts[i] = &mount;
    spec.mounts = mounts;
    spec.n_mounts = N;
    create.spec = &spec;
    envelope_t env = envelope_of(1, PODD__SHIM__ENVELOPE__BODY_CREATE, &create);
    size_t len = podd__shim__envelope__get_packed_size(&env);
    assert_true(len < FRAME_MAX);
    _cleanup_free_ uint8_t *packed = xmalloc(len);
    podd__shim__envelope__pack(&env, packed);
    assert_null(message_unpack(packed, len));
    /* A thousand are welcome. */
    spec.n_mounts = 1000;
    len = podd__shim__envelope__get_packed_size(&env);
    podd__shim__envelope__pack(&env, packed);
    struct message *m = message_unpack(packed, len);
    assert_non_null(m);
    assert_int_equal(m->env->create->spec->n_mounts, 1000);
    message_free(m);
}

static void a_start_time_is_found_behind_any_command(void **state)
{
    uint64_t t;
    char text[512];
    static const char rest[] = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654321 20 21\n";

    snprintf(text, sizeof(text), "42 (a) b) (c) %s", rest);
    assert_int_equal(proc_parse_start_time(text, &t), 0);
    assert_int_equal(t, 987654321);
    assert_int_equal(proc_parse_start_time("42 (cut) S 1 2", &t), -EBADMSG);
    assert_int_equal(proc_parse_start_time("", &t), -EBADMSG);
    assert_int_equal(proc_start_time(getpid(), &t), 0);
    assert_true(t > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_survive_any_split),
        cmocka_unit_test(a_header_that_lies_is_refused),
        cmocka_unit_test(descriptors_stay_with_their_frames),
        cmocka_unit_test(descriptors_that_no_frame_names_are_noticed),
        cmocka_unit_test(what_is_not_read_waits_and_blocks_nobody),
        cmocka_unit_test(a_peer_that_left_ends_both_directions),
        cmocka_unit_test(what_is_no_envelope_is_refused),
        cmocka_unit_test(a_frame_cannot_unpack_into_endless_memory),
        cmocka_unit_test(a_start_time_is_found_behind_any_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
