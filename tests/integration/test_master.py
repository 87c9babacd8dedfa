"""The example of docs/master.md, against two podds."""
import os
import pathlib
import subprocess
import sys

import podd_pb2
import pytest

from lib import certs, daemon, leaks
from lib.patience import patient

EXAMPLE = daemon.SOURCE / "contrib" / "master"
NODES = {"one": ("podd3", "10.89.0.0/16", 19444), "two": ("podd4", "10.90.0.0/16", 19445)}


@pytest.fixture
def nodes(tmp_path, busybox_tar):
    """Two daemons that serve the master of the certificates in tmp_path."""
    before = leaks.snapshot(daemon.BUILD)
    authority = certs.Authority(tmp_path)
    authority.issue("master")
    running = []
    for name, (bridge, pool, port) in NODES.items():
        cert, key = authority.issue(name)
        running.append(daemon.Podd(name, f"""network: {{bridge: {bridge}, pools: [{pool}]}}
restrict_oom_score_adj: true
listen: {{address: '127.0.0.1:{port}', cert: {cert}, key: {key}, client_ca: {authority.cert},
         roles: {{full: [master]}}}}
""").start())
        running[-1].podctl("image", "import", "--name", "busybox", busybox_tar)
    yield running
    for server in running:
        server.close()
    assert leaks.wait_clean(before, daemon.BUILD) == {}


def test_the_example_master_runs_pods_on_two_nodes(nodes, tmp_path):
    stubs = pathlib.Path(podd_pb2.__file__).parent
    done = subprocess.run(
        [sys.executable, EXAMPLE / "master.py", "--ca", tmp_path / "ca.pem", "--cert",
         tmp_path / "master.pem", "--key", tmp_path / "master.key", "--manifest",
         EXAMPLE / "pod.yaml", *(f"127.0.0.1:{port}" for _, _, port in NODES.values())],
        env={**os.environ, "PYTHONPATH": str(stubs)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, encoding="utf-8", timeout=patient(60), check=False)
    assert done.returncode == 0, done.stderr
    for _, _, port in NODES.values():
        said = [line.split(": ", 1)[1] for line in done.stdout.splitlines()
                if line.startswith(f"127.0.0.1:{port}: ")]
        assert [line.split()[:3] for line in said] == [
            ["web", "is", "ready"], ["web", "answers", "after"], ["web", "is", "gone"]]
    for server in nodes:
        assert not server.api.ListPods(podd_pb2.ListPodsRequest()).pods
