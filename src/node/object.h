/*
 * object.h - the Namespaces, ConfigMaps and Secrets of this node.
 *
 * One struct object each, in memory and as <root>/objects/<Kind>_<namespace>_<name>.json (0600). A
 * change is written before it is in force; several changes of one apply are all staged before the
 * first of them takes its place, so that a full disk leaves everything as it was.
 *
 * A namespace need not be declared to be used: declaring it gives it labels, and deleting it ends
 * all that is in it.
 */
#ifndef NODE_OBJECT_H
#define NODE_OBJECT_H

#include "private.h"

struct object {
    struct list item; /* of node->object_list, oldest first */
    struct node *node;
    char *key; /* "<Kind>/<namespace>/<name>" */
    struct object_manifest *manifest;
    uint64_t version;
    bool busy;            /* its record is being written or removed */
    bool deleting;        /* a Namespace that waits for its content to be gone */
    bool marked;          /* deleting, and the record on disk says so */
    struct calls marking; /* DeleteObject calls that wait for the mark on disk, no longer */
    struct calls waiting; /* DeleteObject calls that wait for the end */
};

/* object.c */
struct object *object_find(struct node *n, enum object_kind kind, const char *namespace_,
                           const char *name);
/* The object's manifest takes the place of the one before, or the object is made. */
struct object *object_install(struct node *n, struct object_manifest *manifest_take);
void object_free(struct object *o);
void objects_close(struct node *n);
/* Is the namespace being deleted? */
bool namespace_is_ending(struct node *n, const char *namespace_);
/* What may not change in an object that is there. */
int object_check_change(const struct object *before, const struct object_manifest *m, struct err *e)
    MUST_CHECK;
/* Deletes what is in the namespace, and then it. The call is answered then, or, without `wait`,
 * when the mark is on disk. */
void namespace_delete(struct object *o, struct rpc_call *call, bool wait);
void namespaces_check(struct node *n); /* a declared pod or an object is gone */

/* object_store.c */
int objects_load(struct node *n, struct err *e) MUST_CHECK;
/* Writes the records of all the manifests (borrowed until done), or none. Gives them their uid and
 * time of creation: those of the object that is there, or new ones. */
void objects_save(struct node *n, struct object_manifest *const *manifests, size_t count,
                  void (*done)(struct op *op, const char *id, const struct err *e), void *job);
/* Removes the record; the object is busy from here on. */
void object_remove(struct object *o,
                   void (*done)(struct op *op, const char *id, const struct err *e), void *job);

/* object_call.c */
void object_call_get(struct rpc_call *call, const ProtobufCMessage *request, void *ctx);
void object_call_list(struct rpc_call *call, const ProtobufCMessage *request, void *ctx);
void object_call_delete(struct rpc_call *call, const ProtobufCMessage *request, void *ctx);
void object_call_secret_data(struct rpc_call *call, const ProtobufCMessage *request, void *ctx);

#endif
