"""EndpointSlices: the union is that of a model, and a watch loses nothing, however it breaks off."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from timeit import repeat
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import yaml
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig

from balancekit import ConfigurationError, LoadBalancer
from balancekit.discovery import (
    EndpointSlices,
    InvalidTargetsError,
    KubernetesResolver,
    Refresh,
    ThreadDiscovery,
    WatchExpiredError,
    source,
)
from balancekit.discovery import _families as families
from balancekit.discovery import _kubernetes as module

CONDITIONS = [
    {},
    {"ready": True},
    {"ready": None},
    {"ready": True, "serving": True, "terminating": False},
    {"ready": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": False, "serving": True},
]
WEIGHTS = [1.0, 1.0, 1.0, 1.0, None, 0.0, None, None]
"""What each of the conditions means."""


def entry(address, conditions=CONDITIONS[3], zone="eu-1"):
    """Return one endpoint of a slice."""
    return {"addresses": [address], "conditions": conditions, "zone": zone, "nodeName": "node-1"}


def piece(name, entries, *, version="1", port=8080, **more):
    """Return a slice."""
    metadata = {"name": name, "resourceVersion": version}
    return {
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": entries,
    } | more


def facts(endpoints):
    """Return what is known of endpoints, by id."""
    return {endpoint.id: (endpoint.weight, endpoint.zone) for endpoint in endpoints}


def test_ten_thousand_edits_equal_the_model():
    """After each of 10,000 random edits of slices the endpoints are those of a model that adds up all slices from scratch."""
    rng = random.Random(18)
    slices = EndpointSlices("http")
    model: dict[str, dict[str, tuple[float | None, str]]] = {}
    for step in range(10_000):
        name = f"orders-{rng.randrange(8)}"
        if name in model and rng.random() < 0.15:
            slices.apply("DELETED", piece(name, [], version=str(step)))
            del model[name]
        else:
            wanted = dict(model.get(name, {})) if rng.random() < 0.8 else {}
            for _ in range(rng.randrange(4)):
                kind = rng.randrange(len(CONDITIONS))
                wanted[f"10.0.0.{rng.randrange(40)}"] = (kind, rng.choice(["", "eu-1", "eu-2"]))
            for address in rng.sample(sorted(wanted), min(len(wanted), rng.randrange(3))):
                del wanted[address]
            entries = [entry(address, CONDITIONS[kind], zone) for address, (kind, zone) in wanted.items()]
            rng.shuffle(entries)
            slices.apply(rng.choice(["ADDED", "MODIFIED"]), piece(name, entries, version=str(step)))
            model[name] = wanted
        union: dict[str, set[tuple[float, str]]] = {}
        for found in model.values():
            for address, (kind, zone) in found.items():
                if WEIGHTS[kind] is not None:
                    union.setdefault(f"{address}:8080", set()).add((WEIGHTS[kind], zone))
        got = facts(slices.endpoints())
        assert got.keys() == union.keys(), step
        for id, (weight, zone) in got.items():
            assert weight == max(weight for weight, _ in union[id]), step
            assert (weight, zone) in union[id], step
        assert slices.version == str(step)


def test_five_thousand_endpoints_in_fifty_slices():
    """Five thousand endpoints in fifty slices are all there, each once, in the order of ids.

    One changed slice changes its own only.
    """
    slices = EndpointSlices()
    for number in range(50):
        slices.apply("ADDED", piece(f"s-{number}", [entry(f"10.{number}.0.{host}") for host in range(100)]))
    ids = [endpoint.id for endpoint in slices.endpoints()]
    assert len(ids) == 5_000
    assert ids == sorted(set(ids))
    before = slices.endpoints()
    assert not slices.apply(
        "MODIFIED", piece("s-3", [entry(f"10.3.0.{host}") for host in range(100)], version="2")
    )
    assert slices.apply(
        "MODIFIED", piece("s-3", [entry(f"10.3.0.{host}") for host in range(99)], version="3")
    )
    assert {endpoint.id for endpoint in before} - {endpoint.id for endpoint in slices.endpoints()} == {
        "10.3.0.99:8080"
    }


MAX_APPLIED = 1_800_000.0
"""The largest accepted cost of fifty slices, in empty calls: 50 ms where one takes 28 ns."""


def test_fifty_slices_are_applied_within_fifty_milliseconds():
    """To apply fifty slices and list their 5,000 endpoints takes at most 1.8 million empty calls."""
    pieces = [
        piece(f"s-{number}", [entry(f"10.{number}.0.{host}") for host in range(100)]) for number in range(50)
    ]

    def applied():
        slices = EndpointSlices()
        for one in pieces:
            slices.apply("ADDED", one)
        assert len(slices.endpoints()) == 5_000

    call = min(repeat("f()", "def f(): pass", timer=time.thread_time, number=100_000, repeat=5)) / 100_000
    took = min(repeat(applied, timer=time.thread_time, number=1, repeat=7))
    assert took <= MAX_APPLIED * call


def test_an_endpoint_that_moves_between_slices_is_there_throughout():
    """An endpoint that moves between slices is there throughout, and is ready if it is ready in one of them."""
    slices = EndpointSlices()
    slices.apply("ADDED", piece("old", [entry("10.0.0.1")]))
    slices.apply(
        "ADDED", piece("new", [entry("10.0.0.1", {"ready": False, "serving": True, "terminating": True})])
    )
    assert facts(slices.endpoints()) == {"10.0.0.1:8080": (1.0, "eu-1")}
    slices.apply("MODIFIED", piece("old", []))
    assert facts(slices.endpoints()) == {"10.0.0.1:8080": (0.0, "eu-1")}


def test_terminating_endpoints_take_what_no_other_can():
    """A pod that terminates and serves has weight 0: no request while another is ready, all of them if none is."""
    serving = {"ready": False, "serving": True, "terminating": True}
    slices = EndpointSlices()
    slices.apply("ADDED", piece("s", [entry("10.0.0.1"), entry("10.0.0.2", serving)]))
    lb = LoadBalancer(slices.endpoints())
    held = [lb.acquire() for _ in range(20)]
    assert {lease.target for lease in held} == {"10.0.0.1:8080"}
    for lease in held:
        lease.release()
    slices.apply("MODIFIED", piece("s", [entry("10.0.0.2", serving)]))
    lb.update(slices.endpoints())
    with lb.acquire() as lease:
        assert lease.target == "10.0.0.2:8080"


@pytest.mark.parametrize(
    ("port", "ports", "found"),
    [
        (None, [{"name": "", "port": 80}], "10.0.0.1:80"),
        (None, [{"name": "a", "port": 80}, {"name": "b", "port": 81}], None),
        ("b", [{"name": "a", "port": 80}, {"name": "b", "port": 81}], "10.0.0.1:81"),
        (81, [{"name": "a", "port": 80}, {"name": "b", "port": 81}], "10.0.0.1:81"),
        ("81", [{"name": "a", "port": 80}, {"name": "b", "port": 81}], "10.0.0.1:81"),
        ("c", [{"name": "a", "port": 80}], None),
        ("a", [], None),
        ("a", None, None),
        (None, [{"name": "a"}], None),
    ],
    ids=["only", "ambiguous", "name", "number", "digits", "unknown", "none", "null", "unset"],
)
def test_ports(port, ports, found):
    """The port is found by name or number; without one it must be the only one."""
    slices = EndpointSlices(port)
    slices.apply("ADDED", piece("s", [entry("10.0.0.1")], ports=ports))
    assert [endpoint.id for endpoint in slices.endpoints()] == ([] if found is None else [found])


@pytest.mark.parametrize(
    ("port", "ports", "said"),
    [
        (None, ["a", "b"], "several ports: 'a, b'"),
        ("web", ["a", "b"], "no port 'web': 'a, b'"),
        (81, ["a"], "no port 81: 'a'"),
    ],
)
def test_endpoints_without_the_port_are_no_empty_list(server, port, ports, said):
    """If there are endpoints and none has the port, the error says which ports there are; the last good list stays in use."""
    found = piece("orders-a", [entry("10.0.0.1")])
    found["ports"] = [{"name": name, "port": 8080 + place} for place, name in enumerate(ports)]
    server.api.slices["orders-a"] = found
    with lightkube(f"http://127.0.0.1:{server.server_port}") as client:
        resolver = KubernetesResolver("orders", port=port, client=client)
        with pytest.raises(InvalidTargetsError, match=f"service orders has {re.escape(said)}"):
            resolver.resolve()
        server.api.slices["orders-b"] = piece("orders-b", [entry("10.0.0.2", CONDITIONS[4])])
        with pytest.raises(InvalidTargetsError):
            resolver.resolve()
        for endpoint in found["endpoints"]:
            endpoint["conditions"] = CONDITIONS[4]
        assert resolver.resolve().endpoints == ()


@pytest.mark.parametrize("event", ["MODIFIED", "DELETED"])
def test_ports_of_a_slice_that_has_changed_are_not_said(event):
    """What ports there are instead is said of slices that are there, and only if no endpoint has the port."""
    slices = EndpointSlices("web")
    slices.apply("ADDED", piece("a", [entry("10.0.0.1")]))
    slices.apply("ADDED", piece("b", [entry("10.0.0.2")], ports=[{"name": "admin", "port": 9}]))
    assert slices.ports_instead() == ["admin", "http"]
    slices.apply(event, piece("a", []))
    assert slices.ports_instead() == ["admin"]
    slices.apply("ADDED", piece("c", [entry("10.0.0.3")], ports=[{"name": "web", "port": 80}]))
    assert slices.ports_instead() == []
    slices.replace([piece("b", [entry("10.0.0.2")])], "9")
    assert slices.ports_instead() == ["http"]


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ({4}, ["10.0.0.1:8080"]),
        ({6}, ["[2001:db8::1]:8080"]),
        ({4, 6}, ["10.0.0.1:8080", "[2001:db8::1]:8080"]),
        (set(), ["10.0.0.1:8080", "[2001:db8::1]:8080"]),
    ],
)
def test_a_dual_stack_service_has_no_dead_half(server, monkeypatch, routes, found):
    """A service of both families has slices of both; a family without a route is left out, names are not."""
    monkeypatch.setattr(
        families.reachable,
        "__kwdefaults__",
        {"has_route": lambda address: (6 if ":" in address else 4) in routes},
    )
    server.api.slices = {
        "four": piece("four", [entry("10.0.0.1")]),
        "six": piece("six", [entry("2001:db8::1")], addressType="IPv6"),
        "name": piece("name", [entry("orders.example")], addressType="FQDN"),
    }
    with lightkube(f"http://127.0.0.1:{server.server_port}") as client:
        resolver = KubernetesResolver("orders", client=client)
        assert [endpoint.id for endpoint in resolver.resolve().endpoints] == [*found, "orders.example:8080"]


def test_what_else_a_slice_says():
    """IPv6 addresses are bracketed, zone hints are metadata, missing lists are empty."""
    slices = EndpointSlices()
    hinted = entry("2001:db8::1") | {"hints": {"forZones": [{"name": "eu-1"}, {"name": "eu-2"}]}}
    slices.apply("ADDED", piece("six", [hinted], addressType="IPv6"))
    slices.apply("ADDED", piece("none", None))
    (endpoint,) = slices.endpoints()
    assert endpoint.target == "[2001:db8::1]:8080"
    assert dict(endpoint.metadata) == {"hint_zones": "eu-1,eu-2"}


def test_bookmarks_and_errors():
    """A bookmark moves the version and nothing else; an error asks for a new list."""
    slices = EndpointSlices()
    slices.replace([piece("s", [entry("10.0.0.1")])], "5")
    assert not slices.apply("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    assert slices.version == "9"
    with pytest.raises(WatchExpiredError, match="expired"):
        slices.apply("ERROR", {"code": 410, "message": "too old resource version"})
    assert len(slices.endpoints()) == 1


@pytest.mark.parametrize(
    "options",
    [
        *[
            {"service": name}
            for name in ("", ".ns", "Orders", "orders.", "orders.shop.svc", "a/b", "-a", "a" * 64)
        ],
        *[{"port": port} for port in ("", True, 0, -1, 65_536, "0", "65536", "9" * 5000, 80.0)],
    ],
    ids=lambda options: str(options)[:40],
)
def test_options_that_cannot_be_are_refused(options):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        KubernetesResolver(**{"service": "orders", **options})


def test_the_scheme():
    """``kubernetes:name.namespace:port`` is a source, and its suggested interval is long because it watches."""
    found = source("kubernetes:orders.shop:http")
    assert isinstance(found.resolver, KubernetesResolver)
    assert (found.resolver.service, found.resolver.namespace, found.resolver.port) == (
        "orders",
        "shop",
        "http",
    )
    assert found.refresh.interval == 300.0


# ---------------------------------------------------------------------- an API server


class Api:
    """The slices of one service, their history, and what the API server answers of both."""

    def __init__(self):
        self.version = 1
        self.slices: dict[str, dict] = {}
        self.history: list[tuple[int, str, dict]] = []
        self.expired = 0
        self.changed = threading.Condition()

    def edit(self, name, addresses):
        """Write a slice, or delete it if there are no addresses."""
        with self.changed:
            self.version += 1
            kind = "MODIFIED" if name in self.slices else "ADDED"
            found = piece(name, [entry(address) for address in addresses or ()], version=str(self.version))
            if addresses is None:
                kind = "DELETED"
                del self.slices[name]
            else:
                self.slices[name] = found
            self.history.append((self.version, kind, found))
            self.changed.notify_all()

    def addresses(self):
        """Return the ids of all endpoints."""
        with self.changed:
            entries = [entry for found in self.slices.values() for entry in found["endpoints"]]
        return sorted({f"{found['addresses'][0]}:8080" for found in entries})

    def list(self):
        """Return the body of a list."""
        with self.changed:
            metadata = {"resourceVersion": str(self.version)}
            return json.dumps({"metadata": metadata, "items": list(self.slices.values())}).encode()

    def since(self, version):
        """Return the lines of a watch from a version on, and the version they lead to."""
        with self.changed:
            if version < self.expired:
                status = {
                    "code": 410,
                    "reason": "Expired",
                    "message": "too old resource version",
                    "status": "Failure",
                }
                return [json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"], version
            found = [(kind, body) for at, kind, body in self.history if at > version]
            lines = [json.dumps({"type": kind, "object": body}).encode() + b"\n" for kind, body in found]
            return lines, self.version


CONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: URL}}]
users: [{name: test, user: {token: none}}]
"""


def lightkube(url="http://kubernetes.test", transport=None):
    """Return a client of a server that looks at no credentials."""
    config = KubeConfig.from_dict(yaml.safe_load(CONFIG.replace("URL", url)))
    return Client(config=config, namespace="shop", transport=transport, trust_env=False)


class Cut(httpx2.SyncByteStream):
    """A body that breaks off after some bytes."""

    def __init__(self, body, at, error):
        self.body, self.at, self.error = body, at, error

    def __iter__(self):
        yield self.body[: self.at]
        if self.error:
            raise httpx2.ReadError("cut")


def follow_with_cut(client, services, at, *, error):
    """Follow three edits, the watch of which breaks off after some bytes; return what was pushed last, and the length."""
    service = f"orders-{at}"
    api, done, last = Api(), threading.Event(), []
    api.edit("one", ["10.0.0.1", "10.0.0.2"])
    api.edit("two", ["10.0.0.3"])
    watched = 0

    def handle(request):
        nonlocal watched
        query = parse_qs(urlsplit(str(request.url)).query)
        if "watch" not in query:
            body = api.list()
            if watched == 0:
                api.edit("two", None)
                api.edit("three", ["10.0.0.4", "10.0.0.1"])
                api.edit("one", ["10.0.0.2"])
            return httpx2.Response(200, content=body)
        lines, _ = api.since(int(query["resourceVersion"][0]))
        watched += 1
        body = b"".join(lines)
        if watched == 1:
            sizes.append(len(body))
            return httpx2.Response(200, stream=Cut(body, at, error))
        if not body:
            done.wait(30.0)
            raise httpx2.ConnectError("the test is over")
        return httpx2.Response(200, content=body)

    sizes: list[int] = []
    wanted = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.4:8080"]

    def push(said):
        last[:] = [endpoint.id for endpoint in said.endpoints]
        if last == wanted:
            seen.set()

    seen = threading.Event()
    services[f"kubernetes.io/service-name={service}"] = handle
    resolver = KubernetesResolver(service, client=client)
    stop = resolver.watch(push)
    seen.wait(30.0)
    stop()
    done.set()
    return last == wanted, sizes[0]


@pytest.mark.parametrize("error", [False, True], ids=["ends", "fails"])
def test_a_watch_cut_at_every_byte_loses_nothing(monkeypatch, error):
    """Wherever the stream of three edits breaks off, the endpoints become those that there are."""
    monkeypatch.setattr(module, "MIN_BACKOFF_S", 0.0)
    services = {}

    def handle(request):
        return services[request.url.params["labelSelector"]](request)

    client = lightkube(transport=httpx2.MockTransport(handle))
    right, size = follow_with_cut(client, services, 10**9, error=False)
    assert right
    assert size > 500
    wrong = [at for at in range(size + 1) if not follow_with_cut(client, services, at, error=error)[0]]
    assert wrong == []


class Server(ThreadingHTTPServer):
    """An API server that speaks HTTP."""

    daemon_threads = True
    api: Api
    closing = False


class Handler(BaseHTTPRequestHandler):
    """Lists, and watches that go on until the server closes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer a list or a watch."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        assert parts.path == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
        assert query["labelSelector"] == ["kubernetes.io/service-name=orders"]
        api = self.server.api
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if "watch" not in query:
            body = api.list()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        version = int(query["resourceVersion"][0])
        while not self.server.closing:
            lines, reached = api.since(version)
            for line in lines:
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.flush()
            if reached == version and lines:
                break  # expired
            version = reached
            with api.changed:
                if api.version == version:
                    api.changed.wait(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    """Run an API server."""
    with Server(("127.0.0.1", 0), Handler) as found:
        found.api = Api()
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.closing = True
        found.shutdown()


def watches():
    """Return the threads that watch."""
    return [thread for thread in threading.enumerate() if thread.name == "balancekit-kubernetes"]


def eventually(ask, wanted, seconds=10.0):
    """Ask again until the answer is the one wanted, or time is up."""
    deadline = time.monotonic() + seconds
    while ask() != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return ask()


def test_a_balancer_follows_a_service(server, monkeypatch):
    """A balancer has the endpoints of the API server.

    This holds after a rollout, a scale-up, an expired version and a deletion.
    """
    monkeypatch.setattr(module, "MIN_BACKOFF_S", 0.05)
    api = server.api
    api.edit("orders-a", ["10.0.0.1", "10.0.0.2"])
    api.edit("orders-b", ["10.0.0.3"])
    lb = LoadBalancer([], allow_empty=True)

    def ids():
        return sorted(endpoint.id for endpoint in lb.endpoints)

    client = lightkube(f"http://127.0.0.1:{server.server_port}")
    resolver = KubernetesResolver("orders", port="http", client=client)
    refresh = Refresh(interval=300.0, quiet=0.0, max_quiet=0.0, shrink=1.0)
    with client, ThreadDiscovery(lb, resolver, refresh=refresh) as discovery:
        assert discovery.wait_ready(timeout=10.0)
        assert eventually(ids, api.addresses()) == api.addresses()
        api.edit("orders-b", ["10.0.0.3", "10.0.0.4"])
        assert eventually(ids, api.addresses()) == api.addresses()
        with api.changed:
            api.expired = api.version + 2
        api.edit("orders-a", ["10.0.0.2"])
        api.edit("orders-b", None)
        api.edit("orders-c", ["10.0.0.5"])
        assert eventually(ids, api.addresses()) == api.addresses()
        assert [endpoint.id for endpoint in resolver.resolve().endpoints] == api.addresses()
        server.closing = True
        api.edit("orders-c", ["10.0.0.6"])
        server.closing = False
        assert eventually(ids, api.addresses()) == api.addresses()
    server.closing = True
    assert eventually(watches, []) == []
    assert lb.acquire().release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_uses_no_connection_of_its_parent():
    """A client that the resolver made itself, and what it follows, stay with the parent; a client that was given stays given."""
    own, given = KubernetesResolver("orders"), KubernetesResolver("orders", client=object())
    own._client = own._followed = object()
    child = os.fork()
    if not child:
        os._exit(0 if own._client is None and own._followed is None and given._client is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert own._client is not None


@pytest.mark.parametrize(
    "error", [OSError("cut"), ValueError("no JSON"), SystemExit(3), KeyboardInterrupt()], ids=repr
)
def test_a_watch_goes_on_whatever_its_client_raises(error, monkeypatch):
    """What a client raises, what ends threads included, is followed by a new list and a new watch."""
    monkeypatch.setattr(module, "MIN_BACKOFF_S", 0.001)
    watches, told, over = [], threading.Event(), threading.Event()

    class Listed(list):
        resourceVersion = "1"  # noqa: N815 - as the API has it

    class Failing:
        def list(self, *_, **__):
            return Listed()

        def watch(self, *_, **__):
            watches.append(1)
            if len(watches) == 1:
                raise error
            yield "ADDED", piece("orders-a", [entry("10.0.0.1")])
            over.wait(30.0)

    def push(said):
        if said.endpoints:
            told.set()

    stop = KubernetesResolver("orders", client=Failing()).watch(push)
    assert told.wait(30.0)
    stop()
    over.set()
    assert len(watches) == 2


def test_a_watch_outlasts_an_outage_of_any_length(monkeypatch):
    """After thousands of failures in a row the watch still tries again, and pushes what it then finds."""
    monkeypatch.setattr(module, "MAX_BACKOFF_S", 0.0)
    tries, found, over = [], threading.Event(), threading.Event()

    class Listed(list):
        resourceVersion = "1"  # noqa: N815 - as the API has it

    class Unreachable:
        def list(self, *_, **__):
            tries.append(1)
            if len(tries) <= 2_000:
                raise ConnectionError
            return Listed()

        def watch(self, *_, **__):
            over.wait(30.0)
            return ()

    stop = KubernetesResolver("orders", client=Unreachable()).watch(lambda _: found.set())
    assert found.wait(30.0)
    stop()
    over.set()
