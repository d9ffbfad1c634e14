"""Mistakes that people make with commands: each is one line on standard error and a status, never a traceback or a default."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import pytest
from dnslib.server import DNSServer
from tests.cli._zone import ZONE

from balancekit import cli
from balancekit._support.parser import UNITS
from balancekit.cli import _parser, main
from balancekit.cli._check_command import SCHEMES
from balancekit.cli._ending import Ending
from balancekit.cli._gslb_serve import PORTS_TRIED, _listening
from balancekit.cli._log_lines import log_lines
from balancekit.cli._vrrp import _report_change
from balancekit.discovery._source import _BUILT_IN
from balancekit.errors import ConfigurationError

COMMAND = [sys.executable, "-m", "balancekit"]
ROUTER = ["--vrid", "1", "--address", "192.0.2.9/24"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make one file of each kind, a list and a log, and work beside them."""
    (tmp_path / "zone.toml").write_text(ZONE)
    (tmp_path / "routes.toml").write_text('[[route]]\nname = "site"\nto = "web"\n')
    (tmp_path / "pool.toml").write_text('endpoints = ["a:1", "b:1"]\n')
    (tmp_path / "log.txt").write_text("192.0.2.1 17\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "targets.json").write_text('[{"targets": ["127.0.0.1:1"]}]')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["gslb", "simulate", "zone.toml", "www", "--step", "0"], "--step=0.0"),
        (["gslb", "simulate", "zone.toml", "www", "--step", "-1"], "--step=-1.0"),
        (["gslb", "simulate", "zone.toml", "www", "--step", "1e-9"], "--step=1e-09"),
        (
            ["gslb", "simulate", "zone.toml", "www", "--seconds", "1e7"],
            "--step=15.0 is not allowed: expected a finite number of seconds > 0 and >= 10",
        ),
        (["gslb", "simulate", "zone.toml", "www", "--step", "nan"], "--step=nan"),
        (["gslb", "simulate", "zone.toml", "www", "--seconds", "inf"], "--seconds=inf"),
        (["gslb", "simulate", "zone.toml", "www", "--down", "@60"], "--down='@60'"),
        (["gslb", "simulate", "zone.toml", "www", "--down", "eu-1@nan"], "--down='eu-1@nan'"),
        (
            ["gslb", "simulate", "zone.toml", "www", "--down", "eu-9@60"],
            "--down='eu-9' is not allowed: expected one of eu-1",
        ),
        (["gslb", "simulate", "zone.toml", "www", "--up", "eu-1@-5"], "--up='eu-1@-5'"),
        (["gslb", "simulate", "zone.toml", "www", "--clients", "none.txt"], "--clients='none.txt'"),
        (["gslb", "serve", "zone.toml", "--port", "65536"], "--port=65536"),
        (["gslb", "serve", "zone.toml", "--port", "-1"], "--port=-1"),
        (["gslb", "serve", "zone.toml", "--port", "0", "--seconds", "nan"], "--seconds=nan"),
        (["gslb", "serve", "zone.toml", "--port", "0", "--seconds", "-1"], "--seconds=-1.0"),
        (["top", "http://127.0.0.1:1/", "--count", "-1"], "--count=-1"),
        (["top", "http://127.0.0.1:1/", "--interval", "nan"], "--interval=nan"),
        (["top", "ftp://127.0.0.1/"], "URL='ftp://127.0.0.1/'"),
        (["top", "http://127.0.0.1:99999/"], "URL='http://127.0.0.1:99999/' is not allowed"),
        (["top", "http://127.0.0.1:0/"], "a port from 1 to 65535"),
        (["top", "http://[::1/"], "URL='http://[::1/'"),
        (["top", "http:///metrics"], "URL='http:///metrics'"),
        (["plan", "a,b", "a", "--vnodes", "0"], "vnodes=0"),
        (["plan", "a,b", "a", "--algorithm", "maglev", "--size", "0"], "size=0"),
        (["plan", "a,b", "a", "--algorithm", "maglev", "--vnodes", "9"], "--vnodes=9"),
        (["plan", "a,b", "a", "--imbalance", "0.1", "--vnodes", "9"], "--imbalance=0.1"),
        (
            ["plan", "a,b", "a", "--algorithm", "maglev", "--imbalance", "0.1", "--size", "9"],
            "--imbalance=0.1",
        ),
        (["plan", "a,b", "a", "--algorithm", "maglev", "--size", "999999999"], "<= 67108864"),
        (["plan", "pool.toml", "a"], "after='a' is not allowed: expected a file, as pool.toml is one"),
        (["plan", "a", "pool.toml"], "before='a'"),
        (["plan", "a=-1", "a"], "endpoint='a=-1'"),
        (["plan", "@empty.txt", "a"], "file='empty.txt' is not allowed: expected one endpoint per line"),
        (["bench", "cards", "--quick"], "--quick=True"),
        (["bench", "cards", "--workers", "2"], "--workers=2"),
        (["check", "127.0.0.1"], "WHAT='127.0.0.1' is not allowed: expected host:port"),
        (["check", "127.0.0.1:99999"], "WHAT='127.0.0.1:99999'"),
        (["check", "127.0.0.1:0"], "WHAT='127.0.0.1:0'"),
        (["check", "127.0.0.1:1", "--timeout", "nan"], "--timeout=nan"),
        (["check", "http://user:hunter2@127.0.0.1:1"], "WHAT='http://***@127.0.0.1:1'"),
        (["check", "user:hunter2@127.0.0.1:1"], "WHAT='***@127.0.0.1:1'"),
        (["plan", "a,b", "a", "--observed", "log.txt"], "--observed='log.txt'"),
        (["plan", "a,b", "a", "--log", "log.txt"], "--log='log.txt'"),
        (["plan", "zone.toml", "zone.toml", "--vnodes", "9"], "--vnodes=9"),
        (["plan", "zone.toml", "zone.toml", "--observed", "none.txt"], "--observed='none.txt'"),
        (["plan", "pool.toml", "pool.toml", "--observed", "log.txt"], "--observed='log.txt'"),
        (["plan", "routes.toml", "routes.toml", "--observed", "log.txt"], "--observed='192.0.2.1 17'"),
        (["plan", "a\0.toml", "a\0.toml"], "embedded null"),
        (["explain", "pool.toml", "--drain", "c:1"], "'c:1'"),
        (["explain", "pool.toml", "--exclude", "c:1"], "--exclude='c:1'"),
        (["explain", "."], "'.'"),
        (["explain", "a\0.toml"], "embedded null"),
        (["capacity", "."], "'.'"),
        (["check", "file:none.json"], "none.json"),
        (["check", "a:1", "--tcp", "--path", "/"], "--path='/'"),
        (
            ["vrrp", "run", "--interface", "lo", *ROUTER, "--advert-log", "none/log"],
            "--advert-log='none/log'",
        ),
        (["simulate", "slow-serve"], "did you mean 'slow-server'?"),
        (["simulate", "--pool", "a"], "--pool='a'"),
        (["simulate", "two-servers", "--out", "log.txt"], "--out='log.txt'"),
        (["simulate", "two-servers", "--out", ""], "--out='' is not allowed: expected the path of a folder"),
        (["simulate", "two-servers", "--seed", "-1"], "--seed=-1"),
        (["bench", "--out", ""], "--out=''"),
        (["bench", "cards", "--out", ""], "--out=''"),
        (["bench", "cards", "--out", "log.txt/cards"], "--out='log.txt/cards'"),
        (["vrrp", "run", "--interface", "lo", *ROUTER, "--check", "'"], "--check"),
        (["vrrp", "run", "--interface", "lo", *ROUTER, "--check", " "], "--check=' '"),
        (["vrrp", "run", "--interface", "lo", *ROUTER, "--check", "none/x -v"], "no program 'none/x'"),
        (["vrrp", "run", "--interface", "lo", *ROUTER, "--check-interval", "0"], "--check-interval=0.0"),
        (["vrrp", "run", "--interface", "lo", *ROUTER, "--check-interval", "nan"], "--check-interval=nan"),
    ],
    ids=lambda value: " ".join(value).replace("\0", "NUL") if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_line_that_names_it(words, named, capsys):
    """A value out of range, an option without meaning and a file that cannot be read: status 2, one line that names it."""
    assert main(words) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith(f"balancekit {words[0]}")
    assert written.err.count("\n") == 1
    assert named in written.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["top", "http://a/", "--interval", "1s"], "--interval: '1s' is not a number of seconds"),
        (["top", "http://a/", "--count", "1.5"], "--count: '1.5' is not a whole number of readings"),
        (["check", "a:1", "--timeout", "1s"], "--timeout: '1s' is not a number of seconds"),
        (["gslb", "serve", "zone.toml", "--port", "dns"], "--port: 'dns' is not a whole number"),
        (
            ["gslb", "simulate", "zone.toml", "www", "--fall", "x"],
            "--fall: 'x' is not a whole number of checks",
        ),
        (["plan", "a", "b", "--size", "1e3"], "--size: '1e3' is not a whole number of slots"),
        (["plan", "a", "b", "--imbalance", "10%"], "--imbalance: '10%' is not a number"),
        (["plan", "a", "b", "--vnodes", "9" * 5_000], " is not a whole number of points"),
        (["explain", "zone.toml", "www", "--seed", "x"], "--seed: 'x' is not a whole number"),
        (
            ["vrrp", "run", "--interface", "lo", *ROUTER, "--interval", "x"],
            "--interval: 'x' is not a number of seconds",
        ),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_number_is_named_with_its_unit(words, says, capsys):
    """A text that is no number is refused with the unit of the option, not with the name of a type of Python, and cut short."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith(says)
    assert len(error) < 300


def options_of(parser):
    """Return the options of a command and of the commands within it, each with the command's name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from options_of(command)
        else:
            yield parser.prog, action


def test_every_number_of_seconds_says_so():
    """An option whose value is a real number has its unit in the help, unless it is a share."""
    reals = [(prog, action) for prog, action in options_of(_parser()) if action.type is float]
    assert {action.option_strings[0] for _, action in reals if action.metavar not in UNITS} == {"--imbalance"}
    assert len(reals) > 8


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--interval", "0"], "a multiple of 0.01 seconds from 0.01 to 40.95"),
        (["--interval", "-1"], "a multiple of 0.01 seconds from 0.01 to 40.95"),
        (["--interval", "0.005"], "a multiple of 0.01 seconds from 0.01 to 40.95"),
        (["--interval", "40.96"], "a multiple of 0.01 seconds from 0.01 to 40.95"),
        (["--interval", "nan"], "a multiple of 0.01 seconds from 0.01 to 40.95"),
        (["--interval", "0", "--vrrp-version", "2"], "whole seconds from 1 to 255"),
        (["--interval", "1.5", "--vrrp-version", "2"], "whole seconds from 1 to 255"),
        (["--interval", "256", "--vrrp-version", "2"], "whole seconds from 1 to 255"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_interval_that_no_advert_carries_is_named_with_its_bounds(words, allowed, tmp_path, capsys):
    """One sentence whatever is wrong with it: its sign, its size or its fraction."""
    log = tmp_path / "log"
    log.write_text("")
    assert main(["vrrp", "replay", str(log), "--source", "192.0.2.1", *ROUTER, *words]) == 2
    value = float(words[1])
    assert capsys.readouterr().err == (
        f"balancekit vrrp replay: --interval={value!r} is not allowed: expected {allowed}\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["capacity"],
        ["simulate"],
        ["explain"],
        ["lint"],
        ["gslb", "serve"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("file", ["pipe", "/dev/zero", "directory", "x" * 400])
@pytest.mark.usefixtures("folder")
def test_a_file_that_cannot_be_read_whole_is_one_line(words, file, tmp_path, capsys):
    """A pipe that no process writes to, a device without an end, a directory and a name of any length are refused."""
    if file == "pipe":
        os.mkfifo(tmp_path / "pipe.toml")
        file = tmp_path / "pipe.toml"
    elif file == "directory":
        file = tmp_path
    elif file.startswith("/dev") and not Path(file).exists():
        pytest.skip("this system has no such device")
    assert main([*words, str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"balancekit {words[0]}")
    assert line.count("x" * 200) < 3


@pytest.mark.parametrize(
    "words",
    [
        ["top", "http://user:s3cret@127.0.0.1:1/"],
        ["top", "http://127.0.0.1:1/?key=s3cret"],
        ["check", "http_sd:http://user:s3cret@127.0.0.1:1/"],
        ["check", "http_sd:http://127.0.0.1:1/?key=s3cret"],
    ],
    ids=" ".join,
)
def test_a_password_in_a_url_is_not_shown(words, capsys):
    """An error shows that a URL had a password or a query, but neither of them."""
    assert main(words) in {1, 2}
    (line,) = capsys.readouterr().err.splitlines()
    assert "***" in line
    assert "s3cret" not in line


SECRET = "http://app:s3cret@10.0.0.1/x?token=s3cret"


@pytest.mark.parametrize(
    "words",
    [
        ["{}"],
        ["--{}"],
        ["--version={}"],
        ["demo", "{}"],
        ["demo", "--seconds", "{}"],
        ["demo", "--json={}"],
        ["bench", "{}"],
        ["bench", "--seed", "{}"],
        ["bench", "latency", "--workers", "{}"],
        ["simulate", "--seed", "{}"],
        ["explain", "{}"],
        ["explain", "{}", "{}"],
        ["explain", "a.toml", "--{}"],
        ["explain", "--kind", "{}", "a.toml"],
        ["lint", "{}"],
        ["gslb", "serve", "{}"],
        ["capacity", "{}"],
        ["vrrp", "{}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("value", [SECRET, "x" * 100_000, "x " * 50_000, "\x1b[31m\nx"], ids=lambda v: v[:9])
def test_what_is_refused_is_shown_cut_and_without_passwords(words, value, capsys, tmp_path, monkeypatch):
    """Whatever word is wrong, an error shows little of it, on one line, and no password."""
    monkeypatch.chdir(tmp_path)
    try:
        status = main([word.format(value) for word in words])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    said = capsys.readouterr().err
    assert len(said) < 10_000
    assert "s3cret" not in said
    assert "\x1b" not in said
    assert said.splitlines()[-1].startswith("balancekit")


@pytest.mark.usefixtures("folder")
def test_a_source_that_ends_as_a_file_does_is_a_source(capsys):
    """``check file:targets.json`` checks the targets that the file lists; it is no configuration."""
    assert main(["check", "file:targets.json", "--tcp", "--json"]) == 1
    assert list(json.loads(capsys.readouterr().out)) == ["127.0.0.1:1"]


@pytest.mark.usefixtures("folder")
def test_a_source_that_fails_is_not_asked_for_ten_seconds():
    """The first error of a source ends the command: it follows nothing that could mend."""
    began = time.monotonic()
    assert main(["check", "file:none.json"]) == 2
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    "words",
    [
        ["check", "SOURCE"],
        ["explain", "found.toml"],
        ["plan", "found.toml", "pool.toml"],
        ["check", "found.toml"],
    ],
    ids=" ".join,
)
def test_a_source_without_a_list_is_a_failed_lookup(words, folder, capsys):
    """A service that does not answer is no wrong argument: status 1, one line with the source and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"http_sd:http://127.0.0.1:{server.getsockname()[1]}/targets"
    (folder / "found.toml").write_text(f'discovery = {{ source = "{source}" }}\n')
    assert main([source if word == "SOURCE" else word for word in words]) == 1
    error = capsys.readouterr().err
    assert f"the source '{source}' has no list of endpoints: " in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_blank_lines_of_a_list_are_no_endpoints(capsys):
    """``plan @FILE`` reads one endpoint a line and passes over blank lines."""
    Path("ids.txt").write_text("a\r\n\r\nb\n\n")
    assert main(["plan", "@ids.txt", "a,b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["moved"] == 0.0


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-server\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_an_answer_that_is_no_metrics_is_one_line(answer, capsys):
    """``top`` at a port that speaks another protocol, or breaks off, says so; status 1."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.recv(65_536)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/metrics"
        assert main(["top", url]) == 1
        thread.join(10.0)
    error = capsys.readouterr().err
    assert error.startswith(f"balancekit top: {url}: ")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "words",
    [
        ["explain", "many.toml"],
        ["plan", "many.toml", "few.toml", "--json"],
        ["gslb", "simulate", "zone.toml", "www", "--step", "4", "--resolvers", "20", "--json"],
    ],
    ids=lambda words: words[0],
)
def test_a_reader_of_much_output_may_go_away(words):
    """Output of more than the buffer of a pipe, of which nothing is read: status 141 and no message."""
    ids = [f"endpoint-{number:05}:80" for number in range(4_000)]
    Path("many.toml").write_text(f"endpoints = {json.dumps(ids)}\n[balancer]\nselector = 'RendezvousHash'\n")
    Path("few.toml").write_text(
        f"endpoints = {json.dumps(ids[:9])}\n[balancer]\nselector = 'RendezvousHash'\n"
    )
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([*COMMAND, *words], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_that_an_encoding_lacks_is_one_line(encoding):
    """A code page without a character of the answer: one line that names both, status 1."""
    done = subprocess.run(
        [*COMMAND, "plan", "Łódź,b", "b"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    error = done.stderr.decode()
    assert done.returncode == 1
    assert error.count("\n") == 1
    assert encoding.replace("cp1252", "charmap") in error.replace("cp1252", "charmap")


def test_errors_without_a_standard_error_keep_their_status():
    """With a closed standard error a mistake still ends with status 2."""
    command = " ".join([*COMMAND, "explain", "none.toml", "2>&-"])
    assert subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=False).returncode == 2


@pytest.mark.usefixtures("folder")
def test_a_free_port_is_printed_and_is_the_same_for_udp_and_tcp(capsys):
    """With ``--port 0`` the system finds a port; the line names it, and both protocols answer there; a second server is refused."""
    serving = subprocess.Popen(
        [*COMMAND, "gslb", "serve", "zone.toml", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert serving.stdout is not None
    try:
        port = int(serving.stdout.readline().split(":")[1].split(",")[0])
        assert port > 0
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken,
            pytest.raises(OSError, match="in use"),
        ):
            taken.bind(("127.0.0.1", port))
        assert main(["gslb", "serve", "zone.toml", "--port", str(port)]) == 2
        assert f"127.0.0.1:{port}" in capsys.readouterr().err
    finally:
        serving.terminate()
        serving.communicate(timeout=20)
    assert serving.returncode == 0


@pytest.mark.parametrize("taken", [1, 5])
def test_a_port_that_is_taken_for_tcp_is_not_chosen(taken):
    """A port of the system's choosing is free for UDP; if it is taken for TCP another is found, and the first is let go."""
    chosen, sockets, refused, lost = [], [], [], []

    def serve(*, address, port, tcp, **_):
        if tcp and len(refused) < taken:
            refused.append(port)
            with socket.create_server((address, port)):
                return DNSServer(None, address=address, port=port, tcp=tcp)
        try:
            server = DNSServer(None, address=address, port=port, tcp=tcp)
        except OSError:  # another process has the port
            lost.append(port)
            raise
        if not tcp:
            chosen.append(server.server.server_address[1])
            sockets.append(server.server.socket)
        return server

    datagrams, streams = _listening(serve, "127.0.0.1", 0)
    with datagrams.server, streams.server:
        assert [*refused, *lost] == chosen[:-1]
        assert len(refused) == taken
        assert datagrams.server.server_address == streams.server.server_address == ("127.0.0.1", chosen[-1])
        assert [one.fileno() >= 0 for one in sockets] == [False] * (len(chosen) - 1) + [True]


def test_a_port_that_is_asked_for_is_tried_once():
    """A port that the caller named is not exchanged for another, and no attempt without end is made for one of the system's."""
    calls = []

    def serve(*, address, port, tcp, **_):
        calls.append(port)
        raise OSError(errno.EADDRINUSE, "in use")

    for port, times in ((5353, 1), (0, PORTS_TRIED)):
        calls.clear()
        with pytest.raises(ConfigurationError, match="UDP: in use"):
            _listening(serve, "127.0.0.1", port)
        assert calls == [port] * times


def test_a_lost_reader_does_not_fail_a_router(monkeypatch):
    """A change of role that cannot be printed is no error of the hook, which would fault the router."""

    class Gone:
        def write(self, _):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    _report_change(role="active")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="the system has no signal masks")
@pytest.mark.parametrize("timeout", [None, math.inf, 60.0])
def test_a_signal_that_another_thread_receives_ends_a_command(timeout):
    """The handler runs in the main thread, which that signal does not wake: it must wake by itself."""
    code = (
        "import math, os, signal, threading, time\n"
        "from balancekit.cli._ending import Ending\n"
        "ended = Ending()\n"
        "signal.signal(signal.SIGTERM, lambda *_: ended.set())\n"
        "def send():\n"
        "    time.sleep(0.5)\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "    time.sleep(60.0)\n"
        "threading.Thread(target=send, daemon=True).start()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        f"print(ended.wait({'math.inf' if timeout == math.inf else timeout}), ended.is_set())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30.0, check=True
    )
    assert done.stdout == "True True\n"


def test_a_wait_calls_what_a_handler_asked_for():
    """A function is called by what waits, once however often it was asked for, and not after the end."""
    ended, called = Ending(), []

    def function():
        called.append(None)
        if len(called) == 2:
            ended.set()
            ended.call(function)

    ended.call(function)
    ended.call(function)
    assert called == []
    assert not ended.wait(0.01)
    assert len(called) == 1
    ended.call(function)
    assert ended.wait(60.0)
    assert ended.wait(60.0)
    assert len(called) == 2


def test_a_wait_ends_after_its_time():
    """A wait that nothing ends returns False when its time is over, one of what has ended True at once."""
    ended = Ending()
    assert not ended.wait(0.01)
    ended.set()
    assert ended.wait(60.0)


def test_a_check_knows_the_schemes_of_discovery():
    """Every scheme of discovery is a source of ``balancekit check``."""
    assert set(SCHEMES) == set(_BUILT_IN)


def test_options_before_the_file_of_explain_are_told_their_place(capsys):
    """``explain --key a pool.toml`` is a usage error that says where such options stand."""
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--key", "a", "pool.toml"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --key; options of the decision come after FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "usage", "said"),
    [
        (
            ["gslb", "serve", "zone.toml", "--prot", "1"],
            "balancekit gslb serve",
            "--prot 1; did you mean --port?",
        ),
        (["capacity", "plan.toml", "--jsn=1"], "balancekit capacity", "--jsn=1; did you mean --json?"),
        (["check", "a:1", "--verbose"], "balancekit check", "--verbose"),
        (
            ["explain", "pool.toml", "--keys", "a"],
            "balancekit explain pool.toml",
            "--keys a; did you mean --key?",
        ),
        (["--bogus"], "balancekit", "--bogus"),
    ],
    ids=["of a subcommand", "with a value", "without a similar one", "after a file", "of the program"],
)
@pytest.mark.usefixtures("folder")
def test_an_unknown_option_shows_the_usage_of_its_command(words, usage, said, capsys):
    """The usage is that of the command to which the option was given, and a similar option is named."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"usage: {usage} [-h]")
    assert error.endswith(f"\n{usage}: error: unrecognized arguments: {said}\n")


MISTAKEN = {
    "pool": ('endpoints = ["a:1"]\n', '[balancer]\nselecter = "RoundRobin"\n'),
    "zone": (ZONE, '[chek]\nkind = "tcp"\n'),
    "routes": ('[[route]]\nname = "site"\nto = "web"\n', '[[route]]\nname = "site"\nto = 3\n'),
    "capacity": ("", "[demand]\nrequests = 'many'\n"),
    "scenario": ("[servers.a]\ncount = 1\n", "[arrivals]\nkind = 'bursts'\n"),
}
"""A file of each kind, and what makes it a mistaken one at its end."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pool", ["explain", "bad.toml"]),
        ("pool", ["plan", "bad.toml", "good.toml"]),
        ("pool", ["plan", "good.toml", "bad.toml"]),
        ("pool", ["check", "bad.toml"]),
        ("pool", ["export", "good.toml", "bad.toml", "--to", "nginx"]),
        ("zone", ["explain", "bad.toml", "www"]),
        ("zone", ["plan", "good.toml", "bad.toml"]),
        ("zone", ["gslb", "simulate", "bad.toml", "www"]),
        ("zone", ["gslb", "serve", "bad.toml"]),
        ("routes", ["explain", "bad.toml", "/"]),
        ("routes", ["plan", "good.toml", "bad.toml"]),
        ("capacity", ["capacity", "bad.toml"]),
        ("scenario", ["simulate", "bad.toml"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_mistake_in_a_file_names_the_file(kind, words, tmp_path, monkeypatch, capsys):
    """The error about the content of a file begins with its name: a command may have several files."""
    monkeypatch.chdir(tmp_path)
    good, mistake = MISTAKEN[kind]
    (tmp_path / "good.toml").write_text(good)
    (tmp_path / "bad.toml").write_text(good + mistake)
    assert main(words) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert re.match(r"balancekit [a-z ]+: in bad\.toml: ", error)
    assert error.count("\n") == 1


def test_a_mistake_in_a_variable_names_the_variable(tmp_path, monkeypatch, capsys):
    """If variables change a file, the error about the result names them too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.toml").write_text('endpoints = ["a:1"]\n')
    monkeypatch.setenv("BALANCEKIT_RETRY__ATTEMPTS", "no")
    assert main(["check", "pool.toml"]) == 2
    error = capsys.readouterr().err
    assert "in pool.toml: with BALANCEKIT_RETRY__ATTEMPTS: retry.attempts='no' is not allowed" in error


@pytest.mark.parametrize("package", ["config", "health", "ha"])
def test_a_page_takes_no_arguments(package):
    """``python -m balancekit.config FILE`` prints no page as if the file were checked, and ``--help`` prints a usage."""
    program = [sys.executable, "-m", f"balancekit.{package}"]
    wrong, usage = [
        subprocess.run([*program, word], capture_output=True, text=True, timeout=60, check=False)
        for word in ("orders.toml", "--help")
    ]
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "unrecognized arguments: orders.toml" in wrong.stderr
    assert usage.returncode == 0
    assert usage.stdout.startswith(f"usage: python -m balancekit.{package} [-h]\n")


@pytest.mark.parametrize("package", ["config", "health", "ha"])
@pytest.mark.parametrize("output", ["pipe", "/dev/full", "closed"])
def test_a_page_that_cannot_be_printed_is_no_traceback(package, output):
    """``python -m balancekit.config | head`` ends with status 141 and no message; a full or closed output with 1 and a line."""
    command = f"{sys.executable} -m balancekit.{package}"
    if output == "pipe":
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run(command.split(), stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
        os.close(theirs)
        assert (done.returncode, done.stderr) == (141, "")
        return
    where = ">&-" if output == "closed" else f">{output}"
    done = subprocess.run(f"{command} {where}", shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_a_warning_is_one_line_without_code(capsys):
    """What the library warns of is printed after the name of the command, and the command goes on."""
    Path("near.toml").write_text(
        ZONE.replace('policy = "all-up"', 'policy = "geo"\nmap = "m"').replace('endpoints = ["eu-1"]', "")
        + '[names.www.sites]\neu = { policy = "all-up", endpoints = ["eu-1"] }\n'
        + '[maps.m]\ndefault = ["eu"]\nnetworks = { "198.51.100.0/26" = ["eu"] }\n'
    )
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as without pytest, for which warnings are errors
        before = warnings.showwarning
        assert main(["explain", "near.toml", "www"]) == 0
        assert warnings.showwarning is before
    error = capsys.readouterr().err
    assert error.startswith("balancekit explain: warning: networks longer than /24 or /56")
    assert error.count("\n") == 1


def test_what_the_library_logs_is_a_line_for_each_record(capsys):
    """Warnings and errors, an exception by what it is and not by its traceback; nothing after the end."""
    logger = logging.getLogger("balancekit")
    with log_lines("balancekit x"):
        logger.info("not for an operator")
        logger.warning("%s is\ngone", "a")
        try:
            int("no such thing")
        except ValueError:
            logger.exception("the hook raised")
    logger.warning("after")
    assert (
        capsys.readouterr().err
        == "balancekit x: a is gone\nbalancekit x: the hook raised: ValueError: invalid literal for int() with base 10: 'no such thing'\n"
    )


def test_a_signal_may_interrupt_the_handler_of_another():
    """Signals on each other's heels end a command: a handler that is interrupted by another holds no lock that it wants."""
    code = (
        "import os, signal\n"
        "from balancekit.cli._ending import Ending\n"
        "ended = Ending()\n"
        "def end(*_):\n"
        "    ended.set()\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, end)\n"
        "print(flush=True)\n"
        "for _ in range(20000):\n"
        "    ended.set()\n"
        "    ended.wait(0.0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    while process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(15)
            process.send_signal(2)
    process.stdout.close()
    assert process.returncode in {0, -2, -15}


@pytest.mark.parametrize(("step", "lines"), [("0.1", 300), ("7", 5), ("30", 1), ("100", 1)])
def test_a_simulation_has_as_many_steps_as_fit(folder, capsys, step, lines):
    """Steps of a length that no float holds add up to the whole time, without one more of no length."""
    words = ["gslb", "simulate", "zone.toml", "www", "--seconds", "30", "--step", step, "--resolvers", "300"]
    assert main([*words, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert len(steps) == lines
    assert all(one["shares"] for one in steps)
    assert main(words) == 0
    begins = [line.split()[0] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert len(set(begins)) == lines


def test_maps_of_one_file_are_listed_in_order(tmp_path):
    """The plan of zones prints maps that only one file has by name, whatever strings hash to."""
    many = "".join(f'[maps.m{number}]\ndefault = ["eu-1"]\n' for number in range(9))
    (tmp_path / "before.toml").write_text(ZONE)
    (tmp_path / "after.toml").write_text(ZONE + many)
    texts = {
        subprocess.run(
            [*COMMAND, "plan", "before.toml", "after.toml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
    assert [line.split()[1] for line in texts.pop().splitlines() if "only in" in line] == [
        f"m{k}:" for k in range(9)
    ]


def test_a_worker_that_is_killed_is_a_line_and_a_status(monkeypatch, capsys):
    """A process of ``bench`` that the system kills ends the command with status 1 and one line."""

    def killed(*_, **__):
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr("balancekit.cli._bench.measure", killed)
    assert main(["bench", "latency", "--quick", "--workers", "1"]) == 1
    assert re.fullmatch(r"balancekit bench: a worker process was killed.*\n", capsys.readouterr().err)


class TestSignals:
    """A signal that asks a process to end ends a command as Ctrl-C does."""

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

    @pytest.mark.parametrize("number", NUMBERS)
    def test_a_command_ends_in_order(self, number, monkeypatch, capsys):
        """What it has open is closed, which shows the cursor again; the status is 130, and the handler is as before."""
        closed = []

        def run(_options):
            try:
                signal.raise_signal(number)
            finally:
                closed.append(signal.getsignal(number))

        monkeypatch.setattr(cli, "_command", run)
        before = signal.signal(number, signal.SIG_DFL)  # under ``nohup`` one is ignored
        try:
            assert main(["bench"]) == 130
            assert closed == [signal.SIG_DFL]  # a second signal does not wait
            assert signal.getsignal(number) is signal.SIG_DFL
        finally:
            signal.signal(number, before)
        assert capsys.readouterr().err == "balancekit bench: interrupted\n"

    @pytest.mark.parametrize("number", NUMBERS)
    def test_a_signal_that_is_ignored_stays_so(self, number, monkeypatch):
        """A command under ``nohup`` goes on when the terminal is closed."""
        monkeypatch.setattr(cli, "_command", lambda _options: signal.raise_signal(number) or 0)
        before = signal.signal(number, signal.SIG_IGN)
        try:
            assert main(["bench"]) == 0
            assert signal.getsignal(number) is signal.SIG_IGN
        finally:
            signal.signal(number, before)

    def test_a_thread_may_run_a_command(self, monkeypatch):
        """Handlers belong to the main thread; a command in another one has none."""
        monkeypatch.setattr(cli, "_command", lambda _options: 7)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(main, ["bench"]).result() == 7


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["check", "127.0.0.1:1", "--path", "healthz"], "--path='healthz'"),
        (["check", "127.0.0.1:1", "--path=healthz"], "--path='healthz'"),
        (["plan", "a,b", "a,c", "--vnodes", "0"], "--vnodes=0"),
        (["plan", "a,b", "a,c", "--imbalance", "-1"], "--imbalance=-1.0"),
        (["plan", "a,b", "a,c", "--algorithm", "maglev", "--size", "4"], "--size=4"),
        (["explain", "zone.toml", "www", "--subnet", "1.2.3.4/99"], "--subnet='1.2.3.4/99'"),
        (["vrrp", "run", "--interface", "none-such", "--vrid", "5", "--address", "192.0.2.1"], "--interface"),
        (["plan", "a,a", "b"], ": endpoints='a'"),
    ],
    ids=["word", "equals sign", "whole number", "number", "prime", "kind of file", "interface", "no option"],
)
def test_a_wrong_value_of_an_option_is_named_by_the_option(words, named, tmp_path, monkeypatch, capsys):
    """A value that an option gave and the library refuses is named by the option; others keep their names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zone.toml").write_text(
        '[zone]\norigin = "x.test"\nprimary = "ns1"\ncontact = "admin"\n[endpoints]\na = "192.0.2.1"\n'
        '[names.www]\npolicy = "rotation"\nendpoints = ["a"]\n'
    )
    assert main(words) == 2
    assert named in capsys.readouterr().err
