/* Names of systemd's slices as paths of cgroups. Theory: slice.c. */
#ifndef POD_SLICE_H
#define POD_SLICE_H

#include <podd/base.h>

/* Does the last part of a cgroup path name a slice? */
bool slice_is_meant(const char *parent);
/* The cgroup of the slice that `parent` names: "a-b.slice", or its whole path, as the kubelet
 * says it, becomes "/a.slice/a-b.slice". ERR_INVALID_ARGUMENT says what is wrong. */
int slice_path(const char *parent, char **ret_path, struct err *e) MUST_CHECK;
/* "/a.slice/a-b.slice" -> "a-b.slice"; borrowed. */
const char *slice_name(const char *path);
/* The one that podd makes below the slice for a pod. */
char *scope_name(const char *sandbox_id);

#endif
