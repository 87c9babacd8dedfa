/*
 * Reads how much a cgroup uses, on v1 and v2. What a controller that is not there would tell stays
 * zero.
 */
#include "cgroup-layout.h"

#include <fcntl.h>
#include <stdio.h>

enum { STAT_MAX = 16384 };

static const uint64_t unlimited = UINT64_C(1) << 62;

uint64_t cgroup_number_read(int dirfd, const char *file)
{
    char text[64];
    if (dirfd < 0 || cgroup_file_read(dirfd, file, text, sizeof(text)) <= 0)
        return 0;
    return strtoull(text, NULL, 10);
}

uint64_t cgroup_limit_read(int dirfd, const char *file)
{
    uint64_t limit = cgroup_number_read(dirfd, file);
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

int cgroup_v1_open(const char *path, const char *controller)
{
    const struct cgroup_layout *l = cgroup_layout();
    int i = cgroup_layout_v1_index(l, controller);
    return i < 0 ? -1 : cgroup_dir_open(l->v1[i].root_fd, path);
}

static bool usage_v1(const char *path, struct cgroup_usage *u)
{
    static const struct memory_names names = {"total_inactive_file", "total_rss", "total_pgfault",
                                              "total_pgmajfault"};
    _cleanup_close_ int cpu = cgroup_v1_open(path, "cpuacct");
    _cleanup_close_ int memory = cgroup_v1_open(path, "memory");
    _cleanup_close_ int pids = cgroup_v1_open(path, "pids");
    u->cpu_ns = cgroup_number_read(cpu, "cpuacct.usage");
    u->pids = cgroup_number_read(pids, "pids.current");
    if (memory >= 0) {
        u->memory_bytes = cgroup_number_read(memory, "memory.usage_in_bytes");
        u->memory_limit_bytes = cgroup_limit_read(memory, "memory.limit_in_bytes");
        u->swap_bytes =
            minus(cgroup_number_read(memory, "memory.memsw.usage_in_bytes"), u->memory_bytes);
        u->swap_limit_bytes =
            minus(cgroup_limit_read(memory, "memory.memsw.limit_in_bytes"), u->memory_limit_bytes);
        memory_stat_read(memory, &names, u);
    }
    return cpu >= 0 || memory >= 0 || pids >= 0;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and the same with "full". */
static bool stall_parse(const char *text, const char *which, struct cgroup_stall *ret)
{
    const char *line = strstr(text, which);
    unsigned long long total_us;

    if (!line || sscanf(line + strlen(which), " avg10=%lf avg60=%lf avg300=%lf total=%llu",
                        &ret->avg10, &ret->avg60, &ret->avg300, &total_us) != 4)
        return false;
    ret->total_ns = total_us * 1000;
    return true;
}

static void pressure_read(int dirfd, const char *file, struct cgroup_pressure *ret)
{
    char text[512];

    ret->known = cgroup_file_read(dirfd, file, text, sizeof(text)) > 0 &&
                 stall_parse(text, "some", &ret->some);
    if (ret->known)
        (void)stall_parse(text, "full", &ret->full);
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
    u->memory_bytes = cgroup_number_read(dirfd, "memory.current");
    u->memory_limit_bytes = cgroup_limit_read(dirfd, "memory.max");
    u->swap_bytes = cgroup_number_read(dirfd, "memory.swap.current");
    u->swap_limit_bytes = cgroup_limit_read(dirfd, "memory.swap.max");
    u->pids = cgroup_number_read(dirfd, "pids.current");
    memory_stat_read(dirfd, &names, u);
    pressure_read(dirfd, "cpu.pressure", &u->cpu_pressure);
    pressure_read(dirfd, "memory.pressure", &u->memory_pressure);
    pressure_read(dirfd, "io.pressure", &u->io_pressure);
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
