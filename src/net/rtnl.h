/*
 * rtnl.h - rtnetlink: several requests in one system call, and dumps.
 */
#ifndef PODD_NET_RTNL_H
#define PODD_NET_RTNL_H

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <podd/base.h>

#include "addr.h"

struct rtnl {
    int fd; /* owned; -1: closed */
    uint32_t seq;
};

/* A socket in the network namespace of the calling thread, where it stays. */
int rtnl_open(struct rtnl *r, struct err *e) MUST_CHECK;
void rtnl_close(struct rtnl *r);

#define RTNL_BATCH_MAX 16

struct rtnl_request {
    struct nl_msg *msg; /* owned */
    const char *what;   /* "add the address", a literal */
    int tolerated;      /* an errno that counts as success; 0: none */
    const char *needs;  /* the part of the kernel that knows it, a literal; NULL: always there */
};

/* Zeroed is empty. */
struct rtnl_batch {
    struct rtnl_request requests[RTNL_BATCH_MAX];
    size_t count;
    /* For what the requests ask for; NULL: such answers are dropped. */
    void (*on_answer)(void *arg, const struct nlmsghdr *h);
    void *arg;
};
void rtnl_batch_clear(struct rtnl_batch *b);
#define _cleanup_batch_ CLEANUP(rtnl_batch_clear)

/* A new request in the batch, for the caller to fill with the family's header and attributes. */
struct nl_msg *rtnl_add(struct rtnl_batch *b, int type, int flags, const char *what);
/* The same, where `tolerated` counts as success. */
struct nl_msg *rtnl_add_tolerant(struct rtnl_batch *b, int type, int flags, const char *what,
                                 int tolerated);
/* The same, for what the kernel may have been built without: its ENOENT or EOPNOTSUPP becomes
 * ERR_FAILED_PRECONDITION and says what is needed. */
struct nl_msg *rtnl_add_needing(struct rtnl_batch *b, int type, int flags, const char *what,
                                const char *needs);
/* Carries out all requests in their order and empties the batch. The kernel does not stop at a
 * failed one; the first failure is returned, named after `object`. */
int rtnl_send(struct rtnl *r, struct rtnl_batch *b, const char *object, struct err *e) MUST_CHECK;

/* Sends a dump request (taken) and calls fn for every answer. */
int rtnl_dump(struct rtnl *r, int type, const void *header, size_t header_len, const char *what,
              void (*fn)(void *arg, struct nlmsghdr *h), void *arg, struct err *e) MUST_CHECK;

/* These abort when the message is too small, which is a mistake of ours. */
void rtnl_put_header(struct nl_msg *m, const void *header, size_t len);
void rtnl_put(struct nl_msg *m, int attribute, const void *data, size_t len);
void rtnl_put_u32(struct nl_msg *m, int attribute, uint32_t value);
void rtnl_put_u8(struct nl_msg *m, int attribute, uint8_t value);
void rtnl_put_string(struct nl_msg *m, int attribute, const char *value);
void rtnl_put_ip(struct nl_msg *m, int attribute, const struct ip *ip);
struct nlattr *rtnl_nest(struct nl_msg *m, int attribute);
void rtnl_nest_end(struct nl_msg *m, struct nlattr *nest);

/* An answer's attribute as an address of the family; false when absent or of another size. */
bool rtnl_get_ip(struct nlattr *attribute, int family, struct ip *ret);

/* The index of an interface in the namespace of the socket, or -errno. Waits for no lock. */
int rtnl_link_index(const struct rtnl *r, const char *name);
/* All of IFF_* `flags` are set. */
bool rtnl_link_has(const struct rtnl *r, const char *name, int flags);

#endif
