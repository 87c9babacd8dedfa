/*
 * calls.c - calls that wait for the same thing and get the same answer.
 */
#include "private.h"

void calls_add(struct calls *calls, struct rpc_call *call)
{
    struct rpc_call **slot = array_push(&calls->items, &calls->count, sizeof(*calls->items));

    *slot = call;
}

void calls_answer(struct calls *calls, const ProtobufCMessage *response, const struct err *e)
{
    struct calls answered = *calls;

    *calls = (struct calls){0};
    for (size_t i = 0; i < answered.count; i++) {
        if (e && e->code != ERR_OK)
            rpc_fail(answered.items[i], e);
        else
            rpc_reply(answered.items[i], response);
    }
    free(answered.items);
}
