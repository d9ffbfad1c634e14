"""Probes of load: runners in threads and on asyncio, and pages of metrics from a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, RoundRobin
from balancekit.adapters import HttpTarget
from balancekit.checks import AsyncProbes, MetricsProbe, ThreadProbes, read_gauges
from balancekit.reported import Prequal, ProbedLoad

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} RUNNING
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
"""
SGLANG = """# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m"} 5.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="m"} 1.0
"""
TRITON = """# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 4
nv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 512
"""


@pytest.mark.parametrize(
    ("kind", "page", "found"),
    [("vllm", VLLM.replace("RUNNING", "7.0"), 9.0), ("sglang", SGLANG, 6.0), ("triton", TRITON, 7.0)],
    ids=["vllm", "sglang", "triton"],
)
def test_pages_of_inference_servers(kind, page, found):
    """The load of an inference server's page is the sum of running and waiting requests."""
    probe = MetricsProbe(kind, fetch=lambda url: page)
    lb = LoadBalancer(["10.0.0.1:80"])
    assert probe(lb.endpoints[0]) == ProbedLoad(found)


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf"])
def test_gauges_that_cannot_be_are_refused(value):
    """Impossible gauges, a page without the gauges, and what is not a page are refused."""
    with pytest.raises(ValueError, match="in flight"):
        read_gauges(f"busy {value}\n", ("busy",))
    with pytest.raises(ValueError, match="no gauge idle"):
        read_gauges("busy 1\n", ("idle",))
    with pytest.raises(ValueError):
        read_gauges("<html>{}", ("idle",))


@pytest.mark.parametrize("gauges", ["nginx", (), ("",), 3], ids=str)
def test_gauges_are_names(gauges):
    """An unknown kind of server is refused with the known ones."""
    with pytest.raises(ConfigurationError, match="vllm, sglang, triton"):
        MetricsProbe(gauges, fetch=str)


class Page(BaseHTTPRequestHandler):
    """A page of metrics that says how busy its server is."""

    def do_GET(self):
        """Answer with the page."""
        body = VLLM.replace("RUNNING", str(self.server.running)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def pages():
    """Run two servers, one busy; yields their addresses."""
    servers = []
    for running in (40, 1):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        server.running = running
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield [f"127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_threads_probe_real_pages(pages):
    """After a few requests, requests go to the server that says it is less busy."""
    prequal = Prequal()
    lb = LoadBalancer(pages, selector=prequal)
    with httpx2.Client(timeout=2.0) as client:
        probe = MetricsProbe("vllm", fetch=lambda url: client.get(url).raise_for_status().text)
        with ThreadProbes(lb, prequal, probe) as probes:
            deadline = time.monotonic() + 20.0
            streak = 0
            while streak < 5 and time.monotonic() < deadline:
                with lb.acquire() as lease:
                    streak = streak + 1 if lease.target == pages[1] else 0
                time.sleep(0.02)
            assert streak == 5
            assert probes.failures == 0


def test_tasks_probe_and_count_failures():
    """Tasks on asyncio probe too.

    A probe that raises, takes too long or waits for something cancelled is counted, and nothing else happens.
    """

    async def main():
        prequal = Prequal()
        lb = LoadBalancer(["a", "b", "c", "d"], selector=prequal)
        asked = []

        async def ask(endpoint):
            asked.append(endpoint.id)
            if endpoint.id == "a":
                raise OSError("no route")
            if endpoint.id == "b":
                await asyncio.sleep(60.0)
            if endpoint.id == "d":
                cancelled = asyncio.get_running_loop().create_future()
                cancelled.cancel()
                await cancelled
            return ProbedLoad(1.0, 0.1)

        async with AsyncProbes(lb, prequal, ask, timeout=0.02) as probes:
            deadline = time.monotonic() + 20.0
            while time.monotonic() < deadline and not (
                probes.failures >= 3 and set(asked) == {"a", "b", "c", "d"}
            ):
                lb.acquire().release()
                await asyncio.sleep(0.01)
            assert set(asked) == {"a", "b", "c", "d"}
            assert probes.failures >= sum(asked.count(name) for name in "ad")

    asyncio.run(main())


@pytest.mark.parametrize("kind", [ThreadProbes, AsyncProbes])
def test_what_cannot_be_probed_is_refused(kind):
    """An argument that is no balancer, not its ``Prequal``, or no function is refused."""
    prequal = Prequal()
    lb = LoadBalancer(["a"], selector=prequal)
    for arguments, name in [
        ((None, prequal, str), "balancer"),
        ((lb, RoundRobin(), str), "selector"),
        ((lb, prequal, None), "probe"),
    ]:
        with pytest.raises(ConfigurationError, match=name):
            kind(*arguments)


def test_a_plain_function_is_refused_where_probes_are_awaited():
    """``AsyncProbes`` refuses a function whose result cannot be awaited, which would fail for every endpoint alike."""
    prequal = Prequal()
    lb = LoadBalancer(["a"], selector=prequal)
    with pytest.raises(ConfigurationError, match=r"probe=.*ThreadProbes"):
        AsyncProbes(lb, prequal, lambda endpoint: ProbedLoad(in_flight=1))


def test_threads_that_probe_run_between_start_and_stop():
    """``running`` of ``ThreadProbes`` is true from its start to its stop, as that of every other runner."""
    prequal = Prequal()
    probes = ThreadProbes(
        LoadBalancer(["a"], selector=prequal), prequal, lambda endpoint: ProbedLoad(in_flight=1)
    )
    assert not probes.running
    with probes:
        assert probes.running
    assert not probes.running


def test_probes_go_on_when_the_system_starts_threads_again(monkeypatch):
    """A probe for which the system starts no thread is a failure, and the runner sends others when it does again."""
    prequal, asked, start = Prequal(), threading.Event(), threading.Thread.start
    refused = threading.Event()

    def refuse(self):
        if self.name.startswith("balancekit-probe_") and probes.failures < 3:
            refused.set()
            raise RuntimeError("can't start new thread")
        start(self)

    def ask(_endpoint):
        asked.set()
        return ProbedLoad(in_flight=1)

    lb = LoadBalancer(["a", "b"], selector=prequal)
    probes = ThreadProbes(lb, prequal, ask, concurrency=1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    deadline = time.monotonic() + 10.0
    with probes:
        while not asked.is_set() and time.monotonic() < deadline:
            lb.acquire().release()
            time.sleep(0.001)
    assert (refused.is_set(), asked.is_set(), probes.failures) == (True, True, 3)


def test_asynchronous_probes_start_and_stop_by_hand():
    """Starting and stopping twice does nothing; a runner whose loop has ended says so, and starts again in another."""
    prequal = Prequal()
    lb = LoadBalancer(["a", "b"], selector=prequal)
    asked = []

    async def ask(endpoint):
        asked.append(endpoint.id)
        return ProbedLoad(in_flight=1)

    probes = AsyncProbes(lb, prequal, ask)

    async def run(*, stop):
        del asked[:]
        await probes.start()
        await probes.start()
        assert probes.running
        async with asyncio.timeout(10.0):
            while not asked:
                lb.acquire().release()
                await asyncio.sleep(0.001)
        if stop:
            await probes.stop()
            await probes.stop()
            assert not probes.running

    asyncio.run(run(stop=False))
    assert not probes.running
    asyncio.run(run(stop=True))
    lb.acquire().release()
    with pytest.raises((AttributeError, TypeError)):
        with probes:
            pass
    with pytest.raises(AttributeError, match="or use ThreadProbes"):
        _ = probes.__enter__


def test_a_probe_may_stop_its_runner():
    """``stop`` in a probe does not wait for that probe; no thread is left."""
    prequal = Prequal()
    lb = LoadBalancer(["a", "b"], selector=prequal)
    stopped = []

    def probe(endpoint):
        probes.stop()
        stopped.append(endpoint.id)
        return ProbedLoad(1.0)

    probes = ThreadProbes(lb, prequal, probe)
    probes.start()
    lb.acquire().release()
    deadline = time.monotonic() + 20.0
    while not (stopped and not any("balancekit-probe" in one.name for one in threading.enumerate())):
        assert time.monotonic() < deadline, "a thread waits for itself"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "target", ["10.0.0.1:8000", "http://10.0.0.1:8000/", HttpTarget("http://10.0.0.1:8000")]
)
def test_the_page_of_a_target_is_asked_at_its_url(target):
    """The page of a target is asked for at its URL; headers that the target holds are not sent."""
    asked = []
    probe = MetricsProbe(("busy",), fetch=lambda url: asked.append(url) or "busy 4 ")
    assert probe(Endpoint("a", target)).in_flight == 4.0
    assert asked == ["http://10.0.0.1:8000/metrics"]
