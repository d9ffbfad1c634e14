"""The HTTP edge of ``docs/how-to/edge-http.md`` over real sockets, with an endpoint that is killed."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.recipes._page import first_block, names_of

from balancekit import LoadBalancer
from balancekit.l7 import Route, RouteTable, prefix
from balancekit.selectors import RoundRobin

PAGE = "edge-http"
MAX_LINES = 79
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{sys.argv[1]} {self.path} {self.headers.get('x-forwarded-for')} {self.headers.get('x-hop')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def backends():
    """Start three servers as processes of their own; return them with their addresses, kill what is left."""
    processes = [
        subprocess.Popen([sys.executable, "-c", SERVER, name], stdout=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    yield [(process, f"127.0.0.1:{process.stdout.readline().strip()}") for process in processes]
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_recipe_is_short():
    """The edge of the recipe has less than 80 lines."""
    assert first_block(PAGE).count("\n") <= MAX_LINES


def test_no_error_is_seen_when_an_endpoint_is_killed(backends, serve):
    """No error is seen when one of three endpoints is killed under eight clients with ``attempts=2``.

    All of 600 answers are 200.
    """
    pool = LoadBalancer([address for _, address in backends], selector=RoundRobin())
    edge = names_of(PAGE)["Edge"](RouteTable([Route("site", pool, attempts=2, timeout=10.0)]))
    address = serve(edge)
    statuses = []
    answers = itertools.count(1)

    def client(_):
        with httpx2.Client(base_url=f"http://{address}", trust_env=False, timeout=20.0) as session:
            for _ in range(75):
                statuses.append(session.get("/x").status_code)
                if next(answers) == 150:
                    os.kill(backends[0][0].pid, signal.SIGKILL)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(client, range(8)))
    assert len(statuses) == 600
    assert set(statuses) == {200}
    assert backends[0][0].wait() == -signal.SIGKILL
    (stats,) = edge.statistics.stats()
    assert (stats.requests, stats.failures) == (600, 0)
    assert stats.retries >= 1


def test_requests_arrive_as_they_were_sent(backends, serve):
    """Path, query and body are passed on, hop-by-hop fields are not; refused targets get 400, others without route 404."""
    pool = LoadBalancer([backends[0][1]])
    address = serve(names_of(PAGE)["Edge"](RouteTable([Route("api", pool, path=prefix("/api"))])))
    with httpx2.Client(base_url=f"http://{address}", trust_env=False) as session:
        got = session.get("/api/caf%C3%A9?x=%20", headers={"Connection": "keep-alive, x-hop", "X-Hop": "1"})
        assert got.text == "a /api/caf%C3%A9?x=%20 127.0.0.1 None"
        assert session.post("/api", content=b"body" * 1000).text == "body" * 1000
        assert session.get("/other").status_code == 404
        assert session.get("/api/%2F").status_code == 400
