/*
 * exec.c - ExecSync: a command inside a container, answered when it has ended.
 *
 * A client that goes away takes its command with it.
 */
#include "private.h"

struct exec_call {
    struct rpc_call *call;
    struct exec *exec;
};

static void on_done(void *arg, int exit_code, const struct bytes *out, const struct bytes *err_out,
                    const struct err *e)
{
    struct exec_call *x = arg;
    Runtime__V1__ExecSyncResponse response = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;

    rpc_on_cancel(x->call, NULL, NULL);
    if (e->code != ERR_OK) {
        rpc_fail(x->call, e);
    } else {
        response.exit_code = exit_code;
        response.stdout = (ProtobufCBinaryData){out->len, out->data};
        response.stderr = (ProtobufCBinaryData){err_out->len, err_out->data};
        rpc_reply(x->call, &response.base);
    }
    free(x);
}

static void on_cancel(void *arg)
{
    struct exec_call *x = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    exec_cancel(x->exec);
    err_set(&e, ERR_CANCELLED, "the client has gone");
    rpc_fail(x->call, &e);
    free(x);
}

void cri_exec_sync(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const struct cri *c = ctx;
    const Runtime__V1__ExecSyncRequest *request = (const void *)message;
    _cleanup_arena_ struct arena a = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    if (!cri_accept(c, call) || !require_id(call, request->container_id, "container_id"))
        return;
    if (request->n_cmd == 0) {
        err_set(&e, ERR_INVALID_ARGUMENT, "cmd is empty: there is nothing to run");
        rpc_fail(call, &e);
        return;
    }
    struct exec_call *x = xnew(struct exec_call);
    x->call = call;
    int64_t seconds = request->timeout > 0 ? request->timeout : 0;
    if (seconds > INT32_MAX)
        seconds = INT32_MAX;
    rpc_on_cancel(call, on_cancel, x);
    x->exec = container_exec_sync(c->config.pods, request->container_id,
                                  arena_strv(&a, request->cmd, request->n_cmd), seconds * 1000,
                                  on_done, x);
}
