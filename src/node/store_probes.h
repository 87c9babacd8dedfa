/*
 * store_probes.h - the state of a container's probes, as it is kept in the pod's record.
 */
#ifndef NODE_STORE_PROBES_H
#define NODE_STORE_PROBES_H

#include "private.h"

#include <jansson.h>

/* Of a member with probes attached. */
json_t *probes_to_json(const struct member *m);
/* Fills probed_id and probed; does nothing with NULL. */
void probes_from_json(struct member *m, const json_t *json);

#endif
