#!/usr/bin/python3
"""A small master: keeps one pod on each of several podds, over mutual TLS.

    master.py --ca ca.pem --cert master.pem --key master.key --manifest pod.yaml NODE:PORT...

Declares the pod on every node, watches until each is ready, probes it once, then deletes it again
and watches it go. A watch that breaks goes on from where it was; one that podd cannot continue
begins anew. Needs python3-grpcio, and the modules that protoc makes of podd.proto:

    python3 -m grpc_tools.protoc --proto_path=proto --python_out=. --grpc_python_out=. podd.proto
"""
import argparse
import pathlib
import sys
import threading
import time

import grpc
import podd_pb2
import podd_pb2_grpc


class Node:
    """One podd, and what is known of its pods."""

    def __init__(self, address, credentials):
        self.address = address
        self.channel = grpc.secure_channel(address, credentials)
        self.api = podd_pb2_grpc.PoddStub(self.channel)
        self.pods = {}  # (namespace, name) -> Pod
        self.version = 0  # of the last message of the watch
        self.changed = threading.Condition()
        self.stream = None
        self.closed = False
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    # ---- Watching -----------------------------------------------------------------------------

    def watch(self):
        """Keeps `pods` true for as long as the node is wanted."""
        while not self.closed:
            try:
                self.stream = self.api.WatchPods(
                    podd_pb2.WatchPodsRequest(resource_version=self.version))
                fresh = {} if self.version == 0 else None
                for change in self.stream:
                    fresh = self.take(change, fresh)
            except grpc.RpcError as fault:
                if fault.code() == grpc.StatusCode.OUT_OF_RANGE:
                    self.version = 0  # too much was missed, or podd has been restarted: list again
                elif not self.closed:
                    time.sleep(0.2)  # it is being restarted, or the network is down

    def take(self, change, fresh):
        """Notes one message. `fresh` collects the list of now, until it is whole."""
        pods = self.pods if fresh is None else fresh
        key = (change.pod.namespace, change.pod.name)
        with self.changed:
            if change.type == podd_pb2.WatchPodsResponse.DELETED:
                pods.pop(key, None)
            elif change.type != podd_pb2.WatchPodsResponse.BOOKMARK:
                pods[key] = change.pod
            elif fresh is not None:
                self.pods, fresh = fresh, None
            if fresh is None:
                self.version = change.resource_version
            self.changed.notify_all()
        return fresh

    def wait(self, condition, timeout, what):
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.pods), timeout):
                raise TimeoutError(f"{self.address}: {what} did not happen in {timeout} s")

    # ---- Doing --------------------------------------------------------------------------------

    def apply(self, manifest):
        answer = self.api.Apply(podd_pb2.ApplyRequest(manifest=manifest, file_name="manifest"))
        return [(o.namespace, o.name) for o in answer.objects if o.kind == "Pod"]

    def probe(self, key):
        """The pod's own readiness probe, now."""
        return self.api.RunProbe(podd_pb2.RunProbeRequest(
            namespace=key[0], pod=key[1], declared=podd_pb2.READINESS))

    def delete(self, key):
        self.api.DeletePod(podd_pb2.DeletePodRequest(namespace=key[0], name=key[1], no_wait=True))

    def close(self):
        self.closed = True
        if self.stream:
            self.stream.cancel()
        self.channel.close()
        self.watcher.join()


def is_ready(pod):
    return any(c.type == "Ready" and c.status for c in pod.status.conditions)


def run(node, manifest, timeout):
    for key in node.apply(manifest):
        node.wait(lambda pods, k=key: k in pods and is_ready(pods[k]), timeout, f"{key[1]}: ready")
        print(f"{node.address}: {key[1]} is ready at {', '.join(node.pods[key].status.ips)}")
        answer = node.probe(key)
        if answer.result != podd_pb2.PROBE_RESULT_SUCCESS:
            raise RuntimeError(f"{node.address}: {key[1]}: {answer.message}")
        print(f"{node.address}: {key[1]} answers after {answer.latency / 1e6:.1f} ms")
        node.delete(key)
        node.wait(lambda pods, k=key: k not in pods, timeout, f"{key[1]}: its end")
        print(f"{node.address}: {key[1]} is gone")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("ca", "cert", "key", "manifest"):
        parser.add_argument(f"--{name}", required=True, type=pathlib.Path)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for each step")
    parser.add_argument("nodes", nargs="+", metavar="NODE:PORT")
    options = parser.parse_args()
    credentials = grpc.ssl_channel_credentials(
        options.ca.read_bytes(), options.key.read_bytes(), options.cert.read_bytes())
    nodes = [Node(address, credentials) for address in options.nodes]
    try:
        for node in nodes:
            run(node, options.manifest.read_bytes(), options.timeout)
    except (grpc.RpcError, RuntimeError, TimeoutError) as fault:
        print(fault.details() if isinstance(fault, grpc.RpcError) else fault, file=sys.stderr)
        return 1
    finally:
        for node in nodes:
            node.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
