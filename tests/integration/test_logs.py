"""CRI log files: format, partial lines, rotation, and exactness under a flood."""
import hashlib
import os
import re

import cri_pb2 as cri
import pytest

from lib.cri import code_of, container_status, read_log, wait_exited, wait_until

RECORD = re.compile(rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) (stdout|stderr) [FP] ")


def lines_of(path):
    with open(path, "rb") as f:
        return f.read().split(b"\n")[:-1]


def test_every_record_has_the_format(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "echo one; echo two >&2; echo; echo 'F P stdout'"])
    path = wait_exited(podd, container).log_path
    lines = lines_of(path)
    assert len(lines) == 4
    assert all(RECORD.match(line) for line in lines)
    assert read_log(path) == {"stdout": b"one\n\nF P stdout\n", "stderr": b"two\n"}
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_long_lines_are_cut_and_unfinished_ones_kept(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "head -c 40000 /dev/zero | tr '\\0' x; echo; "
                                      "printf 'no newline'"])
    lines = lines_of(wait_exited(podd, container).log_path)
    tags = [line.split(b" ", 3)[2] for line in lines]
    text = [line.split(b" ", 3)[3] for line in lines]
    assert tags == [b"P", b"P", b"F", b"P"]
    assert b"".join(text[:3]) == b"x" * 40000
    assert text[3] == b"no newline"
    assert max(map(len, text)) <= 16384


def test_reopen_goes_on_in_a_new_file(podd, pod):
    container = pod.start("busybox", ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); "
                                      "sleep 0.01; done"])
    path = container_status(podd, container).log_path
    wait_until(lambda: len(lines_of(path)) > 5)
    os.rename(path, path + ".1")
    podd.runtime.ReopenContainerLog(cri.ReopenContainerLogRequest(container_id=container))
    assert os.path.exists(path)
    size = os.path.getsize(path + ".1")
    wait_until(lambda: len(lines_of(path)) > 5)
    assert os.path.getsize(path + ".1") == size
    numbers = [int(line.split()[3]) for line in lines_of(path + ".1") + lines_of(path)]
    assert numbers == list(range(len(numbers)))


def test_reopen_of_what_does_not_run_fails(podd, pod):
    container = pod.start("busybox", ["true"])
    wait_exited(podd, container)
    code, _ = code_of(podd.runtime.ReopenContainerLog,
                      cri.ReopenContainerLogRequest(container_id=container))
    assert code is not None


FLOOD = """
# Both streams at once: lines of 0 to 40 kB, `n` bytes each in all.
awk -v n=%(bytes)d 'BEGIN {
    for (i = 0; i < 11; i++) x = x "0123456789abcdef"; for (i = 0; i < 8; i++) x = x x;
    srand(1); while (total < n) { len = int(rand() * rand() * 40000);
    line = substr(x, 1 + int(rand() * 100), len); print line; total += len + 1 } }' > /tmp/flood
md5sum < /tmp/flood > /sums/sum
cat /tmp/flood & cat /tmp/flood >&2; wait
"""


def flood(podd, pod, work, size):
    sums = work / "sums"
    sums.mkdir(exist_ok=True)
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="flood"),
                                 image=cri.ImageSpec(image="busybox"),
                                 command=["sh", "-c", FLOOD % {"bytes": size}],
                                 log_path="flood.log")
    config.mounts.add(container_path="/sums", host_path=str(sums))
    container = pod.start("", config=config)
    path = wait_exited(podd, container, 400).log_path
    digests = {b"stdout": hashlib.md5(), b"stderr": hashlib.md5()}
    last = {b"stdout": b"", b"stderr": b""}
    with open(path, "rb") as f:
        for line in f:
            when, stream, tag, text = line[:-1].split(b" ", 3)
            assert when >= last[stream], "records of a stream are in order"
            last[stream] = when
            digests[stream].update(text + (b"\n" if tag == b"F" else b""))
    os.unlink(path)
    expected = (sums / "sum").read_text().split()[0]
    return expected, {digest.hexdigest() for digest in digests.values()}


def test_a_flood_loses_nothing(podd, pod, work):
    expected, seen = flood(podd, pod, work, 64 << 20)
    assert seen == {expected}


@pytest.mark.slow
def test_a_gigabyte_loses_nothing(podd, pod, work):
    expected, seen = flood(podd, pod, work, 512 << 20)  # on each of the two streams
    assert seen == {expected}


def test_a_full_disk_drops_output_and_never_blocks_the_container(podd, pod, tmp_path):
    """The log's file system is 1 MiB; the container writes 8."""
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", small], check=True)
    try:
        config = cri.PodSandboxConfig()
        config.CopyFrom(pod.config)
        config.metadata.uid += "-small"
        config.log_directory = str(small)
        from lib.cri import Pod
        other = Pod(podd, config=config)
        container = other.start("busybox", ["sh", "-c", "yes 0123456789 | head -c 8000000; sleep 100"])
        wait_until(lambda: os.statvfs(small).f_bavail == 0, what="a full disk")
        exec_until_idle(podd, container)
        other.remove()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def exec_until_idle(podd, container):
    """Waits until `yes` has got rid of all its output: only the sleep is left."""
    from lib.cri import exec_sync

    wait_until(lambda: b"yes 0123456789" not in exec_sync(podd, container, "ps", "-o", "args").stdout,
               what="the end of the output")
