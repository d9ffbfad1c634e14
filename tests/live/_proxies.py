"""Real proxies on loopback, servers behind them, and clients at addresses of their own."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

__all__ = ["ask", "free_port", "running", "servers"]


class Named(BaseHTTPRequestHandler):
    """Answers with the address of its server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"127.0.0.1:{self.server.server_address[1]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        """Print nothing."""


class Quiet(ThreadingHTTPServer):
    """A server that does not print connections which a proxy resets."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        """Print nothing."""


@contextmanager
def servers(count):
    """Run servers that answer with their addresses."""
    started = [Quiet(("127.0.0.1", 0), Named) for _ in range(count)]
    threads = [threading.Thread(target=server.serve_forever) for server in started]
    for thread in threads:
        thread.start()
    yield [f"127.0.0.1:{server.server_address[1]}" for server in started]
    for server, thread in zip(started, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


def free_port():
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, port):
    """Run a proxy until the block ends; it listens when the block begins."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _wait(port, process)
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait(port, process):
    for _ in range(800):
        if process.poll() is not None:
            pytest.fail(f"the proxy ended with {process.returncode}: {process.stderr.read()[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.025)
    pytest.fail("the proxy does not listen")


def ask(port, requests):
    """Send requests one after the other, each from its own address.

    Returns the address that served each; of the proxy's own answers the status, of redirects the location too.
    """
    found = []
    for one in requests:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(one["client"], 0))
        client.request("GET", one["target"], headers={"Host": one["host"], **dict(one["headers"])})
        answer = client.getresponse()
        body = answer.read().decode()
        location = answer.getheader("Location")
        own = f"{answer.status} {location}" if location else str(answer.status)
        found.append(body if answer.status == 200 else own)
        client.close()
    return found
