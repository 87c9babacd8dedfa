/* User namespaces made from id maps. Theory: user-ns.c. */
#ifndef RUNTIME_USER_NS_H
#define RUNTIME_USER_NS_H

#include "podd/runtime.h"

/* A process that does nothing but be in new namespaces, until they are held otherwise. */
int user_ns_holder_start(id_map_t *const *uid_maps, size_t n_uid_maps, id_map_t *const *gid_maps,
                         size_t n_gid_maps, uint64_t other_namespaces, struct process *ret,
                         struct err *e) MUST_CHECK;
void user_ns_holder_end(struct process *holder);
/* A descriptor of the holder's user namespace. */
int user_ns_holder_open(const struct process *holder, struct err *e) MUST_CHECK;

/* A user namespace with these maps, for an idmapped mount. */
int user_ns_from_maps(id_map_t *const *uid_maps, size_t n_uid_maps, id_map_t *const *gid_maps,
                      size_t n_gid_maps, int *ret, struct err *e) MUST_CHECK;

/* The node's number of an id of the user namespace that a process is in (`file`: "uid_map" or
 * "gid_map" of /proc/PID). */
int user_ns_id_of(pid_t pid, const char *file, uint32_t id, uint32_t *ret, struct err *e)
    MUST_CHECK;
/* The same by maps; no maps map every id to itself. */
int user_ns_id_map(id_map_t *const *maps, size_t n, uint32_t id, uint32_t *ret, struct err *e)
    MUST_CHECK;

#endif
