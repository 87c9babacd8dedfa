/*
 * cni-attachment.h - what podd knows of one pod in a CNI network, and keeps on disk.
 */
#ifndef PODD_NET_CNI_ATTACHMENT_H
#define PODD_NET_CNI_ATTACHMENT_H

#include <podd/net.h>

#include "cni-conf.h"

#define CNI_INTERFACE "eth0" /* CNI_IFNAME of all pods */

/* As ADD was asked; DEL and CHECK repeat it, whatever has become of the configuration. */
struct cni_attachment {
    char *id;              /* of the sandbox */
    char *netns;           /* path that ADD got */
    uint64_t netns_inode;  /* what it led to */
    char *args;            /* CNI_ARGS */
    json_t *runtime;       /* capability arguments, all that podd has; plugins get what they take */
    struct cni_conf *conf; /* with that it was added */
    json_t *result;        /* of ADD; NULL: not finished, or failed */
    bool deleting;         /* the pod is gone, DEL has not succeeded yet */
};

/* Out of a pod's wishes. `ranges` (may be NULL) are IP ranges that a master gave.
 * ERR_INVALID_ARGUMENT: a name that cannot be in CNI_ARGS. */
int cni_attachment_new(const struct net_pod *pod, struct cni_conf *conf, json_t *ranges,
                       struct cni_attachment **ret, struct err *e) MUST_CHECK;
void cni_attachment_free(struct cni_attachment *a); /* NULL is fine */

/* The namespace, by its path, if it is still the same: fd or -1. */
int cni_attachment_open_netns(const struct cni_attachment *a);

/* The file <id>.json in the directory. */
int cni_attachment_write(int dirfd, const struct cni_attachment *a, struct err *e) MUST_CHECK;
int cni_attachment_unlink(int dirfd, const struct cni_attachment *a, struct err *e) MUST_CHECK;
int cni_attachment_parse(const void *data, size_t len, const char *name,
                         struct cni_attachment **ret, struct err *e) MUST_CHECK;
/* All files of the directory, to `fn`, which owns what it gets. A broken one is renamed to
 * <name>.broken with a warning. */
int cni_attachments_load(int dirfd, void (*fn)(void *arg, struct cni_attachment *a_take), void *arg,
                         struct err *e) MUST_CHECK;

/* What a plugin reads: its part of the configuration, completed. The caller frees the text. */
char *cni_request(const struct cni_conf *conf, const json_t *plugin, const json_t *runtime,
                  const json_t *prev_result, const json_t *valid_attachments);

#endif
