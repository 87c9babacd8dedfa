/*
 * ws_frame.c - WebSocket frames into messages; wslay takes the frames apart.
 *
 * Data is passed on in pieces as it comes, whatever frames and fragments it came in: how much of a
 * message is kept is the caller's affair. Control frames, of at most 125 bytes, may come between
 * the fragments of a message and are passed on whole.
 */
#include <wslay/wslay.h>

#include "ws_frame.h"

enum { CONTROL_MAX = 125 };

struct ws_reader {
    wslay_frame_context_ptr frames;
    const uint8_t *in;
    size_t in_len;
    bool broken, in_message;
    uint64_t frame_done; /* payload bytes of the frame that have come */
    bool in_frame;
    uint8_t control[CONTROL_MAX];
    size_t control_len;
};

static ssize_t give_input(uint8_t *buf, size_t len, int flags, void *arg)
{
    struct ws_reader *r = arg;
    size_t n = len < r->in_len ? len : r->in_len;

    if (n == 0)
        return -1; /* wslay then wants to read */
    memcpy(buf, r->in, n);
    r->in += n;
    r->in_len -= n;
    return (ssize_t)n;
}

struct ws_reader *ws_reader_new(void)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = give_input};
    struct ws_reader *r = xnew(struct ws_reader);

    if (wslay_frame_context_init(&r->frames, &callbacks, r) != 0)
        abort(); /* memory only */
    return r;
}

void ws_reader_free(struct ws_reader *r)
{
    if (!r)
        return;
    wslay_frame_context_free(r->frames);
    free(r);
}

/* At the beginning of a frame. */
static int check_frame(struct ws_reader *r, const struct wslay_frame_iocb *frame, struct err *e)
{
    if (!frame->mask)
        return err_set(e, ERR_INVALID_ARGUMENT, "a WebSocket frame without a mask");
    if (frame->rsv)
        return err_set(e, ERR_INVALID_ARGUMENT, "a WebSocket frame with reserved bits");
    switch (frame->opcode) {
    case WSLAY_CONTINUATION_FRAME:
        if (!r->in_message)
            return err_set(e, ERR_INVALID_ARGUMENT, "a WebSocket fragment of no message");
        return 0;
    case WSLAY_TEXT_FRAME:
    case WSLAY_BINARY_FRAME:
        if (r->in_message)
            return err_set(e, ERR_INVALID_ARGUMENT, "a WebSocket message within another");
        return 0;
    case WSLAY_CONNECTION_CLOSE:
    case WSLAY_PING:
    case WSLAY_PONG:
        if (!frame->fin || frame->payload_length > CONTROL_MAX)
            return err_set(e, ERR_INVALID_ARGUMENT, "a WebSocket control frame that is too big");
        r->control_len = 0;
        return 0;
    default:
        return err_set(e, ERR_INVALID_ARGUMENT, "a WebSocket frame of type %u", frame->opcode);
    }
}

/* 1 when the frame makes an event. */
static int take_control(struct ws_reader *r, const struct wslay_frame_iocb *frame,
                        struct ws_event *ret)
{
    if (frame->data_length > 0) {
        memcpy(r->control + r->control_len, frame->data, frame->data_length);
        r->control_len += frame->data_length;
    }
    if (r->in_frame || frame->opcode == WSLAY_PONG)
        return 0;
    *ret = (struct ws_event){
        .type = frame->opcode == WSLAY_PING ? WS_PING : WS_CLOSE,
        .data = r->control,
        .len = r->control_len,
    };
    return 1;
}

static int take_frame(struct ws_reader *r, const struct wslay_frame_iocb *frame,
                      struct ws_event *ret, struct err *e)
{
    if (!r->in_frame && check_frame(r, frame, e) < 0)
        return -1;
    r->frame_done = (r->in_frame ? r->frame_done : 0) + frame->data_length;
    r->in_frame = r->frame_done < frame->payload_length;
    if (wslay_is_ctrl_frame(frame->opcode))
        return take_control(r, frame, ret);
    bool end = frame->fin && !r->in_frame;
    r->in_message = !end;
    *ret = (struct ws_event){
        .type = WS_PIECE, .end = end, .data = frame->data, .len = frame->data_length};
    return 1;
}

int ws_reader_next(struct ws_reader *r, const uint8_t **data, size_t *len, struct ws_event *ret,
                   struct err *e)
{
    struct wslay_frame_iocb frame;
    int found = 0;

    r->in = *data;
    r->in_len = *len;
    while (found == 0 && !r->broken) {
        memset(&frame, 0, sizeof(frame));
        ssize_t n = wslay_frame_recv(r->frames, &frame);
        if (n == WSLAY_ERR_WANT_READ)
            break;
        found = n < 0 ? err_set(e, ERR_INVALID_ARGUMENT, "a malformed WebSocket frame")
                      : take_frame(r, &frame, ret, e);
        r->broken = found < 0;
    }
    *data = r->in;
    *len = r->in_len;
    if (r->broken && found == 0)
        return err_set(e, ERR_INVALID_ARGUMENT, "the WebSocket is broken");
    return found;
}

size_t ws_write_header(uint8_t *ret, enum ws_opcode opcode, size_t len)
{
    size_t n = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

    ret[0] = 0x80 | opcode;
    ret[1] = n == 0 ? (uint8_t)len : n == 2 ? 126 : 127;
    for (size_t i = 0; i < n; i++)
        ret[2 + i] = (uint8_t)((uint64_t)len >> 8 * (n - 1 - i));
    return 2 + n;
}
