"""Toy servers: each behavior on a real socket, control from another process, and life and death of a server."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from balancekit.errors import ConfigurationError
from balancekit.testing._toy import Toy
from balancekit.testing.server import Behavior, ToyServers, behave, main


@pytest.fixture(scope="module")
def servers():
    """Two running servers."""
    with ToyServers(2) as running:
        yield running


@pytest.fixture
def url(servers):
    """Return the root of a server without a fixed behavior."""
    servers["a"].behave()
    return servers["a"].url


class TestBehavior:
    """One grammar for URLs, keyword arguments and JSON."""

    @pytest.mark.parametrize(
        ("url", "fields"),
        [
            ("/", {}),
            ("/anything/at/all?q=1&status=500", {}),
            ("/ok?latency=0.1", {"latency": 0.1}),
            ("/status?code=429&retry_after=7", {"status": 429, "retry_after": "7"}),
            ("/v1/slow?seconds=0.5", {"latency": 0.5}),
            ("/slow", {"latency": 1.0}),
            ("/pieces?n=7&gap=0.1", {"body": "pieces", "pieces": 7, "gap": 0.1}),
            ("/half?status=206", {"ending": "half", "status": 206}),
            ("/redirect?to=/x", {"status": 302, "location": "/x"}),
            ("/status?code=503#code=500", {"status": 503}),
            ("//[::1/slow", {"latency": 1.0}),
            ("//[", {}),
            ("http://127.0.0.1:9101/status?code=503", {"status": 503}),
            ("", {}),
        ],
    )
    def test_a_url_names_fields(self, url, fields):
        """The last segment of a path names a behavior and the query sets fields."""
        assert Behavior.parse(url) == Behavior(**fields)

    @pytest.mark.parametrize(
        "url",
        [
            "/ok?colour=red",
            "/ok?status=99",
            "/ok?status=a",
            "/ok?latency=nan",
            "/slow?latency=-1",
            "/ok?ending=bang",
            "/ok?gap=1e9",
        ],
    )
    def test_a_value_outside_its_range_is_rejected(self, url):
        """An unknown field or a value outside its range raises ConfigurationError."""
        with pytest.raises(ConfigurationError):
            Behavior.parse(url)

    @pytest.mark.parametrize(
        "fields", [{"status": True}, {"pieces": 1.5}, {"location": "a\nb"}, {"latency": "1"}]
    )
    def test_a_value_of_the_wrong_type_is_rejected(self, fields):
        """The constructor takes no text for numbers, no booleans for integers and no line ends in headers."""
        with pytest.raises(ConfigurationError):
            Behavior(**fields)


class TestResponses:
    """What a client sees of each behavior."""

    def test_a_plain_response_is_the_name(self, url):
        """A path that asks for nothing is answered with 200 and the server's name."""
        response = httpx.get(url + "ok")
        assert (response.status_code, response.text) == (200, "a")

    def test_status_and_retry_after(self, url):
        """The status code and the Retry-After header are those asked for."""
        response = httpx.get(url + "status?code=503&retry_after=5")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")

    def test_a_slow_echo_is_that_of_its_own_request(self, url):
        """The echo of a request that waits is not that of a request that came meanwhile."""
        with ThreadPoolExecutor(4) as pool:
            echoes = [pool.submit(httpx.get, f"{url}echo?latency=0.2&n={number}") for number in range(4)]
        assert [one.result().json()["path"][-1] for one in echoes] == ["0", "1", "2", "3"]

    def test_a_server_that_runs_for_long_keeps_the_last_requests(self, url, servers, monkeypatch):
        """A server keeps a limited number of the requests that it received, the last ones."""
        monkeypatch.setattr("balancekit.testing._toy.MAX_RECEIVED", 3)
        servers["a"].received.clear()
        for number in range(5):
            httpx.get(f"{url}ok?{number}")
        assert [one.path for one in servers["a"].received] == ["/ok?2", "/ok?3", "/ok?4"]

    def test_an_echo_is_the_request(self, url):
        """The echo contains method, path, headers and body of the request."""
        echo = httpx.post(url + "echo?status=201", content=b"body", headers={"X-Some": "thing"}).json()
        assert (echo["method"], echo["path"], echo["body"], echo["server"]) == (
            "POST",
            "/echo?status=201",
            "body",
            "a",
        )
        assert echo["headers"]["x-some"] == "thing"

    def test_pieces_and_events(self, url):
        """Chunked text and server-sent events have as many parts as asked for."""
        assert httpx.get(url + "pieces?n=3").text == "piece 0 piece 1 piece 2 "
        response = httpx.get(url + "events?n=2")
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.text.count("data:") == 2

    @pytest.mark.parametrize(
        ("path", "error"),
        [
            ("close", httpx.RemoteProtocolError),
            ("reset", httpx.ReadError),
            ("nonsense", httpx.RemoteProtocolError),
            ("half", httpx.RemoteProtocolError),
            ("pieces?ending=half", httpx.RemoteProtocolError),
            ("hang", httpx.ReadTimeout),
            ("slow?seconds=30", httpx.ReadTimeout),
        ],
    )
    def test_broken_responses(self, url, path, error):
        """Each kind of broken response raises the client's own error for it."""
        with pytest.raises(error):
            httpx.get(url + path, timeout=0.3)

    def test_an_unknown_wish_is_answered_with_400(self, url):
        """A URL that asks for an unknown behavior gets 400 and the list of what is allowed."""
        response = httpx.get(url + "ok?colour=red")
        assert response.status_code == 400
        assert "one of latency" in response.text


class TestServers:
    """Settings that outlast a request, and the life of a server."""

    def test_a_fixed_behavior_wins_over_urls_until_it_is_taken_back(self, servers, url):
        """After behave() every request gets that behavior; behave() without arguments restores URLs."""
        servers["a"].behave(status=418)
        assert httpx.get(url + "slow").status_code == 418
        servers["a"].behave()
        assert httpx.get(url).status_code == 200

    def test_a_script_is_for_the_next_requests_only(self, servers, url):
        """once() sets the behavior of the next requests, one each."""
        servers["a"].once("/status?code=500", Behavior(status=501))
        assert [httpx.get(url).status_code for _ in range(3)] == [500, 501, 200]

    def test_control_from_elsewhere(self, servers, url):
        """behave(address) changes a server over its own port, and is not counted as a request."""
        before = len(servers["a"].received)
        behave(servers["a"].address, status=503, retry_after=9)
        assert httpx.get(url).headers["Retry-After"] == "9"
        behave(servers["a"].address)
        assert httpx.get(url).status_code == 200
        assert len(servers["a"].received) == before + 2

    def test_control_of_nothing_is_an_error(self):
        """behave() names the address if no toy server listens there."""
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*start some"):
            behave(f"127.0.0.1:{port}")

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1:x", "a b:80", "127.0.0.1:80/x?", "http://127.0.0.1:80/", "", "\xe4:80", 80, None],
    )
    def test_control_of_no_address_is_an_error(self, address):
        """behave() takes a host and port only."""
        with pytest.raises(ConfigurationError, match="address="):
            behave(address)

    @pytest.mark.parametrize("end", ["/x?", "?x=", "#"])
    def test_control_of_a_page_is_an_error(self, servers, end):
        """An address of a toy server with more behind it would be a request that controls nothing."""
        with pytest.raises(ConfigurationError, match="address="):
            behave(servers["a"].address + end)

    def test_control_of_something_else_is_an_error(self):
        """behave() names the address if what listens there does not speak HTTP."""

        def nonsense(listening):
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"this is not HTTP\r\n\r\n")

        with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            pool.submit(nonsense, listening)
            with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*start some"):
                behave(f"127.0.0.1:{port}")

    def test_a_refused_downtime_changes_nothing(self, servers, url):
        """A downtime outside its range is refused before the behavior is set, also over the control path itself."""
        for down in (-1.0, float("nan"), float("inf"), "1"):
            with pytest.raises(ConfigurationError, match="down="):
                behave(servers["a"].address, status=503, down=down)
        for body in ("-1", "NaN", "Infinity", "true", "[]", "null", '"nan"'):
            assert httpx.put(url + "_toy/down", content=body).status_code == 400
        assert httpx.get(url).status_code == 200

    def test_down_for_a_while(self, servers, url):
        """A server that is down refuses connections, then serves on the same port."""
        behave(servers["a"].address, down=0.3)
        deadline = time.monotonic() + 5.0
        refused = False
        while time.monotonic() < deadline and not refused:
            try:
                httpx.get(url)
            except httpx.ConnectError:
                refused = True
        assert refused
        while time.monotonic() < deadline:
            try:
                assert httpx.get(url).text == "a"
                break
            except httpx.ConnectError:
                time.sleep(0.02)
        else:
            pytest.fail("the server did not come back")

    def test_a_stop_resets_open_connections_and_a_start_uses_the_same_port(self, servers):
        """A request that hangs when its server is stopped ends with a reset; start() restores the address."""
        server = servers["b"]
        with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))) as connection:
            before = len(server.received)
            connection.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
            while len(server.received) == before:
                time.sleep(0.005)
            address = server.address
            server.stop()
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)
        server.start()
        assert server.address == address
        assert httpx.get(server.url).text == "b"

    def test_names_are_checked(self):
        """Names are different, non-empty and printable; counts are from 1 to 100."""
        for names in (0, 101, True, 2.5, None, [], ["a", "a"], [""], ["a\n"], [1]):
            with pytest.raises(ConfigurationError, match="names"):
                ToyServers(names)
        assert len(ToyServers(100)) == 100

    def test_a_taken_port_starts_none(self):
        """If the second port is taken, start() raises OSError and the first server does not listen."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            servers = ToyServers(2, port=port - 1)
            with pytest.raises(OSError, match=r"(?i)address already in use"):
                servers.start()
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port - 1), timeout=1).close()

    def test_the_command_serves_until_interrupted(self):
        """The command prints one line a server and ends with status 0 on an interrupt."""
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        command = [sys.executable, "-m", "balancekit.testing.server", "--count=1", f"--port={port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"a  http://127.0.0.1:{port}/\n"
            process.stdout.readline()
            assert json.loads(httpx.get(f"http://127.0.0.1:{port}/echo").text)["server"] == "a"
            process.send_signal(2)
            assert process.wait(10) == 0

    def test_the_command_says_what_is_wrong(self, capsys):
        """A taken port is one line and status 1, and a wrong count is a usage error."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert main(["--count=1", f"--port={taken.getsockname()[1]}"]) == 1
        assert "choose another --port" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            main(["--count=0"])


class TestStreams:
    """Bodies in several pieces."""

    def test_events_continue_after_the_last_one_and_break_where_told(self, url):
        """With stop=2 a stream breaks after two events; Last-Event-ID continues it."""
        with (
            pytest.raises(httpx.RemoteProtocolError),
            httpx.stream("GET", url + "events?n=3&stop=2") as response,
        ):
            received = "".join(response.iter_text())
        received = httpx.get(url + "events?n=3&stop=2", headers={"Last-Event-ID": "1"}).text
        assert received == "id: 2\ndata: 2\n\n"

    def test_a_chat_completion_is_whole_or_streamed(self, url):
        """A request with "stream": true gets server-sent events that end with [DONE], another one gets one object."""
        whole = httpx.post(url + "v1/chat/completions", json={"model": "m"}).json()
        assert whole["choices"][0]["message"]["content"] == "hello"
        stream = httpx.post(url + "v1/chat/completions", json={"stream": True}).text.strip().split("\n\n")
        words = [
            json.loads(line.removeprefix("data: "))["choices"][0]["delta"]["content"] for line in stream[:-1]
        ]
        assert ("".join(words), stream[-1]) == ("hello", "data: [DONE]")


@pytest.mark.parametrize("rounds", range(5))
def test_a_connection_that_is_accepted_as_a_server_stops_is_closed(rounds):
    """A connection that is accepted as a server stops is closed, however far the loop had come with it.

    No transport is left half-made.
    """

    async def main():
        toy = Toy("a", 0, None, Behavior())
        await toy.start()
        with socket.create_connection(("127.0.0.1", toy.port)) as client:
            for _ in range(rounds):
                await asyncio.sleep(0)
            await toy.stop()
            client.settimeout(5.0)
            with suppress(ConnectionError):
                assert client.recv(1) == b""

    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(warning.message) for warning in told] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 503),
        ("/else?status=200", 503),
        ("/ok", 200),
        ("/status?code=200", 200),
        ("/slow?seconds=0", 200),
    ],
)
def test_a_url_that_names_a_behavior_wins_over_the_usual_one(path, status):
    """The usual behavior holds for URLs that name none. A URL that names the plain one gets that."""
    with ToyServers(["a"], behavior="/status?code=503") as running:
        assert httpx.get(f"http://{running['a'].address}{path}").status_code == status


@pytest.mark.parametrize("given", [{"code": 503}, {"status": 503}, {"status": "503"}])
@pytest.mark.parametrize("behavior", [None, "/events", Behavior(body="events")])
def test_fields_have_the_same_names_and_forms_beside_a_behavior_and_without(servers, url, behavior, given):
    """Fields override those of the behavior that they are given with; aliases and texts are allowed, as without one."""
    servers["a"].behave(behavior, **given)
    reply = httpx.get(f"{url}anything")
    assert reply.status_code == 503
    assert reply.headers["content-type"].startswith("text/event-stream") is (behavior is not None)
    for change in (servers["a"].behave, lambda *a, **k: behave(servers["a"].address, *a, **k)):
        with pytest.raises(ConfigurationError, match="statsu"):
            change(behavior, statsu=503)
    assert httpx.get(f"{url}anything").status_code == 503
    servers["a"].behave()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_server_that_is_stopped_while_it_is_down_stays_so(stopped):
    """A server listens again after the time for which it is down, unless it has been stopped meanwhile."""

    async def main():
        toy = Toy("a", 0, None, Behavior())
        await toy.start()
        toy._go_down(0.0)
        (outage,) = toy._tasks
        if stopped:
            await toy.stop()
        await outage
        assert (toy._runner is None) is stopped
        await toy.stop()

    asyncio.run(main())
