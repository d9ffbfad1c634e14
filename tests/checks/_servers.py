"""Real servers in threads, each as bad as it is told to be."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"


class Handler(BaseHTTPRequestHandler):
    """Answers with what the server says."""

    def do_GET(self):
        server = self.server
        server.asked += 1
        if server.hangs:
            server.released.wait(10.0)
            return
        body = server.body
        self.send_response(server.status)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:3], body[3:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_arguments):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """One HTTP server on a port of its own."""

    daemon_threads = True
    protocol_version = "HTTP/1.1"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body, self.chunked, self.hangs, self.asked = 200, b"all is well", False, False, 0
        self.released = threading.Event()

    def handle_error(self, *_arguments):
        """Ignore clients that hang up."""

    def secure(self):
        """Speak TLS, with a certificate for localhost that only tests trust."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def target(self):
        return f"127.0.0.1:{self.server_address[1]}"

    def says(self, **dependencies):
        """Return with JSON of dependencies."""
        self.body = json.dumps({"dependencies": dependencies}).encode()


@contextlib.contextmanager
def servers(count):
    """Run some servers."""
    running = [Server() for _ in range(count)]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in running]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        for server in running:
            server.released.set()
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class Silence(str):
    """The address of a server that accepts connections and never says a word."""

    __slots__ = ("accepted", "listening")

    def connected(self):
        """Return how many connections there have been."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.accepted.append(self.listening.accept()[0])
        return len(self.accepted)


@contextlib.contextmanager
def silence():
    """Run a server that accepts connections and never says a word."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        listening.setblocking(False)
        address = Silence(f"127.0.0.1:{listening.getsockname()[1]}")
        address.listening, address.accepted = listening, []
        yield address
        for connection in address.accepted:
            stack.enter_context(connection)


def dead_target():
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"
