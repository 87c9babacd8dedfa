/*
 * stream_token.h - what a client may ask of the streaming server, and the tokens that stand for it.
 */
#ifndef CRI_STREAM_TOKEN_H
#define CRI_STREAM_TOKEN_H

#include "podd/base.h"

enum stream_kind { STREAM_EXEC, STREAM_ATTACH, STREAM_PORT_FORWARD };

struct stream_request {
    enum stream_kind kind;
    char *id;    /* of the container, or of the pod for port forwarding */
    char **argv; /* exec */
    bool tty, with_stdin, with_stdout, with_stderr; /* exec and attach */
    uint16_t *ports;                                /* port forwarding by WebSocket channels */
    size_t n_ports;
};
void stream_request_free(struct stream_request *r); /* NULL is fine */

enum { TOKEN_SIZE = 33, TOKEN_LIFE_MS = 60000, TOKENS_MAX = 1000, FORWARD_PORTS_MAX = 64 };

struct tokens;
struct tokens *tokens_new(void);
void tokens_free(struct tokens *t);
/* now: time_mono_ns(). ERR_RESOURCE_EXHAUSTED while TOKENS_MAX are outstanding. */
int tokens_issue(struct tokens *t, struct stream_request *request_take, int64_t now,
                 char ret[TOKEN_SIZE], struct err *e) MUST_CHECK;
/* Uses the token up, be it of the right kind or not. The request is the caller's; NULL: unknown,
 * expired, used, or for something else. */
struct stream_request *tokens_redeem(struct tokens *t, const char *token, enum stream_kind kind,
                                     int64_t now);
size_t tokens_count(const struct tokens *t);

#endif
