"""nginx and HAProxy on loopback serve what their configuration, read, says they serve."""

from __future__ import annotations

import http.client
import importlib.util
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from balancekit.proxyconfig import ProxyRequest, read_config

ROOT = Path(__file__).parents[1] / "oracles" / "proxyconfig"
SPEC = importlib.util.spec_from_file_location("proxyconfig_generate", ROOT / "generate.py")
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)

RECORD = os.environ.get("BALANCEKIT_RECORD")
"""A folder to write what was served to."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not Path("/proc/net/tcp").exists(), reason="clients at addresses 127.a.b.c need Linux"
    ),
]


class Named(BaseHTTPRequestHandler):
    """Answers with the address of its server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"127.0.0.1:{self.server.server_address[1]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(scope="module")
def addresses():
    """Six servers."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Named) for _ in range(6)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    yield [f"127.0.0.1:{server.server_address[1]}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        server.server_close()
        thread.join()


def free_port():
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def served(port, requests):
    """Send requests one after the other, each from its own address; return the addresses that served them."""
    found = []
    for one in requests:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(one["client"], 0))
        client.request("GET", one["target"], headers={"Host": one["host"], **dict(one["headers"])})
        answer = client.getresponse()
        body = answer.read().decode()
        found.append(body if answer.status == 200 else str(answer.status))
        client.close()
    return found


def wait_for(port, process):
    """Return when something listens, or fail."""
    for _ in range(400):
        if process.poll() is not None:
            pytest.fail(f"the server ended with {process.returncode}: {process.stderr.read()[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.025)
    pytest.fail("the server does not listen")


def compare(config, requests, answers):
    """Check that each request was served where the configuration says; shares where it draws."""
    asked = [
        ProxyRequest(
            one["target"],
            host=one["host"],
            headers=tuple(map(tuple, one["headers"])),
            client=one["client"],
        )
        for one in requests
    ]
    found = config.follow(asked)
    drawn: dict[str, list[tuple[str, str]]] = {}
    equal = 0
    for request, (routing, name), answer in zip(requests, found, answers, strict=True):
        if routing.pool is None:
            assert answer == str(routing.status), (request, routing)
            equal += 1
            continue
        pool = config.pools[routing.pool]
        address = next((server.address for server in pool.servers if server.name == name), "503")
        if pool.deterministic:
            assert answer == address, (request, routing, pool.method)
            equal += 1
        else:
            drawn.setdefault(pool.name, []).append((answer, address))
    for name, pairs in drawn.items():
        pool = config.pools[name]
        usable = [s for s in pool.servers if not s.down and not s.backup and s.weight]
        total = sum(server.weight for server in usable)
        counts = Counter(answer for answer, _ in pairs)
        assert set(counts) <= {server.address for server in usable}
        if pool.method == "random" and config.kind == "nginx":
            for server in usable:
                share = server.weight / total
                spread = math.sqrt(len(pairs) * share * (1 - share))
                assert abs(counts[server.address] - len(pairs) * share) <= 5 * spread + 1e-9
    return equal


def record(kind, seed, text, requests, answers):
    """Keep what was served, if asked to."""
    if RECORD:
        letters = {answer: "abcdefghij"[place] for place, answer in enumerate(dict.fromkeys(answers))}
        data = {
            "seed": seed,
            "text": text,
            "names": {letter: answer for answer, letter in letters.items()},
            "served": "".join(letters[answer] for answer in answers),
        }
        (Path(RECORD) / f"{kind}-{seed:02}.json").write_text(json.dumps(data, indent=1) + "\n")


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
@pytest.mark.parametrize("seed", range(generate.COUNT))
def test_nginx_serves_what_its_configuration_says(tmp_path, addresses, seed):
    """200 requests: the same server for each where nothing is drawn, shares within 5 deviations where it is."""
    port = free_port()
    text = generate.nginx_text(seed, addresses, port)
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\ndaemon off;\n" + text)
    process = subprocess.Popen(
        ["nginx", "-p", str(tmp_path), "-c", str(path), "-g", "user root;"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(port, process)
        requests = generate.requests_of(seed)
        answers = served(port, requests)
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()
    record("nginx", seed, text, requests, answers)
    compare(read_config(str(path)), requests, answers)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
@pytest.mark.parametrize("seed", range(generate.COUNT))
def test_haproxy_serves_what_its_configuration_says(tmp_path, addresses, seed):
    """200 requests: the same server for each where nothing is drawn."""
    port = free_port()
    text = generate.haproxy_text(seed, addresses, port)
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    process = subprocess.Popen(["haproxy", "-db", "-f", str(path)], stderr=subprocess.PIPE, text=True)
    try:
        wait_for(port, process)
        requests = generate.requests_of(seed)
        answers = served(port, requests)
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()
    record("haproxy", seed, text, requests, answers)
    compare(read_config(str(path)), requests, answers)
