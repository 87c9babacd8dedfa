"""Published ports through CRI: every protocol, address and way; who may have one; moving."""
import socket

import cri_pb2 as cri
import grpc
import pytest

from lib import daemon, leaks, network
from lib.cri import Pod, code_of, wait_until

PORT = 12100
CONFIG = ("network: {bridge: podd2, pools: [10.88.0.0/24, 'fd00:88::/64']}\n"
          "restrict_oom_score_adj: true\n")
UDP = socket.SOCK_DGRAM


@pytest.fixture(scope="module")
def dual(busybox_tar):
    """A daemon whose pods have addresses of both families."""
    before = leaks.snapshot(daemon.BUILD)
    server = daemon.Podd("dual", CONFIG).start()
    server.podctl("image", "import", "--name", "busybox", busybox_tar)
    yield server
    server.close()
    leaks.assert_clean(before, server)


def mapping(container_port, host_port=PORT, protocol=cri.TCP, host_ip=""):
    return cri.PortMapping(container_port=container_port, host_port=host_port, protocol=protocol,
                           host_ip=host_ip)


class Web:
    """A pod that publishes ports, with a process in it."""

    def __init__(self, podd, *mappings):
        self.pod = Pod(podd, port_mappings=mappings)
        self.place = network.namespace_of(podd, self.pod.start("busybox", ["sleep", "1000"]))
        status = self.pod.status().network
        self.ips = [status.ip, *(ip.ip for ip in status.additional_ips)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pod.remove()

    def hears(self, container_port, place, to, port=PORT, **options):
        """Whom a server in the pod sees when somebody asks, or None."""
        listen = {key: options[key] for key in ("kind", "protocol") if key in options}
        with network.listen(self.place, container_port, "::" if ":" in to else "0.0.0.0",
                            **listen) as server:
            return network.converse(server, place, to, port, **options)


@pytest.mark.vm
def test_tcp_and_udp_of_both_families_from_everywhere(dual, outside):
    ports = [mapping(80), mapping(53, protocol=cri.UDP)]
    with Web(dual, *ports) as web, Web(dual) as other:
        assert [":" in ip for ip in web.ips] == [False, True]
        far = network.named(outside)
        for node, loopback, client, bridge in (("192.0.2.1", "127.0.0.1", "192.0.2.2", "10.88.0.1"),
                                               ("2001:db8::1", "::1", "2001:db8::2", "fd00:88::1")):
            for port, options in ((80, {}), (53, {"kind": UDP})):
                assert web.hears(port, far, node, **options) == client
                assert web.hears(port, None, node, **options)
                assert web.hears(port, None, loopback, **options) == bridge
                assert web.hears(port, other.place, node, **options)
                assert web.hears(port, web.place, node, **options)  # hairpin
                assert web.hears(port, web.place, bridge, **options)


@pytest.mark.vm
def test_an_address_of_the_node_alone(dual, outside):
    ports = [mapping(80, host_ip="127.0.0.1"), mapping(81, PORT + 1, host_ip="192.0.2.1"),
             mapping(82, PORT + 2, host_ip="::1")]
    with Web(dual, *ports) as web:
        far = network.named(outside)
        assert web.hears(80, None, "127.0.0.1")
        assert web.hears(81, far, "192.0.2.1", PORT + 1)
        assert web.hears(82, None, "::1", PORT + 2)
        assert not web.hears(80, far, "192.0.2.1", timeout=0.3)
        assert not web.hears(81, None, "127.0.0.1", PORT + 1, timeout=0.3)
        assert not web.hears(82, None, "2001:db8::1", PORT + 2, timeout=0.3)
        # Another pod may have the same port on another address.
        with Web(dual, mapping(80, host_ip="192.0.2.1")) as second:
            assert second.hears(80, far, "192.0.2.1")
            assert web.hears(80, None, "127.0.0.1")


def kernel_has_sctp():
    try:
        network.socket_in(None, socket.AF_INET, socket.SOCK_STREAM, network.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


@pytest.mark.vm
@pytest.mark.skipif(not kernel_has_sctp(), reason="this kernel has no SCTP sockets; the VM's has")
def test_sctp(dual, outside):
    with Web(dual, mapping(80, protocol=cri.SCTP)) as web:
        for place, to in ((network.named(outside), "192.0.2.1"), (None, "192.0.2.1"),
                          (network.named(outside), "2001:db8::1"), (web.place, "192.0.2.1")):
            assert web.hears(80, place, to, protocol=network.IPPROTO_SCTP), (place, to)


def test_sctp_mappings_need_no_sockets_of_the_kernel(dual):
    with Web(dual, mapping(80, protocol=cri.SCTP)):
        assert "is published by sandbox" in refused(dual, mapping(80, protocol=cri.SCTP))


# ---- Who may have it -----------------------------------------------------------------------------


def refused(podd, *mappings):
    before = len(podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items)
    code, message = code_of(lambda: Pod(podd, port_mappings=mappings))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert len(podd.runtime.ListPodSandbox(cri.ListPodSandboxRequest()).items) == before
    return message


@pytest.mark.vm
def test_a_port_that_somebody_has_is_refused_before_anything_starts(dual):
    with Web(dual, mapping(80)) as web:
        assert f":{PORT} of the node is published by sandbox {web.pod.id}" in \
            refused(dual, mapping(8080))
        with network.listen(None, PORT + 5, "127.0.0.1"), network.listen(None, PORT + 6, "::1", UDP):
            assert "a process listens on it" in refused(dual, mapping(80, PORT + 5))
            assert "a process listens on it" in refused(
                dual, mapping(80, PORT + 6, protocol=cri.UDP))
        with Web(dual, mapping(80, PORT + 5)) as now_free:
            assert now_free.hears(80, None, "127.0.0.1", PORT + 5)


@pytest.mark.vm
def test_a_udp_client_follows_the_port_to_another_pod(dual, outside):
    """One client, one source port: the kernel takes what it sends for one connection."""
    port = mapping(53, protocol=cri.UDP)
    with network.socket_in(network.named(outside), socket.AF_INET, UDP) as client:
        client.settimeout(0.2)
        client.connect(("192.0.2.1", PORT))

        def answered_by(word, server):
            client.send(b"?")
            server.settimeout(0.2)
            try:
                server.sendto(word, server.recvfrom(16)[1])
                return client.recv(16) == word
            except OSError:
                return False
        first = Web(dual, port)
        with network.listen(first.place, 53, kind=UDP) as server:
            wait_until(lambda: answered_by(b"1", server))
        first.pod.remove()
        with Web(dual, port) as second, network.listen(second.place, 53, kind=UDP) as server:
            wait_until(lambda: answered_by(b"2", server))


@pytest.mark.vm
def test_a_dead_shim_takes_its_network_along(dual):
    """The kernel frees the link with the namespace; the address and the ports are given back when
    the sandbox is stopped, as kubelet does with one that is not ready."""
    web = Web(dual, mapping(80))
    link = f"pd{web.pod.id[:12]}"
    network.kill_shim_of(web.place)
    wait_until(lambda: link not in network.links(), what="the link to go")
    wait_until(lambda: web.pod.status().state == cri.SANDBOX_NOTREADY)
    web.pod.remove()
    leases = [path.read_text() for path in (dual.state / "net/leases").iterdir()]
    assert web.pod.id not in leases
    with Web(dual, mapping(80)) as again:
        assert again.hears(80, None, "127.0.0.1")
