"""Exported configurations on the real nginx, HAProxy and Envoy: accepted, and each request served as the balancer chooses."""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import json
import math
import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.live._proxies import free_port, running, servers

from balancekit import Endpoint
from balancekit.l7 import Route, RouteTable, cookie, exact, header, query
from balancekit.proxyconfig import ExportPool, ProxyRequest, export_config, export_pool, read_config

ROOT = Path(__file__).parents[1] / "oracles" / "proxyconfig"
SPEC = importlib.util.spec_from_file_location("proxyconfig_export_cases", ROOT / "export_cases.py")
cases = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cases)

RECORD = os.environ.get("BALANCEKIT_RECORD")
"""A folder to write what was served to."""
COMMANDS = {
    "nginx": [
        "nginx",
        "-g",
        "daemon off; user root; pid {folder}/pid; error_log {folder}/error.log;",
        "-p",
        "{folder}",
        "-c",
    ],
    "haproxy": ["haproxy", "-db", "-f"],
    "envoy": ["envoy", "--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "-c"],
}
CHECKS = {
    "nginx": [
        "nginx",
        "-t",
        "-g",
        "user root; pid {folder}/pid; error_log {folder}/error.log;",
        "-p",
        "{folder}",
        "-c",
    ],
    "haproxy": ["haproxy", "-c", "-f"],
    "envoy": ["envoy", "--mode", "validate", "--log-level", "error", "-c"],
}
pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def addresses():
    """Four servers."""
    with servers(4) as found:
        yield found


FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}


def _accepted(folder, kind, text):
    """Write a configuration, check that the server accepts it, and return its path."""
    if shutil.which(kind) is None:
        pytest.skip(f"needs {kind} on the path")
    path = folder / FILES[kind]
    path.write_text(text)
    validated = subprocess.run(
        [word.format(folder=folder) for word in CHECKS[kind]] + [str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert validated.returncode == 0, validated.stderr[-3000:] + text
    return path


@pytest.fixture
def proxy(tmp_path):
    """Return what validates a text, runs it, sends requests one after the other, and returns who served them."""

    def run(kind, text, port, requests):
        path = _accepted(tmp_path, kind, text)
        with running([word.format(folder=tmp_path) for word in COMMANDS[kind]] + [str(path)], port):
            return path, _served(port, requests)

    return run


def _served(port, requests):
    found = []
    for one in requests:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request(
            one.get("method", "GET"), one["target"], headers={"Host": one["host"], **dict(one["headers"])}
        )
        answer = client.getresponse()
        body = answer.read().decode()
        found.append(body if answer.status == 200 else str(answer.status))
        client.close()
        time.sleep(0.002)  # the proxy has counted the end of this request before the next one comes
    return found


def _record(name, addresses, port, text, answers):
    if RECORD:
        letters = {address: "abcd"[place] for place, address in enumerate(addresses)}
        data = {
            "addresses": addresses,
            "port": port,
            "text": hashlib.sha256(text.encode()).hexdigest(),
            "served": "".join([letters.get(answer, "-") for answer in answers]),
        }
        (Path(RECORD) / f"{name}.json").write_text(json.dumps(data))


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_every_selector_is_served_as_it_was_exported(addresses, proxy, kind):
    """The proxy serves every exported selector as the balancer does.

    The order, the shares of weights or the servers of keys agree.
    """
    port = free_port()
    pools, routes = cases.every_selector(addresses)
    found = export_config(pools, kind, routes=routes, listen=f"127.0.0.1:{port}")
    requests = [one for pool in pools for one in cases.pool_requests(pool)]
    path, answers = proxy(kind, found.text, port, requests)
    _record(kind, addresses, port, found.text, answers)
    config = read_config(str(path))
    asked = [
        ProxyRequest(one["target"], host=one["host"], headers=tuple(map(tuple, one["headers"])))
        for one in requests
    ]
    for request, (routing, name), answer in zip(asked, config.follow(asked), answers, strict=True):
        pool = config.pools[routing.pool]
        if pool.deterministic:
            address = next(server.address for server in pool.servers if server.name == name)
            assert answer == address, (request, pool.method)
    for place, pool in enumerate(pools):
        served = answers[place * cases.REQUESTS : (place + 1) * cases.REQUESTS]
        cases.check_pool(pool, found.fidelity[pool.name], served)


@pytest.mark.parametrize("kind", list(COMMANDS))
@pytest.mark.parametrize("seed", range(cases.TABLES))
def test_the_proxy_takes_the_route_of_the_table(addresses, proxy, kind, seed):
    """Each of 80 requests through a random table reaches the pool that the table matches.

    Without one it gets 404 (HAProxy: 503).
    """
    port = free_port()
    pools, table, requests = cases.table_case(seed, addresses)
    found = export_config(pools, kind, routes=table, listen=f"127.0.0.1:{port}")
    path, answers = proxy(kind, found.text, port, requests)
    _record(f"{kind}-table-{seed}", addresses, port, found.text, answers)
    by_name = {pool.name: pool.endpoints[0].id for pool in pools}
    for one, answer in zip(requests, answers, strict=True):
        wanted = cases.matched(table, one)
        assert answer == by_name.get(wanted, "503" if kind == "haproxy" else "404"), (one, wanted, found.text)
    config = read_config(str(path))
    for one in requests:
        request = ProxyRequest(
            one["target"], method=one["method"], host=one["host"], headers=tuple(map(tuple, one["headers"]))
        )
        assert config.route(request).pool == cases.matched(table, one), one


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_a_split_has_its_shares(addresses, proxy, kind):
    """The shares of 600 requests over 60, 30 and 10 percent are within 5 deviations."""
    port = free_port()
    pools, table = cases.split_case(addresses)
    found = export_config(pools, kind, routes=table, listen=f"127.0.0.1:{port}")
    requests = [{"target": "/", "host": "shop.test", "headers": []}] * 600
    _, answers = proxy(kind, found.text, port, requests)
    counts = Counter(answers)
    for address, share in zip(addresses, (0.6, 0.3, 0.1), strict=False):
        assert abs(counts[address] - 600 * share) <= 5 * math.sqrt(600 * share * (1 - share))


HARD = "\"';{}#\\$ %é"
"""Signs of the syntax of every file."""


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_everything_that_can_be_written_is_accepted(tmp_path, kind):
    """Keys, checks, limits, levels, warm-up, attempts, time-outs, names of hosts and signs of the syntax, with every selector."""
    keys = ("header:x-user", "cookie:uid", "query:user", "client", "target")
    routers = (
        [],
        [{"kind": "Priority", "overprovisioning": 1.5}],
        [{"kind": "MaxInFlight", "max_inflight": 20}],
        [{"kind": "BoundedLoad", "factor": 1.5}],
    )
    checks = (
        {"path": "/healthz"},
        {"path": "/a'b;{}$%23", "host": "shop.test"},
        {"kind": "tcp"},
    )
    pools, routes = [], []
    for number, selector in enumerate(cases.SELECTORS * 3):
        keyed = selector in {"RingHash", "MaglevHash", "RendezvousHash", "SourceHash"}
        routing = routers[number % 4] if keyed or number % 4 != 3 else []
        tables = {
            "endpoints": [
                {"id": f"s{n}", "target": f"127.0.0.{n}:80", "weight": n / 4, "priority": n % 3}
                for n in range(5)
            ],
            "balancer": {
                "selector": "RingHash" if routing == routers[3] else selector,
                "routing": routing,
                "health": (True, False, {"warm_up": {"window": 20.0}, "thresholds": {"rise": 3, "fall": 4}})[
                    number % 3
                ],
            },
            "retry": {"attempts": 1 + number % 3, **({"timeout": 2.5} if number % 2 else {})},
        }
        if number % 4:
            tables["checks"] = {**checks[number % 4 - 1], "interval": 2.5, "timeout": 1.5}
        pools.append(export_pool(f"p{number}", tables, key=keys[number % 5]))
        value = (
            header("x-v").is_(HARD),
            header("x-v").matches("a.*"),
            query("v").is_(HARD),
            cookie("v").is_("a'b"),
        )[number % 4]
        routes.append(
            Route(
                f"r{number} {HARD}",
                f"p{number}",
                path=exact(f"/{number}/{HARD.replace('#', '')}"),
                headers=[value],
            )
        )
    found = export_config(pools, kind, routes=RouteTable(routes), listen=f"127.0.0.1:{free_port()}")
    path = _accepted(tmp_path, kind, found.text)
    config = read_config(str(path))
    assert set(config.pools) == {pool.name for pool in pools}
    assert config.explain(ProxyRequest("/nowhere")).server is None


@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        *[(kind, selector) for kind in ("nginx", "haproxy") for selector in cases.SELECTORS],
        *[("envoy", selector) for selector in ("RingHash", "LeastRequest", "First")],
    ],
)
def test_a_pool_without_routes_is_accepted(tmp_path, kind, selector):
    """A configuration of one pool and one listener is accepted, and every request goes there.

    Envoy, which starts slowly, is tried with three selectors.
    """
    pool = ExportPool(
        name="only",
        endpoints=(Endpoint("127.0.0.1:1"), Endpoint("127.0.0.1:2", weight=0)),
        selector=selector,
        key="client",
    )
    path = _accepted(tmp_path, kind, export_config([pool], kind, listen=f"127.0.0.1:{free_port()}").text)
    assert read_config(str(path)).explain(ProxyRequest("/x")).server.address == "127.0.0.1:1"


@pytest.mark.parametrize("kind", list(COMMANDS))
@pytest.mark.parametrize("name", cases.EXTREMES)
def test_exports_at_the_limits_are_accepted(tmp_path, kind, name):
    """Long and short times, many servers and levels, small shares, wide bounds, names that mean something to a parser."""
    pools, routes = cases.EXTREMES[name]()
    found = export_config(pools, kind, routes=routes, listen=f"127.0.0.1:{free_port()}")
    _accepted(tmp_path, kind, found.text)
