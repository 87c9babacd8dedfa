/*
 * cni.h - CNI mode as net.c sees it; the calls are those of podd/net.h.
 */
#ifndef PODD_NET_CNI_H
#define PODD_NET_CNI_H

#include <podd/net.h>

struct cni;
int cni_open(struct loop *loop, const struct net_cni_config *config, struct cni **ret,
             struct err *e) MUST_CHECK;
/* Plugins that run are killed; the next start undoes what they were at. */
void cni_close(struct cni *c); /* NULL is fine */
int cni_destroy(struct cni *c, struct err *e) MUST_CHECK;
int cni_status(struct cni *c, struct err *e) MUST_CHECK;
const char *cni_warning(struct cni *c);

void cni_attach(struct cni *c, const struct net_pod *pod, net_attached_fn *fn, void *arg);
void cni_hold(struct cni *c, const char *sandbox_id, int netns);
void cni_detach(struct cni *c, const char *sandbox_id, net_done_fn *fn, void *arg);
void cni_set_pools(struct cni *c, const char *const *pools, size_t count, net_done_fn *fn,
                   void *arg);
void cni_reconcile(struct cni *c, char *const *live_sandbox_ids, size_t count);

#endif
