"""The parts without a client: addresses, wishes, options, hedges, and what is refused."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import requests
import trio
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError, Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import HttpTarget, RequestOptions, from_header, hedge, request_options
from balancekit.adapters import aiohttp as for_aiohttp
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters import requests as for_requests
from balancekit.adapters._addresses import AddressCache
from balancekit.adapters._request_options import current_options
from balancekit.adapters._retry_after import quota_reset, retry_after
from balancekit.events import Event, Hedged
from balancekit.retry import RetryBudget
from balancekit.testing import ManualClock


@pytest.mark.parametrize(
    ("target", "url", "host", "server_name"),
    [
        ("10.0.0.1:8080", "http://10.0.0.1:8080/x", "orders", None),
        ("[::1]:8080", "http://[::1]:8080/x", "orders", None),
        ("https://10.0.0.1", "https://10.0.0.1/x", "orders", "orders"),
        ("api.example.com", "http://api.example.com/x", "api.example.com", None),
        (
            "https://api.example.com:8443/v1/",
            "https://api.example.com:8443/v1/x",
            "api.example.com:8443",
            "api.example.com",
        ),
        ("unix:/run/x.sock", "http://localhost/x", "orders", None),
        ("unix:///run/x.sock", "http://localhost/x", "orders", None),
        ("unix:/run/my file.sock", "http://localhost/x", "orders", None),
    ],
)
def test_an_address_is_asked_for_the_service_and_a_name_for_itself(
    target: str, url: str, host: str, server_name: str | None
) -> None:
    """A number or a socket is asked for the service, a name for itself: in ``Host`` and in the name of the certificate."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    transport = for_httpx2.BalancedTransport(
        LoadBalancer([target]), transport_factory=lambda _: httpx2.MockTransport(answer)
    )
    with httpx2.Client(transport=transport) as client:
        client.get("http://orders/x")
    (sent,) = seen
    assert (sent.url, sent.headers["Host"], sent.extensions.get("sni_hostname")) == (url, host, server_name)


def test_places_of_endpoints_that_left_are_forgotten() -> None:
    """Addresses of endpoints that left are forgotten, and those of endpoints that stay are kept."""
    lb = LoadBalancer([f"stays-{n}:80" for n in range(10)])
    places = AddressCache(lb)
    first = [places.of(endpoint) for endpoint in lb.endpoints]
    for n in range(1000):
        lb.add(f"pod-{n}:80")
        places.of(lb.endpoints[-1])
        lb.remove(f"pod-{n}:80")
    assert len(places._known) <= 100
    assert all(places.of(endpoint) is where for endpoint, where in zip(lb.endpoints, first, strict=True))


def test_an_endpoint_that_moved_is_found_at_its_new_address() -> None:
    """What is kept of an endpoint's address is not used for another target of the same id."""
    lb = LoadBalancer([Endpoint("a", "10.0.0.1:80")])
    cache = AddressCache(lb)
    before = cache.of(lb.endpoints[0]).base("http")
    lb.update([Endpoint("a", "10.0.0.2:80")])
    after = cache.of(lb.endpoints[0]).base("http")
    assert (before, after) == ("http://10.0.0.1:80", "http://10.0.0.2:80")


@pytest.mark.parametrize(
    "target",
    [
        "",
        " ",
        "http://",
        "ftp://a",
        "a:99999",
        "a:b",
        "http://a?q=1",
        "http://u:p@a",
        "http://a/#f",
        "unix:run",
        7,
        None,
        b"a",
    ],
)
def test_what_is_no_address_is_refused_when_the_adapter_is_made(target: Any) -> None:
    """A target that is not an address is refused when the adapter is made, not by the first request."""
    lb: LoadBalancer[Any] = LoadBalancer([Endpoint("a", target)])
    for make in (
        for_httpx2.BalancedTransport,
        for_requests.BalancedAdapter,
        lambda lb: for_aiohttp.balanced(None, lb),
    ):
        with pytest.raises(ConfigurationError, match="target"):
            make(lb)


@pytest.mark.parametrize("make", [for_requests.BalancedAdapter, lambda lb: for_aiohttp.balanced(None, lb)])
def test_sockets_are_refused_where_the_client_knows_none(make: Any) -> None:
    """A Unix socket is refused by the adapters whose client knows none."""
    with pytest.raises(ConfigurationError, match="socket"):
        make(LoadBalancer(["unix:/run/x.sock"]))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("service", ""),
        ("service", "http://orders"),
        ("service", "a b"),
        ("service", 7),
        ("attempts", 0),
        ("attempts", True),
        ("attempts", 2.0),
        ("budget", 0.1),
        ("key", "X-User"),
        ("cost", 1.0),
        ("authority", "mine"),
        ("max_retry_after", -1.0),
        ("max_retry_after", math.nan),
        ("min_attempt_time", -1.0),
        ("wait_for_capacity", math.inf),
        ("rewrite_location", 1),
        ("propagate_deadline", ""),
        ("propagate_deadline", "x timeout"),
        ("innocent", (404,)),
        ("innocent", 501),
        ("innocent", "501"),
        ("clock", 5),
        ("fallback", 5),
        ("fallback", httpx2.AsyncHTTPTransport()),
        ("verify", True),
        ("transport_factory", 7),
        ("drain_timeout", -1.0),
    ],
)
def test_a_wrong_option_is_named(option: str, value: Any) -> None:
    """A wrong option of any adapter is refused by an error that names it."""
    with pytest.raises(ConfigurationError, match=option):
        for_httpx2.BalancedTransport(LoadBalancer(["a:1"]), **{option: value})


@pytest.mark.parametrize("made", [None, httpx2.AsyncHTTPTransport()])
def test_a_factory_that_makes_no_transport_is_named(made: Any) -> None:
    """The error of the first request says that ``transport_factory`` made no transport; the endpoint is unusable."""
    lb = LoadBalancer(["a:1"])
    transport = for_httpx2.BalancedTransport(lb, transport_factory=lambda _: made)
    with httpx2.Client(transport=transport) as client, pytest.raises(httpx2.ConnectError, match="factory"):
        client.get("http://orders/ok")
    assert lb.stats().outcomes[Outcome.CONNECT_FAILED] == 1


def test_what_is_wrong_at_home_blames_none() -> None:
    """An error of the caller's own side, such as a client that outlives its event loop, blames no endpoint."""
    lb = LoadBalancer(["a:1"])

    async def closed(_: httpx2.Request) -> httpx2.Response:
        raise RuntimeError("Event loop is closed")

    async def main() -> None:
        inner = httpx2.MockTransport(closed)
        transport = for_httpx2.AsyncBalancedTransport(lb, transport_factory=lambda _: inner)
        async with httpx2.AsyncClient(transport=transport) as client:
            with pytest.raises(RuntimeError, match="loop"):
                await client.get("http://orders/ok")

    asyncio.run(main())
    assert lb.stats().outcomes[Outcome.IGNORED] == 1


def test_an_option_that_does_not_exist_is_named() -> None:
    """An option that does not exist is named in a TypeError, as Python does."""
    with pytest.raises(TypeError, match="max_retries"):
        for_requests.BalancedAdapter(LoadBalancer(["a:1"]), max_retries=3)
    with pytest.raises(ConfigurationError, match="balancer"):
        for_requests.BalancedAdapter(["a:1"])
    with pytest.raises(ConfigurationError, match="colour"), request_options(colour="red"):
        pass


def test_secrets_are_not_shown() -> None:
    """No secret is shown by a target or by what holds it. Equality and pickling keep it."""
    target = HttpTarget(url="https://a/v1", headers={"Authorization": "Bearer s3cret"})
    endpoint = Endpoint("a", target)
    lb: LoadBalancer[HttpTarget] = LoadBalancer([endpoint])
    shown = f"{target!r} {target} {endpoint!r} {lb!r} {lb.stats()!r} {lb.explain()!r} {lb.endpoints!r} {lb.acquire()!r}"
    assert "s3cret" not in shown
    assert pickle.loads(pickle.dumps(target)) == target
    assert target != HttpTarget(url="https://a/v1", headers={"Authorization": "another"})


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"url": url}
            for url in (
                None,
                b"a:1",
                5,
                "",
                "a b",
                "a:80\n",
                "http://a\t",
                "ftp://a",
                "http://",
                "a:80:90",
                "::1",
            )
        ),
        *(
            {"url": url}
            for url in ("a:0", "http://a:99999", "http://a/?q=1", "http://a/#f", "unix:x", "unix:")
        ),
        *({"url": "a:1", "authority": name} for name in ("", "a\r\nX: y", "a b", 5)),
        *({"url": "a:1", "server_name": name} for name in ("", "a\n", 5)),
    ],
    ids=repr,
)
def test_a_wrong_target_is_refused(wrong: dict[str, Any]) -> None:
    """A wrong target is refused at construction, by an error that says what is expected."""
    with pytest.raises(ConfigurationError, match=r"is not allowed: expected"):
        HttpTarget(**wrong)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://me:s3cret@a",
            "https://s3cret@a:8080/v1",
            "me:s3cret@a:80",
            "http://:s3/cret@a",
            "http://m@e:s3cret@a",
        ),
        *("https://a/v1?key=s3cret", "https://me:s3cret@a?key=s3cret", "https://a?user=me@s3cret"),
    ],
)
def test_the_password_in_a_refused_address_is_not_shown(url: str) -> None:
    """The error shows a refused address without its password."""
    with pytest.raises(ConfigurationError, match=r"\*\*\*") as caught:
        HttpTarget(url=url)
    assert "cret" not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "20"}, 20.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "1e999"}, None),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 40.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    """``Retry-After`` is a number or a date, and anything else is ignored."""
    assert retry_after(headers, wall=20.0) == seconds


@given(text=st.text(max_size=30))
def test_no_header_breaks_the_reader(text: str) -> None:
    """No value of a header makes the reader raise."""
    found = retry_after({"Retry-After": text}, wall=0.0)
    assert found is None or 0.0 <= found < math.inf
    found = quota_reset({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": text})
    assert found is None or 0.0 <= found < math.inf


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("250ms", 0.25), ("1h2m3s", 3723.0), ("12", 12.0), ("x", None)],
)
def test_a_quota_that_is_used_up_is_waited_for(reset: str, seconds: float | None) -> None:
    """Of several quotas that are used up, the longest wait counts. One that is not used up counts for nothing."""
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    assert quota_reset(headers) == seconds
    assert quota_reset(headers | {"x-ratelimit-remaining-requests": "1"}) is None


@pytest.mark.parametrize(
    ("location", "rewritten"),
    [
        ("http://10.0.0.1/login", "http://orders/login"),
        ("http://10.0.0.1:80/login", "http://orders/login"),
        ("//10.0.0.1/login", "http://orders/login"),
        ("http://10.0.0.2:80/login", "http://orders/login"),
        ("https://api.example.com:443/v1/a", "http://orders/a"),
        ("http://10.0.0.1:81/login", None),
        ("https://10.0.0.1:80x/login", None),
        ("http://API.example.com./login", None),
        ("https://API.example.com./v1/login", "http://orders/login"),
        ("http://[0:0:0:0:0:0:0:1]:8080/login", "http://orders/login"),
        ("http://bücher.example/login", "http://orders/login"),
        ("http://xn--bcher-kva.example/login", "http://orders/login"),
        ("http://user@10.0.0.1/login", None),
        ("ftp://10.0.0.1/login", None),
        ("/login", None),
    ],
)
def test_a_redirect_to_an_endpoint_is_known_by_host_and_port(location: str, rewritten: str | None) -> None:
    """A host is known in any spelling, and a port that is that of the scheme need not be written; any other place stays as it is."""
    pool = LoadBalancer(
        [
            "10.0.0.1:80",
            "10.0.0.2",
            "https://api.example.com/v1",
            "[::1]:8080",
            "bücher.example.:80",
        ]
    )

    def redirect(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"Location": location.encode()})

    transport = for_httpx2.BalancedTransport(
        pool, rewrite_location=True, transport_factory=lambda _: httpx2.MockTransport(redirect)
    )
    with httpx2.Client(transport=transport) as client:
        assert client.get("http://orders/").headers["Location"] == (rewritten or location)


def test_a_transport_that_another_thread_made_first_is_closed() -> None:
    """Of two transports that are made for an endpoint at a time, the one that is not used is closed by the next request."""
    made: list[Any] = []
    both_make = threading.Barrier(2)

    class Inner(httpx2.BaseTransport):
        closed = False

        def __init__(self, endpoint: Endpoint[str]) -> None:
            made.append(self)
            both_make.wait(5.0)

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200)

        def close(self) -> None:
            self.closed = True

    lb = LoadBalancer(["10.0.0.1:80"])
    with httpx2.Client(transport=for_httpx2.BalancedTransport(lb, transport_factory=Inner)) as client:
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(client.get, ["http://orders/"] * 2))
        client.get("http://orders/")
        assert sorted(inner.closed for inner in made) == [False, True]
    assert all(inner.closed for inner in made)


def test_options_nest_and_the_earlier_deadline_counts() -> None:
    """Nested options take the earlier deadline, and end with their block."""
    with request_options(key="outer", deadline=10.0, exclude=["a"]):
        with request_options(key="inner", deadline=20.0, exclude=["b"]) as merged:
            assert (merged.key, merged.deadline, merged.exclude) == ("inner", 10.0, frozenset("ab"))
            own = current_options(RequestOptions(attempts=5, deadline=5.0))
            assert own is not None
            assert (own.key, own.attempts, own.deadline) == ("inner", 5, 5.0)
        outer = current_options()
        assert outer is not None
        assert outer.key == "outer"
    assert current_options() is None


def test_one_block_serves_many_threads_and_tasks() -> None:
    """A block that is made once may be entered by several threads and tasks at a time; each has the options until it leaves."""
    block, both_in = request_options(key="shared"), threading.Barrier(2)

    def in_a_thread(first_out: threading.Event) -> object:
        with block:
            both_in.wait(5.0)
            first_out.wait(5.0)
            inside = current_options()
        return None if inside is None else inside.key, current_options()

    async def in_a_task(steps: int) -> object:
        with block, request_options(attempts=steps):
            for _ in range(steps):
                await asyncio.sleep(0)
            inside = current_options()
        return None if inside is None else (inside.key, inside.attempts), current_options()

    async def tasks() -> list[object]:
        return await asyncio.gather(in_a_task(1), in_a_task(3), in_a_task(2))

    out, held = threading.Event(), threading.Event()
    out.set()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(in_a_thread, out)
        second = threads.submit(in_a_thread, held)
        assert first.result(5.0) == ("shared", None)
        held.set()
        assert second.result(5.0) == ("shared", None)
    assert asyncio.run(tasks()) == [(("shared", steps), None) for steps in (1, 3, 2)]


def test_waiting_for_capacity_ends_although_the_clocks_differ() -> None:
    """Where the balancer's clock stands still, a request gives up after ``wait_for_capacity`` seconds, and does not spin."""
    lb = LoadBalancer(["10.0.0.1:1"], clock=ManualClock())
    lb.acquire().release(Outcome.OVERLOADED, retry_after=0.005)
    transport = for_httpx2.BalancedTransport(lb, wait_for_capacity=0.02)
    with httpx2.Client(transport=transport) as client, pytest.raises(httpx2.ConnectError, match="cooling"):
        client.get("http://orders/")


def test_a_header_that_is_not_there_is_no_key() -> None:
    """A header that is absent gives no key. Its bytes are read as latin-1."""

    class Request:
        headers: dict[str, bytes] = {"X-User": b"7"}  # noqa: RUF012 - read only

    assert from_header("X-User")(Request()) == "7"
    assert from_header("X-Other")(Request()) is None


# ---------------------------------------------------------------------------- hedging


def run(kind: str, main: Any) -> Any:
    """Run a coroutine function on a framework."""
    return trio.run(main) if kind == "trio" else asyncio.run(main())


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_slow_answer_is_overtaken(kind: str) -> None:
    """A slow answer is overtaken by a hedge.

    The first attempt is cancelled, both leases end, and an event names the winner.
    """
    import anyio

    events: list[Event] = []
    lb = LoadBalancer(["slow", "fast"], selector=First(), listeners=[events.append])

    async def attempt(lease: Any) -> str:
        await anyio.sleep(30.0 if lease.target == "slow" else 0.0)
        return str(lease.target)

    assert run(kind, lambda: hedge(lb, attempt, delay=0.01)) == "fast"
    stats = lb.stats()
    assert stats.inflight == 0
    assert (stats["slow"].outcomes[Outcome.CANCELLED], stats["fast"].outcomes[Outcome.SUCCESS]) == (1, 1)
    assert [(event.endpoint, event.won) for event in events if isinstance(event, Hedged)] == [("fast", True)]


def test_an_answer_in_time_is_not_hedged() -> None:
    """No second request is sent if the first is answered within the delay."""
    lb = LoadBalancer(["a", "b"], selector=First())

    async def attempt(lease: Any) -> str:
        return str(lease.target)

    assert asyncio.run(hedge(lb, attempt, delay=5.0)) == "a"
    assert lb.stats()["b"].completed == 0


def test_a_delay_in_milliseconds_is_warned_of() -> None:
    """A delay of more than two minutes was meant in milliseconds, and says so; one of two minutes does not."""

    async def attempt(lease: Any) -> Any:
        return lease.target

    lb = LoadBalancer(["a", "b"])
    with pytest.warns(UserWarning, match=r"delay=150 is more than 2 minutes; .* write 0.15 for 150 ms"):
        asyncio.run(hedge(lb, attempt, delay=150))
    with warnings.catch_warnings(action="error"):
        asyncio.run(hedge(lb, attempt, delay=120))


def test_a_failure_is_not_hedged_but_one_that_hangs_after_it_is_waited_for() -> None:
    """Errors before the delay are the caller's; once two are on their way, one success is enough."""
    lb = LoadBalancer(["a", "b"], selector=First(), health=None)

    async def fails(lease: Any) -> str:
        raise ConnectionError(lease.target)

    with pytest.raises(ConnectionError, match="a"):
        asyncio.run(hedge(lb, fails, delay=5.0))
    assert lb.stats()["b"].completed == 0

    async def first_fails_late(lease: Any) -> str:
        await asyncio.sleep(0.05 if lease.target == "a" else 0.1)
        if lease.target == "a":
            raise ConnectionError(lease.target)
        return "b"

    assert asyncio.run(hedge(lb, first_fails_late, delay=0.01)) == "b"
    assert lb.stats().inflight == 0


def test_hedges_keep_to_the_budget_and_to_who_is_there() -> None:
    """An empty budget allows none, and opens no lease; three endpoints allow two."""
    lb = LoadBalancer(["a", "b", "c"], selector=First())

    async def attempt(lease: Any) -> str:
        await asyncio.sleep(0.05)
        return str(lease.target)

    empty = RetryBudget(ratio=0.0, reserve=0.0)
    assert asyncio.run(hedge(lb, attempt, delay=0.001, budget=empty)) == "a"
    assert asyncio.run(hedge(lb, attempt, delay=0.001, extra=9)) == "a"
    assert [lb.stats()[id].completed for id in "abc"] == [2, 1, 1]
    assert lb.stats()["b"].outcomes[Outcome.IGNORED] == 0


def test_a_request_pays_for_hedges_and_one_that_cannot_be_is_not_paid_for() -> None:
    """Ten requests earn one hedge at a ratio of a tenth. With no other endpoint to ask, nothing is taken out."""

    async def attempt(lease: Any) -> None:
        await asyncio.sleep({"alone": 0.02, "slow": 0.5, "b": 0.0}[lease.target])

    budget = RetryBudget(ratio=0.1, reserve=0.0, ttl=1000.0)
    alone = LoadBalancer(["alone"])
    for _ in range(10):
        asyncio.run(hedge(alone, attempt, delay=0.001, budget=budget, clock=lambda: 0.0))
    assert budget.balance(now=0.0) == pytest.approx(1.0)
    lb = LoadBalancer(["slow", "b"], selector=First())
    for _ in range(3):
        asyncio.run(hedge(lb, attempt, delay=0.001, budget=budget, clock=lambda: 0.0))
    assert lb.stats()["b"].outcomes[Outcome.SUCCESS] == 1
    assert lb.stats()["b"].outcomes[Outcome.IGNORED] == 0


def test_an_attempt_that_is_cancelled_from_within_has_failed() -> None:
    """What it waits for was cancelled, the call was not cancelled: another one may answer, and the call never hangs."""
    lb = LoadBalancer(["a", "b"], selector=First())

    async def attempt(lease: Any) -> str:
        waited_for = asyncio.ensure_future(asyncio.sleep(30.0 if lease.target == "a" else 0.05, lease.target))
        if lease.target == "a":
            asyncio.get_running_loop().call_later(0.02, waited_for.cancel)
        return await waited_for

    assert asyncio.run(hedge(lb, attempt, delay=0.001)) == "b"
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(hedge(lb, attempt, delay=30.0))
    assert lb.stats().inflight == 0


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_cancelled_hedge_ends_all_its_leases_and_is_told(kind: str) -> None:
    """Both attempts of a cancelled hedge end as cancelled, and the hedge is counted."""
    import anyio

    events: list[Event] = []
    lb = LoadBalancer(["a", "b"], selector=First(), listeners=[events.append])

    async def attempt(lease: Any) -> None:
        await anyio.sleep(30.0)

    async def cancelled() -> None:
        with anyio.move_on_after(0.05):
            await hedge(lb, attempt, delay=0.001)

    run(kind, cancelled)
    assert [lb.stats()[id].outcomes[Outcome.CANCELLED] for id in "ab"] == [1, 1]
    assert [(event.endpoint, event.won) for event in events if isinstance(event, Hedged)] == [("b", False)]


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
@pytest.mark.parametrize("ended_by", ["a hedge", "the caller"])
@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, RuntimeError])
def test_what_a_cancelled_attempt_raises_counts_against_no_endpoint(
    kind: str, ended_by: str, error: type[Exception]
) -> None:
    """An attempt that raises while it is cancelled, as clients do when they close a connection, ends as cancelled."""
    import anyio

    lb = LoadBalancer(["slow", "fast"], selector=First())

    async def attempt(lease: Any) -> str:
        if lease.target == "slow" or ended_by == "the caller":
            try:
                await anyio.sleep(30.0)
            finally:
                raise error
        return str(lease.target)

    async def main() -> str | None:
        with anyio.move_on_after(0.05 if ended_by == "the caller" else 10.0):
            try:
                return await hedge(lb, attempt, delay=0.001)
            except error:
                return None
        return None

    assert run(kind, main) == ("fast" if ended_by == "a hedge" else None)
    stats = lb.stats()
    assert stats.inflight == 0
    assert stats["slow"].outcomes[Outcome.CANCELLED] == 1
    assert stats["fast"].outcomes[Outcome.CANCELLED] == (ended_by == "the caller")


@pytest.mark.parametrize("good", [0, 1])
def test_a_clock_that_raises_leaves_no_lease_of_a_hedge_open(good: int) -> None:
    """The error of the budget's clock, at the first attempt or at the hedge, ends the leases of all attempts."""
    lb = LoadBalancer(["a", "b"])
    readings = iter([0.0] * good)

    async def attempt(_lease: Any) -> None:
        await asyncio.sleep(5.0)

    call = hedge(
        lb, attempt, delay=0.001, budget=RetryBudget(ratio=1.0, reserve=5.0), clock=readings.__next__
    )
    with pytest.raises((StopIteration, RuntimeError)):
        asyncio.run(call)
    assert lb.stats().inflight == 0


def test_the_delay_may_be_a_quantile_once_it_is_known() -> None:
    """A hedge delay that is a quantile starts no hedge before twenty latencies are known."""
    lb = LoadBalancer(["a", "b"], selector=First(), timed=True)

    async def attempt(lease: Any) -> str:
        await asyncio.sleep(0.02 if lease.target == "a" else 0.0)
        return str(lease.target)

    assert asyncio.run(hedge(lb, attempt, delay="p50")) == "a"
    for _ in range(30):
        with lb.acquire():
            pass
    later = LoadBalancer(["a", "b"], selector=First(), timed=True)
    for _ in range(30):
        with later.acquire():
            pass
    assert asyncio.run(hedge(later, attempt, delay="p50")) == "b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delay", 0.0),
        ("delay", "p42"),
        ("delay", True),
        ("extra", 0),
        ("budget", 0.1),
        ("clock", 0.0),
        ("attempt", None),
    ],
)
def test_a_wrong_hedge_is_refused_and_takes_no_lease(name: str, value: Any) -> None:
    """Wrong hedge options raise before an endpoint is picked."""
    lb = LoadBalancer(["a"])

    async def attempt(lease: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=name):
        asyncio.run(hedge(lb, **{"attempt": attempt, "delay": 1.0, name: value}))
    assert lb.stats().inflight == 0


def test_an_adapter_that_requests_never_asked_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A mount without a scheme is silent in requests; the end of the session logs how to mount. One that was asked logs nothing."""
    with requests.Session() as session:
        session.mount("orders", for_requests.BalancedAdapter(LoadBalancer(["127.0.0.1:1"])))
    assert "mount it as 'http://NAME/'" in caplog.text
    caplog.clear()
    with requests.Session() as session:
        session.mount(
            "http://orders/", for_requests.BalancedAdapter(LoadBalancer(["127.0.0.1:1"], health=None))
        )
        with pytest.raises(requests.ConnectionError):
            session.get("http://orders/")
    assert "mount it as" not in caplog.text


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
@pytest.mark.parametrize("closing", ["aclose", "close", "fails", "nothing"])
def test_a_second_answer_of_the_same_moment_is_closed(
    kind: str, closing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If two attempts succeed in one turn of the loop, the first result is returned.

    The other is closed if it can be.
    """
    import anyio

    closed: list[str] = []

    class Answer:
        def __init__(self, target: str) -> None:
            self.target = target

        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()
            closed.append(self.target)
            if closing == "fails":
                raise RuntimeError("broken")

    class Plain:
        def __init__(self, target: str) -> None:
            self.target = target

        def close(self) -> None:
            closed.append(self.target)

    async def both() -> Any:
        come = anyio.Event()

        async def attempt(lease: Any) -> Any:
            if lease.target == "b":
                come.set()
            else:
                await come.wait()
            await anyio.lowlevel.checkpoint()
            made: Any = {"aclose": Answer, "fails": Answer, "close": Plain}.get(closing)
            with anyio.CancelScope(shield=True):  # it has the answer when it is cancelled
                await anyio.sleep(0.01)
            return lease.target if made is None else made(lease.target)

        return await hedge(LoadBalancer(["a", "b"], selector=First()), attempt, delay=0.001)

    won = run(kind, both)
    assert getattr(won, "target", won) in {"a", "b"}
    assert closed == ([] if closing == "nothing" else ["b" if won.target == "a" else "a"])
    assert ("could not be closed" in caplog.text) == (closing == "fails")
