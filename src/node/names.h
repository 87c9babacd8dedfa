/*
 * names.h - what Kubernetes allows as a name. Pure. Each check returns NULL, or what is wrong as
 * the rest of a sentence ("must be ...").
 */
#ifndef NODE_NAMES_H
#define NODE_NAMES_H

#include "podd/base.h"

const char *name_check_dns_label(const char *s);     /* DNS-1123 label, 63 */
const char *name_check_dns_subdomain(const char *s); /* labels joined by dots, 253 */
const char *name_check_label_key(const char *s);     /* [prefix/]name */
const char *name_check_label_value(const char *s);
const char *name_check_env_name(const char *s);
const char *name_check_port_name(const char *s); /* IANA_SVC_NAME, 15 */
const char *name_check_ip(const char *s);
const char *name_check_absolute_path(const char *s); /* absolute, no ".." component */
const char *name_check_relative_path(const char *s); /* relative, no ".." component */
const char *name_check_file_path(const char *s); /* of a file in a volume: nor begins with ".." */
const char *name_check_not_empty(const char *s);
const char *name_check_data_key(const char *s); /* of a ConfigMap or Secret: a file name */
const char *name_check_image(const char *s);

#endif
