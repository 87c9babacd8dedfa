/*
 * config.h - what the daemon is told: flags over podd.yaml over defaults.
 */
#ifndef PODD_CONFIG_H
#define PODD_CONFIG_H

#include "podd/base.h"
#include "podd/image.h"
#include "podd/net.h"

#define CONFIG_DEFAULT_FILE "/etc/podd/podd.yaml"

enum config_cgroup_driver { CGROUP_DRIVER_AUTO, CGROUP_DRIVER_CGROUPFS, CGROUP_DRIVER_SYSTEMD };
enum config_network_mode { NETWORK_MODE_BRIDGE, NETWORK_MODE_CNI };

/* Constant once loaded; all strings are its own. */
struct config {
    char *root; /* absolute, as all paths here */
    char *state;
    char *socket;    /* "unix:///..." */
    char *log_root;  /* of container logs: /var/log/pods, or <root>/logs for another root */
    char *manifests; /* of files that declare pods; NULL: none, as for another root by default */
    enum log_level log_level;
    enum config_cgroup_driver cgroup_driver;
    bool restrict_oom_score_adj;
    char *seccomp_default_profile; /* JSON file; NULL: the built-in profile */
    char **cdi_dirs;               /* strv: where vendors describe their devices */
    struct {
        enum config_network_mode mode;
        char *bridge;
        char **pools; /* CIDRs, at most NET_POOLS_MAX */
        size_t n_pools;
        unsigned mtu; /* 0: that of the uplink */
        char **dns;   /* addresses of name servers; NULL: those of the node */
        struct {
            char *config_dir;
            char **plugin_dirs;
            unsigned timeout; /* seconds */
        } cni;
    } network;
    struct {
        char *address; /* an IP address */
        uint16_t port; /* 0: any */
    } streaming;
    struct {
        char *address; /* "ip:port"; NULL: no remote masters */
        char *cert, *key, *client_ca;
        char **readers, **full; /* common names of client certificates */
    } listen;
    struct {
        uint64_t max_size;  /* bytes of each file of a declared pod's log; 0: not rotated */
        uint32_t max_files; /* at least 2 */
    } logs;
    struct {
        char *address; /* "ip:port"; NULL: no metrics */
    } metrics;
    struct image_config_registry *registries; /* their strings are the configuration's too */
    size_t n_registries;
};

/* 0; 1 when --help or --version was printed and that is all; -1 with *e set. */
int config_load(int argc, char **argv, struct config **ret, struct err *e) MUST_CHECK;
void config_free(struct config *c); /* NULL is fine */

/* The parts, for tests: the defaults, and a file's text over what is there. */
struct config *config_new(void);
int config_read(struct config *c, const void *data, size_t len, const char *name, struct err *e)
    MUST_CHECK;

#endif
