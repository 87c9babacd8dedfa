/*
 * podd/cri.h - CRI v1 for kubelet, crictl and any other client: RuntimeService and ImageService
 * (proto/cri.proto). Checks requests, translates them to the structs of podd/pod.h and errors to
 * gRPC statuses; CRI's types stop here.
 */
#ifndef PODD_CRI_H
#define PODD_CRI_H

#include "podd/base.h"
#include "podd/health.h"
#include "podd/image.h"
#include "podd/net.h"
#include "podd/pod.h"
#include "podd/rpc.h"

struct cri_config {
    struct loop *loop;
    struct pods *pods;
    struct image_store *images;
    struct net *net;
    const char *root, *state, *socket; /* for Status(verbose) */
    bool systemd_cgroups;              /* what RuntimeConfig reports */
    const char *streaming_address;     /* "127.0.0.1" */
    uint16_t streaming_port;           /* 0: any */
};

struct cri;
int cri_open(const struct cri_config *config, struct cri **ret, struct err *e) MUST_CHECK;
void cri_register(struct cri *c, struct rpc_server *server);
/* Before this, Status says RuntimeReady=false and calls that change something are UNAVAILABLE. */
void cri_set_ready(struct cri *c);
void cri_close(struct cri *c);

#endif
