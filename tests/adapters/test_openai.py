"""OpenAI's own SDK over three keys of a local provider: one key's trouble is not the caller's."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from balancekit import Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import HttpTarget
from balancekit.adapters.httpx2 import AsyncBalancedTransport, BalancedTransport
from balancekit.testing import ManualClock

from ._llm import Provider

KEYS = ("sk-alpha", "sk-beta", "sk-gamma")
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
OURS: dict[str, Any] = {"base_url": "http://llm", "api_key": "unused", "max_retries": 0}
"""The SDK's own retries are off: ours go to another key."""


class Blocking:
    """``openai.OpenAI``."""

    def __init__(self, lb: LoadBalancer[HttpTarget], **options: Any) -> None:
        self.transport: Any = BalancedTransport(lb, **options)
        self.sdk: Any = openai.OpenAI(http_client=httpx2.Client(transport=self.transport), **OURS)
        self.run: Callable[[Any], Any] = lambda result: result
        self.following: Any = next

    def ask(self, **more: Any) -> Any:
        """Ask for a completion; a stream if ``stream`` is true."""
        return self.run(self.sdk.chat.completions.create(**ASK, **more))

    def word(self, stream: Any) -> str:
        """Read a stream's next word."""
        return str(self.run(self.following(stream)).choices[0].delta.content)

    def close(self) -> None:
        """Close the client."""
        self.run(self.sdk.close())


class Waiting(Blocking):
    """``openai.AsyncOpenAI``."""

    def __init__(self, lb: LoadBalancer[HttpTarget], **options: Any) -> None:
        self.transport = AsyncBalancedTransport(lb, **options)
        self.sdk = openai.AsyncOpenAI(http_client=httpx2.AsyncClient(transport=self.transport), **OURS)
        self._runner = asyncio.Runner()
        self.run = self._runner.run
        self.following = anext

    def close(self) -> None:
        """Close the client and its loop."""
        super().close()
        self._runner.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Start a provider."""
    with Provider() as one:
        yield one


@pytest.fixture(params=[Blocking, Waiting])
def client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Blocking]]:
    """Return a maker of clients, blocking or not. When they are closed nothing is in flight."""
    made: list[tuple[Blocking, LoadBalancer[HttpTarget]]] = []

    def make(lb: LoadBalancer[HttpTarget], **options: Any) -> Blocking:
        made.append((request.param(lb, **options), lb))
        return made[-1][0]

    yield make
    for llm, lb in made:
        llm.close()
        assert lb.stats().inflight == 0


def pool(provider: Provider, **options: Any) -> LoadBalancer[HttpTarget]:
    """Three keys, each with a path of its own, in this order."""
    endpoints = [
        Endpoint(
            key[3:],
            HttpTarget(
                url=f"http://{provider.address}/{key[3:]}/v1", headers={"Authorization": f"Bearer {key}"}
            ),
        )
        for key in KEYS
    ]
    return LoadBalancer(endpoints, selector=First(), **options)


def keys(provider: Provider) -> list[str]:
    """Which keys were used, in order."""
    return [key for key, _, _ in provider.seen]


def ended(lb: LoadBalancer[HttpTarget]) -> dict[Outcome, int]:
    """How leases on the first key ended, and how many."""
    return {outcome: count for outcome, count in lb.stats()["alpha"].outcomes.items() if count}


def test_a_429_moves_on_within_the_call_and_the_key_is_left_alone_until_then(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """A 429 moves on to another key within the call, and its key is not used until exactly the time that it named."""
    clock = ManualClock()
    lb = pool(provider, clock=clock)
    provider.script["sk-alpha"].append((429, {"Retry-After": "20"}))
    llm = client(lb, clock=clock)
    assert llm.ask().choices[0].message.content == "hello"
    assert keys(provider) == ["sk-alpha", "sk-beta"]
    assert lb.stats()["alpha"].state == "cooling"
    for _ in range(3):
        llm.ask()
    clock.advance(19.9)
    llm.ask()
    assert lb.stats()["alpha"].state == "cooling"
    assert keys(provider)[2:] == ["sk-beta"] * 4
    clock.advance(0.2)
    llm.ask()
    assert keys(provider)[-1] == "sk-alpha"
    assert lb.stats()["alpha"].state == "healthy"


def test_each_key_has_its_own_path_and_the_body_is_whole_each_time(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """The endpoint's path and key are sent instead of the SDK's, and each attempt has the whole body."""
    for key in KEYS[:2]:
        provider.script[key].append((429, {"Retry-After": "20"}))
    client(pool(provider), attempts=3).ask()
    assert provider.seen == [(key, f"/{key[3:]}/v1/chat/completions", ASK) for key in KEYS]


def test_a_quota_that_is_used_up_is_left_alone_before_it_refuses(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """A key whose quota is used up, by the headers of a success, is not used before it would be refused."""
    clock = ManualClock()
    lb = pool(provider, clock=clock)
    provider.script["sk-alpha"].append(
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"})
    )
    llm = client(lb, clock=clock, max_retry_after=120.0)
    llm.ask()
    assert lb.stats()["alpha"].state == "cooling"
    llm.ask()
    clock.advance(121.0)
    llm.ask()
    assert keys(provider) == ["sk-alpha", "sk-beta", "sk-alpha"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_taken_out_and_said_once(
    provider: Provider, client: Callable[..., Blocking], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is refused cools down, and one log line names its endpoint's id."""
    lb = pool(provider)
    provider.script["sk-alpha"].append((status, {}))
    llm = client(lb)
    with caplog.at_level(logging.WARNING, "balancekit"):
        llm.ask()
        llm.ask()
    assert keys(provider) == ["sk-alpha", "sk-beta", "sk-beta"]
    assert lb.stats()["alpha"].state == "cooling"
    assert [r.getMessage() for r in caplog.records if "credentials" in r.getMessage()] == [
        f"endpoint 'alpha' refuses its credentials with status {status}; it cools down"
    ]


def test_a_stream_holds_its_lease_to_the_last_event(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """A stream is in flight until its last event, and then ends."""
    lb = pool(provider)
    provider.resume.clear()
    llm = client(lb)
    stream = llm.ask(stream=True)
    assert lb.stats()["alpha"].inflight == 1
    assert llm.word(stream) == "hel"
    assert lb.stats()["alpha"].inflight == 1
    provider.resume.set()
    assert llm.word(stream) == "lo"
    with pytest.raises((StopIteration, StopAsyncIteration)):
        llm.word(stream)
    assert lb.stats().inflight == 0
    assert ended(lb) == {Outcome.SUCCESS: 1}


def test_a_stream_that_is_closed_early_blames_none(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """The lease ends at once, and the endpoint is not blamed."""
    lb = pool(provider)
    provider.resume.clear()
    llm = client(lb)
    stream = llm.ask(stream=True)
    assert llm.word(stream) == "hel"
    llm.run(stream.close())
    assert lb.stats().inflight == 0
    assert ended(lb) == {Outcome.CANCELLED: 1}


def test_a_stream_that_breaks_off_is_a_failure_and_is_not_begun_anew(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """A stream that breaks off is a failure, is not sent again, and raises at the caller."""
    lb = pool(provider)
    provider.breaks = True
    llm = client(lb)
    stream = llm.ask(stream=True)
    assert llm.word(stream) == "hel"
    with pytest.raises((openai.APIError, httpx2.TransportError)):
        llm.word(stream)
    assert keys(provider) == ["sk-alpha"]
    assert lb.stats().inflight == 0
    assert ended(lb) == {Outcome.FAILURE: 1}


def test_when_all_keys_are_out_the_sdk_raises_its_own_error(
    provider: Provider, client: Callable[..., Blocking]
) -> None:
    """When all keys are out, the SDK raises the last refusal as it came.

    Later calls raise a connection error that names the first return.
    """
    lb = pool(provider)
    for key in KEYS:
        provider.script[key].append((429, {"Retry-After": "20"}))
    llm = client(lb, attempts=3)
    with pytest.raises(openai.RateLimitError) as refused:
        llm.ask()
    assert refused.value.response.headers["Retry-After"] == "20"
    with pytest.raises(openai.APIConnectionError) as caught:
        llm.ask()
    assert "retry in" in str(caught.value.__cause__)
    assert keys(provider) == list(KEYS)


def test_no_key_is_shown_anywhere(
    provider: Provider, client: Callable[..., Blocking], caplog: pytest.LogCaptureFixture
) -> None:
    """No key is shown in logs at DEBUG, reprs, errors with notes, causes and requests, or statistics."""
    shown: list[object] = []
    lb = pool(provider, listeners=[shown.append])
    for key in KEYS:
        provider.script[key] += [(429, {"Retry-After": "20"}), (500, {})]
    llm = client(lb, attempts=2)
    with lb.acquire() as lease, caplog.at_level(logging.DEBUG):
        shown += [lease, lease.endpoint, lease.target, llm.transport, llm.sdk]
        for _ in range(4):
            try:
                llm.ask()
            except openai.OpenAIError as error:
                request = vars(error)["request"]  # all but their base have one
                assert request.headers["Authorization"] == "Bearer unused"
                shown += [error, vars(error), list(request.headers.raw), *traceback.format_exception(error)]
                if isinstance(error, openai.APIStatusError):
                    shown += [error.response.extensions, list(error.response.request.headers.raw)]
        broken = LoadBalancer(
            [lb.endpoints[0].replace(target=lb.endpoints[0].target.replace(url="127.0.0.1:1"))]
        )
        with pytest.raises(openai.APIConnectionError) as unreachable:
            client(broken).ask()
        shown += traceback.format_exception(unreachable.value)
    shown += [lb, lb.endpoints, lb.stats(), lb.explain(), broken, broken.stats()]
    shown += [(record.getMessage(), record.__dict__) for record in caplog.records]
    text = "\n".join(map(repr, shown))
    assert "at endpoint 'alpha'" in text
    assert "headers={'Authorization': '***'}" in text
    for key in KEYS:
        assert key not in text


def test_the_clients_own_loggers_tell_of_the_service_and_the_wire(
    provider: Provider, client: Callable[..., Blocking], caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK and httpx2 know the service alone, and one request; httpcore2 knows addresses, and both attempts."""
    lb = pool(provider)
    provider.script["sk-alpha"].append((429, {"Retry-After": "20"}))
    llm = client(lb)
    with caplog.at_level(logging.DEBUG):
        llm.ask()
    said: dict[str, list[str]] = {}
    for record in caplog.records:
        said.setdefault(record.name.partition(".")[0], []).append(record.getMessage())
    assert {"httpcore2", "httpx2", "openai"} <= said.keys()
    assert [line.partition(' "')[0] for line in said["httpx2"]] == [
        "HTTP Request: POST http://llm/chat/completions"
    ]
    port = provider.address.rpartition(":")[2]
    assert not [line for name in ("httpx2", "openai") for line in said[name] if port in line]
    assert sum("send_request_headers.started" in line for line in said["httpcore2"]) == 2
    assert [line for line in said["httpcore2"] if port in line]
