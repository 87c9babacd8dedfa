/*
 * files.h - the pod's resolv.conf, hostname and hosts: typed encoders, and writing.
 */
#ifndef POD_FILES_H
#define POD_FILES_H

#include <podd/pod.h>

/* Letters, digits, '.', '-' and '_', at most 64: what uname(2) holds and hosts(5) can carry. */
int hostname_check(const char *hostname, struct err *e) MUST_CHECK;
/* What config asks for; else these servers (strv), which a host-network pod does not get; else,
 * where they are NULL, the node's. */
int resolv_conf_make(const struct sandbox_config *config, char *const *servers, struct strbuf *ret,
                     struct err *e) MUST_CHECK;
/* For a pod with addresses of its own; of a host-network pod it is the node's. */
int hosts_make(const struct sandbox *s, struct strbuf *ret, struct err *e) MUST_CHECK;
/* A new file 0644 in dir, owned by the pod's root. */
int pod_file_write(const char *dir, const char *name, const struct strbuf *content,
                   const struct sandbox *s, struct err *e) MUST_CHECK;

#endif
