/*
 * What a cgroup counts beyond its usage: time by mode, throttling, kinds of memory, traffic of
 * block devices, huge pages. For metrics, which are asked for rarely, so every file is read each
 * time.
 *
 * v1 and v2 tell most of it by other names and in other units; what one of them does not tell stays
 * zero.
 */
#include "cgroup-layout.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>

enum { TEXT_MAX = 16384 };

static const char huge_pages_dir[] = "/sys/kernel/mm/hugepages";

/* ---- Block devices -----------------------------------------------------------------------------
 */

static struct cgroup_device *device_of(struct cgroup_detail *d, uint32_t major, uint32_t minor)
{
    for (size_t i = 0; i < d->n_devices; i++)
        if (d->devices[i].major == major && d->devices[i].minor == minor)
            return &d->devices[i];
    if (d->n_devices == CGROUP_DEVICES_MAX)
        return NULL;
    struct cgroup_device *device = &d->devices[d->n_devices++];
    *device = (struct cgroup_device){.major = major, .minor = minor};
    return device;
}

/* Lines "8:0 Read 4096"; the last one is a total. */
static void blkio_read(int dirfd, const char *file, bool bytes, struct cgroup_detail *d)
{
    _cleanup_free_ char *text = xmalloc(TEXT_MAX);
    char *rest = text;

    if (dirfd < 0 || cgroup_file_read(dirfd, file, text, TEXT_MAX) <= 0)
        return;
    for (char *line; (line = strsep(&rest, "\n"));) {
        unsigned major, minor;
        char operation[16];
        unsigned long long value;
        if (sscanf(line, "%u:%u %15s %llu", &major, &minor, operation, &value) != 4)
            continue;
        struct cgroup_device *device = device_of(d, major, minor);
        if (!device)
            continue;
        if (str_equal(operation, "Read"))
            *(bytes ? &device->read_bytes : &device->reads) = value;
        else if (str_equal(operation, "Write"))
            *(bytes ? &device->write_bytes : &device->writes) = value;
    }
}

/* Lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0". */
static void io_stat_read(int dirfd, struct cgroup_detail *d)
{
    _cleanup_free_ char *text = xmalloc(TEXT_MAX);
    char *rest = text;

    if (cgroup_file_read(dirfd, "io.stat", text, TEXT_MAX) <= 0)
        return;
    for (char *line; (line = strsep(&rest, "\n"));) {
        unsigned major, minor;
        unsigned long long n[4];
        if (sscanf(line, "%u:%u rbytes=%llu wbytes=%llu rios=%llu wios=%llu", &major, &minor, &n[0],
                   &n[1], &n[2], &n[3]) != 6)
            continue;
        struct cgroup_device *device = device_of(d, major, minor);
        if (device)
            *device = (struct cgroup_device){major, minor, n[0], n[1], n[2], n[3]};
    }
}

/* ---- Huge pages --------------------------------------------------------------------------------
 */

/* The kernel's "hugepages-2048kB" is the files' "2MB". */
static bool page_size_name(const char *entry, char *ret, size_t len)
{
    unsigned long long kib;

    if (sscanf(entry, "hugepages-%llukB", &kib) != 1)
        return false;
    if (kib >= 1 << 20)
        snprintf(ret, len, "%lluGB", kib >> 20);
    else if (kib >= 1 << 10)
        snprintf(ret, len, "%lluMB", kib >> 10);
    else
        snprintf(ret, len, "%lluKB", kib);
    return true;
}

static void huge_read(int dirfd, bool v2, struct cgroup_detail *d)
{
    DIR *sizes = opendir(huge_pages_dir);

    for (struct dirent *entry; sizes && (entry = readdir(sizes));) {
        char file[80];
        if (d->n_huge == CGROUP_PAGE_SIZES_MAX)
            break;
        struct cgroup_huge *huge = &d->huge[d->n_huge];
        if (!page_size_name(entry->d_name, huge->page_size, sizeof(huge->page_size)))
            continue;
        snprintf(file, sizeof(file), "hugetlb.%s.%s", huge->page_size,
                 v2 ? "current" : "usage_in_bytes");
        huge->used_bytes = cgroup_number_read(dirfd, file);
        snprintf(file, sizeof(file), "hugetlb.%s.max_usage_in_bytes", huge->page_size);
        huge->max_bytes = v2 ? 0 : cgroup_number_read(dirfd, file);
        d->n_huge++;
    }
    if (sizes)
        closedir(sizes);
}

bool cgroup_counts_huge_pages(void)
{
    return cgroup_mode() != CGROUP_HYBRID && cgroup_has_controller("hugetlb") &&
           access(huge_pages_dir, F_OK) == 0;
}

bool cgroup_counts_pressure(void)
{
    /* Reading fails where the kernel was told not to count it (psi=0). */
    _cleanup_close_ int fd = open("/proc/pressure/cpu", O_RDONLY | O_CLOEXEC);
    char byte;

    return cgroup_mode() == CGROUP_V2 && fd >= 0 && read(fd, &byte, 1) == 1;
}

/* ---- v1 ----------------------------------------------------------------------------------------
 */

static void memory_v1(int memory, struct cgroup_detail *d)
{
    _cleanup_free_ char *text = xmalloc(TEXT_MAX);

    if (cgroup_file_read(memory, "memory.stat", text, TEXT_MAX) > 0) {
        d->cache_bytes = cgroup_text_value(text, "total_cache");
        d->mapped_bytes = cgroup_text_value(text, "total_mapped_file");
    }
    d->kernel_bytes = cgroup_number_read(memory, "memory.kmem.usage_in_bytes");
    d->memory_max_bytes = cgroup_number_read(memory, "memory.max_usage_in_bytes");
    d->memory_failures = cgroup_number_read(memory, "memory.failcnt");
    d->memory_reservation_bytes = cgroup_limit_read(memory, "memory.soft_limit_in_bytes");
    d->swap_limit_bytes = cgroup_limit_read(memory, "memory.memsw.limit_in_bytes");
    if (cgroup_file_read(memory, "memory.oom_control", text, TEXT_MAX) > 0)
        d->oom_kills = cgroup_text_value(text, "oom_kill");
}

static void cpu_v1(int cpu, int cpuacct, struct cgroup_detail *d)
{
    char text[1024];
    long long quota;

    d->cpu_user_ns = cgroup_number_read(cpuacct, "cpuacct.usage_user");
    d->cpu_system_ns = cgroup_number_read(cpuacct, "cpuacct.usage_sys");
    if (cpu < 0)
        return;
    if (cgroup_file_read(cpu, "cpu.stat", text, sizeof(text)) > 0) {
        d->periods = cgroup_text_value(text, "nr_periods");
        d->throttled_periods = cgroup_text_value(text, "nr_throttled");
        d->throttled_ns = cgroup_text_value(text, "throttled_time");
    }
    d->cpu_period_us = cgroup_number_read(cpu, "cpu.cfs_period_us");
    d->cpu_shares = cgroup_number_read(cpu, "cpu.shares");
    if (cgroup_file_read(cpu, "cpu.cfs_quota_us", text, sizeof(text)) > 0 &&
        (quota = strtoll(text, NULL, 10)) > 0)
        d->cpu_quota_us = (uint64_t)quota;
}

static bool detail_v1(const char *path, struct cgroup_detail *d)
{
    _cleanup_close_ int cpu = cgroup_v1_open(path, "cpu");
    _cleanup_close_ int cpuacct = cgroup_v1_open(path, "cpuacct");
    _cleanup_close_ int memory = cgroup_v1_open(path, "memory");
    _cleanup_close_ int blkio = cgroup_v1_open(path, "blkio");
    _cleanup_close_ int pids = cgroup_v1_open(path, "pids");
    _cleanup_close_ int hugetlb = cgroup_v1_open(path, "hugetlb");

    cpu_v1(cpu, cpuacct, d);
    if (memory >= 0)
        memory_v1(memory, d);
    blkio_read(blkio, "blkio.throttle.io_service_bytes", true, d);
    blkio_read(blkio, "blkio.throttle.io_serviced", false, d);
    d->pids_limit = cgroup_limit_read(pids, "pids.max");
    if (cgroup_counts_huge_pages())
        huge_read(hugetlb, false, d);
    return cpu >= 0 || memory >= 0 || pids >= 0;
}

/* ---- v2 ----------------------------------------------------------------------------------------
 */

/* The weight that CRI's shares were turned into (cgroup-plan.c), turned back. */
static uint64_t shares_of_weight(uint64_t weight)
{
    if (weight == 0)
        return 0;
    double logarithm = (sqrt(125.0 * 125 + 4 * 612 * (log10((double)weight) + 7.0 / 34)) - 125) / 2;
    return (uint64_t)lrint(exp2(logarithm));
}

static void cpu_v2(int dirfd, struct cgroup_detail *d)
{
    char text[2048];
    unsigned long long quota, period;

    if (cgroup_file_read(dirfd, "cpu.stat", text, sizeof(text)) > 0) {
        d->cpu_user_ns = cgroup_text_value(text, "user_usec") * 1000;
        d->cpu_system_ns = cgroup_text_value(text, "system_usec") * 1000;
        d->periods = cgroup_text_value(text, "nr_periods");
        d->throttled_periods = cgroup_text_value(text, "nr_throttled");
        d->throttled_ns = cgroup_text_value(text, "throttled_usec") * 1000;
    }
    if (cgroup_file_read(dirfd, "cpu.max", text, sizeof(text)) > 0) {
        if (sscanf(text, "%llu %llu", &quota, &period) == 2)
            d->cpu_quota_us = quota;
        else if (sscanf(text, "max %llu", &period) != 1)
            period = 0;
        d->cpu_period_us = period;
    }
    d->cpu_shares = shares_of_weight(cgroup_number_read(dirfd, "cpu.weight"));
}

static void memory_v2(int dirfd, struct cgroup_detail *d)
{
    _cleanup_free_ char *text = xmalloc(TEXT_MAX);

    if (cgroup_file_read(dirfd, "memory.stat", text, TEXT_MAX) > 0) {
        d->cache_bytes = cgroup_text_value(text, "file");
        d->mapped_bytes = cgroup_text_value(text, "file_mapped");
        d->kernel_bytes = cgroup_text_value(text, "kernel");
    }
    if (cgroup_file_read(dirfd, "memory.events", text, TEXT_MAX) > 0) {
        d->memory_failures = cgroup_text_value(text, "max");
        d->oom_kills = cgroup_text_value(text, "oom_kill");
    }
    d->memory_max_bytes = cgroup_number_read(dirfd, "memory.peak");
    d->memory_reservation_bytes = cgroup_limit_read(dirfd, "memory.low");
    uint64_t memory = cgroup_limit_read(dirfd, "memory.max");
    uint64_t swap = cgroup_limit_read(dirfd, "memory.swap.max");
    /* No swap at all is a limit too: what memory alone allows. */
    char max[16];
    bool bounded = cgroup_file_read(dirfd, "memory.swap.max", max, sizeof(max)) > 0 &&
                   !str_starts_with(max, "max");
    d->swap_limit_bytes = memory && bounded ? memory + swap : 0;
}

static bool detail_v2(const char *path, struct cgroup_detail *d)
{
    _cleanup_close_ int dirfd = cgroup_dir_open(cgroup_layout()->v2_root_fd, path);

    if (dirfd < 0)
        return false;
    cpu_v2(dirfd, d);
    memory_v2(dirfd, d);
    io_stat_read(dirfd, d);
    d->pids_limit = cgroup_limit_read(dirfd, "pids.max");
    if (cgroup_counts_huge_pages())
        huge_read(dirfd, true, d);
    return true;
}

int cgroup_read_detail(const char *cgroup_path, struct cgroup_detail *ret, struct err *e)
{
    _cleanup_free_ char *path = NULL;

    if (cgroup_path_check(cgroup_path, &path, e) < 0)
        return -1;
    *ret = (struct cgroup_detail){0};
    if (!(cgroup_mode() == CGROUP_V2 ? detail_v2(path, ret) : detail_v1(path, ret)))
        return err_set(e, ERR_NOT_FOUND, "cgroup /%s does not exist", path);
    return 0;
}
