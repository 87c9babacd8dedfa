"""A podd of the tests' own: its directories, its process, its API."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import grpc

from lib.patience import patient

SOURCE = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("PODD_BUILD", SOURCE / "build"))


def generate_stubs(directory):
    """Python modules of the protocols, generated from the sources under test."""
    from grpc_tools import protoc  # pylint: disable=import-outside-toplevel

    for name in ("cri", "podd", "health"):
        arguments = ["protoc", f"--proto_path={SOURCE / 'proto'}", f"--python_out={directory}",
                     f"--grpc_python_out={directory}", str(SOURCE / "proto" / f"{name}.proto")]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"protoc failed on {name}.proto")
    sys.path.insert(0, str(directory))


class Podd:
    """One daemon on directories of its own. Its objects outlive the process, as they should."""

    def __init__(self, name="test", config="", log_level="debug"):
        self.build = BUILD
        self.log_level = log_level
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"podd-{name}-"))
        self.root = self.directory / "root"
        self.state = self.directory / "state"
        self.logs = self.directory / "logs"
        self.logs.mkdir()
        self.socket = self.directory / "podd.sock"
        self.config = self.directory / "podd.yaml"
        self.config.write_text(config)
        self.log = self.directory / "podd.log"
        self.process = None
        self.channel = None

    @property
    def address(self):
        return f"unix://{self.socket}"

    # ---- The process --------------------------------------------------------------------------

    def command(self):
        """PODD_WRAPPER runs it under a debugger or valgrind."""
        wrapper = os.environ.get("PODD_WRAPPER", "").split()
        return [*wrapper, str(BUILD / "src/podd/podd"), "--config", str(self.config), "--root",
                str(self.root), "--state", str(self.state), "--socket", self.address,
                "--log-level", self.log_level]

    def spawn(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def start(self, timeout=20):
        self.spawn()
        timeout = patient(timeout)
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if self.process.poll() is not None:
                raise AssertionError(f"podd ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"podd is not ready after {timeout} s:\n{self.tail()}")
            time.sleep(0.01)
        return self

    def is_ready(self):
        """The health service says so; a channel of its own, since gRPC backs off on a failed one."""
        import health_pb2  # pylint: disable=import-outside-toplevel,import-error
        import health_pb2_grpc  # pylint: disable=import-outside-toplevel,import-error

        if not self.socket.exists():
            return False
        with grpc.insecure_channel(self.address) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=patient(2))
            except grpc.RpcError:
                return False
            return answer.status == health_pb2.HealthCheckResponse.SERVING

    def kill(self):
        self._end(signal.SIGKILL)

    def stop(self):
        """SIGTERM: the daemon ends, pods go on."""
        return self._end(signal.SIGTERM)

    def _end(self, signo):
        if self.channel:
            self.channel.close()
            self.channel = None
        if not self.process:
            return None
        self.process.send_signal(signo)
        status = self.process.wait(patient(20))
        self.process = None
        return status

    def restart(self):
        self.stop()
        return self.start()

    def tail(self, lines=40):
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def close(self):
        """Stops every pod, then the daemon, and removes its directories."""
        if self.process and self.process.poll() is None:
            with contextlib.suppress(grpc.RpcError):
                import podd_pb2  # pylint: disable=import-outside-toplevel,import-error

                self.api.StopAll(podd_pb2.StopAllRequest(reset=True), timeout=patient(60))
        self._end(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- The API ------------------------------------------------------------------------------

    def connect(self):
        if not self.channel:
            limit = 64 << 20
            self.channel = grpc.insecure_channel(self.address, options=[
                ("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit),
                ("grpc.use_local_subchannel_pool", 1)])
        return self.channel

    def reconnect(self):
        """A new channel: one that saw podd die tries again only after a while."""
        self.channel = None

    @property
    def runtime(self):
        import cri_pb2_grpc  # pylint: disable=import-outside-toplevel,import-error

        return cri_pb2_grpc.RuntimeServiceStub(self.connect())

    @property
    def images(self):
        import cri_pb2_grpc  # pylint: disable=import-outside-toplevel,import-error

        return cri_pb2_grpc.ImageServiceStub(self.connect())

    @property
    def api(self):
        import podd_pb2_grpc  # pylint: disable=import-outside-toplevel,import-error

        return podd_pb2_grpc.PoddStub(self.connect())

    def podctl(self, *arguments, check=True, stdin=None, timeout=60, **options):
        """Runs podctl against this daemon; the finished process with its text output."""
        environment = {**os.environ, "PODD_SOCKET": self.address}
        done = subprocess.run([str(BUILD / "src/cli/podctl"), *map(str, arguments)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=stdin,
                              env=environment, encoding="utf-8", timeout=patient(timeout), check=False,
                              **options)
        if check and done.returncode != 0:
            raise AssertionError(f"podctl {' '.join(map(str, arguments))} -> {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done
