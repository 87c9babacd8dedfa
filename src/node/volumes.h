/*
 * volumes.h - the volumes of a pod on the node: where they are, making them, removing them.
 *
 * Below <root>/volumes/<uid>: emptyDirs, ConfigMaps and fields of the pod, by the name of the
 * volume. Below <state>/volumes/<uid>: what must not come to a disk (Secrets, projected volumes,
 * emptyDirs in memory). That is a tmpfs: the node's, where <state> is on one, else one of the
 * pod's; an emptyDir in memory has one of its own, of its size.
 */
#ifndef NODE_VOLUMES_H
#define NODE_VOLUMES_H

#include "manifest.h"
#include "volume_payload.h"

#include "podd/base.h"

struct volumes_place {
    char *dir, *memory_dir; /* owned */
};
void volumes_place_clear(struct volumes_place *place);

/* NULL: it is no directory of podd's (hostPath, image). Caller frees. */
char *volume_path(const struct volumes_place *place, const struct manifest_volume *v);

/* Makes every volume of the pod, or finds it made, and fills it: payloads has one for each of them.
 * ERR_FAILED_PRECONDITION: a hostPath is not what its type says. Blocks; any thread. */
int volumes_prepare(const struct pod_spec *spec, const struct volumes_place *place,
                    const struct payload *payloads, struct err *e) MUST_CHECK;
/* Fills again those that podd fills. Blocks; any thread. */
int volumes_fill(const struct pod_spec *spec, const struct volumes_place *place,
                 const struct payload *payloads, struct err *e) MUST_CHECK;
/* Makes the missing directories of a path in a volume, below its root whatever links it has.
 * Blocks; any thread. */
int volume_make_sub_path(const char *volume, const char *sub_path, struct err *e) MUST_CHECK;
/* Unmounts and removes all. Missing is success. Blocks; any thread. */
int volumes_remove(const struct volumes_place *place, struct err *e) MUST_CHECK;
/* Of one pod's directory below <state>/volumes. */
int volumes_remove_memory(const char *memory_dir, struct err *e) MUST_CHECK;

#endif
