"""Two regions of real HTTP servers behind 200 caching resolvers, and a region that is killed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from random import Random

import pytest

from balancekit import Endpoint, LoadBalancer
from balancekit.adapters.dnspython import BalancerStandings
from balancekit.checks import HttpCheck, Schedule, ThreadChecks
from balancekit.gslb import AllUp, Client, FailBack, Failover, Query, ResolverCache, Ttl
from balancekit.health import Lifecycle, Thresholds

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
FALL, INTERVAL, TIMEOUT, TTL, MAX_AGE = 2, 0.5, 0.4, 2.0, 0.1
RESOLVERS = 200


class Lateness(threading.Thread):
    """The longest time by which this machine has woken a sleeping thread too late, in seconds."""

    def __init__(self):
        super().__init__(daemon=True)
        self.worst, self.stopped = 0.0, threading.Event()

    def run(self):
        """Sleep 10 ms again and again, and look at the clock."""
        while not self.stopped.is_set():
            due = time.monotonic() + 0.01
            self.stopped.wait(0.01)
            self.worst = max(self.worst, time.monotonic() - due)


def start(port):
    """Start one server and wait until it listens."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


def get(port):
    """Return whether one request is served."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
@pytest.mark.timeout(120)
def test_a_killed_region_costs_detection_and_ttl_and_comes_back_in_steps():  # noqa: PLR0915 - one story
    """The last failed request is at most fall * interval + timeout + max_age + TTL after kill -9; then half, then all."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = dict(
        zip(("eu-1", "eu-2", "us-1", "us-2"), (one.getsockname()[1] for one in sockets), strict=True)
    )
    for one in sockets:
        one.close()
    servers = {}
    lb = LoadBalancer(
        [Endpoint(id, f"http://127.0.0.1:{port}") for id, port in ports.items()],
        health=Lifecycle(thresholds=Thresholds(rise=2, fall=FALL)),
    )
    ramp = FailBack(hold_down=2.0, ramp=12.0, steps=2)
    policy = Failover([("eu", AllUp(["eu-1", "eu-2"])), ("us", AllUp(["us-1", "us-2"]))], fail_back=ramp)
    standings, rng, ttl = (
        BalancerStandings(lb, max_age=MAX_AGE),
        Random(1),
        Ttl(minimum=int(TTL), maximum=int(TTL)),
    )
    caches = [ResolverCache() for _ in range(RESOLVERS)]
    queries = [
        Query(name="www", client=Client(address="192.0.2.53", subnet=IPv4Network((10 << 24 | k << 8, 24))))
        for k in range(RESOLVERS)
    ]
    seen = []

    def ask(k):
        now = time.monotonic()
        answer = caches[k].look_up(queries[k], now=now)
        if answer is None:
            answer = policy.answer(queries[k], standings, now=now, rng=rng)
            caches[k].store(queries[k], answer._replace(ttl=float(ttl.of(answer.ttl))), now=now)
        id = answer.chosen[0]
        seen.append((now, id, get(ports[id])))

    def play(seconds, pool):
        until = time.monotonic() + seconds
        k = 0
        while time.monotonic() < until:
            list(pool.map(ask, [(k + j) % RESOLVERS for j in range(8)]))
            k += 8
            time.sleep(0.02)

    def share(start, end):
        inside = [id for at, id, _ in seen if start <= at < end]
        return sum(id.startswith("eu") for id in inside) / len(inside)

    lateness = Lateness()
    lateness.start()
    schedule = Schedule(INTERVAL, timeout=TIMEOUT, jitter=0.0, fast=INTERVAL)
    try:
        servers |= {id: start(port) for id, port in ports.items()}
        with ThreadChecks(lb, HttpCheck("/"), schedule=schedule), ThreadPoolExecutor(8) as pool:
            play(3.0, pool)
            assert share(0.0, time.monotonic()) == 1.0
            death = time.monotonic()
            for id in ("eu-1", "eu-2"):
                servers[id].send_signal(signal.SIGKILL)
                servers[id].wait(10)
            bound = FALL * INTERVAL + TIMEOUT + MAX_AGE + TTL
            play(bound + 1.0, pool)
            # Each of the checks, the reading of standings, the answer and the request may be late by this.
            slack = 0.5 + (FALL + 3) * lateness.worst
            play(slack + 1.0, pool)
            last = max(at for at, _, served in seen if not served) - death
            sys.stdout.write(f"last failed request {last:.2f} s after kill -9, formula {bound:.2f} s\n")
            assert last <= bound + slack
            assert share(death + bound + slack, time.monotonic()) == 0.0
            for id in ("eu-1", "eu-2"):
                servers[id] = start(ports[id])
            play(2.0, pool)
            for _ in range(100):
                if policy.machines["eu"].share:
                    break
                play(0.2, pool)
            ramping = time.monotonic()
            play(TTL + 0.5, pool)  # caches follow
            measured = time.monotonic()
            play(2.5, pool)
            half = share(measured, time.monotonic())
            sys.stdout.write(f"share in the first of two steps {half:.3f}\n")
            assert abs(half - 0.5) <= 5.0 * (0.25 / RESOLVERS) ** 0.5
            play(max(0.0, ramping + 6.0 + TTL + 1.0 - time.monotonic()), pool)
            measured = time.monotonic()
            play(0.5, pool)
            assert share(measured, time.monotonic()) == 1.0
    finally:
        lateness.stopped.set()
        lateness.join()
        for process in servers.values():
            process.kill()
            process.wait(10)
