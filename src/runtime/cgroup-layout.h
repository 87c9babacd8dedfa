/*
 * What this machine's cgroup hierarchies are and the small file operations on them that both
 * halves of the room use. Theory: cgroup-layout.c, cgroup-tree.c.
 */
#ifndef RUNTIME_CGROUP_LAYOUT_H
#define RUNTIME_CGROUP_LAYOUT_H

#include "podd/runtime.h"

/* One v1 hierarchy: one controller, or several mounted together. */
struct cgroup_hierarchy {
    char *name;        /* as mounted: "cpu,cpuacct", "memory", "name=systemd" */
    char *mount_point; /* "/sys/fs/cgroup/cpu,cpuacct" */
    char **controllers;
    int root_fd; /* O_PATH of its root directory */
};

struct cgroup_layout {
    enum cgroup_mode mode;
    struct cgroup_hierarchy *v1;
    size_t n_v1;
    int v2_root_fd;        /* the v2 tree, or -1 */
    char *v2_mount_point;  /* or NULL */
    char **v2_controllers; /* that the root of the v2 tree offers */
};

/* Probed on the first call. Any thread. */
const struct cgroup_layout *cgroup_layout(void);

/* The index in v1[] of the hierarchy that has the controller, or -1. */
int cgroup_layout_v1_index(const struct cgroup_layout *layout, const char *controller);

/* Checks a path such as "/podd/pod1/abc" and returns it without leading and doubled slashes,
 * caller frees. Refuses the root itself, "." and "..". */
int cgroup_path_check(const char *path, char **ret, struct err *e) MUST_CHECK;

/* One value in one file of a cgroup directory. 0 or -errno. */
int cgroup_file_write(int dirfd, const char *file, const char *value);
/* Reads at most len - 1 bytes and terminates. Bytes or -errno. */
ssize_t cgroup_file_read(int dirfd, const char *file, char *buf, size_t len);
/* The number on the line "key value" of a file such as memory.events; 0 when there is none. */
uint64_t cgroup_text_value(const char *text, const char *key);

/* A file with one number; "max" and a missing file read as 0. dirfd may be -1. */
uint64_t cgroup_number_read(int dirfd, const char *file);
/* The same, where what is too large to be meant is no limit: 0. */
uint64_t cgroup_limit_read(int dirfd, const char *file);
/* The cgroup's directory in the hierarchy of a v1 controller, or -1. */
int cgroup_v1_open(const char *path, const char *controller);

/* Opens the directory of `path` (as returned by cgroup_path_check) below a hierarchy's root. fd or
 * -errno. */
int cgroup_dir_open(int root_fd, const char *path);
/* Removes the directory and all below it. Missing is success; -EBUSY while processes are left. */
int cgroup_dir_remove(int parent_fd, const char *path);
/* Signals every process in the directory and below that stays in it while we look. 0 or -errno. */
int cgroup_dir_signal(int dirfd, int signo);
/* Kills through cgroup.kill. 0, or -errno: -ENOENT where the kernel has it not. */
int cgroup_v2_kill(int dirfd);
/* Is a process in the directory or below? */
bool cgroup_v2_populated(int dirfd);
bool cgroup_v1_populated(int dirfd);

#endif
