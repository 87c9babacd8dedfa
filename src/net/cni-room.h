/*
 * cni-room.h - what the files of CNI mode share. All of it is the loop's thread's.
 */
#ifndef PODD_NET_CNI_ROOM_H
#define PODD_NET_CNI_ROOM_H

#include "cni-chain.h"
#include "cni-dir.h"
#include "cni.h"

struct cni {
    struct cni_host host;
    char *cache_dir;
    int cache_fd, lock_fd; /* owned */
    struct cni_dir *dir;
    json_t *ranges; /* that a master gave; NULL: none */
    char *warning;  /* told last */

    /* cni-pods.c, cni-member.c */
    struct map *members; /* struct member by sandbox id */
    struct list queue;   /* of members that want a chain */
    size_t running;
    struct timer *retry;
    bool gc_wanted;
    struct cni_chain *gc;

    /* cni-status.c */
    struct cni_chain *status_chain;
    struct cni_conf *status_conf; /* that status is about */
    bool status_known;
    struct err status;
    int64_t status_at; /* monotonic: the last chain began */
};

/* ---- cni-pods.c --------------------------------------------------------------------------------
 */

void cni_pods_open(struct cni *c);
void cni_pods_close(struct cni *c);
/* What is read from disk. */
void cni_pods_add(void *cni, struct cni_attachment *a_take);
/* Pods whose clean-up has not succeeded, with a reason; and those that failed CHECK. */
void cni_pods_trouble(const struct cni *c, struct strbuf *text);

/* Kills what the last podd left running for pods that are half done, holds namespaces. */
void cni_pods_settle(struct cni *c);

/* ---- cni-member.c ------------------------------------------------------------------------------
 */

/* Begins what can begin. */
void cni_pump(struct cni *c);

/* ---- cni-orphans.c -----------------------------------------------------------------------------
 */

/* Kills plugins that run for these sandboxes (keys). Blocks. */
void cni_kill_orphans(const struct map *ids);

/* ---- cni-status.c ------------------------------------------------------------------------------
 */

/* Another configuration is in use. */
void cni_status_renew(struct cni *c);
void cni_status_close(struct cni *c);

#endif
