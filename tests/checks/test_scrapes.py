"""Pages of metrics read once a period into attributes of nodes, from real servers."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from balancekit import ConfigurationError, LoadBalancer, PowerOfChoices
from balancekit.checks import AsyncScrapes, Gauges, MetricsPage, Schedule, ThreadScrapes, read_gauges
from balancekit.reported import NodeAttributes, Probed

PAGES = {
    "vllm": """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} WAITING
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="0.001",model_name="m"} 0.0
vllm:time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 0.0
vllm:time_to_first_token_seconds_count{model_name="m"} 0.0
vllm:time_to_first_token_seconds_sum{model_name="m"} 0.0
""",
    "sglang": """# HELP sglang:num_running_reqs The number of running requests
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m"} 4.0
# HELP sglang:num_queue_reqs The number of requests in the waiting queue
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="m"} WAITING
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="m"} 0.5
""",
    "triton": """# HELP nv_trt_llm_request_metrics TRT LLM request metrics
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} WAITING
nv_trt_llm_request_metrics{model="m",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 4
nv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 4
# HELP nv_trt_llm_kv_cache_block_metrics TRT LLM KV cache block metrics
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m",version="1"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="m",version="1"} 6239
""",
}


class Page(BaseHTTPRequestHandler):
    """A page of metrics, as good or bad as its server is told to be."""

    def do_GET(self):
        """Answer with the page, or fail."""
        server = self.server
        if self.path != "/metrics" or server.status != 200:
            self.send_error(server.status if self.path == "/metrics" else 404)
            return
        body = PAGES[server.kind].replace("WAITING", str(server.waiting)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def page_server():
    """Start servers of a kind; stops them at the end."""
    servers = []

    def start(kind, waiting):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        server.kind, server.waiting, server.status = kind, waiting, 200
        server.address = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def until(condition, seconds=20.0):
    """Wait for something; return whether it came."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


FAST = Schedule(interval=0.02, timeout=0.02)


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_real_pages_become_attributes_and_steer_picks(kind, page_server):
    """Requests, waiting and the cache in use of each server; picks go to the two that are less busy."""
    servers = [page_server(kind, waiting) for waiting in (60, 2, 0)]
    attributes = NodeAttributes(max_age=30.0)
    lb = LoadBalancer(
        [server.address for server in servers], selector=PowerOfChoices(), load=Probed(attributes)
    )
    with httpx2.Client(timeout=5.0) as client:
        page = MetricsPage(kind, fetch=lambda url: client.get(url).raise_for_status().text)
        with ThreadScrapes(lb, attributes, page, schedule=FAST):
            assert until(lambda: all(attributes.figures(s.address, now=time.monotonic()) for s in servers))
    for server in servers:
        assert dict(attributes.figures(server.address, now=time.monotonic())) == {
            "requests": 4.0 + server.waiting,
            "waiting": float(server.waiting),
            "kv_utilization": 0.5,
        }
    for _ in range(50):
        with lb.acquire() as lease:
            assert lease.target != servers[0].address


def test_a_page_that_fails_keeps_its_last_figures_and_is_logged_once(page_server, caplog):
    """A page that fails keeps its last figures until they are too old, and is logged once.

    When it can be read again, one line says so.
    """
    server = page_server("vllm", 3)
    now = [0.0]
    attributes = NodeAttributes(max_age=3.0)
    lb = LoadBalancer([server.address], selector=PowerOfChoices(), load=Probed(attributes))
    with httpx2.Client(timeout=5.0) as client, caplog.at_level(logging.INFO, "balancekit"):
        page = MetricsPage("vllm", fetch=lambda url: client.get(url).raise_for_status().text)
        with ThreadScrapes(lb, attributes, page, schedule=FAST, clock=lambda: now[0]) as scrapes:
            assert until(lambda: attributes.value(server.address, "waiting", now=0.0) == 3.0)
            server.status, server.waiting = 503, 9
            assert until(lambda: scrapes.failures >= 3)
            assert attributes.value(server.address, "waiting", now=3.0) == 3.0
            assert attributes.value(server.address, "waiting", now=3.1) is None
            server.status, now[0] = 200, 5.0
            assert until(lambda: attributes.value(server.address, "waiting", now=5.0) == 9.0)
    levels = [record.levelname for record in caplog.records if server.address in record.getMessage()]
    assert levels == ["WARNING", "INFO"]


def test_endpoints_that_come_are_read_and_those_that_go_are_forgotten(page_server):
    """Endpoints that join are read and those that leave are forgotten, without a restart of the runner."""
    first, second = page_server("sglang", 1), page_server("sglang", 2)
    attributes = NodeAttributes(max_age=60.0)
    lb = LoadBalancer([first.address])
    with httpx2.Client(timeout=5.0) as client:
        page = MetricsPage("sglang", fetch=lambda url: client.get(url).raise_for_status().text)
        with ThreadScrapes(lb, attributes, page, schedule=FAST):
            assert until(lambda: attributes.value(first.address, "waiting", now=time.monotonic()) == 1.0)
            lb.update([second.address])
            assert until(lambda: attributes.value(second.address, "waiting", now=time.monotonic()) == 2.0)
            assert until(lambda: attributes.value(first.address, "waiting", now=time.monotonic()) is None)


def test_tasks_read_real_pages_and_give_up_in_time(page_server):
    """On asyncio, with a ``fetch`` that is a coroutine function; a page that hangs is a failure, others are read."""
    server = page_server("triton", 7)

    async def main():
        attributes = NodeAttributes(max_age=60.0)
        lb = LoadBalancer([server.address, "hung:1"])

        def both_known(scrapes, attributes):
            read = attributes.value(server.address, "waiting", now=time.monotonic()) == 7.0
            return read and scrapes.failures > 0

        async with httpx2.AsyncClient(timeout=5.0) as client:

            async def fetch(url):
                if "hung" in url:
                    await asyncio.sleep(60.0)
                return (await client.get(url)).raise_for_status().text

            page = MetricsPage("triton", fetch=fetch)
            schedule = Schedule(interval=0.5, timeout=0.5)
            async with AsyncScrapes(lb, attributes, page, schedule=schedule) as scrapes:
                assert scrapes.running
                await scrapes.start()
                async with asyncio.timeout(20.0):
                    for _ in iter(lambda: both_known(scrapes, attributes), True):
                        await asyncio.sleep(0.01)
                assert scrapes.failures
                assert attributes.value(server.address, "waiting", now=time.monotonic()) == 7.0
                assert attributes.value("hung:1", "waiting", now=time.monotonic()) is None
            assert not scrapes.running
            await scrapes.stop()
            assert [task.get_name() for task in asyncio.all_tasks() if "scrape" in task.get_name()] == []

    asyncio.run(main())


def test_a_page_that_waits_for_something_cancelled_is_a_failure():
    """A page whose fetch waits for something cancelled is a failure, and the endpoint is asked again."""

    async def page(_endpoint):
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def main():
        async with AsyncScrapes(LoadBalancer(["a"]), NodeAttributes(), page, schedule=FAST) as scrapes:
            async with asyncio.timeout(20.0):
                for _ in iter(lambda: scrapes.failures >= 3, True):
                    await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError])
def test_a_page_that_raises_what_ends_threads_is_read_again(kind):
    """A page whose fetch raises SystemExit or its like is a failure, and is read again."""

    def page(_endpoint):
        raise kind

    with ThreadScrapes(LoadBalancer(["a"]), NodeAttributes(), page, schedule=FAST) as scrapes:
        assert until(lambda: scrapes.failures >= 3)


def test_a_runner_ends_with_its_threads_and_is_stopped_in_a_child():
    """Start and stop may be repeated; a forked child has no threads and can start its own."""
    attributes = NodeAttributes()
    lb = LoadBalancer(["a"])
    scrapes = ThreadScrapes(lb, attributes, lambda endpoint: {"busy": 1.0}, schedule=FAST, concurrency=2)
    for _ in range(2):
        scrapes.start()
        scrapes.start()
        assert scrapes.running
        scrapes.stop()
        scrapes.stop()
        assert not scrapes.running
        assert not [thread for thread in threading.enumerate() if "scrape" in thread.name]
    if hasattr(os, "fork"):
        scrapes.start()
        child = os.fork()
        if not child:
            good = not scrapes.running
            scrapes.start()
            good = good and until(lambda: attributes.value("a", "busy", now=time.monotonic()) == 1.0, 5.0)
            os._exit(0 if good else 1)
        _, status = os.waitpid(child, 0)
        scrapes.stop()
        assert os.waitstatus_to_exitcode(status) == 0


def test_pages_that_cannot_be_used_are_errors():
    """A page without any of the gauges is an error, and one with some gives those.

    The largest gauge is that of those that are there.
    """
    gauges = {"sum": Gauges(("one", "two")), "most": Gauges(("three", "four"), largest=True)}
    page = MetricsPage(gauges, fetch=str)
    assert page.read("one 1\ntwo 2\nfour 4\n") == {"sum": 3.0, "most": 4.0}
    assert page.read("one 1\nthree 3\nfour 4\n") == {"most": 4.0}
    assert page.read("one NaN\ntwo 1\nfour 4\n") == {"most": 4.0}
    for text in ("", "five 5\n", "one -5\ntwo 1\n", "one +Inf\ntwo 1\n"):
        with pytest.raises(ValueError, match="none of: sum, most"):
            page.read(text)
    with pytest.raises(ValueError, match="none of: sum, most"):
        page.read("<html>{}")
    with pytest.raises(ValueError):
        page.read('one 1\ntwo{label="\n')
    with pytest.raises(ValueError, match="more than"):
        page.read("#" * 4_000_001)


def test_lines_of_other_gauges_are_not_read():
    """The lines of a gauge are found in every spelling of the format, and no other line is read: broken ones do no harm."""
    text = """# TYPE busy gauge
busy{model="a"} 1
  busy{model="b"}\t2
{"busy",model="c"} 4
busy_total 8
not_busy 16
busy.more 32
broken{ nonsense
"""
    assert read_gauges(text, ("busy",)) == 7.0
    assert MetricsPage({"busy": Gauges(("busy",))}, fetch=str).read(text) == {"busy": 7.0}


HOSTILE = {
    "one line of labels": "busy{" + ",".join([f'l{k}="v"' for k in range(300_000)]) + "} 1\n",
    "one long label": 'busy{a="' + "\\\\" * 1_900_000 + '"} 1\n',
    "many samples": "busy 1\n" * 500_000,
    "many labels in many lines": ("busy{" + ",".join([f'l{k}="v"' for k in range(300)]) + "} 1\n") * 1_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_does_not_hold_up_a_loop(name):
    """A page whose samples would take long to read is an error before they are read."""
    page = MetricsPage({"busy": Gauges(("busy",))}, fetch=str)
    with pytest.raises(ValueError, match="more than 200000 characters of samples"):
        page.read(HOSTILE[name])
    with pytest.raises(ValueError, match="more than 200000 characters of samples"):
        read_gauges(HOSTILE[name], ("busy",))


def test_what_cannot_be_scraped_is_refused():
    """Each wrong value raises ConfigurationError, which names the argument."""
    attributes = NodeAttributes()
    lb = LoadBalancer(["a"])
    for make, name in [
        (lambda: ThreadScrapes(None, attributes, str), "balancer"),
        (lambda: ThreadScrapes(lb, {}, str), "attributes"),
        (lambda: AsyncScrapes(lb, attributes, None), "page"),
        (lambda: ThreadScrapes(lb, attributes, str, schedule=1.0), "schedule"),
        (lambda: ThreadScrapes(lb, attributes, str, concurrency=0), "concurrency"),
        (lambda: MetricsPage("nginx", fetch=str), "vllm, sglang, triton"),
        (lambda: MetricsPage({}, fetch=str), "gauges"),
        (lambda: MetricsPage({"a": ("b",)}, fetch=str), "gauges"),
        (lambda: MetricsPage("vllm", fetch=None), "fetch"),
        (lambda: Gauges(()), "names"),
        (lambda: Gauges(("a", "")), "names"),
        (lambda: Gauges(("a",), largest=1), "largest"),
    ]:
        with pytest.raises(ConfigurationError, match=name):
            make()
