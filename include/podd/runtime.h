/*
 * podd/runtime.h - one container out of the kernel.
 *
 * Two halves, two libraries. The *planning* half is linked into the daemon: it turns numbers and
 * names (capabilities, seccomp profiles, resource limits) into the resolved values of a container
 * spec. The *doing* half is linked into podd-shim, a static, single-threaded program: it carries a
 * spec out with system calls. Nothing here knows CRI, images or pods.
 *
 * The spec itself is defined once, in proto/shim.proto, because it travels from the daemon to the
 * shim; the generated structs are what both halves work on.
 */
#ifndef PODD_RUNTIME_H
#define PODD_RUNTIME_H

#include "podd/base.h"

#include "shim.pb-c.h"
#include <sys/stat.h>

typedef Podd__Shim__ContainerSpec container_spec_t;
typedef Podd__Shim__ProcessSpec process_spec_t;
typedef Podd__Shim__CgroupWrite cgroup_write_t;
typedef Podd__Shim__DeviceRule device_rule_t;
typedef Podd__Shim__Mount mount_spec_t;
typedef Podd__Shim__IdMap id_map_t;
typedef Podd__Shim__Sysctl sysctl_t;

/* ==== Planning: linked into the daemon ======================================================== */

/* What this machine's cgroups look like (cgroups(7)). Probed once, constant afterwards. */
enum cgroup_mode {
    CGROUP_V1,
    CGROUP_HYBRID,
    CGROUP_V2
}; /* hybrid: v1 controllers beside a v2 tree */
enum cgroup_mode cgroup_mode(void);
/* Is the controller ("memory", "cpu", "pids", "cpuset", "hugetlb", "io"/"blkio", ...) usable? */
bool cgroup_has_controller(const char *name);

struct hugepage_limit {
    const char *page_size; /* "2MB" */
    uint64_t bytes;
};

/* Limits as CRI counts them (v1-shaped). Zero means "not set" except where said. */
struct cgroup_limits {
    int64_t cpu_period;        /* us */
    int64_t cpu_quota;         /* us per period; -1 unlimited */
    int64_t cpu_shares;        /* 2..262144; converted to cpu.weight on v2 */
    int64_t memory_bytes;      /* -1 unlimited */
    int64_t memory_swap_bytes; /* memory + swap; -1 unlimited; 0: equal to memory_bytes */
    int64_t pids;              /* -1 unlimited */
    const char *cpuset_cpus, *cpuset_mems;
    const struct hugepage_limit *hugepages;
    size_t n_hugepages;
    const struct key_value *unified; /* raw v2 files; an error on v1 */
    size_t n_unified;
};
/* Appends the writes for this machine's cgroup version, in an order the kernel accepts. The
 * strings are allocated as protobuf-c expects (free with the message). */
int cgroup_plan(const struct cgroup_limits *limits, cgroup_write_t ***writes, size_t *n_writes,
                struct err *e) MUST_CHECK;
/* The device rules and nodes that every unprivileged container has (null, zero, full, random,
 * urandom, tty, ptmx, pts/N), appended to the spec. */
void device_plan_default(container_spec_t *spec);
/* Every device of the host, and a rule that allows all of them. */
int device_plan_privileged(container_spec_t *spec, struct err *e) MUST_CHECK;
/* Adds the host device at host_path (a directory: all below it) as container_path. `access` out of
 * "rwm". */
int device_plan_add(container_spec_t *spec, const char *host_path, const char *container_path,
                    const char *access, struct err *e) MUST_CHECK;
/* Adds a node with the type, mode, number and owner of `st`. */
void device_plan_node(container_spec_t *spec, const char *container_path, const struct stat *st,
                      const char *access);

/* Capabilities as bit masks (capabilities(7)). */
uint64_t capability_all(void);     /* known to the kernel and in podd's own bounding set */
uint64_t capability_default(void); /* the set an unprivileged container starts with */
/* "NET_ADMIN", "CAP_NET_ADMIN", any case. ERR_INVALID_ARGUMENT names the unknown one. */
int capability_parse(const char *name, uint64_t *ret_mask, struct err *e) MUST_CHECK;

/* Seccomp programs (seccomp(2)), compiled with libseccomp and cached by content. `caps` decides
 * the capability-conditional rules. The default profile is an allow-list of podd's own. */
int seccomp_compile_default(uint64_t caps, struct bytes *ret, struct err *e) MUST_CHECK;
/* A profile in the OCI/Docker JSON form. ERR_INVALID_ARGUMENT says where it is broken. */
int seccomp_compile_json(const char *json, size_t len, uint64_t caps, struct bytes *ret,
                         uint32_t *ret_flags, struct err *e) MUST_CHECK;

/* How long processes waited for something (pressure stall information): total in ns, the averages
 * of the last 10, 60 and 300 s in percent. */
struct cgroup_stall {
    uint64_t total_ns;
    double avg10, avg60, avg300;
};
struct cgroup_pressure {
    bool known; /* only on v2, and only where the kernel counts it */
    struct cgroup_stall some, full;
};

/* Current use of a cgroup, for stats. Missing controllers leave zeros; a limit of 0 is none. */
struct cgroup_usage {
    uint64_t cpu_ns;
    uint64_t memory_bytes, working_set_bytes, rss_bytes, memory_limit_bytes;
    uint64_t page_faults, major_page_faults;
    uint64_t swap_bytes, swap_limit_bytes; /* of swap alone */
    uint64_t pids;
    struct cgroup_pressure cpu_pressure, memory_pressure, io_pressure;
};
/* Blocks for a moment: call on a worker thread. ERR_NOT_FOUND: there is no such cgroup. */
int cgroup_read_usage(const char *cgroup_path, struct cgroup_usage *ret, struct err *e) MUST_CHECK;

#define CGROUP_DEVICES_MAX 16
#define CGROUP_PAGE_SIZES_MAX 4

/* What else is counted, for metrics. A limit of 0 is none. */
struct cgroup_detail {
    uint64_t cpu_user_ns, cpu_system_ns;
    uint64_t periods, throttled_periods, throttled_ns;
    uint64_t cpu_period_us, cpu_quota_us, cpu_shares;
    uint64_t cache_bytes, mapped_bytes, kernel_bytes, memory_max_bytes, memory_failures;
    uint64_t memory_reservation_bytes, swap_limit_bytes; /* the latter with memory */
    uint64_t oom_kills;
    uint64_t pids_limit;
    struct cgroup_device {
        uint32_t major, minor;
        uint64_t read_bytes, write_bytes, reads, writes;
    } devices[CGROUP_DEVICES_MAX];
    size_t n_devices;
    struct cgroup_huge {
        char page_size[24]; /* as the files are named: "2MB" */
        uint64_t used_bytes, max_bytes;
    } huge[CGROUP_PAGE_SIZES_MAX];
    size_t n_huge;
};
int cgroup_read_detail(const char *cgroup_path, struct cgroup_detail *ret, struct err *e)
    MUST_CHECK;
/* What the processes of a cgroup have open and how they are bound, from procfs. */
struct cgroup_processes {
    uint64_t processes, threads, descriptors, sockets;
};
int cgroup_read_processes(const char *cgroup_path, struct cgroup_processes *ret, struct err *e)
    MUST_CHECK;
/* Do containers' cgroups tell these? In the hybrid shape hugetlb is only switched on on demand. */
bool cgroup_counts_huge_pages(void);
bool cgroup_counts_pressure(void);

/* Kernel features that podd needs or can use, found out by trying. */
struct kernel_features {
    bool openat2, clone3, pidfd, mount_api, seccomp_filter, overlayfs;         /* needed */
    bool idmapped_mounts, recursive_read_only, cgroup_kill, apparmor, selinux; /* optional */
    bool mapped_layers;   /* root file systems of pods with a user namespace */
    bool user_namespaces; /* the same, and volumes of every usual kind */
};
/* ERR_FAILED_PRECONDITION names the first needed feature that is missing. Any thread. */
int kernel_probe(struct kernel_features *ret, struct err *e) MUST_CHECK;

/* Removes what is left of a cgroup after its shim is gone: kills every process in it, waits up to
 * timeout_ms for them to go, removes the directories in every hierarchy. Missing is success.
 * Blocks: call on a worker thread. Any thread. */
int cgroup_destroy(const char *cgroup_path, int64_t timeout_ms, struct err *e) MUST_CHECK;
/* Makes `leaf` below a cgroup of the v2 tree that exists, and moves a process into it. Blocks, as
 * the kernel waits for all running forks to pass: call on a worker thread. Any thread. */
int cgroup_adopt(const char *cgroup_path, const char *leaf, pid_t pid, struct err *e) MUST_CHECK;

/* ==== Doing: linked into the shim ==============================================================
 */

/* A container's cgroup: directory fds in every hierarchy, held open so that counters can be read
 * after the last process left. */
struct cgroup;
/* Makes `path` below every hierarchy (parents too, v2 controllers enabled on the way), applies the
 * writes and device rules. Undone on failure. */
int cgroup_create(const char *path, cgroup_write_t *const *writes, size_t n_writes,
                  device_rule_t *const *rules, size_t n_rules, struct cgroup **ret, struct err *e)
    MUST_CHECK;
/* A leaf below `parent` for one exec, so that killing it kills all of it and nothing else. */
int cgroup_create_leaf(struct cgroup *parent, const char *name, struct cgroup **ret, struct err *e)
    MUST_CHECK;
int cgroup_update(struct cgroup *cg, cgroup_write_t *const *writes, size_t n_writes, struct err *e)
    MUST_CHECK;
/* Moves the calling, single-threaded process in: v1 `tasks` files and v2 cgroup.procs, writing 0.
 */
int cgroup_enter(struct cgroup *cg, struct err *e) MUST_CHECK;
/* fd for CLONE_INTO_CGROUP, or -1 where there is no usable v2 tree. Borrowed. */
int cgroup_v2_fd(const struct cgroup *cg);
/* Signals every process in it and below. SIGKILL uses cgroup.kill where the kernel has it. Thaws a
 * frozen one first. 0 or -errno. */
int cgroup_signal(struct cgroup *cg, int signo);
bool cgroup_is_empty(const struct cgroup *cg);
/* Did the kernel OOM-kill something in it since it was made? */
bool cgroup_oom_killed(const struct cgroup *cg);
/* Removes the directories; EBUSY while a process is left. 0 or -errno. */
int cgroup_remove(struct cgroup *cg);
void cgroup_free(struct cgroup *cg); /* closes; removes nothing */

/* A process by number and pidfd; `pidfd` is what signals and waits go through. */
struct process {
    pid_t pid;
    int pidfd;
};
#define PROCESS_NULL                                                                               \
    {                                                                                              \
        .pid = 0, .pidfd = -1                                                                      \
    }

/* What a process of a container is made from besides its spec. All fds are borrowed. */
struct process_io {
    int stdin_fd, stdout_fd, stderr_fd; /* with tty: all three unused */
    int *ret_tty_master;                /* with tty: the terminal's master, the caller's */
};

/* The pod's namespaces as the shim holds them. The shim lives in the pod's net, ipc and uts
 * namespaces itself, so only the others are named here. */
struct pod_namespaces {
    int host_mntns; /* the node's mount namespace, where mount sources are cloned */
    int user_ns;    /* -1: the host's */
    int pid_ns;     /* the pod's shared PID namespace, or -1 */
    int shm;        /* O_PATH of the pod's /dev/shm in the shim's own mount namespace, or -1 */
};

/* Mount sources opened ahead of the start, so that what is wrong with them is an error of the
 * create call. They serve one start. `given`: the detached mounts that came along, borrowed. */
struct mount_sources;
int mount_sources_open(const container_spec_t *spec, const struct pod_namespaces *ns,
                       const int *given, size_t n_given, struct mount_sources **ret, struct err *e)
    MUST_CHECK;
void mount_sources_free(struct mount_sources *m);

/* Starts the container's first process: clone3 into new namespaces and the cgroup, builds the
 * mount tree on rootfs_fd (a detached mount), pivots, drops privileges, execs. Returns once execve
 * succeeded, or fails with what failed in the child, on which path and why; no process is left
 * then. pid_target_pidfd is that of the PID_TARGET container, else -1. The sources are spent either
 * way. Close rootfs_fd soon afterwards: a descriptor of a mount keeps its file system busy. */
int container_start(const container_spec_t *spec, const struct pod_namespaces *ns, int rootfs_fd,
                    struct mount_sources *sources, struct cgroup *cg, int pid_target_pidfd,
                    const struct process_io *io, struct process *ret, struct err *e) MUST_CHECK;

/* Starts another process inside the running container `init`: joins its namespaces, the leaf
 * cgroup, then as container_start from dropping privileges on. */
int container_exec(const process_spec_t *spec, const struct process *init,
                   const struct pod_namespaces *ns, struct cgroup *leaf,
                   const struct process_io *io, struct process *ret, struct err *e) MUST_CHECK;

/* Makes the calling process the pod's sandbox: enters the namespaces that the request says (net,
 * ipc, uts, and always a mount namespace), sets the hostname, brings the loopback link up, applies
 * the sysctls, mounts the pod's /dev/shm. The new mount namespace holds a tiny tree of the pod's
 * own that containers' are copied from; the process's root directory stays the node's, so paths
 * mean what they mean on the node, with the node's mounts as they come and go. With id maps the
 * namespaces belong to a new user namespace, but the process itself stays in the node's. */
int sandbox_enter(const Podd__Shim__SpawnRequest *request, struct pod_namespaces *ret,
                  struct err *e) MUST_CHECK;
/* Optional: once in a process that forks sandboxes, before the first. Takes the part out of every
 * sandbox_enter() that is the same for all (leaving the node's mounts behind). The process itself
 * keeps the node's root directory, but mounts nothing on the node from then on. */
int sandbox_prepare(struct err *e) MUST_CHECK;
/* Starts the pod's PID 1 for a shared PID namespace: reaps orphans, does nothing else. */
int sandbox_start_init(struct pod_namespaces *ns, struct process *ret, struct err *e) MUST_CHECK;

#endif
