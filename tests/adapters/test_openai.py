"""OpenAI's own SDK over three keys of a local provider: one key's trouble is not the caller's."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from balancekit import Endpoint, First, LoadBalancer
from balancekit.adapters import HttpTarget
from balancekit.adapters.httpx2 import AsyncBalancedTransport, BalancedTransport
from balancekit.testing import ManualClock

from ._llm import Provider

KEYS = ("sk-alpha", "sk-beta", "sk-gamma")
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider."""
    with Provider() as one:
        yield one


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


def client(lb: LoadBalancer[HttpTarget], **options: Any) -> openai.OpenAI:
    """The SDK, with its own retries off: ours go to another key."""
    http = httpx2.Client(transport=BalancedTransport(lb, **options))
    return openai.OpenAI(http_client=http, base_url="http://llm", api_key="unused", max_retries=0)


def keys(provider: Provider) -> list[str]:
    """Which keys were used, in order."""
    return [key for key, _, _ in provider.seen]


def test_a_429_moves_on_within_the_call_and_the_key_is_left_alone_until_then(provider: Provider) -> None:
    """The clock is ours, so "until then" is exact."""
    clock = ManualClock()
    lb = pool(provider, clock=clock)
    provider.script["sk-alpha"].append((429, {"Retry-After": "20"}))
    with client(lb, clock=clock) as llm:
        assert llm.chat.completions.create(**ASK).choices[0].message.content == "hello"
        assert keys(provider) == ["sk-alpha", "sk-beta"]
        assert lb.stats()["alpha"].state == "cooling"
        for _ in range(3):
            llm.chat.completions.create(**ASK)
        clock.advance(19.9)
        llm.chat.completions.create(**ASK)
        assert keys(provider)[2:] == ["sk-beta"] * 4
        clock.advance(0.2)
        llm.chat.completions.create(**ASK)
        assert keys(provider)[-1] == "sk-alpha"
    assert {path for _, path, _ in provider.seen} == {
        "/alpha/v1/chat/completions",
        "/beta/v1/chat/completions",
    }
    assert all(body == ASK for _, _, body in provider.seen)
    assert lb.stats().inflight == 0


def test_a_quota_that_is_used_up_is_left_alone_before_it_refuses(provider: Provider) -> None:
    """The headers of a success say so."""
    clock = ManualClock()
    lb = pool(provider, clock=clock)
    provider.script["sk-alpha"].append(
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"})
    )
    with client(lb, clock=clock, max_retry_after=120.0) as llm:
        llm.chat.completions.create(**ASK)
        assert lb.stats()["alpha"].state == "cooling"
        llm.chat.completions.create(**ASK)
        clock.advance(121.0)
        llm.chat.completions.create(**ASK)
    assert keys(provider) == ["sk-alpha", "sk-beta", "sk-alpha"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_taken_out_and_said_once(
    provider: Provider, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By its endpoint's id."""
    lb = pool(provider)
    provider.script["sk-alpha"].append((status, {}))
    with caplog.at_level(logging.WARNING, "balancekit"), client(lb) as llm:
        llm.chat.completions.create(**ASK)
        llm.chat.completions.create(**ASK)
    assert keys(provider) == ["sk-alpha", "sk-beta", "sk-beta"]
    assert lb.stats()["alpha"].state == "cooling"
    assert [r.getMessage() for r in caplog.records if "credentials" in r.getMessage()] == [
        f"endpoint 'alpha' refuses its credentials with status {status}; it is left alone"
    ]


def test_a_stream_holds_its_lease_to_the_last_event(provider: Provider) -> None:
    """One request in flight while words come, none after the last."""
    lb = pool(provider)
    provider.resume.clear()
    with client(lb) as llm:
        words = llm.chat.completions.create(**ASK, stream=True)
        first = next(iter(words))
        assert first.choices[0].delta.content == "hel"
        assert lb.stats()["alpha"].inflight == 1
        provider.resume.set()
        rest = [chunk.choices[0].delta.content for chunk in words]
        assert rest == ["lo"]
        assert lb.stats().inflight == 0


def test_the_asynchronous_client_does_the_same(provider: Provider) -> None:
    """429, stream, and a stream that is closed early."""
    lb = pool(provider)
    provider.script["sk-alpha"].append((429, {"Retry-After": "20"}))

    async def main() -> None:
        http = httpx2.AsyncClient(transport=AsyncBalancedTransport(lb))
        async with openai.AsyncOpenAI(
            http_client=http, base_url="http://llm", api_key="unused", max_retries=0
        ) as llm:
            assert (await llm.chat.completions.create(**ASK)).choices[0].message.content == "hello"
            stream = await llm.chat.completions.create(**ASK, stream=True)
            assert lb.stats().inflight == 1
            assert [chunk.choices[0].delta.content async for chunk in stream] == ["hel", "lo"]
            assert lb.stats().inflight == 0
            provider.resume.clear()
            stream = await llm.chat.completions.create(**ASK, stream=True)
            await stream.close()
            assert lb.stats().inflight == 0
            provider.resume.set()

    asyncio.run(main())
    assert keys(provider) == ["sk-alpha", "sk-beta", "sk-beta", "sk-beta"]


def test_when_all_keys_are_out_the_sdk_raises_its_own_error(provider: Provider) -> None:
    """The last refusal as it came, then a connection error that says when the first key is back."""
    lb = pool(provider)
    for key in KEYS:
        provider.script[key].append((429, {"Retry-After": "20"}))
    with client(lb, attempts=3) as llm:
        with pytest.raises(openai.RateLimitError):
            llm.chat.completions.create(**ASK)
        with pytest.raises(openai.APIConnectionError) as caught:
            llm.chat.completions.create(**ASK)
    assert "retry in" in str(caught.value.__cause__)


def test_no_key_is_shown_anywhere(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """Logs of everybody at DEBUG, reprs, errors with their notes and causes, read-outs."""
    lb = pool(provider)
    shown: list[object] = [lb, lb.endpoints, lb.stats(), lb.explain(), lb.acquire()]
    lb.subscribe(shown.append)
    for key in KEYS:
        provider.script[key] += [(429, {"Retry-After": "20"}), (500, {})]
    with caplog.at_level(logging.DEBUG), client(lb, attempts=2) as llm:
        for _ in range(4):
            try:
                llm.chat.completions.create(**ASK)
            except openai.OpenAIError as error:
                shown += traceback.format_exception(error)
                shown.append(error)
    shown += [lb.stats(), lb.explain(), *[record.getMessage() for record in caplog.records]]
    shown += [repr(record.__dict__) for record in caplog.records if record.name.startswith("balancekit")]
    text = "\n".join(map(repr, shown))
    assert "429" in text
    assert any(record.name.startswith("httpcore2") for record in caplog.records)
    for key in KEYS:
        assert key not in text
