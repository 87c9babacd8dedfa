/*
 * command.c - one exec or attach: asks CRI for an address, opens the session, and copies between
 * its channels and this program's descriptors.
 *
 * Input is read when the descriptor is readable and the session has room. A file cannot be waited
 * for, and need not be: it is read piece by piece between the loop's other work. Output is written
 * by blocking calls, which is all the backpressure it takes: while they block nothing is read from
 * the session. The end is a status on the error channel, in JSON.
 */
#include "command.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "session.h"

enum { INPUT_CHUNK = 32 << 10 };

struct run {
    const struct command *command;
    struct cli *cli;
    struct session *session;
    struct io *input;          /* NULL: at its end, or a file */
    struct timer *file_reader; /* of an input that is a file */
    struct strbuf verdict;     /* from the error channel */
    struct err failure;        /* of this side */
    bool input_waits;          /* for room in the session */
};

/* ---- The terminal
 * --------------------------------------------------------------------------------- */

static struct termios saved_terminal;
static bool terminal_is_raw;

static void terminal_restore(void)
{
    if (terminal_is_raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_terminal);
    terminal_is_raw = false;
}

/* The container's terminal does what this one did: echo, line editing, signals from keys. */
static void terminal_make_raw(void)
{
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &saved_terminal) < 0)
        return;
    raw = saved_terminal;
    cfmakeraw(&raw);
    terminal_is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
    atexit(terminal_restore);
}

static void send_size(struct run *r)
{
    struct winsize size;

    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        return;
    _cleanup_free_ char *text = xasprintf("{\"Width\":%u,\"Height\":%u}", size.ws_col, size.ws_row);
    session_send(r->session, CHANNEL_RESIZE, text, strlen(text));
}

static void on_window_change(void *arg, int signo)
{
    send_size(arg);
}

/* ---- Input
 * -------------------------------------------------------------------------------------- */

static void input_end(struct run *r)
{
    uint8_t channel = CHANNEL_STDIN;

    io_free(take_ptr(r->input));
    timer_free(take_ptr(r->file_reader));
    session_send(r->session, CHANNEL_CLOSE, &channel, 1);
}

static void input_read(struct run *r)
{
    uint8_t chunk[INPUT_CHUNK];
    ssize_t n = read(r->command->stdin_fd, chunk, sizeof(chunk));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        input_end(r);
        return;
    }
    session_send(r->session, CHANNEL_STDIN, chunk, (size_t)n);
    r->input_waits = session_is_full(r->session);
    if (r->input)
        io_set(r->input, r->input_waits ? 0 : IO_READ);
    else if (!r->input_waits)
        timer_start(r->file_reader, 0);
}

static void on_input(void *arg, unsigned events)
{
    input_read(arg);
}

static void on_file_input(void *arg)
{
    input_read(arg);
}

static void on_room(void *arg)
{
    struct run *r = arg;

    if (!r->input_waits)
        return;
    r->input_waits = false;
    if (r->input)
        io_set(r->input, IO_READ);
    else if (r->file_reader)
        timer_start(r->file_reader, 0);
}

static bool can_be_waited_for(int fd)
{
    struct stat st;

    return isatty(fd) || (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)));
}

static void input_begin(struct run *r)
{
    if (r->command->stdin_fd < 0)
        return;
    if (can_be_waited_for(r->command->stdin_fd)) {
        r->input = io_new(r->cli->loop, r->command->stdin_fd, IO_READ, on_input, r);
        return;
    }
    r->file_reader = timer_new(r->cli->loop, on_file_input, r);
    timer_start(r->file_reader, 0);
}

/* ---- The session
 * ---------------------------------------------------------------------------------- */

static void on_message(void *arg, unsigned channel, const uint8_t *data, size_t len)
{
    struct run *r = arg;
    int status = 0;

    if (channel == CHANNEL_ERROR)
        strbuf_add(&r->verdict, data, len);
    else if (channel == CHANNEL_STDOUT)
        status = fd_write_all(r->command->stdout_fd, data, len);
    else if (channel == CHANNEL_STDERR)
        status = fd_write_all(r->command->stderr_fd, data, len);
    if (status < 0 && r->failure.code == ERR_OK) {
        err_errno(&r->failure, status, "write the command's output");
        loop_stop(r->cli->loop);
    }
}

static void on_end(void *arg, const struct err *e)
{
    struct run *r = arg;

    if (e->code != ERR_OK && r->verdict.len == 0 && r->failure.code == ERR_OK)
        err_copy(&r->failure, e);
    loop_stop(r->cli->loop);
}

static const struct session_events events = {
    .on_message = on_message,
    .on_end = on_end,
    .on_room = on_room,
};

/* The exit code that a failed status carries as a cause; -1: it is another failure. */
static int exit_code_of(const json_t *verdict)
{
    json_t *causes = json_object_get(json_object_get(verdict, "details"), "causes");
    uint64_t code;

    for (size_t i = 0; i < json_array_size(causes); i++) {
        json_t *cause = json_array_get(causes, i);
        const char *reason = json_string_value(json_object_get(cause, "reason"));
        const char *text = json_string_value(json_object_get(cause, "message"));
        if (str_equal(reason, "ExitCode") && text && parse_uint(text, 255, &code) == 0)
            return (int)code;
    }
    return -1;
}

static int judge(struct run *r)
{
    if (r->failure.code != ERR_OK)
        return cli_fail(&r->failure);
    json_t *verdict = json_loadb(r->verdict.data ? r->verdict.data : "", r->verdict.len, 0, NULL);
    const char *word = json_string_value(json_object_get(verdict, "status"));
    const char *message = json_string_value(json_object_get(verdict, "message"));
    int status = str_equal(word, "Success") ? EXIT_OK : exit_code_of(verdict);

    if (status < 0) {
        _cleanup_free_ char *clean = format_clean(message ? message : "the session broke off");
        fprintf(stderr, "podctl: %s\n", clean);
        status = EXIT_FAILED;
    }
    json_decref(verdict);
    return status;
}

/* ---- Asking CRI for the address
 * ------------------------------------------------------------------- */

static void *ask_exec(struct cli *cli, const struct command *c, int *status)
{
    Runtime__V1__ExecRequest request = RUNTIME__V1__EXEC_REQUEST__INIT;

    request.container_id = (char *)c->container_id;
    request.cmd = c->argv;
    request.n_cmd = c->argc;
    request.tty = c->tty;
    request.stdin = c->stdin_fd >= 0;
    request.stdout = true;
    request.stderr = !c->tty;
    return cli_call_runtime(cli, "Exec", &request.base, status);
}

static void *ask_attach(struct cli *cli, const struct command *c, int *status)
{
    Runtime__V1__AttachRequest request = RUNTIME__V1__ATTACH_REQUEST__INIT;

    request.container_id = (char *)c->container_id;
    request.tty = c->tty;
    request.stdin = c->stdin_fd >= 0;
    request.stdout = true;
    request.stderr = !c->tty;
    return cli_call_runtime(cli, "Attach", &request.base, status);
}

/* The address; the caller's. Both answers have just that. */
static char *ask_url(struct cli *cli, const struct command *c, int *status)
{
    if (c->argv) {
        _cleanup_message_ Runtime__V1__ExecResponse *answer = ask_exec(cli, c, status);
        return answer ? xstrdup(answer->url) : NULL;
    }
    _cleanup_message_ Runtime__V1__AttachResponse *answer = ask_attach(cli, c, status);
    return answer ? xstrdup(answer->url) : NULL;
}

int command_run(struct cli *cli, const struct command *c)
{
    struct run r = {.command = c, .cli = cli};
    int status = EXIT_OK;
    _cleanup_free_ char *url = ask_url(cli, c, &status);

    if (!url)
        return status;
    if (session_open(cli->loop, url, PROTOCOL_COMMAND, &events, &r, &r.session, &r.failure) < 0) {
        status = cli_fail(&r.failure);
        err_clear(&r.failure);
        return status;
    }
    if (c->tty && isatty(STDIN_FILENO)) {
        terminal_make_raw();
        send_size(&r);
        loop_on_signal(cli->loop, SIGWINCH, on_window_change, &r);
    }
    input_begin(&r);
    loop_run(cli->loop);
    terminal_restore();
    loop_on_signal(cli->loop, SIGWINCH, NULL, NULL);
    io_free(r.input);
    timer_free(r.file_reader);
    session_free(r.session);
    status = judge(&r);
    strbuf_free(&r.verdict);
    err_clear(&r.failure);
    return status;
}
