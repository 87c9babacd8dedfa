/*
 * exec_url.c - Exec, Attach and PortForward: check what is asked and answer with an address at
 * which the streaming server will do it.
 */
#include "private.h"
#include "stream_server.h"

static void reply_url(struct rpc_call *call, const char *url)
{
    Runtime__V1__ExecResponse response = RUNTIME__V1__EXEC_RESPONSE__INIT;

    response.url = (char *)url;
    rpc_reply(call, &response.base);
}

static void reply_attach_url(struct rpc_call *call, const char *url)
{
    Runtime__V1__AttachResponse response = RUNTIME__V1__ATTACH_RESPONSE__INIT;

    response.url = (char *)url;
    rpc_reply(call, &response.base);
}

static void reply_forward_url(struct rpc_call *call, const char *url)
{
    Runtime__V1__PortForwardResponse response = RUNTIME__V1__PORT_FORWARD_RESPONSE__INIT;

    response.url = (char *)url;
    rpc_reply(call, &response.base);
}

/* Takes the request, and answers the call. */
static void give_url(const struct cri *c, struct rpc_call *call,
                     struct stream_request *request_take,
                     void (*reply)(struct rpc_call *call, const char *url))
{
    _cleanup_free_ char *url = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    if (stream_server_url(c->streaming, request_take, &url, &e) < 0) {
        stream_request_free(request_take);
        rpc_fail(call, &e);
    } else {
        reply(call, url);
    }
}

static int check_streams(bool tty, bool with_stdin, bool with_stdout, bool with_stderr,
                         struct err *e)
{
    if (tty && with_stderr)
        return err_set(e, ERR_INVALID_ARGUMENT,
                       "tty and stderr exclude each other: a terminal has one output");
    if (!with_stdin && !with_stdout && !with_stderr)
        return err_set(e, ERR_INVALID_ARGUMENT, "one of stdin, stdout and stderr must be set");
    return 0;
}

static const struct container *find_running(const struct cri *c, const char *id, const char *what,
                                            struct err *e)
{
    const struct container *container = container_find(c->config.pods, id, e);

    if (!container || container->state == CONTAINER_RUNNING)
        return container;
    err_set(e, ERR_FAILED_PRECONDITION, "%s container %.12s: it is not running", what,
            container->id);
    return NULL;
}

static struct stream_request *command_request(enum stream_kind kind, const char *id, bool tty,
                                              bool with_stdin, bool with_stdout, bool with_stderr)
{
    struct stream_request *r = xnew(struct stream_request);

    r->kind = kind;
    r->id = xstrdup(id);
    r->tty = tty;
    r->with_stdin = with_stdin;
    r->with_stdout = with_stdout;
    r->with_stderr = with_stderr;
    return r;
}

void cri_exec(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ExecRequest *m = (const void *)message;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, m->container_id, "container_id"))
        return;
    const struct container *container = NULL;
    if (m->n_cmd == 0)
        err_set(&e, ERR_INVALID_ARGUMENT, "cmd is empty: there is nothing to run");
    else if (check_streams(m->tty, m->stdin, m->stdout, m->stderr, &e) == 0)
        container = find_running(c, m->container_id, "exec in", &e);
    if (!container) {
        rpc_fail(call, &e);
        return;
    }
    struct stream_request *r =
        command_request(STREAM_EXEC, container->id, m->tty, m->stdin, m->stdout, m->stderr);
    r->argv = strv_dup(m->cmd, m->n_cmd);
    give_url(c, call, r, reply_url);
}

void cri_attach(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__AttachRequest *m = (const void *)message;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, m->container_id, "container_id"))
        return;
    const struct container *container = NULL;
    if (check_streams(m->tty, m->stdin, m->stdout, m->stderr, &e) == 0)
        container = find_running(c, m->container_id, "attach to", &e);
    if (!container) {
        rpc_fail(call, &e);
        return;
    }
    give_url(c, call,
             command_request(STREAM_ATTACH, container->id, m->tty, m->stdin, m->stdout, m->stderr),
             reply_attach_url);
}

static int take_ports(const Runtime__V1__PortForwardRequest *m, struct stream_request *r,
                      struct err *e)
{
    if (m->n_port > FORWARD_PORTS_MAX)
        return err_set(e, ERR_INVALID_ARGUMENT, "port: more than %d ports", FORWARD_PORTS_MAX);
    r->ports = xcalloc(m->n_port + 1, sizeof(*r->ports));
    for (size_t i = 0; i < m->n_port; i++) {
        if (m->port[i] < 1 || m->port[i] > UINT16_MAX)
            return err_set(e, ERR_INVALID_ARGUMENT, "port: %d is not between 1 and 65535",
                           m->port[i]);
        r->ports[r->n_ports++] = (uint16_t)m->port[i];
    }
    return 0;
}

void cri_port_forward(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__PortForwardRequest *m = (const void *)message;
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, m->pod_sandbox_id, "pod_sandbox_id"))
        return;
    const struct sandbox *s = sandbox_find(c->config.pods, m->pod_sandbox_id, &e);
    struct stream_request *r =
        command_request(STREAM_PORT_FORWARD, s ? s->id : "", false, false, false, false);
    if (s && s->state != SANDBOX_READY)
        err_set(&e, ERR_FAILED_PRECONDITION, "forward ports to pod %.12s: it is not ready", s->id);
    if (e.code != ERR_OK || take_ports(m, r, &e) < 0) {
        stream_request_free(r);
        rpc_fail(call, &e);
        return;
    }
    give_url(c, call, r, reply_forward_url);
}
