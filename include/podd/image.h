/*
 * podd/image.h - images: references, registries, the content store, unpacked layers, and root file
 * systems made from them.
 *
 * On disk below <root>/images: `blobs/sha256/<hex>` (configurations; layers are unpacked as they
 * come), `layers/<hex of the diff_id>/fs` (an unpacked layer, in overlayfs' whiteout form),
 * `images/<image id hex>.json` (an image's record: names and digests), `tmp/` (emptied at start).
 * Writable layers are <root>/containers/<container id>/{upper,work}. Everything appears by rename.
 */
#ifndef PODD_IMAGE_H
#define PODD_IMAGE_H

#include "podd/base.h"

/* ---- References (Docker's grammar, as kubelet normalises it) ------------------------------------
 */

struct image_ref {
    char *registry;   /* "docker.io", "127.0.0.1:5000" */
    char *repository; /* "library/busybox" */
    char *tag;        /* "latest" by default; NULL when a digest is given */
    char *digest;     /* "sha256:<64 hex>" or NULL */
};
int image_ref_parse(const char *text, struct image_ref *ret, struct err *e) MUST_CHECK;
char *image_ref_format(const struct image_ref *ref); /* canonical, e.g. docker.io/library/x:1 */
void image_ref_clear(struct image_ref *ref);

/* ---- The store ----------------------------------------------------------------------------------
 */

struct image_config_registry {
    const char *prefix;    /* "docker.io" or "example.org/team" */
    char *const *mirrors;  /* URLs, tried in order before the registry itself; NULL: none */
    const char *ca;        /* PEM file or NULL */
    const char *auth_file; /* Docker's config.json form, or NULL */
};
struct image_store_config {
    const char *root;        /* <root> */
    const char *unpack_path; /* the program that unpacks layers, confined (podd-unpack) */
    const struct image_config_registry *registries;
    size_t n_registries;
};

struct image_store;
/* Loads the records, empties tmp, drops layers nobody owns. A broken record is set aside with a
 * warning; the others load. */
int image_store_open(struct loop *loop, const struct image_store_config *config,
                     struct image_store **ret, struct err *e) MUST_CHECK;
void image_store_close(struct image_store *s);

/* What an image says about the containers made from it. */
struct image_config {
    char **entrypoint, **cmd, **env; /* strv */
    char *user, *working_dir, *stop_signal;
    char **volumes; /* strv of paths */
    struct key_value *labels;
    size_t n_labels;
    char **healthcheck; /* strv: "CMD"/"CMD-SHELL"/"NONE", ...; NULL when absent */
    int64_t health_interval_ns, health_timeout_ns, health_start_period_ns;
    int64_t health_retries;
};

/* One image, owned by the store. Valid until control returns to the loop; image_hold keeps it. */
struct image {
    char *id;            /* "sha256:<hex of the configuration>": the one form used everywhere */
    char **repo_tags;    /* strv, sorted */
    char **repo_digests; /* strv, sorted */
    uint64_t size;       /* bytes: compressed layers + configuration; never 0 */
    struct image_config config;
    char **layers;       /* strv of names of layers (hex of their diff_id), lowest first */
    unsigned references; /* containers and image volumes that use it */
    bool pinned;
};
/* By any form: name, name:tag, name@digest, id with or without "sha256:", unique id prefix. NULL
 * when there is none (or the prefix is ambiguous). */
const struct image *image_find(struct image_store *s, const char *any_reference);
/* Calls fn for each image, in a stable order. */
void image_for_each(struct image_store *s, void (*fn)(void *arg, const struct image *image),
                    void *arg);
/* A used image may be removed from the list; its layers stay until released. */
void image_hold(struct image_store *s, const char *image_id);
void image_release(struct image_store *s, const char *image_id);

/* ---- Getting and removing
 * -------------------------------------------------------------------------- */

struct image_auth {
    const char *username, *password;
    const char *identity_token; /* used when there is no username */
    const char *encoded;        /* base64 of "user:password"; used when there is neither */
    const char *registry_token; /* and this last */
    const char *server_address; /* the credentials are for this host only, when set */
};
struct image_progress {
    const char *phase;                /* "resolving", "downloading", "unpacking", "done" */
    uint64_t bytes_done, bytes_total; /* of compressed layers; total 0: not known yet */
    unsigned layers_done, layers_total;
};
struct image_pull_events {
    void (*on_progress)(void *arg, const struct image_progress *p); /* may be NULL */
    /* Once; the handle is gone afterwards. *e is not set on success, image_id is NULL otherwise. */
    void (*on_done)(void *arg, const char *image_id, const struct err *e);
};
struct image_pull;
/* Pulls, or joins the pull of the same reference and credentials under way. Always asks the
 * registry for a tag; layers already here are not fetched again. */
struct image_pull *image_pull_start(struct image_store *s, const char *reference,
                                    const struct image_auth *auth,
                                    const struct image_pull_events *events, void *arg);
/* Leaves the pull; the last one to leave cancels it. on_done is not called afterwards. */
void image_pull_cancel(struct image_pull *p);

/* Pulls that ended since the store was opened; those that were joined count once. Constant until
 * control returns to the loop. */
struct image_pull_counts {
    uint64_t succeeded, failed, bytes; /* bytes of layers that were fetched */
    int64_t took_ns;                   /* all together */
};
const struct image_pull_counts *image_pull_counts(const struct image_store *s);

/* Imports a tar at `path`: an OCI archive, a docker-save archive, or a plain root file system (then
 * `name` is required, and `command` (strv) becomes its CMD when given). `name` may be NULL for
 * archives that carry one. fn as on_done above. */
void image_import(struct image_store *s, const char *path, const char *name, char *const *command,
                  void (*fn)(void *arg, const char *image_id, const struct err *e), void *arg);

/* Removes the image with all its names. Unknown is success. */
int image_remove(struct image_store *s, const char *any_reference, struct err *e) MUST_CHECK;

struct image_fs_usage {
    char *mountpoint; /* an existing directory: <root> */
    uint64_t used_bytes, inodes_used;
};
/* Kept up to date by the store: costs nothing to ask. mountpoint is borrowed. */
void image_fs_usage(struct image_store *s, struct image_fs_usage *ret);

/* ---- Root file systems
 * -------------------------------------------------------------------------------- */

/* Whose ids the files of the image get: those of a user namespace, of which id 0 is `uid` and `gid`
 * on the node. The layers are mapped (MOUNT_ATTR_IDMAP, Linux 5.19 for overlayfs), never changed.
 */
struct rootfs_ids {
    int user_ns; /* borrowed */
    uint32_t uid, gid;
};
/* Makes the container's writable layer (anew, if there is one) and assembles the overlay as a
 * *detached* mount: the fd is the caller's, the host's mount table does not change. Any thread;
 * `layers` as in struct image; `ids` NULL: the node's. */
int rootfs_create(struct image_store *s, const char *container_id, char *const *layers,
                  const struct rootfs_ids *ids, int *ret_fd, struct err *e) MUST_CHECK;
/* Deletes the writable layer, in the background once renamed away. Missing is success. */
int rootfs_remove(struct image_store *s, const char *container_id, struct err *e) MUST_CHECK;
/* What the container has written, found by looking at each file: for a worker thread. */
int rootfs_measure(const struct image_store *s, const char *container_id, struct tree_size *ret,
                   struct err *e) MUST_CHECK;
/* At start, when every container that is left holds its image again: deletes writable layers of
 * containers that no longer exist, and images that were removed while in use. */
int rootfs_reconcile(struct image_store *s, char *const *container_ids, size_t count, struct err *e)
    MUST_CHECK;

/* The image as a read-only volume, or, with `sub_path`, a directory or file of it, which no link in
 * the image leads out of: a detached mount, the caller's. ERR_INVALID_ARGUMENT: there is no such
 * sub path. Any thread. */
int image_volume_open(struct image_store *s, char *const *layers, const char *sub_path,
                      const struct rootfs_ids *ids, int *ret_fd, struct err *e) MUST_CHECK;

/* A user out of the image's own files, read inside the root file system: regular files of at most
 * 1 MiB, no links followed out of it. */
struct image_user {
    uint32_t uid, gid;
    uint32_t *groups; /* of the user in /etc/group; owned */
    size_t n_groups;
    char *name, *home; /* "" and "/" when there is no entry; owned */
};
/* `user` as in an image or CRI: "", "name", "uid", "name:group", "uid:gid". Digits are always a
 * number. ERR_INVALID_ARGUMENT: no such user or group in the image. Any thread. */
int image_user_resolve(int rootfs_fd, const char *user, struct image_user *ret, struct err *e)
    MUST_CHECK;
void image_user_clear(struct image_user *u);

#endif
