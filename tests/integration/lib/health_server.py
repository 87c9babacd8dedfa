"""A gRPC server with grpc.health.v1, or an HTTPS server, to be started inside a pod's network:
health_server.py grpc ADDRESS STUBS | https ADDRESS CERT KEY. ADDRESS is host:port."""
import concurrent.futures
import http.server
import ssl
import sys
import threading

import grpc


def serve_grpc(address, stubs):
    sys.path.insert(0, stubs)
    import health_pb2  # pylint: disable=import-outside-toplevel,import-error
    import health_pb2_grpc  # pylint: disable=import-outside-toplevel,import-error

    class Health(health_pb2_grpc.HealthServicer):
        """"" and "good" serve, "bad" does not, others are unknown."""

        def Check(self, request, context):
            if request.service not in ("", "good", "bad"):
                context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            status = health_pb2.HealthCheckResponse
            return status(status=status.NOT_SERVING if request.service == "bad" else status.SERVING)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
    server.add_insecure_port(address)
    server.start()
    return server


class Page(http.server.BaseHTTPRequestHandler):
    """/to/URL redirects there, /again to itself, /agent and /host tell that header, /big is larger than podd reads,
    /code/N answers N; anything else is there."""

    def do_GET(self):  # pylint: disable=invalid-name
        _, word, rest = (self.path + "//").split("/", 2)
        rest = rest.rstrip("/")
        body = {"agent": self.headers.get("User-Agent", ""), "host": self.headers.get("Host", ""),
                "big": "x" * 100000}.get(word, "page")
        self.send_response(302 if word in ("to", "again") else int(rest) if word == "code" else
                           500 if word in ("agent", "host") else 200)
        if word in ("to", "again"):
            self.send_header("Location", rest if word == "to" else "/again")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


def serve_https(address, cert, key):
    host, port = address.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Page)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    running = {"grpc": serve_grpc, "https": serve_https}[sys.argv[1]](*sys.argv[2:])
    print("ready", flush=True)
    threading.Event().wait()
