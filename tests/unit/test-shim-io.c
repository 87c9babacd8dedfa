/*
 * What flows through a shim: execs, terminals, attached clients, floods, and clients that behave
 * badly. With the real runtime: needs root.
 */
#include "shim-kit.h"

/* ---- Execs ------------------------------------------------------------------------------------
 */

/* stdio for an exec with the read ends of its outputs. */
static void make_stdio(int stdio[3], int ret[2])
{
    for (int i = 0; i < 2; i++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        ret[i] = fds[0];
        stdio[i + 1] = fds[1];
    }
    stdio[0] = -1;
}

static void an_exec_talks_over_the_callers_pipes(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int stdio[3], out[2];

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    make_stdio(stdio, out);
    kit_exec(k, &x, "c1", "e1", "cat; echo out; echo err >&2; exit 9", stdio, false);
    assert_ok(&x.error);
    WAIT_FOR(k, x.ended);
    assert_int_equal(x.code, 9);
    _cleanup_free_ char *text = kit_read_all(out[0]), *errors = kit_read_all(out[1]);
    assert_string_equal(text, "out\n");
    assert_string_equal(errors, "err\n");
    fd_close(out[0]);
    fd_close(out[1]);
    /* Nothing of it went to the container's log. */
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "");
}

static void an_exec_that_cannot_start_says_why(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int none[3] = {-1, -1, -1};

    kit_spawn(k);
    kit_exec(k, &x, "c1", "e1", "true", none, false);
    assert_int_equal(x.error.code, ERR_NOT_FOUND);
    err_clear(&x.error);
    kit_run(k, "c1", "sleep 1000");
    process_spec_t p;
    char *args[3], *env[2];
    kit_process(&p, args, env, "");
    args[0] = "/bin/nonexistent";
    x = (struct kit_exec){.kit = k};
    shim_exec(k->shim, "c1", "e2", &p, none, &kit_exec_events, &x);
    WAIT_FOR(k, x.started);
    assert_non_null(strstr(err_text(&x.error), "/bin/nonexistent"));
    err_clear(&x.error);
    assert_false(x.ended);
}

static void killing_an_exec_reaches_all_that_it_started(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int stdio[3], out[2];

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    pid_t container = k->started_pid;
    make_stdio(stdio, out);
    kit_exec(k, &x, "c1", "e1", "setsid sleep 1000 & sleep 1000 & echo up; wait", stdio, false);
    assert_ok(&x.error);
    char up[3];
    assert_int_equal(fd_read_full(out[0], up, 3), 3);
    CALL(k, shim_exec_kill, "e1");
    assert_ok(&k->error);
    WAIT_FOR(k, x.ended);
    assert_int_equal(x.signal, SIGKILL);
    /* Both background processes held the pipe: it ends when they are gone. */
    _cleanup_free_ char *rest = kit_read_all(out[0]);
    assert_true(kit_process_lives(container));
    fd_close(out[0]);
    fd_close(out[1]);
}

static void what_an_exec_left_behind_can_still_be_killed(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int stdio[3], out[2];

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    make_stdio(stdio, out);
    kit_exec(k, &x, "c1", "e1", "sleep 1000 & exit 0", stdio, false);
    WAIT_FOR(k, x.ended); /* at once, though the pipe is held */
    struct pollfd p = {.fd = out[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, 50), 0);
    CALL(k, shim_exec_kill, "e1");
    assert_ok(&k->error);
    assert_int_equal(poll(&p, 1, 2000), 1);
    fd_close(out[0]);
    fd_close(out[1]);
}

static void execs_end_with_the_connection_that_asked_for_them(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int stdio[3], out[2];

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    make_stdio(stdio, out);
    kit_exec(k, &x, "c1", "e1", "sleep 1000", stdio, false);
    assert_ok(&x.error);
    pid_t pid = shim_pid(k->shim), exec_pid = x.pid;
    uint64_t start_time = shim_start_time(k->shim);
    shim_free(take_ptr(k->shim));
    assert_true(x.ended && x.lost);
    _cleanup_free_ char *rest = kit_read_all(out[0]);
    assert_true(kit_process_ends(exec_pid));
    fd_close(out[0]);
    fd_close(out[1]);
    kit_connect(k, pid, start_time);
    assert_ok(&k->error);
    assert_true(kit_process_lives(k->started_pid));
}

static size_t count_fds(pid_t pid)
{
    char path[64];
    size_t n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void many_execs_leave_nothing(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    size_t before = count_fds(shim_pid(k->shim));
    for (int i = 0; i < 200; i++) {
        struct kit_exec x;
        int none[3] = {-1, -1, -1};
        kit_exec(k, &x, "c1", "again", i % 10 ? "exit 0" : "sleep 0.01 & exit 0", none, false);
        assert_ok(&x.error);
        WAIT_FOR(k, x.ended);
    }
    WAIT_MS(k, 300);
    assert_int_equal(count_fds(shim_pid(k->shim)), before);
    assert_int_equal(kit_zombies(k), 0);
}

/* ---- Terminals --------------------------------------------------------------------------------
 */

static void an_execs_terminal_is_the_callers(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int none[3] = {-1, -1, -1};

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    kit_exec(k, &x, "c1", "e1", "read line; stty size; echo got $line", none, true);
    assert_ok(&x.error);
    assert_true(x.master >= 0);
    CALL(k, shim_resize, "e1", 123, 45);
    assert_ok(&k->error);
    assert_int_equal(write(x.master, "hello\n", 6), 6);
    WAIT_FOR(k, x.ended);
    _cleanup_free_ char *text = kit_read_all(x.master);
    assert_non_null(strstr(text, "45 123\r\n"));
    assert_non_null(strstr(text, "got hello\r\n"));
    fd_close(x.master);
}

static void closing_an_execs_terminal_hangs_it_up(void **state)
{
    struct kit *k = *state;
    struct kit_exec x;
    int none[3] = {-1, -1, -1};

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    kit_exec(k, &x, "c1", "e1", "exec sleep 1000", none, true);
    assert_ok(&x.error);
    fd_close(x.master);
    WAIT_FOR(k, x.ended);
    assert_int_equal(x.signal, SIGHUP);
}

static void a_containers_terminal_is_logged_and_resized(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;

    kit_spawn(k);
    kit_spec(k, &s, "c1",
             "trap 'stty size; exit 4' TERM; echo ready; while :; do sleep 0.05; done");
    s.process.tty = true;
    kit_run_spec(k, &s);
    CALL(k, shim_resize, "c1", 100, 30);
    assert_ok(&k->error);
    WAIT_MS(k, 200);
    CALL(k, shim_signal, "c1", SIGTERM, false);
    kit_wait_exit(k, 0);
    assert_int_equal(k->exit_code, 4);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "stdout F ready\r\nstdout F 30 100\r\n");
}

static void a_terminal_survives_a_moment_without_users(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;

    kit_spawn(k);
    kit_spec(k, &s, "c1", "exec 0<&- 1>&- 2>&-; sleep 0.3; exec 1>/dev/console; echo back; exit 0");
    s.process.tty = true;
    kit_run_spec(k, &s);
    kit_wait_exit(k, 0);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "stdout F back\r\n");
}

/* ---- Attached clients --------------------------------------------------------------------------
 */

struct client {
    int ends[3]; /* ours: stdin, stdout, stderr */
};

static void attach(struct kit *k, const char *id, struct client *c, bool in, bool out, bool err)
{
    const bool wanted[3] = {in, out, err};
    int theirs[3] = {-1, -1, -1};

    for (int i = 0; i < 3; i++) {
        int pair[2] = {-1, -1};
        if (wanted[i])
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        c->ends[i] = pair[0];
        theirs[i] = pair[1];
    }
    CALL(k, shim_attach, id, theirs[0], theirs[1], theirs[2]);
}

static void detach(struct client *c)
{
    for (int i = 0; i < 3; i++)
        fd_close(take_fd(&c->ends[i]));
}

static void an_attached_shell_obeys_and_ends_with_its_input(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    struct client c;

    kit_spawn(k);
    kit_spec(k, &s, "c1", "exec sh");
    s.spec.stdin_open = s.spec.stdin_once = true;
    kit_run_spec(k, &s);
    attach(k, "c1", &c, true, true, true);
    assert_ok(&k->error);
    assert_int_equal(write(c.ends[0], "echo hello\n", 11), 11);
    fd_close(take_fd(&c.ends[0]));
    kit_wait_exit(k, 0);
    assert_int_equal(k->exit_code, 0);
    _cleanup_free_ char *text = kit_read_all(c.ends[1]);
    assert_string_equal(text, "hello\n");
    _cleanup_free_ char *errors = kit_read_all(c.ends[2]);
    assert_string_equal(errors, "");
    detach(&c);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "stdout F hello\n");
}

static void an_attached_terminal_echoes_and_answers(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    struct client c;
    char text[32] = "";

    kit_spawn(k);
    kit_spec(k, &s, "c1", "read line; echo got $line; exit 6");
    s.process.tty = true;
    s.spec.stdin_open = s.spec.stdin_once = true;
    kit_run_spec(k, &s);
    attach(k, "c1", &c, true, true, false);
    assert_ok(&k->error);
    assert_int_equal(write(c.ends[0], "hi\n", 3), 3);
    assert_int_equal(fd_read_full(c.ends[1], text, 12), 12);
    assert_string_equal(text, "hi\r\ngot hi\r\n");
    kit_wait_exit(k, 0);
    assert_int_equal(k->exit_code, 6);
    detach(&c);
}

static void input_that_is_not_open_is_at_its_end(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "wc -c; [ -c /proc/self/fd/0 ] || echo no device");
    kit_wait_exit(k, 0);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "stdout F 0\nstdout F no device\n");
}

static void input_stays_open_for_the_next_client(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    struct client c;
    char text[6] = "";

    kit_spawn(k);
    kit_spec(k, &s, "c1", "exec cat");
    s.spec.stdin_open = true;
    kit_run_spec(k, &s);
    for (int i = 0; i < 2; i++) {
        attach(k, "c1", &c, true, true, false);
        assert_ok(&k->error);
        assert_int_equal(write(c.ends[0], "again\n", 6), 6);
        assert_int_equal(fd_read_full(c.ends[1], text, 6), 6);
        assert_memory_equal(text, "again\n", 6);
        detach(&c);
    }
}

static void more_input_than_the_container_reads_is_not_lost(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    struct client c;
    enum { N = 3 * 1000 * 1000 };

    kit_spawn(k);
    kit_spec(k, &s, "c1", "sleep 0.5; exec wc -c");
    s.spec.stdin_open = s.spec.stdin_once = true;
    kit_run_spec(k, &s);
    attach(k, "c1", &c, true, false, false);
    assert_ok(&k->error);
    pid_t writer = fork(); /* blocks until the container reads */
    if (writer == 0) {
        static char block[N];
        _exit(fd_write_all(c.ends[0], block, N) == 0 ? 0 : 1);
    }
    detach(&c);
    kit_wait_exit(k, 0);
    int status;
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "stdout F 3000000\n");
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    struct client slow;

    kit_spawn(k);
    kit_spec(k, &s, "c1", "read go; seq 1 2000000; exit 0");
    s.spec.stdin_open = true;
    kit_run_spec(k, &s);
    attach(k, "c1", &slow, true, true, false);
    assert_ok(&k->error);
    assert_int_equal(write(slow.ends[0], "go\n", 3), 3);
    kit_wait_exit(k, 0); /* nobody waited for the client */
    assert_int_equal(k->exit_code, 0);
    char end[32], path[128];
    snprintf(path, sizeof(path), "%s/c1.log", k->directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(lseek(fd, -18, SEEK_END) > 0);
    assert_int_equal(read(fd, end, 18), 18);
    assert_memory_equal(end, " stdout F 2000000\n", 18);
    fd_close(fd);
    detach(&slow);
}

static void attaching_without_a_reason_is_refused(void **state)
{
    struct kit *k = *state;
    struct client c;
    char byte;
    int fds[2];

    kit_spawn(k);
    attach(k, "c1", &c, false, true, false);
    assert_int_equal(k->error.code, ERR_NOT_FOUND);
    detach(&c);
    kit_run(k, "c1", "sleep 1000");
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    CALL(k, shim_attach, "c1", -1, fds[1], -1);
    assert_int_equal(k->error.code, ERR_INVALID_ARGUMENT);
    fd_close(fds[0]);
    /* A container without input: the client's ends at once. */
    attach(k, "c1", &c, true, true, false);
    assert_ok(&k->error);
    assert_int_equal(read(c.ends[0], &byte, 1), 0);
    detach(&c);
}

/* ---- Floods ------------------------------------------------------------------------------------
 */

/* A rolling sum over one stream's text of the log, as the generator's over what it wrote. */
static uint64_t sum_add(uint64_t sum, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ (uint8_t)p[i]) * 1099511628211u;
    return sum;
}

/* Lines of all lengths, 0 to 40000 bytes. */
static void make_flood(int root, const char *name, size_t size, unsigned seed, uint64_t *ret_sum)
{
    _cleanup_strbuf_ struct strbuf b = {0};
    unsigned random = seed;

    while (b.len < size) {
        random = random * 1103515245u + 12345u;
        unsigned kind = (random >> 8) % 100, max = kind < 60 ? 100 : kind < 95 ? 3000 : 40000;
        random = random * 1103515245u + 12345u;
        size_t len = (random >> 8) % max;
        char letter = (char)('a' + random % 26);
        for (size_t i = 0; i < len; i++)
            strbuf_add(&b, &letter, 1);
        strbuf_add(&b, "\n", 1);
    }
    int fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, b.data, b.len), 0);
    fd_close(fd);
    *ret_sum = sum_add(1469598103934665603u, b.data, b.len);
}

struct log_sums {
    uint64_t sums[2];
    size_t bytes[2];
};

static void sum_log_file(const char *path, struct log_sums *sums)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    assert_non_null(file);
    while ((n = getline(&line, &cap, file)) > 0) {
        assert_true(n >= 41 && line[n - 1] == '\n' && line[30] == ' ');
        int stream = memcmp(line + 31, "stdout", 6) != 0;
        size_t len = (size_t)n - 41 + (line[38] == 'F');
        sums->sums[stream] = sum_add(sums->sums[stream], line + 40, len);
        sums->bytes[stream] += len;
    }
    free(line);
    assert_int_equal(fclose(file), 0);
}

static void a_flood_on_both_streams_is_logged_to_the_byte(void **state)
{
    struct kit *k = *state;
    struct kit_spec s;
    uint64_t want[2];
    struct log_sums got = {{1469598103934665603u, 1469598103934665603u}, {0, 0}};
    char path[160], renamed[2][180];

    kit_spawn(k);
    kit_spec(k, &s, "c1", "cat /out & cat /err >&2; wait");
    int root = kit_rootfs();
    make_flood(root, "out", 48 << 20, 1, &want[0]);
    make_flood(root, "err", 48 << 20, 2, &want[1]);
    CALL(k, shim_create, &s.spec, root, NULL, 0);
    assert_ok(&k->error);
    snprintf(path, sizeof(path), "%s/c1.log", k->directory);
    kit_start(k, "c1");
    assert_ok(&k->error);
    /* Rotated twice in the middle of it. */
    for (int i = 0; i < 2; i++) {
        snprintf(renamed[i], sizeof(renamed[i]), "%s.%d", path, i);
        WAIT_MS(k, 10);
        assert_int_equal(rename(path, renamed[i]), 0);
        CALL(k, shim_reopen_log, "c1");
        assert_ok(&k->error);
        assert_int_equal(access(path, F_OK), 0);
    }
    kit_wait_exit(k, 0);
    assert_int_equal(k->exit_code, 0);
    sum_log_file(renamed[0], &got);
    sum_log_file(renamed[1], &got);
    sum_log_file(path, &got);
    assert_true(got.sums[0] == want[0]);
    assert_true(got.sums[1] == want[1]);
}

static void a_flood_does_not_delay_the_others(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    struct kit_spec s;
    kit_spec(k, &s, "flood", "while :; do cat /bin/busybox; done");
    s.spec.log_path = "";
    kit_run_spec(k, &s);
    int64_t worst = 0;
    for (int i = 0; i < 20; i++) {
        int64_t begin = time_mono_ns();
        CALL(k, shim_resize, "nobody", 1, 1);
        assert_int_equal(k->error.code, ERR_NOT_FOUND);
        int64_t took = time_mono_ns() - begin;
        worst = took > worst ? took : worst;
    }
    assert_true(worst < 500 * NS_PER_MS);
    CALL(k, shim_signal, "flood", SIGKILL, true);
    kit_wait_exit(k, 0);
}

/* ---- Clients that behave badly ------------------------------------------------------------------
 */

static int raw_connect(struct kit *k)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/shim.sock", k->directory);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void assert_closed(int fd)
{
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 5000), 1);
    ssize_t n = read(fd, &byte, 1);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

static void nonsense_ends_that_connection_only(void **state)
{
    static const uint8_t nonsense[][8] = {
        {0, 0, 0, 0},             /* an empty frame */
        {0xff, 0xff, 0xff, 0x7f}, /* one that is too long */
        {2, 0, 0, 0, 0xff, 0xff}, /* no envelope */
        {2, 0, 0, 0, 0x62, 0x00}, /* a request without a number */
    };
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++) {
        int fd = raw_connect(k);
        assert_int_equal(write(fd, nonsense[i], sizeof(nonsense[i])), sizeof(nonsense[i]));
        assert_closed(fd);
        fd_close(fd);
    }
    CALL(k, shim_signal, "c1", SIGKILL, false);
    assert_ok(&k->error);
}

static void a_client_that_asks_and_never_reads_is_dropped(void **state)
{
    /* Info, call 1. */
    static const uint8_t info[] = {4, 0, 0, 0, 0x08, 0x01, 0x62, 0x00};
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "sleep 1000");
    int fd = raw_connect(k);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    bool dropped = false;
    for (int i = 0; i < 2000000 && !dropped; i++) {
        ssize_t n = send(fd, info, sizeof(info), MSG_NOSIGNAL);
        dropped = n < 0 && (errno == EPIPE || errno == ECONNRESET);
        if (n < 0 && errno == EAGAIN)
            usleep(1000);
        else if (n > 0 && (size_t)n < sizeof(info))
            break;
    }
    assert_true(dropped);
    fd_close(fd);
    CALL(k, shim_signal, "c1", SIGKILL, false);
    assert_ok(&k->error);
}

static void too_many_connections_are_refused(void **state)
{
    struct kit *k = *state;
    int fds[20];

    kit_spawn(k);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = raw_connect(k);
    assert_closed(fds[ARRAY_SIZE(fds) - 1]);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fd_close(fds[i]);
    kit_run(k, "c1", "exit 0");
    kit_wait_exit(k, 0);
}

static void ids_that_are_no_file_names_are_refused(void **state)
{
    static const char *const ids[] = {"", "..", ".hidden", "a/b", "../../etc/x", "a b"};
    struct kit *k = *state;

    kit_spawn(k);
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        struct kit_spec s;
        kit_spec(k, &s, ids[i], "true");
        CALL(k, shim_create, &s.spec, kit_rootfs(), NULL, 0);
        assert_int_equal(k->error.code, ERR_INVALID_ARGUMENT);
    }
    struct kit_spec s;
    kit_spec(k, &s, "c1", "true");
    s.spec.log_path = "relative.log";
    CALL(k, shim_create, &s.spec, kit_rootfs(), NULL, 0);
    assert_int_equal(k->error.code, ERR_INVALID_ARGUMENT);
}

static void output_held_by_a_stranger_delays_the_exit_a_second_at_most(void **state)
{
    struct kit *k = *state;

    kit_spawn(k);
    kit_run(k, "c1", "echo said; sleep 1000");
    /* As a process of another container could that was sent the descriptor. */
    int pidfd = pidfd_open(k->started_pid, 0);
    WAIT_MS(k, 100);
    int held = pidfd_getfd(pidfd, 1, 0);
    assert_true(held >= 0);
    int64_t begin = time_mono_ns();
    CALL(k, shim_signal, "c1", SIGKILL, true);
    kit_wait_exit(k, 0);
    int64_t took = time_mono_ns() - begin;
    assert_in_range(took / NS_PER_MS, 500, 3000);
    _cleanup_free_ char *log = kit_log_text(k, "c1");
    assert_string_equal(log, "stdout F said\n");
    fd_close(held);
    fd_close(pidfd);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_exec_talks_over_the_callers_pipes),
        TEST(an_exec_that_cannot_start_says_why),
        TEST(killing_an_exec_reaches_all_that_it_started),
        TEST(what_an_exec_left_behind_can_still_be_killed),
        TEST(execs_end_with_the_connection_that_asked_for_them),
        TEST(many_execs_leave_nothing),
        TEST(an_execs_terminal_is_the_callers),
        TEST(closing_an_execs_terminal_hangs_it_up),
        TEST(a_containers_terminal_is_logged_and_resized),
        TEST(a_terminal_survives_a_moment_without_users),
        TEST(an_attached_shell_obeys_and_ends_with_its_input),
        TEST(an_attached_terminal_echoes_and_answers),
        TEST(input_that_is_not_open_is_at_its_end),
        TEST(input_stays_open_for_the_next_client),
        TEST(more_input_than_the_container_reads_is_not_lost),
        TEST(a_client_that_does_not_read_is_dropped),
        TEST(attaching_without_a_reason_is_refused),
        TEST(a_flood_on_both_streams_is_logged_to_the_byte),
        TEST(a_flood_does_not_delay_the_others),
        TEST(nonsense_ends_that_connection_only),
        TEST(a_client_that_asks_and_never_reads_is_dropped),
        TEST(too_many_connections_are_refused),
        TEST(ids_that_are_no_file_names_are_refused),
        TEST(output_held_by_a_stranger_delays_the_exit_a_second_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
