"""Deadlines of whole calls, for heads and bodies that drip: every wait is short, and the call is not."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme
import urllib3

from balancekit import LoadBalancer, Outcome
from balancekit.adapters import request_options

from ._clients import KINDS, SYNC, play
from ._server import Server

CHUNKED = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
PLACES = {
    "of a known length": ("HTTP/1.1 200 X\r\nContent-Length: 400\r\n\r\n", "x" * 400),
    "to the end of the connection": ("HTTP/1.1 200 X\r\n\r\n", "x" * 400),
    "in one chunk": (CHUNKED + "190\r\n", "x" * 400),
    "in the line before a chunk": (CHUNKED, "190;" + "x" * 400),
    "in the head": ("HTTP/1.1 200 X\r\n", "X: " + "y" * 400),
    "in an interim head": ("HTTP/1.1 100 X\r\n", "X: " + "y" * 400),
    "in interim heads": ("HTTP/1.1 100 X\r\n\r\n", "HTTP/1.1 100 X\r\n\r\n" * 20),
    "in the trailer": (CHUNKED + "1\r\nx\r\n0\r\n", "X: " + "y" * 400),
}
"""What comes at once, and what comes byte by byte."""

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"  # sockets of cancelled reads, which a loop that ends leaves open
)
DEADLINE_S = 0.2
GAP_S = 0.05
PIECES = 40


@pytest.fixture
def server() -> Iterator[Server]:
    """One server that is slow in small steps."""
    with Server("a") as one:
        yield one


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_drips_ends_with_the_deadline(kind: str, server: Server) -> None:
    """A body whose pieces come one by one is cut when the deadline of the call passes; the endpoint is not counted."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        with request_options(timeout=DEADLINE_S), pytest.raises(client.timed_out):
            await client.get(f"http://orders/drip?n={PIECES}&gap={GAP_S}")

    play(kind, lb, scenario)
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_comes_byte_by_byte_ends_with_the_deadline(
    kind: str, where: str, server: Server
) -> None:
    """Wherever an answer drips, for 400 times the gap, the call ends long before; the endpoint is not counted."""
    lb = LoadBalancer([server.address])
    head, rest = PLACES[where]
    query = urlencode({"head": head, "rest": rest, "gap": GAP_S})

    async def scenario(client: Any) -> None:
        with request_options(timeout=DEADLINE_S), pytest.raises(client.timed_out):
            await client.get(f"http://orders/drip-bytes?{query}")
        assert server.dripped < 200

    play(kind, lb, scenario)
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_by_tls_that_comes_byte_by_byte_ends_with_the_deadline(kind: str, tmp_path: Path) -> None:
    """An answer over TLS that comes byte by byte ends with the deadline of the call."""
    head, rest = PLACES["in the head"]
    query = urlencode({"head": head, "rest": rest, "gap": GAP_S})
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with Server("a", authority=authority, names=("orders",)) as server:
        lb = LoadBalancer([server.address])

        async def scenario(client: Any) -> None:
            with request_options(timeout=DEADLINE_S), pytest.raises(client.timed_out):
                await client.get(f"https://orders/drip-bytes?{query}")
            assert server.dripped < 200

        play(kind, lb, scenario, ca=str(file))
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_read_slowly_ends_with_the_deadline(kind: str) -> None:
    """An endpoint that takes a body in small pieces, each in time, holds the call no longer than the deadline."""
    taken, over = [0], threading.Event()

    def take(server: socket.socket) -> None:
        with suppress(OSError), server.accept()[0] as connection:
            while not over.wait(GAP_S / 5) and (piece := connection.recv(100_000)):
                taken[0] += len(piece)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10.0)
        thread = threading.Thread(target=take, args=(server,), daemon=True)
        thread.start()
        lb = LoadBalancer([f"127.0.0.1:{server.getsockname()[1]}"])

        async def scenario(client: Any) -> None:
            with (
                request_options(timeout=2.0 * DEADLINE_S),
                pytest.raises((*client.timed_out, *client.broken)),
            ):
                await client.request("PUT", "http://orders/", body=b"x" * 40_000_000)

        play(kind, lb, scenario)
        over.set()
        thread.join()
    assert taken[0] < 20_000_000
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_not_read_ends_with_the_deadline(kind: str) -> None:
    """An endpoint that takes no more of a body ends as cancelled when the deadline passes: it was our time that was up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        lb = LoadBalancer([f"127.0.0.1:{server.getsockname()[1]}"])

        async def scenario(client: Any) -> None:
            with request_options(timeout=DEADLINE_S), pytest.raises((*client.timed_out, *client.broken)):
                await client.request("PUT", "http://orders/", body=b"x" * 50_000_000)

        play(kind, lb, scenario)
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_that_never_ends_is_cut(kind: str, server: Server) -> None:
    """A head that never ends is cut at the deadline: no client waits the 400 s."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        with request_options(timeout=DEADLINE_S), pytest.raises(client.timed_out):
            await client.get("http://orders/drip-head?gap=20", timeout=100.0)

    play(kind, lb, scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_is_there_in_time_is_whole(kind: str, server: Server) -> None:
    """With a deadline that does not pass, pieces arrive as they are, also by way of a body without chunks."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        with request_options(timeout=60.0):
            assert (await client.get("http://orders/drip?n=3&gap=0.01")).text == "piece 0 piece 1 piece 2 "
            assert (await client.get("http://orders/ok")).text == "a"

    play(kind, lb, scenario)
    assert lb.stats().outcomes[Outcome.SUCCESS] == 2


@pytest.mark.parametrize("kind", SYNC)
def test_all_addresses_of_a_name_have_one_deadline(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses of which none responds: each is given what is left, and not the whole time-out again."""
    waits: list[float] = []

    def connect(self: socket.socket, address: object) -> None:
        waits.append(self.gettimeout() or math.inf)
        over.wait(waits[-1])
        raise TimeoutError

    def resolve(host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
        hosts = [f"192.0.2.{k}" for k in range(1, 9)] if host == "service.example" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in hosts]

    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    lb = LoadBalancer(["service.example:80"])

    async def scenario(client: Any) -> None:
        with request_options(timeout=DEADLINE_S), pytest.raises((*client.timed_out, *client.broken)):
            await client.get("http://orders/")

    play(kind, lb, scenario)
    assert sum(waits) <= 1.5 * DEADLINE_S
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1


@pytest.mark.parametrize(
    "limit",
    [
        urllib3.Timeout(connect=5.0, read=0.1),
        urllib3.Timeout(total=0.1),
        urllib3.Timeout(total=0.1, read=5.0),
    ],
    ids=str,
)
def test_a_time_out_of_urllib3_counts_beside_a_deadline(limit: urllib3.Timeout, server: Server) -> None:
    """A ``Timeout`` that is shorter than the deadline ends the attempt: it is the endpoint's, as without a deadline."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        with request_options(timeout=60.0), pytest.raises(client.timed_out):
            await client.get("http://orders/slow?seconds=5", timeout=limit)

    play("requests", lb, scenario)
    assert lb.stats().outcomes[Outcome.TIMEOUT] == 1


@pytest.mark.parametrize(
    "limit",
    [urllib3.Timeout(), urllib3.Timeout(total=60.0), urllib3.Timeout(connect=60.0, read=60.0)],
    ids=str,
)
def test_a_deadline_cuts_drips_within_a_time_out_of_urllib3(limit: urllib3.Timeout, server: Server) -> None:
    """A longer ``Timeout`` of any form leaves the deadline in force, between any two reads."""
    lb = LoadBalancer([server.address])
    first, rest = PLACES["of a known length"]
    path = "/drip-bytes?" + urlencode({"head": first, "rest": rest, "gap": GAP_S})

    async def scenario(client: Any) -> None:
        with request_options(timeout=DEADLINE_S), pytest.raises(client.timed_out):
            await client.get(f"http://orders{path}", timeout=limit)

    play("requests", lb, scenario)
    assert lb.stats().outcomes[Outcome.CANCELLED] == 1
    assert server.dripped < PIECES


def test_a_time_out_that_is_none_is_refused_as_without_a_deadline(server: Server) -> None:
    """What is no time-out is refused by requests, whether or not the call has a deadline; the outcome is ignored."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        for limit in ("soon", [1, 2], ("soon", 1)):
            with (
                request_options(timeout=60.0),
                pytest.raises(ValueError, match=r"(?i)timeout"),
            ):
                await client.get("http://orders/ok", timeout=limit)

    play("requests", lb, scenario)
    assert lb.stats().outcomes[Outcome.IGNORED] == 3
