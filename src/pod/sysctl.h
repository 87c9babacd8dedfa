/*
 * sysctl.h - the sysctls of a pod.
 */
#ifndef POD_SYSCTL_H
#define POD_SYSCTL_H

#include <podd/pod.h>

/* Appends podd's defaults and what config asks for, or says which one a pod cannot have. */
int sysctl_plan(const struct sandbox_config *config, spawn_request_t *request, struct err *e)
    MUST_CHECK;

#endif
