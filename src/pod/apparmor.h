/*
 * apparmor.h - the AppArmor profiles that containers are confined by. Theory: apparmor.c.
 */
#ifndef POD_APPARMOR_H
#define POD_APPARMOR_H

#include <podd/pod.h>

#define APPARMOR_DEFAULT_PROFILE "podd-default"
#define APPARMOR_PARSER "/sbin/apparmor_parser"
#define APPARMOR_PARSER_TIMEOUT_MS 60000

/* Compiles podd's default profile with `parser` (a constant) and puts it in the place of an older
 * one; an error says why that could not be done. Only where the LSM is on. fn is called from the
 * loop, never from inside. */
void apparmor_default_load(struct loop *loop, const char *parser, int64_t timeout_ms,
                           pod_done_fn *fn, void *arg);

/* ERR_INVALID_ARGUMENT for a profile that is not in the kernel. */
int apparmor_check_loaded(const char *profile, struct err *e) MUST_CHECK;

#endif
