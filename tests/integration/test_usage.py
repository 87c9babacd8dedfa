"""Statistics and metrics by CRI: what containers and pods use, and whether it is true."""
import os
import time

import cri_pb2 as cri
import pytest

from lib import kernel
from lib.cri import Pod, exec_sync, wait_exited, wait_until

pytestmark = pytest.mark.vm

COMMON = ["container", "id", "image", "name", "namespace", "pod"]
# Told only where the cgroups tell them, and those that appear once a block device was used.
SOMETIMES = {"container_hugetlb_usage_bytes", "container_hugetlb_max_usage_bytes",
             *(f"container_pressure_{what}_{how}_seconds_total" for what in ("cpu", "memory", "io")
               for how in ("stalled", "waiting"))}
DEVICES = {"container_blkio_device_usage_total", "container_fs_reads_bytes_total",
           "container_fs_writes_bytes_total", "container_fs_reads_total",
           "container_fs_writes_total"}
ALWAYS = {f"container_{name}" for name in """
    cpu_usage_seconds_total cpu_user_seconds_total cpu_system_seconds_total cpu_cfs_periods_total
    cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total spec_cpu_period spec_cpu_quota
    spec_cpu_shares memory_usage_bytes memory_working_set_bytes memory_rss memory_swap memory_cache
    memory_mapped_file memory_kernel_usage memory_max_usage_bytes memory_failcnt
    memory_failures_total spec_memory_limit_bytes spec_memory_swap_limit_bytes
    spec_memory_reservation_limit_bytes oom_events_total fs_usage_bytes fs_limit_bytes
    fs_inodes_total fs_inodes_free processes threads threads_max file_descriptors sockets
    ulimits_soft start_time_seconds last_seen network_receive_bytes_total
    network_receive_packets_total network_receive_errors_total network_receive_packets_dropped_total
    network_transmit_bytes_total network_transmit_packets_total network_transmit_errors_total
    network_transmit_packets_dropped_total""".split()}


def linux(**resources):
    config = cri.LinuxContainerConfig(resources=cri.LinuxContainerResources(**resources))
    config.security_context.namespace_options.pid = cri.CONTAINER
    return config


@pytest.fixture
def busy(podd, pod):
    """A pod with a container that has limits and has written a file."""
    container = pod.start(
        "busybox", ["sh", "-c", "head -c 3000000 /dev/zero >/big; sync; exec sleep 1000"],
        linux=linux(cpu_period=100000, cpu_quota=50000, cpu_shares=512,
                    memory_limit_in_bytes=64 << 20))
    wait_until(lambda: exec_sync(podd, container, "cat", "/proc/1/comm").stdout == b"sleep\n")
    wait_until(lambda: value_of(podd, pod.id, "container_processes") == 1)  # the exec is reaped
    return pod.id, container


def metrics_of(podd, sandbox):
    answer = podd.runtime.ListPodSandboxMetrics(cri.ListPodSandboxMetricsRequest())
    return next(m for m in answer.pod_metrics if m.pod_sandbox_id == sandbox)


def value_of(podd, sandbox, name):
    return next(m.value.value for m in metrics_of(podd, sandbox).container_metrics[0].metrics
                if m.name == name)


def descriptors(podd):
    answer = podd.runtime.ListMetricDescriptors(cri.ListMetricDescriptorsRequest())
    return {d.name: d for d in answer.descriptors}


def test_the_names_that_a_kubelet_shows(podd):
    told = descriptors(podd)
    assert ALWAYS | DEVICES <= set(told) <= ALWAYS | DEVICES | SOMETIMES
    for name, descriptor in told.items():
        assert descriptor.help, name
        assert list(descriptor.label_keys[:6]) == COMMON, name
    has_pressure = kernel.is_cgroup_v2() and os.path.exists("/proc/pressure/cpu")
    assert ("container_pressure_cpu_waiting_seconds_total" in told) == has_pressure


def test_what_is_declared_is_told_and_nothing_else(podd, busy):
    told, samples = descriptors(podd), metrics_of(podd, busy[0])
    everything = [*samples.metrics, *samples.container_metrics[0].metrics]
    for metric in everything:
        assert len(metric.label_values) == len(told[metric.name].label_keys), metric.name
        assert metric.timestamp > 0
    assert set(told) - {m.name for m in everything} <= DEVICES
    assert len({(m.name, *m.label_values) for m in everything}) == len(everything)


def test_metrics_tell_the_truth(podd, busy):
    sandbox, container = busy
    samples = metrics_of(podd, sandbox)
    assert [c.container_id for c in samples.container_metrics] == [container]
    value = {m.name: m.value.value for m in samples.container_metrics[0].metrics}
    assert value["container_spec_cpu_period"] == 100000
    assert value["container_spec_cpu_quota"] == 50000
    assert abs(value["container_spec_cpu_shares"] - 512) <= 16  # v2 keeps a rounded weight
    assert value["container_spec_memory_limit_bytes"] == 64 << 20
    assert value["container_processes"] == 1
    assert value["container_threads"] == 1
    assert value["container_file_descriptors"] >= 3
    wait_until(lambda: value_of(podd, sandbox, "container_fs_usage_bytes") >= 3000000, timeout=15)
    assert 0 < value["container_memory_working_set_bytes"] <= 64 << 20
    assert abs(value["container_last_seen"] - time.time()) < 60
    assert value["container_start_time_seconds"] <= value["container_last_seen"]
    labels = dict(zip(COMMON, samples.container_metrics[0].metrics[0].label_values))
    assert labels["name"] == container and container in labels["id"]
    assert {m.label_values[-1] for m in samples.metrics} == {"eth0"}


def test_metrics_can_be_streamed(podd, busy):
    told = [m.pod_sandbox_id for answer in podd.runtime.StreamPodSandboxMetrics(
        cri.StreamPodSandboxMetricsRequest()) for m in answer.pod_sandbox_metrics]
    assert told.count(busy[0]) == 1


def test_stats_of_a_container(podd, busy):
    def stats():
        return podd.runtime.ContainerStats(
            cri.ContainerStatsRequest(container_id=busy[1])).stats

    wait_until(lambda: stats().writable_layer.used_bytes.value >= 3000000, timeout=15)
    first = stats()
    assert first.cpu.timestamp > 0 and first.memory.timestamp > 0 and first.io.timestamp > 0
    assert first.writable_layer.used_bytes.value >= 3000000
    assert first.writable_layer.inodes_used.value >= 1
    assert os.path.isdir(first.writable_layer.fs_id.mountpoint)
    assert first.memory.available_bytes.value == (64 << 20) - first.memory.working_set_bytes.value
    assert first.swap.HasField("swap_usage_bytes")
    assert first.cpu.HasField("psi") == kernel.is_cgroup_v2()
    wait_until(lambda: stats().cpu.HasField("usage_nano_cores"))
    assert stats().cpu.usage_nano_cores.value < 1_000_000_000


def test_a_rate_follows_the_use_of_the_processor(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "while :; do :; done"])
    wait_until(lambda: podd.runtime.ContainerStats(cri.ContainerStatsRequest(
        container_id=container)).stats.cpu.usage_nano_cores.value > 50_000_000)


def test_a_container_that_has_ended_keeps_its_layer(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "head -c 1000000 /dev/zero >/big"])
    wait_exited(podd, container)
    answer = podd.runtime.ListContainerStats(cri.ListContainerStatsRequest(
        filter=cri.ContainerStatsFilter(id=container))).stats
    assert len(answer) == 1 and not answer[0].HasField("cpu") and not answer[0].HasField("memory")
    assert answer[0].writable_layer.used_bytes.value >= 1000000


def test_stats_of_a_pod(podd, busy):
    stats = podd.runtime.PodSandboxStats(
        cri.PodSandboxStatsRequest(pod_sandbox_id=busy[0])).stats
    assert stats.linux.cpu.usage_core_nano_seconds.value > 0
    assert stats.linux.memory.working_set_bytes.value > 0
    assert stats.linux.process.process_count.value == 1
    assert stats.linux.network.default_interface.name == "eth0"
    assert [c.attributes.id for c in stats.linux.containers] == [busy[1]]


def test_a_pod_with_a_cgroup_of_its_own_is_counted_by_that(podd, pod_cgroup, no_leaks):
    """It counts what has ended too, which the sum of the containers that run does not."""
    config = cri.LinuxPodSandboxConfig(cgroup_parent=pod_cgroup)
    config.security_context.namespace_options.pid = cri.CONTAINER
    made = Pod(podd, linux=config)
    try:
        wait_exited(podd, made.start("busybox", ["sh", "-c", "for i in $(seq 100000); do :; done"]))
        stats = podd.runtime.PodSandboxStats(
            cri.PodSandboxStatsRequest(pod_sandbox_id=made.id)).stats
        assert stats.linux.cpu.usage_core_nano_seconds.value > 1_000_000
        assert stats.linux.process.process_count.value == 0
    finally:
        made.remove()
