/*
 * The pieces of a container's mount tree. Theory: rootfs.c.
 */
#ifndef RUNTIME_MOUNT_H
#define RUNTIME_MOUNT_H

#include <sys/stat.h>

#include "cgroup.h"

/* ---- Sources (mount-source.c) ---------------------------------------------------------------- */

/* Detached mounts in the order of spec->mounts, made before the start; -1: made in the child. */
struct mount_sources {
    int *mounts;
    bool *is_dir; /* what the target has to be */
    size_t count;
    int *cgroups; /* v1: the container's own directory of each hierarchy, else NULL */
    size_t n_cgroups;
};

/* Closes all of them, attached by now or given up. */
void mount_sources_close(struct mount_sources *m);
/* Clones the container's cgroup directories for its CGROUP mount, if it has one. */
int mount_sources_add_cgroup(struct mount_sources *m, const container_spec_t *spec,
                             const struct pod_namespaces *ns, const struct cgroup *cg,
                             struct err *e) MUST_CHECK;

/* ---- File systems (mount-make.c) ------------------------------------------------------------- */

/* A new, detached mount of a file system type. `data`: options, comma separated. fd or -errno,
 * then *ret_step says what failed. */
int fs_mount(const char *type, const char *data, uint64_t attributes, const char **ret_step);
/* The same for a mount of the spec, with its sentence of what failed. */
int fs_mount_spec(const mount_spec_t *m, struct err *e) MUST_CHECK;
/* Sets MOUNT_ATTR_* on a mount. 0 or -errno. */
int mount_attributes_set(int mount, uint64_t attributes, bool recursive);
int mount_propagation_set(int mount, uint64_t propagation);

/* ---- Targets (mount-target.c) ---------------------------------------------------------------- */

/* Opens (O_PATH) the place for a mount inside root, making what is missing of its path: a
 * directory, or an empty file. Links are followed inside the root only. */
int mount_target_open(int root, const char *path, bool is_dir, struct err *e) MUST_CHECK;
/* The directory `path` inside root, made 0755 where it is missing. fd or -errno. */
int directory_ensure(int root, const char *path);

/* ---- /dev (dev.c) ---------------------------------------------------------------------------- */

/* A detached tmpfs with the device nodes and links of the spec that belong right into it. */
int dev_make(const container_spec_t *spec, const mount_spec_t *m, struct err *e) MUST_CHECK;
/* The nodes that lie elsewhere, or all of them where no tmpfs is mounted on /dev. */
int devices_make(const container_spec_t *spec, int root, struct err *e) MUST_CHECK;

/* ---- Hiding (mask.c) ------------------------------------------------------------------------- */

/* Hides the masked paths behind the pod's null device and empty directory, which are in the
 * directory `pod_tree`, and makes the read-only paths read-only. */
int paths_hide(const container_spec_t *spec, int root, int pod_tree, struct err *e) MUST_CHECK;

/* ---- All of it (rootfs.c) -------------------------------------------------------------------- */

/* In the child, in its new mount namespace: makes rootfs the root directory, with all mounts. */
int rootfs_enter(const container_spec_t *spec, int rootfs, const struct mount_sources *sources,
                 struct err *e) MUST_CHECK;

/* The pod's own little mount tree (podtree.c): a tmpfs with these in it. */
#define POD_TREE_NULL "null"     /* character device 1:3 */
#define POD_TREE_EMPTY "empty"   /* an empty directory */
#define POD_TREE_SHM "shm"       /* mount point of the pod's /dev/shm */
#define POD_TREE_PROC "proc"     /* with a user namespace: a procfs, see podtree.c */
#define POD_TREE_CGROUP "cgroup" /* a directory per v1 hierarchy, mount points for CGROUP */

#endif
