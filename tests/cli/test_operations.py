"""Commands for operators: check, explain, plan and top, against real servers and files."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from rich.console import Console

from balancekit import LoadBalancer, Outcome
from balancekit.cli import _top_command, main
from balancekit.cli._report import Note
from balancekit.cli._top_command import EndpointRow, _table, rates, readings
from balancekit.config import load
from balancekit.errors import printable
from balancekit.events import Reweighted, Suppressed
from balancekit.observability.prometheus import BalancerCollector
from balancekit.testing.server import ToyServers


@pytest.fixture(scope="module")
def servers():
    """Run two servers, of which b answers every request with 503."""
    with ToyServers(["a", "b"]) as running:
        running["b"].behave(status=503)
        yield running


def configuration(path: Path, servers: ToyServers, more: str = "") -> str:
    """Write a configuration of the servers and return its path."""
    listed = ", ".join(f'"{address}"' for address in servers.addresses)
    path.write_text(
        f'endpoints = [{listed}]\n[balancer]\nselector = "RingHash"\n[checks]\npath = "/healthz"\n{more}'
    )
    return str(path)


class TestCheck:
    """One health check of every endpoint."""

    def test_each_endpoint_has_a_line(self, servers, capsys):
        """Each endpoint has a line that says whether it fails and why. The status is 1 if one fails."""
        assert main(["check", *servers.addresses, "--path", "/healthz"]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"passed  {servers.addresses[0]}")
        assert lines[1].startswith(f"FAILED  {servers.addresses[1]}")
        assert "503" in lines[1]

    def test_a_connection_is_enough_for_tcp(self, servers, capsys):
        """With --tcp a server that answers 503 passes, and the status is 0."""
        assert main(["check", *servers.addresses, "--tcp", "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert [each["passed"] for each in data.values()] == [True, True]

    @pytest.mark.parametrize("id", ["x\nFAILED  forged:80", "x\x1b[2J"], ids=ascii)
    def test_an_id_adds_no_line(self, id, servers, capsys, tmp_path):
        """Ids of a list, which a server may have made, are shown on the line of their endpoint, without escapes of terminals."""
        (tmp_path / "a.toml").write_text(
            f'[endpoints]\n{json.dumps(id)} = {{ target = "{servers.addresses[0]}" }}\n'
        )
        assert main(["check", str(tmp_path / "a.toml"), "--tcp"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("passed")
        assert line.isprintable()

    def test_a_file_and_a_source_name_the_endpoints(self, servers, capsys, tmp_path):
        """A configuration gives endpoints and check; a source is asked once."""
        assert main(["check", configuration(tmp_path / "a.toml", servers)]) == 1
        assert len(capsys.readouterr().out.splitlines()) == 2
        assert main(["check", f"static:{servers.addresses[0]}"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1

    @pytest.mark.parametrize("words", [["check", "no.such.file.toml"], ["check", "a:1", "--timeout", "0"]])
    def test_what_cannot_be_checked_is_one_line(self, capsys, words):
        """A missing file and a wrong option end with status 2 and one line."""
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("balancekit check: ")
        assert error.count("\n") == 1


class TestFiles:
    """Explain and plan over configurations."""

    def test_explain_names_endpoint_and_reasons(self, servers, capsys, tmp_path):
        """The same key gives the same endpoint; a drained one is named as such."""
        file = configuration(tmp_path / "a.toml", servers)
        assert main(["explain", file, "--key", "user-17", "--json"]) == 0
        first = json.loads(capsys.readouterr().out)["picked"]
        assert main(["explain", file, "--key", "user-17", "--drain", first, "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert {data["picked"], first} == set(servers.addresses)
        assert main(["explain", file]) == 0
        assert servers.addresses[0] in capsys.readouterr().out

    def test_one_file_drives_everything(self, servers, capsys, tmp_path):
        """One file runs a balancer with discovery and checks, and is explained, planned and simulated.

        The checks eject the server that fails them.
        """
        source = "static:" + ",".join(servers.addresses)
        file = tmp_path / "orders.toml"
        file.write_text(
            f"""
[discovery]
source = "{source}"
[balancer]
selector = "RingHash"
[checks]
path = "/healthz"
interval = 0.5
timeout = 0.4
[simulation]
requests = 300
arrivals = {{ kind = "poisson", rate = 50.0 }}
server = {{ service = {{ kind = "exponential", mean = 0.02 }} }}
"""
        )
        with load(file) as running:
            until = time.monotonic() + 30.0
            while time.monotonic() < until:
                if running.balancer.stats()[servers.addresses[1]].state == "ejected":
                    break
                time.sleep(0.05)
            assert running.balancer.acquire("k").target == servers.addresses[0]
        assert main(["explain", str(file), "--key", "k"]) == 0
        assert servers.addresses[1] in capsys.readouterr().out
        assert main(["plan", str(file), str(file)]) == 0
        assert "0.0000% of all keys move" in capsys.readouterr().out
        assert main(["simulate", str(file), "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["balancers"].values()
        assert set(found["shares"]) == set(servers.addresses)

    def test_plan_counts_what_moves(self, servers, capsys, tmp_path):
        """Removing one of two endpoints moves the keys that it owned, and no other word changes."""
        old = configuration(tmp_path / "old.toml", servers)
        new = tmp_path / "new.toml"
        new.write_text(Path(old).read_text().replace(f', "{servers.addresses[1]}"', ""))
        assert main(["plan", old, str(new), "--json"]) == 0
        data = json.loads(capsys.readouterr().out)
        assert data["removed"] == [servers.addresses[1]]
        assert 0.3 < data["moved"] < 0.7
        assert data["changed"] == []
        assert main(["plan", old, old]) == 0
        assert "0.0000% of all keys move" in capsys.readouterr().out


POOL = """
title = "orders"

[balancer]
selector = "RingHash"

[retry]
attempts = 2

[checks]
interval = 5

[endpoints.a]
target = "10.0.0.1:80"
weight = 2

[endpoints.b]
target = "10.0.0.2:80"
zone = "eu"
"""


class TestPlan:
    """Each change of a configuration is printed; a plan without one prints none."""

    @pytest.mark.parametrize(
        ("old", "new", "line"),
        [
            ("10.0.0.1:80", "10.0.0.9:80", "altered a: target"),
            ('zone = "eu"', 'zone = "us"\npriority = 1', "altered b: priority, zone"),
            ('zone = "eu"', 'zone = "eu"\nmetadata = { rack = "7" }', "altered b: metadata"),
            ("weight = 2", "weight = 3", "reweighted a"),
            ("endpoints.b", "endpoints.c", "added c"),
            ('"orders"', '"carts"', "[title] changes"),
            ("attempts = 2", "attempts = 3", "[retry] changes"),
            ("interval = 5", "interval = 6", "[checks] changes"),
            ("RingHash", "MaglevHash", "[balancer] changes: keys may move even if endpoints stay the same"),
        ],
    )
    def test_a_changed_word_is_printed(self, old, new, line, tmp_path, capsys):
        """An endpoint or a table that changes is named, and an equal file changes nothing."""
        before, after = tmp_path / "before.toml", tmp_path / "after.toml"
        before.write_text(POOL)
        after.write_text(POOL.replace(old, new))
        assert main(["plan", str(before), str(before)]) == 0
        assert capsys.readouterr().out == "0.0000% of all keys move\n"
        assert main(["plan", str(before), str(after)]) == 0
        assert line in capsys.readouterr().out.splitlines()

    def test_changed_settings_of_discovery_are_printed(self, tmp_path, capsys):
        """Two sources with the same list of endpoints may differ in all else."""
        before, after = tmp_path / "before.toml", tmp_path / "after.toml"
        before.write_text('[discovery]\nsource = "static:10.0.0.1:80"\n')
        after.write_text('[discovery]\nsource = "static:10.0.0.1:80"\ninterval = 5\n')
        assert main(["plan", str(before), str(after)]) == 0
        assert capsys.readouterr().out == "[discovery] changes\n"


class TestTop:
    """A live view of a process."""

    def test_rates_are_differences_of_counters(self):
        """Requests, failures and the mean latency of successes come from two readings of real metrics."""
        registry = CollectorRegistry()
        now = [100.0]
        balancer = LoadBalancer(["a"], clock=lambda: now[0])
        BalancerCollector(balancer, service="orders", registry=registry)
        before = readings(generate_latest(registry).decode())
        for _ in range(3):
            lease = balancer.acquire()
            now[0] += 0.5
            lease.release(Outcome.SUCCESS)
        balancer.acquire().release(Outcome.FAILURE)
        held = balancer.acquire()
        (row,) = rates(before, readings(generate_latest(registry).decode()), 2.0)
        assert (row.service, row.endpoint, row.inflight, row.per_second, row.failed) == (
            "orders",
            "a",
            1,
            2.0,
            0.5,
        )
        assert row.mean == pytest.approx(1.5 / 3)
        held.release()

    def test_an_interval_without_successes_has_no_mean_latency(self):
        """Failures have no duration, so an interval with failures alone shows none, not zero."""
        registry = CollectorRegistry()
        balancer = LoadBalancer(["a"])
        BalancerCollector(balancer, service="orders", registry=registry)
        before = readings(generate_latest(registry).decode())
        balancer.acquire().release(Outcome.FAILURE)
        (row,) = rates(before, readings(generate_latest(registry).decode()), 2.0)
        assert (row.per_second, row.mean) == (0.5, None)

    def test_a_counter_that_went_back_began_anew(self):
        """After a restart of a process the rate counts from zero."""
        text = 'balancekit_requests_total{{endpoint="a",outcome="success",service="s"}} {}\n'
        (row,) = rates(readings(text.format(100.0)), readings(text.format(10.0)), 1.0)
        assert row.per_second == 10.0

    @pytest.mark.parametrize("id", ["[fe80::1]:80", "a[/x]", "[red]a", ":smile:", "a\x1b[2J"], ids=ascii)
    def test_names_are_shown_as_they_are(self, id, capsys):
        """Brackets of an IPv6 address are no markup, colons no picture, and escapes of terminals are shown as text."""
        registry = CollectorRegistry()
        balancer = LoadBalancer([id])
        BalancerCollector(balancer, service="orders", registry=registry)
        server, thread = start_http_server(0, "127.0.0.1", registry=registry)
        try:
            url = f"http://127.0.0.1:{server.server_port}/metrics"
            assert main(["top", url, "--interval", "0.05", "--count", "1"]) == 0
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
        assert printable(id) in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("width", "whole"), [(80, True), (72, False), (60, True), (50, True), (40, False)]
    )
    def test_a_terminal_of_any_width_shows_ids(self, width, whole):
        """On 80 columns and on a few less each id is on one line; on narrow ones numbers are left out before ids are."""
        row = EndpointRow("orders", "http://10.0.0.7:8080", "draining", 12, 12345.6, 1.0, 0.0123)
        console = Console(width=width, file=io.StringIO())
        console.print(_table([row], console.width))
        shown = console.file.getvalue()
        assert ("http://10.0.0.7:8080" in shown) is whole
        joined = "".join(line[:30].strip() for line in shown.splitlines()[2:])
        assert "http:" in joined
        assert "8080" in joined
        assert "draining" in shown
        assert "12345.6" in shown
        assert "…" not in shown

    def test_the_command_reads_a_real_process(self, capsys):
        """Two intervals against a real metrics server print two lines of data."""
        registry = CollectorRegistry()
        balancer = LoadBalancer(["a", "b"])
        BalancerCollector(balancer, service="orders", registry=registry)
        server, thread = start_http_server(0, "127.0.0.1", registry=registry)
        try:
            url = f"http://127.0.0.1:{server.server_port}/metrics"
            assert main(["top", url, "--interval", "0.05", "--count", "2", "--json"]) == 0
            lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            assert [[row["endpoint"] for row in line] for line in lines] == [["a", "b"], ["a", "b"]]
            assert main(["top", url, "--interval", "0.05", "--count", "1"]) == 0
            assert "orders" in capsys.readouterr().out
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)
        assert isinstance(thread, threading.Thread)

    def test_a_process_is_read_by_a_name_in_unicode(self, monkeypatch):
        """The host of a URL in Unicode is looked up as A-labels."""
        asked = []

        def unknown(name, *_, **__):
            asked.append(name)
            raise socket.gaierror("no such name")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert main(["top", "http://\u043f\u0440\u0438\u043c\u0435\u0440.example:9000/metrics"]) == 1
        assert asked == ["xn--e1afmkfd.example"]

    def test_a_page_that_drips_is_given_up(self, monkeypatch, capsys):
        """An answer that comes byte by byte, each in time, is not waited for beyond the time-out of the whole."""
        monkeypatch.setattr(_top_command, "TIMEOUT_S", 0.2)
        over = threading.Event()

        def drip():
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 4000\r\n\r\n")
                while not over.wait(0.05):
                    connection.sendall(b" ")

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=drip, daemon=True)
            thread.start()
            assert main(["top", f"http://127.0.0.1:{server.getsockname()[1]}/?key=s3cret"]) == 1
            over.set()
            thread.join(10.0)
        told = capsys.readouterr().err
        assert ("no answer within 0.2 s" in told, "s3cret" in told, told.count("\n")) == (True, False, 1)

    def test_a_redirect_leads_to_no_ftp_server(self, capsys):
        """A redirect to anything but the web is not followed."""
        asked = []

        class Elsewhere(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(302)
                self.send_header("Location", f"ftp://127.0.0.1:{ftp.getsockname()[1]}/metrics")
                self.end_headers()

            def log_message(self, *_):
                asked.append(self.path)

        with (
            socket.create_server(("127.0.0.1", 0)) as ftp,
            ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server,
        ):
            ftp.setblocking(False)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            assert main(["top", f"http://127.0.0.1:{server.server_port}/"]) == 1
            server.shutdown()
            thread.join(10.0)
            with pytest.raises(BlockingIOError):
                ftp.accept()
        assert (asked, capsys.readouterr().err.count("\n")) == (["/"], 1)

    def test_what_is_no_metrics_is_one_line(self, servers, capsys):
        """A page without metrics, an address that refuses and a wrong interval end with one line."""
        for words in ([servers["a"].url], ["http://127.0.0.1:1/"], ["ftp://x/"], ["x", "--interval", "0"]):
            assert main(["top", *words]) in (1, 2)
            assert capsys.readouterr().err.count("\n") == 1


def test_the_command_alone_shows_help_with_examples(capsys):
    """Without a command the help is printed, with examples, and the status is 0."""
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "balancekit check 10.0.0.1:8080" in out


@pytest.mark.parametrize("odd", ["NaN", "+Inf", "-Inf"])
def test_numbers_that_are_none_are_left_out(odd):
    """A metric that is not finite counts as one that is not there."""
    page = f'balancekit_inflight_requests{{endpoint="a"}} {odd}\nbalancekit_requests_total{{endpoint="a",outcome="success"}} 4\n'
    before = readings(page)
    (row,) = rates(before, before, 1.0)
    assert (row.inflight, row.per_second) == (0, 0.0)


def test_a_note_gives_seconds_to_times_alone():
    """Of the numbers of an event only those that are times are printed in seconds, from the beginning of the run."""
    suppressed = Suppressed(endpoint="a", at=103.0, until=110.5, penalty=3000.0)
    assert str(Note.of(suppressed, 100.0)) == "a suppressed (until 10.5 s, penalty 3000)"
    reweighted = Reweighted(endpoint="a", at=103.0, before=1.0, after=2.5)
    assert str(Note.of(reweighted, 100.0)) == "a reweighted (before 1, after 2.5)"
