/*
 * Reads how much a cgroup uses, on v1 and v2. What a controller that is not there would tell stays
 * zero.
 */
#include "cgroup-layout.h"

#include <fcntl.h>

enum { STAT_MAX = 16384 };

static const uint64_t unlimited = UINT64_C(1) << 62;

/* A file with one number; "max" and a missing file read as 0. */
static uint64_t number_read(int dirfd, const char *file)
{
    char text[64];
    if (dirfd < 0 || cgroup_file_read(dirfd, file, text, sizeof(text)) <= 0)
        return 0;
    return strtoull(text, NULL, 10);
}

static uint64_t limit_read(int dirfd, const char *file)
{
    uint64_t limit = number_read(dirfd, file);
    return limit >= unlimited ? 0 : limit;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The names of the same counters on both versions. */
struct memory_names {
    const char *inactive_file, *rss, *faults, *major_faults;
};

static void memory_stat_read(int dirfd, const struct memory_names *names, struct cgroup_usage *u)
{
    _cleanup_free_ char *text = xmalloc(STAT_MAX);
    if (cgroup_file_read(dirfd, "memory.stat", text, STAT_MAX) <= 0)
        return;
    u->working_set_bytes = minus(u->memory_bytes, cgroup_text_value(text, names->inactive_file));
    u->rss_bytes = cgroup_text_value(text, names->rss);
    u->page_faults = cgroup_text_value(text, names->faults);
    u->major_page_faults = cgroup_text_value(text, names->major_faults);
}

/* The cgroup's directory in the hierarchy of a v1 controller, or -1. */
static int v1_open(const char *path, const char *controller)
{
    const struct cgroup_layout *l = cgroup_layout();
    int i = cgroup_layout_v1_index(l, controller);
    return i < 0 ? -1 : cgroup_dir_open(l->v1[i].root_fd, path);
}

static bool usage_v1(const char *path, struct cgroup_usage *u)
{
    static const struct memory_names names = {"total_inactive_file", "total_rss", "total_pgfault",
                                              "total_pgmajfault"};
    _cleanup_close_ int cpu = v1_open(path, "cpuacct");
    _cleanup_close_ int memory = v1_open(path, "memory");
    _cleanup_close_ int pids = v1_open(path, "pids");
    u->cpu_ns = number_read(cpu, "cpuacct.usage");
    u->pids = number_read(pids, "pids.current");
    if (memory >= 0) {
        u->memory_bytes = number_read(memory, "memory.usage_in_bytes");
        u->memory_limit_bytes = limit_read(memory, "memory.limit_in_bytes");
        u->swap_bytes = minus(number_read(memory, "memory.memsw.usage_in_bytes"), u->memory_bytes);
        memory_stat_read(memory, &names, u);
    }
    return cpu >= 0 || memory >= 0 || pids >= 0;
}

static bool usage_v2(const char *path, struct cgroup_usage *u)
{
    static const struct memory_names names = {"inactive_file", "anon", "pgfault", "pgmajfault"};
    _cleanup_close_ int dirfd = cgroup_dir_open(cgroup_layout()->v2_root_fd, path);
    if (dirfd < 0)
        return false;
    char text[2048];
    if (cgroup_file_read(dirfd, "cpu.stat", text, sizeof(text)) > 0)
        u->cpu_ns = cgroup_text_value(text, "usage_usec") * 1000;
    u->memory_bytes = number_read(dirfd, "memory.current");
    u->memory_limit_bytes = limit_read(dirfd, "memory.max");
    u->swap_bytes = number_read(dirfd, "memory.swap.current");
    u->pids = number_read(dirfd, "pids.current");
    memory_stat_read(dirfd, &names, u);
    return true;
}

int cgroup_read_usage(const char *cgroup_path, struct cgroup_usage *ret, struct err *e)
{
    _cleanup_free_ char *path = NULL;
    if (cgroup_path_check(cgroup_path, &path, e) < 0)
        return -1;
    struct cgroup_usage u = {0};
    if (!(cgroup_mode() == CGROUP_V2 ? usage_v2(path, &u) : usage_v1(path, &u)))
        return err_set(e, ERR_NOT_FOUND, "cgroup /%s does not exist", path);
    *ret = u;
    return 0;
}
