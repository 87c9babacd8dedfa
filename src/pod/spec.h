/*
 * spec.h - the one translation: what a caller wants and what the image says, into what the kernel
 * is told.
 *
 * It has two halves, because the user is known only when the image's root file system is there:
 * plan_make() does everything else and so finds out most mistakes before anything is made;
 * plan_set_user() completes it. Neither changes anything outside of the plan.
 */
#ifndef POD_SPEC_H
#define POD_SPEC_H

#include "cdi.h"
#include "image_mount.h"

#include <podd/pod.h>

/* All that a plan depends on. Everything is borrowed. */
struct spec_input {
    const struct container_config *config;
    const struct image_config *image;
    const char *container_id;
    const struct cdi_request *cdi; /* its devices by CDI; NULL: none */

    /* The sandbox. */
    const char *hostname, *log_directory, *cgroup_parent;
    const char *files_dir; /* with the pod's hosts, hostname, resolv.conf */
    bool host_network, host_ipc, privileged_allowed;
    const struct id_range *uid_maps, *gid_maps;
    size_t n_uid_maps, n_gid_maps;

    /* The daemon. */
    const char *volumes_dir; /* of this container: "<volumes_dir>/<n>" for an image's volumes */
    const char *seccomp_default_profile; /* NULL: the built-in one */
    bool restrict_oom_score_adj;
    const struct kernel_features *kernel;
    bool apparmor_default_loaded;
};

struct plan {
    container_spec_t *spec;
    int stop_signal;
    char *user; /* for image_user_resolve() */
    bool groups_strict;
    uint32_t *extra_groups;
    size_t n_extra_groups;
    char **volumes; /* strv: paths in the image; the n-th becomes <volumes_dir>/<n> */
    char **sources; /* strv: host paths that must exist */
    struct image_mounts image_mounts;
};

int plan_make(const struct spec_input *in, struct plan **ret, struct err *e) MUST_CHECK;
/* Also gives all groups, sorted and with the primary one, for the status. Owned by the caller. */
void plan_set_user(struct plan *plan, const struct image_user *user, uint32_t **ret_groups,
                   size_t *ret_n_groups);
void plan_free(struct plan *plan);

/* "SIGQUIT", "QUIT", "3", "SIGRTMIN+3", any case; 0 when it is none of them. */
int stop_signal_parse(const char *text);
/* Absolute, no "..", "//", "/." or trailing slash; NULL with *e set otherwise. Caller frees. */
char *container_path_normalise(const char *what, const char *path, struct err *e);

/* ---- Parts, one file each ---------------------------------------------------------------------
 */

int spec_set_mounts(struct plan *plan, const struct spec_input *in, struct err *e) MUST_CHECK;
int spec_set_cdi(struct plan *plan, const struct spec_input *in, struct err *e) MUST_CHECK;
/* A mount that a device brings along. Strings are borrowed. */
int cdi_mount_config(const struct cdi_mount *m, struct mount_config *ret, struct err *e) MUST_CHECK;
int spec_set_security(struct plan *plan, const struct spec_input *in, struct err *e) MUST_CHECK;
/* Adds KEY=value, or replaces the value of a KEY that is there. */
void env_set(process_spec_t *process, const char *key, const char *value);
bool env_has(const process_spec_t *process, const char *key);
/* Repeated fields of strings as protobuf-c has them. */
void strings_push(char ***list, size_t *n, const char *s);

#endif
