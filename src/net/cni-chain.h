/*
 * cni-chain.h - one command to all plugins of a network, one after the other.
 */
#ifndef PODD_NET_CNI_CHAIN_H
#define PODD_NET_CNI_CHAIN_H

#include "cni-attachment.h"

enum cni_command { CNI_ADD, CNI_DEL, CNI_CHECK, CNI_GC, CNI_STATUS };

/* Where plugins are and how long one may take. */
struct cni_host {
    struct loop *loop;
    char **plugin_dirs; /* strv */
    int64_t timeout_ms;
};

struct cni_order {
    enum cni_command command;
    struct cni_conf *conf;
    const struct cni_attachment *attachment; /* of ADD, DEL, CHECK; stays until the end */
    const char *netns;                       /* path; "": it is gone */
    json_t *valid_attachments;               /* of GC */
};

/* The path of the plugin's program, which the caller frees; ERR_FAILED_PRECONDITION. */
int cni_find_plugin(const struct cni_host *host, const char *type, char **ret, struct err *e)
    MUST_CHECK;

/* `result`: of ADD, borrowed. */
typedef void cni_chain_fn(void *arg, json_t *result, const struct err *e);
struct cni_chain;
/* fn is called later, and never from in here. */
struct cni_chain *cni_chain_start(const struct cni_host *host, const struct cni_order *order,
                                  cni_chain_fn *fn, void *arg);
/* Kills the plugin that runs; fn is not called. */
void cni_chain_cancel(struct cni_chain *c);

#endif
