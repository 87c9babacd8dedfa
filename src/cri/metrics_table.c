/*
 * metrics_table.c - the rows of metrics.h. Most values are one number of the sample: TELL names a
 * function after it. Those with labels of their own tell several.
 */
#include "metrics.h"

#include <stdio.h>

#define USAGE (source->container->usage)
#define DETAIL (source->container->detail)

#define TELL(what, value)                                                                          \
    static void tell_##what(const struct metric_source *source, struct metric_sink *sink)          \
    {                                                                                              \
        metric_tell(sink, (value), NULL);                                                          \
    }

/* ---- Processor ---------------------------------------------------------------------------------
 */

static void tell_cpu_usage(const struct metric_source *source, struct metric_sink *sink)
{
    metric_tell(sink, USAGE.cpu_ns / NS_PER_SEC, (const char *[]){"total"});
}
TELL(cpu_user, DETAIL.cpu_user_ns / NS_PER_SEC)
TELL(cpu_system, DETAIL.cpu_system_ns / NS_PER_SEC)
TELL(cfs_periods, DETAIL.periods)
TELL(cfs_throttled_periods, DETAIL.throttled_periods)
TELL(cfs_throttled_seconds, DETAIL.throttled_ns / NS_PER_SEC)
TELL(cpu_period, DETAIL.cpu_period_us)
TELL(cpu_quota, DETAIL.cpu_quota_us)
TELL(cpu_shares, DETAIL.cpu_shares)

/* ---- Memory ------------------------------------------------------------------------------------
 */

TELL(memory_usage, USAGE.memory_bytes)
TELL(memory_working_set, USAGE.working_set_bytes)
TELL(memory_rss, USAGE.rss_bytes)
TELL(memory_swap, USAGE.swap_bytes)
TELL(memory_cache, DETAIL.cache_bytes)
TELL(memory_mapped, DETAIL.mapped_bytes)
TELL(memory_kernel, DETAIL.kernel_bytes)
TELL(memory_max, DETAIL.memory_max_bytes)
TELL(memory_failcnt, DETAIL.memory_failures)
TELL(memory_limit, USAGE.memory_limit_bytes)
TELL(memory_swap_limit, DETAIL.swap_limit_bytes)
TELL(memory_reservation, DETAIL.memory_reservation_bytes)
TELL(oom_events, DETAIL.oom_kills)

/* The counters of v1 and v2 include the cgroups below, and a container's has none but for execs. */
static void tell_memory_failures(const struct metric_source *source, struct metric_sink *sink)
{
    static const char *const scopes[] = {"container", "hierarchy"};

    for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
        metric_tell(sink, USAGE.page_faults, (const char *[]){"pgfault", scopes[i]});
        metric_tell(sink, USAGE.major_page_faults, (const char *[]){"pgmajfault", scopes[i]});
    }
}

static void tell_huge_usage(const struct metric_source *source, struct metric_sink *sink)
{
    for (size_t i = 0; i < DETAIL.n_huge; i++)
        metric_tell(sink, DETAIL.huge[i].used_bytes, (const char *[]){DETAIL.huge[i].page_size});
}

static void tell_huge_max(const struct metric_source *source, struct metric_sink *sink)
{
    for (size_t i = 0; i < DETAIL.n_huge; i++)
        metric_tell(sink, DETAIL.huge[i].max_bytes, (const char *[]){DETAIL.huge[i].page_size});
}

/* v2 does not keep the highest use of huge pages. */
static bool huge_max_is_counted(void)
{
    return cgroup_counts_huge_pages() && cgroup_mode() == CGROUP_V1;
}

/* ---- Waiting -----------------------------------------------------------------------------------
 */

TELL(cpu_stalled, USAGE.cpu_pressure.full.total_ns / NS_PER_SEC)
TELL(cpu_waiting, USAGE.cpu_pressure.some.total_ns / NS_PER_SEC)
TELL(memory_stalled, USAGE.memory_pressure.full.total_ns / NS_PER_SEC)
TELL(memory_waiting, USAGE.memory_pressure.some.total_ns / NS_PER_SEC)
TELL(io_stalled, USAGE.io_pressure.full.total_ns / NS_PER_SEC)
TELL(io_waiting, USAGE.io_pressure.some.total_ns / NS_PER_SEC)

/* ---- Disks -------------------------------------------------------------------------------------
 */

static void device_name(const struct cgroup_device *d, char ret[32])
{
    snprintf(ret, 32, "%u:%u", d->major, d->minor);
}

static void tell_device(struct metric_sink *sink, const struct cgroup_device *d, uint64_t value)
{
    char name[32];

    device_name(d, name);
    metric_tell(sink, value, (const char *[]){name});
}

#define TELL_DEVICES(what, member)                                                                 \
    static void tell_##what(const struct metric_source *source, struct metric_sink *sink)          \
    {                                                                                              \
        for (size_t i = 0; i < DETAIL.n_devices; i++)                                              \
            tell_device(sink, &DETAIL.devices[i], DETAIL.devices[i].member);                       \
    }
TELL_DEVICES(fs_read_bytes, read_bytes)
TELL_DEVICES(fs_write_bytes, write_bytes)
TELL_DEVICES(fs_reads, reads)
TELL_DEVICES(fs_writes, writes)

static void tell_blkio(const struct metric_source *source, struct metric_sink *sink)
{
    for (size_t i = 0; i < DETAIL.n_devices; i++) {
        const struct cgroup_device *d = &DETAIL.devices[i];
        char name[32], major[16], minor[16];
        device_name(d, name);
        snprintf(major, sizeof(major), "%u", d->major);
        snprintf(minor, sizeof(minor), "%u", d->minor);
        metric_tell(sink, d->read_bytes, (const char *[]){name, major, minor, "Read"});
        metric_tell(sink, d->write_bytes, (const char *[]){name, major, minor, "Write"});
    }
}

#define TELL_DISK(what, value)                                                                     \
    static void tell_##what(const struct metric_source *source, struct metric_sink *sink)          \
    {                                                                                              \
        metric_tell(sink, (value), (const char *[]){source->disk.device});                         \
    }
TELL_DISK(fs_limit, source->disk.bytes)
TELL_DISK(fs_inodes, source->disk.inodes)
TELL_DISK(fs_inodes_free, source->disk.inodes_free)

static void tell_fs_usage(const struct metric_source *source, struct metric_sink *sink)
{
    if (source->layer)
        metric_tell(sink, source->layer->bytes, (const char *[]){source->disk.device});
}

/* ---- Processes ---------------------------------------------------------------------------------
 */

TELL(processes, source->container->processes.processes)
TELL(threads, source->container->processes.threads)
TELL(threads_max, DETAIL.pids_limit)
TELL(descriptors, source->container->processes.descriptors)
TELL(sockets, source->container->processes.sockets)
TELL(start_time, source->started_s)
TELL(last_seen, source->now_s)

static void tell_ulimits(const struct metric_source *source, struct metric_sink *sink)
{
    if (source->container->open_files_limit >= 0)
        metric_tell(sink, (uint64_t)source->container->open_files_limit,
                    (const char *[]){"max_open_files"});
}

/* ---- Network (of the pod) ----------------------------------------------------------------------
 */

#define TELL_INTERFACES(what, member)                                                              \
    static void tell_##what(const struct metric_source *source, struct metric_sink *sink)          \
    {                                                                                              \
        for (size_t i = 0; i < source->sandbox->n_interfaces; i++)                                 \
            metric_tell(sink, source->sandbox->interfaces[i].member,                               \
                        (const char *[]){source->sandbox->interfaces[i].name});                    \
    }
TELL_INTERFACES(rx_bytes, rx_bytes)
TELL_INTERFACES(rx_packets, rx_packets)
TELL_INTERFACES(rx_errors, rx_errors)
TELL_INTERFACES(rx_dropped, rx_dropped)
TELL_INTERFACES(tx_bytes, tx_bytes)
TELL_INTERFACES(tx_packets, tx_packets)
TELL_INTERFACES(tx_errors, tx_errors)
TELL_INTERFACES(tx_dropped, tx_dropped)

/* ---- The table ---------------------------------------------------------------------------------
 */

#define COUNTER true
#define GAUGE false
#define ROW(kind, row_name, row_help, ...)                                                         \
    {                                                                                              \
        .name = row_name, .help = row_help, .counter = kind, __VA_ARGS__                           \
    }
#define PLAIN(what) .tell = tell_##what
#define WITH(what, ...) .tell = tell_##what, .labels = {__VA_ARGS__}
#define WHERE(condition) .is_offered = condition
#define OF_POD .level = METRIC_POD

/* clang-format off */
const struct metric_row metric_rows[] = {
    ROW(COUNTER, "container_cpu_usage_seconds_total", "CPU time used, in seconds", WITH(cpu_usage, "cpu")),
    ROW(COUNTER, "container_cpu_user_seconds_total", "CPU time used in user mode, in seconds", PLAIN(cpu_user)),
    ROW(COUNTER, "container_cpu_system_seconds_total", "CPU time used in the kernel, in seconds", PLAIN(cpu_system)),
    ROW(COUNTER, "container_cpu_cfs_periods_total", "Periods of the CPU limit that have passed", PLAIN(cfs_periods)),
    ROW(COUNTER, "container_cpu_cfs_throttled_periods_total", "Periods in which the CPU limit was reached", PLAIN(cfs_throttled_periods)),
    ROW(COUNTER, "container_cpu_cfs_throttled_seconds_total", "Time spent waiting for the CPU limit's next period, in seconds", PLAIN(cfs_throttled_seconds)),
    ROW(GAUGE, "container_spec_cpu_period", "Period of the CPU limit, in microseconds", PLAIN(cpu_period)),
    ROW(GAUGE, "container_spec_cpu_quota", "CPU time allowed in a period, in microseconds; 0: no limit", PLAIN(cpu_quota)),
    ROW(GAUGE, "container_spec_cpu_shares", "Share of the CPU when it is scarce", PLAIN(cpu_shares)),

    ROW(GAUGE, "container_memory_usage_bytes", "Memory in use, caches included", PLAIN(memory_usage)),
    ROW(GAUGE, "container_memory_working_set_bytes", "Memory in use that cannot be given back at once", PLAIN(memory_working_set)),
    ROW(GAUGE, "container_memory_rss", "Anonymous memory in use, in bytes", PLAIN(memory_rss)),
    ROW(GAUGE, "container_memory_swap", "Swap in use, in bytes", PLAIN(memory_swap)),
    ROW(GAUGE, "container_memory_cache", "Page cache, in bytes", PLAIN(memory_cache)),
    ROW(GAUGE, "container_memory_mapped_file", "Files that are mapped, in bytes", PLAIN(memory_mapped)),
    ROW(GAUGE, "container_memory_kernel_usage", "Kernel memory in use, in bytes", PLAIN(memory_kernel)),
    ROW(GAUGE, "container_memory_max_usage_bytes", "Most memory that was ever in use", PLAIN(memory_max)),
    ROW(COUNTER, "container_memory_failcnt", "Times that the memory limit was hit", PLAIN(memory_failcnt)),
    ROW(COUNTER, "container_memory_failures_total", "Page faults, by kind", WITH(memory_failures, "failure_type", "scope")),
    ROW(GAUGE, "container_spec_memory_limit_bytes", "Memory limit; 0: none", PLAIN(memory_limit)),
    ROW(GAUGE, "container_spec_memory_swap_limit_bytes", "Limit of memory and swap together; 0: none", PLAIN(memory_swap_limit)),
    ROW(GAUGE, "container_spec_memory_reservation_limit_bytes", "Memory that is left to the container when it is scarce; 0: none", PLAIN(memory_reservation)),
    ROW(COUNTER, "container_oom_events_total", "Processes killed for want of memory", PLAIN(oom_events)),
    ROW(GAUGE, "container_hugetlb_usage_bytes", "Huge pages in use, in bytes", WITH(huge_usage, "pagesize"), WHERE(cgroup_counts_huge_pages)),
    ROW(GAUGE, "container_hugetlb_max_usage_bytes", "Most huge pages that were ever in use, in bytes", WITH(huge_max, "pagesize"), WHERE(huge_max_is_counted)),

    ROW(COUNTER, "container_pressure_cpu_stalled_seconds_total", "Time in which all tasks waited for a CPU", PLAIN(cpu_stalled), WHERE(cgroup_counts_pressure)),
    ROW(COUNTER, "container_pressure_cpu_waiting_seconds_total", "Time in which some task waited for a CPU", PLAIN(cpu_waiting), WHERE(cgroup_counts_pressure)),
    ROW(COUNTER, "container_pressure_memory_stalled_seconds_total", "Time in which all tasks waited for memory", PLAIN(memory_stalled), WHERE(cgroup_counts_pressure)),
    ROW(COUNTER, "container_pressure_memory_waiting_seconds_total", "Time in which some task waited for memory", PLAIN(memory_waiting), WHERE(cgroup_counts_pressure)),
    ROW(COUNTER, "container_pressure_io_stalled_seconds_total", "Time in which all tasks waited for a device", PLAIN(io_stalled), WHERE(cgroup_counts_pressure)),
    ROW(COUNTER, "container_pressure_io_waiting_seconds_total", "Time in which some task waited for a device", PLAIN(io_waiting), WHERE(cgroup_counts_pressure)),

    ROW(COUNTER, "container_blkio_device_usage_total", "Bytes moved from and to block devices", WITH(blkio, "device", "major", "minor", "operation")),
    ROW(COUNTER, "container_fs_reads_bytes_total", "Bytes read from block devices", WITH(fs_read_bytes, "device")),
    ROW(COUNTER, "container_fs_writes_bytes_total", "Bytes written to block devices", WITH(fs_write_bytes, "device")),
    ROW(COUNTER, "container_fs_reads_total", "Reads from block devices", WITH(fs_reads, "device")),
    ROW(COUNTER, "container_fs_writes_total", "Writes to block devices", WITH(fs_writes, "device")),
    ROW(GAUGE, "container_fs_usage_bytes", "Bytes that the container's writable layer takes", WITH(fs_usage, "device")),
    ROW(GAUGE, "container_fs_limit_bytes", "Size of the file system that holds writable layers", WITH(fs_limit, "device")),
    ROW(GAUGE, "container_fs_inodes_total", "Inodes of that file system", WITH(fs_inodes, "device")),
    ROW(GAUGE, "container_fs_inodes_free", "Inodes of that file system that are free", WITH(fs_inodes_free, "device")),

    ROW(GAUGE, "container_processes", "Processes in the container", PLAIN(processes)),
    ROW(GAUGE, "container_threads", "Threads in the container", PLAIN(threads)),
    ROW(GAUGE, "container_threads_max", "Threads that the container may have; 0: no limit", PLAIN(threads_max)),
    ROW(GAUGE, "container_file_descriptors", "Descriptors that the container's processes have open", PLAIN(descriptors)),
    ROW(GAUGE, "container_sockets", "Sockets among them", PLAIN(sockets)),
    ROW(GAUGE, "container_ulimits_soft", "Soft limits of the container's first process", WITH(ulimits, "ulimit")),
    ROW(GAUGE, "container_start_time_seconds", "When the container started, in seconds since the epoch", PLAIN(start_time)),
    ROW(GAUGE, "container_last_seen", "When the container was last looked at, in seconds since the epoch", PLAIN(last_seen)),

    ROW(COUNTER, "container_network_receive_bytes_total", "Bytes received", OF_POD, WITH(rx_bytes, "interface")),
    ROW(COUNTER, "container_network_receive_packets_total", "Packets received", OF_POD, WITH(rx_packets, "interface")),
    ROW(COUNTER, "container_network_receive_errors_total", "Errors while receiving", OF_POD, WITH(rx_errors, "interface")),
    ROW(COUNTER, "container_network_receive_packets_dropped_total", "Packets dropped while receiving", OF_POD, WITH(rx_dropped, "interface")),
    ROW(COUNTER, "container_network_transmit_bytes_total", "Bytes sent", OF_POD, WITH(tx_bytes, "interface")),
    ROW(COUNTER, "container_network_transmit_packets_total", "Packets sent", OF_POD, WITH(tx_packets, "interface")),
    ROW(COUNTER, "container_network_transmit_errors_total", "Errors while sending", OF_POD, WITH(tx_errors, "interface")),
    ROW(COUNTER, "container_network_transmit_packets_dropped_total", "Packets dropped while sending", OF_POD, WITH(tx_dropped, "interface")),
};
/* clang-format on */
const size_t n_metric_rows = ARRAY_SIZE(metric_rows);

bool metric_is_offered(const struct metric_row *row)
{
    return !row->is_offered || row->is_offered();
}
