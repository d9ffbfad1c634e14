"""The HTTP edge of ``docs/how-to/edge-http.md`` over real sockets, with an endpoint that is killed."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.recipes._page import first_block, names_of

from balancekit import LoadBalancer
from balancekit.l7 import Route, RouteTable, prefix
from balancekit.selectors import RoundRobin

PAGE = "edge-http"
MAX_LINES = 105
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
    """The edge of the recipe has about 100 lines."""
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


class RawServer:
    """An endpoint that answers every connection alike, keeps what it received and notes when a client has gone."""

    def __init__(self, answer, *, pause=None):
        self.answer, self.pause = answer, pause
        self.received, self.gone = [], threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        """Serve one connection after the other until the socket is closed."""
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.2)
                try:
                    self.serve(connection)
                except OSError:
                    self.gone.set()

    def serve(self, connection):
        """Answer one request; with a pause, write one piece after the other until the client has gone."""
        data = b""
        try:
            while chunk := connection.recv(65536):
                data += chunk
        except TimeoutError:  # it is whole
            pass
        self.received.append(data)
        if self.pause is None:
            connection.sendall(self.answer)
            return
        while True:
            connection.sendall(self.answer)
            connection.settimeout(self.pause)
            try:
                if not connection.recv(1):
                    raise ConnectionResetError
            except TimeoutError:
                pass

    def stop(self):
        """Stop accepting."""
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()


@pytest.fixture
def edge_of(serve):
    """Return a function that puts an edge before a raw server."""
    servers = []

    def start(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", **options):
        server = RawServer(answer, **options)
        servers.append(server)
        pool = LoadBalancer([server.address])
        address = serve(names_of(PAGE)["Edge"](RouteTable([Route("site", pool, attempts=2)])))
        return server, pool, address

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def errors_of_uvicorn(monkeypatch):
    """Return the list of what uvicorn logs as errors; its own configuration would remove a handler."""
    records = []
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handle", records.append)
    return records


def exchange(address, data, *, end=None):
    """Send raw bytes; return all that is answered until the edge closes or is silent."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        if end is not None:
            connection.shutdown(end)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                connection.settimeout(0.5)
        except TimeoutError:
            pass
        return answer


def wait_until(condition):
    """Wait for what another thread brings about."""
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_a_body_that_is_cut_off_reaches_no_endpoint(edge_of, length):
    """A request whose client goes before the end of its body reaches no endpoint: there it would look whole."""
    server, pool, address = edge_of()
    exchange(
        address,
        b"POST / HTTP/1.1\r\nHost: x.test\r\n" + length + b"\r\n\r\n4\r\nhalf\r\n",
        end=socket.SHUT_RDWR,
    )
    assert exchange(address, b"GET /next HTTP/1.1\r\nHost: x.test\r\n\r\n").endswith(b"ok")
    assert [data.split(b" ")[1] for data in server.received] == [b"/next"]
    assert pool.stats().endpoints[0].completed == 1


@pytest.mark.parametrize(
    "piece", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
def test_a_client_that_goes_ends_its_request(edge_of, piece):
    """A client that goes ends its request to the endpoint, be it before the answer or in one that has no end."""
    server, pool, address = edge_of(piece, pause=0.05)
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x.test\r\n\r\n")
        assert wait_until(lambda: server.received)
        assert pool.stats().inflight == 1
        if piece:
            connection.recv(1)
    assert server.gone.wait(10)
    assert wait_until(lambda: pool.stats().inflight == 0)


@pytest.mark.parametrize(
    ("head", "body"),
    [(b"Content-Length: 100", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")],
    ids=["length", "chunks"],
)
def test_an_answer_that_breaks_off_breaks_off_for_the_client(edge_of, errors_of_uvicorn, head, body):
    """An answer that breaks off ends the client's connection before its end, in one line of the log; the next request is answered."""
    _, pool, address = edge_of(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)
    for _ in range(2):
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x.test\r\n\r\n")
            answer = b""
            while chunk := connection.recv(65536):  # until the edge closes
                answer += chunk
        assert b"hello" in answer
        assert not answer.endswith(b"0\r\n\r\n")
    assert wait_until(lambda: pool.stats().inflight == 0)
    assert wait_until(lambda: len(errors_of_uvicorn) == 2)
    assert not [record for record in errors_of_uvicorn if record.exc_info]


def test_a_length_beside_chunks_is_not_passed_on(edge_of):
    """A ``Content-Length`` beside ``Transfer-Encoding`` does not count (RFC 9112 6.3), for requests and for answers."""
    server, _, address = edge_of(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n"
    )
    answer = exchange(
        address,
        b"POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n6\r\nbody!!\r\n0\r\n\r\n",
    )
    assert server.received[0].lower().count(b"content-length: 6\r\n") == 1
    assert server.received[0].endswith(b"\r\n\r\nbody!!")
    assert answer.endswith(b"6\r\nhello!\r\n0\r\n\r\n")
    assert b"content-length" not in answer.lower()


@pytest.mark.parametrize("value", [b"caf\xe9", b"caf\xc3\xa9", b"\xff\x80\xe2\x82", "日本".encode()])
def test_bytes_of_fields_arrive_as_they_came(edge_of, value):
    """Bytes of a value arrive as they came, whatever they are in: UTF-8, Latin-1 or neither, both ways."""
    server, _, address = edge_of(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Back: " + value + b"\r\nX-Back: 2\r\n\r\nok"
    )
    answer = exchange(address, b"GET / HTTP/1.1\r\nHost: x.test\r\nX-Sent: " + value + b"\r\n\r\n")
    assert b"x-sent: " + value + b"\r\n" in server.received[0].replace(b"X-Sent", b"x-sent")
    assert b"x-back: " + value + b"\r\nx-back: 2\r\n" in answer.replace(b"X-Back", b"x-back")
    assert answer.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("host", ["999.1.1.1", "[a]", "a b", "x.test:port"])
def test_a_host_that_no_url_holds_is_refused(edge_of, host):
    """A host that no URL can hold is the caller's mistake: the answer is 400, and no endpoint is asked."""
    server, _, address = edge_of()
    answer = exchange(address, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.received == []


def test_a_websocket_is_refused_and_reaches_no_endpoint(edge_of):
    """The edge forwards no WebSocket: the client gets a 403, not an error of the edge."""
    server, pool, address = edge_of()
    head = [
        "GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
    ]  # fmt: skip
    answer = exchange(address, "\r\n".join([*head, "", ""]).encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert server.received == []
    assert pool.stats().completed == 0
