"""The TCP port for remote masters: who gets in, and what they may do there."""
import contextlib
import os
import socket
import ssl

import cri_pb2
import cri_pb2_grpc
import grpc
import podd_pb2
import podd_pb2_grpc
import pytest

from lib import certs, daemon
from lib.cri import wait_until
from lib.patience import patient

PORT = 19443


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certs.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def remote(authority):
    """A daemon that serves remote masters, without any image."""
    cert, key = authority.issue("node")
    server = daemon.Podd("remote", f"""network: {{bridge: podd2, pools: [10.88.0.0/16]}}
restrict_oom_score_adj: true
listen:
  address: 127.0.0.1:{PORT}
  cert: {cert}
  key: {key}
  client_ca: {authority.cert}
  roles: {{read: [watcher], full: [master]}}
""").start()
    yield server
    server.close()


@contextlib.contextmanager
def connected(authority, pair=None):
    cert, key = pair or (None, None)
    credentials = grpc.ssl_channel_credentials(
        authority.cert.read_bytes(), key.read_bytes() if key else None,
        cert.read_bytes() if cert else None)
    with grpc.secure_channel(f"127.0.0.1:{PORT}", credentials,
                             [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def code_of(call, *arguments):
    try:
        call(*arguments, timeout=patient(10))
    except grpc.RpcError as fault:
        return fault.code()
    return grpc.StatusCode.OK


def node_code(channel):
    return code_of(podd_pb2_grpc.PoddStub(channel).GetNode, podd_pb2.GetNodeRequest())


def test_the_full_role_may_do_everything(remote, authority):
    with connected(authority, authority.issue("master")) as channel:
        assert node_code(channel) == grpc.StatusCode.OK
        api = podd_pb2_grpc.PoddStub(channel)
        assert code_of(api.DeletePod, podd_pb2.DeletePodRequest(name="none")) == \
            grpc.StatusCode.NOT_FOUND
        runtime = cri_pb2_grpc.RuntimeServiceStub(channel)
        assert code_of(runtime.Version, cri_pb2.VersionRequest()) == grpc.StatusCode.OK


def test_the_read_only_role_may_only_read(remote, authority):
    with connected(authority, authority.issue("watcher")) as channel:
        api = podd_pb2_grpc.PoddStub(channel)
        assert node_code(channel) == grpc.StatusCode.OK
        assert code_of(api.ListPods, podd_pb2.ListPodsRequest()) == grpc.StatusCode.OK
        runtime = cri_pb2_grpc.RuntimeServiceStub(channel)
        for call, request in ((api.DeletePod, podd_pb2.DeletePodRequest(name="none")),
                              (api.Apply, podd_pb2.ApplyRequest()),
                              (api.RunProbe, podd_pb2.RunProbeRequest()),
                              (api.StopAll, podd_pb2.StopAllRequest()),
                              (runtime.Exec, cri_pb2.ExecRequest())):
            assert code_of(call, request) == grpc.StatusCode.PERMISSION_DENIED


def test_a_name_without_a_role_may_do_nothing(remote, authority):
    with connected(authority, authority.issue("stranger")) as channel:
        assert node_code(channel) == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("fault", ["no certificate", "another CA", "expired"])
def test_bad_certificates_do_not_get_in(remote, authority, tmp_path, fault):
    pair = {"no certificate": lambda: None,
            "another CA": lambda: certs.Authority(tmp_path, "other").issue("master"),
            "expired": lambda: authority.issue("master", days=-1, file="expired")}[fault]()
    with connected(authority, pair) as channel:
        assert node_code(channel) == grpc.StatusCode.UNAVAILABLE
    assert remote.process.poll() is None


@pytest.mark.parametrize("version, fits", [(ssl.TLSVersion.TLSv1_2, False),
                                           (ssl.TLSVersion.TLSv1_3, True)])
def test_only_tls_1_3_is_spoken(remote, authority, version, fits):
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.load_cert_chain(*map(str, authority.issue("master")))
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", PORT), patient(5)) as plain:
        if not fits:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="127.0.0.1")
        else:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
                assert wrapped.version() == "TLSv1.3"


def test_plain_text_on_the_port_does_no_harm(remote, authority):
    with socket.create_connection(("127.0.0.1", PORT), patient(5)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.settimeout(patient(5))
        with contextlib.suppress(ConnectionError):
            while plain.recv(4096):
                pass
    with connected(authority, authority.issue("master")) as channel:
        assert node_code(channel) == grpc.StatusCode.OK


def test_replaced_certificates_count_without_a_restart(remote, authority):
    """A broken file changes nothing; a new certificate is shown to the next client."""
    served = authority.directory / "node.pem"

    def serial():
        context = ssl.create_default_context(cafile=str(authority.cert))
        context.load_cert_chain(*map(str, authority.issue("master")))
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(("127.0.0.1", PORT), patient(5)) as plain, \
                context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
            return wrapped.getpeercert()["serialNumber"]
    first, good = serial(), served.read_bytes()
    served.write_bytes(b"not a certificate")
    assert serial() == first
    served.write_bytes(good)
    authority.issue("node")
    wait_until(lambda: serial() != first, what="the new certificate")


def test_a_master_that_vanishes_in_a_call_leaves_nothing(remote, authority):
    before = len(os.listdir(f"/proc/{remote.process.pid}/fd"))
    pair = authority.issue("master")
    for _ in range(5):
        with connected(authority, pair) as channel:
            watch = podd_pb2_grpc.PoddStub(channel).WatchPods(podd_pb2.WatchPodsRequest())
            assert next(watch).type == podd_pb2.WatchPodsResponse.BOOKMARK
    wait_until(lambda: len(os.listdir(f"/proc/{remote.process.pid}/fd")) <= before + 1,
               what="the connections to be closed")


def test_another_user_is_refused_on_the_unix_socket(remote):
    os.chmod(remote.socket, 0o777)
    os.chmod(remote.directory, 0o755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(5)
                plain.connect(str(remote.socket))
                status = 0 if plain.recv(1) == b"" else 2
        except OSError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait_until(lambda: "refused a connection of user 65534" in remote.log.read_text())
