/*
 * config_check.h - what the values of flags and keys must look like.
 */
#ifndef PODD_CONFIG_CHECK_H
#define PODD_CONFIG_CHECK_H

#include "podd/base.h"

int check_path(const char *path, struct err *e) MUST_CHECK;       /* absolute, shortest form */
int check_plugin_dir(const char *path, struct err *e) MUST_CHECK; /* and no colon */
int check_socket(const char *address, struct err *e) MUST_CHECK;  /* unix:///path */
int config_check_ip(const char *text, struct err *e) MUST_CHECK;
int check_ip_port(const char *text, struct err *e) MUST_CHECK; /* 127.0.0.1:1, [::1]:1 */
int check_cidr(const char *text, struct err *e) MUST_CHECK;
int check_interface(const char *text, struct err *e) MUST_CHECK;
int check_url(const char *text, struct err *e) MUST_CHECK;    /* http or https */
int check_prefix(const char *text, struct err *e) MUST_CHECK; /* docker.io, example.org/team */

#endif
