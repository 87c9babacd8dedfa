/*
 * nft.h - nf_tables transactions: all of it or nothing.
 */
#ifndef PODD_NET_NFT_H
#define PODD_NET_NFT_H

#include <libmnl/libmnl.h>

#include <podd/base.h>

struct nft {
    struct mnl_socket *socket; /* owned */
    uint32_t seq;
};

/* A socket in the network namespace of the calling thread, where it stays. */
int nft_open(struct nft *n, struct err *e) MUST_CHECK;
void nft_close(struct nft *n);

/* One transaction being put together. Zeroed is empty. */
struct nft_batch {
    struct nftnl_batch *pages; /* owned */
    const char **labels;       /* owned; of each message, what it asks for (a literal) */
    size_t count;
    uint32_t first_seq;
};
void nft_batch_init(struct nft_batch *b, struct nft *n);
void nft_batch_clear(struct nft_batch *b);
#define _cleanup_nft_batch_ CLEANUP(nft_batch_clear)

/* The head of the next message, for an nftnl_*_nlmsg_build_payload(); then nft_batch_next(). */
struct nlmsghdr *nft_batch_message(struct nft_batch *b, uint16_t type, uint16_t flags,
                                   const char *what);
void nft_batch_next(struct nft_batch *b);
/* Commits. On failure nothing has changed; the label of the refused message is in *e. */
int nft_batch_commit(struct nft_batch *b, struct nft *n, struct err *e) MUST_CHECK;

/* Whether the table is there. Waits for no lock. */
int nft_table_exists(struct nft *n, const char *table, bool *ret, struct err *e) MUST_CHECK;

#endif
