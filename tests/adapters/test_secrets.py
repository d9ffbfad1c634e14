"""An endpoint's own headers are keys: whatever goes wrong, in whichever client, none but its server sees one."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import aiohttp
import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer
from balancekit.adapters import HttpTarget

from ._clients import KINDS, play
from ._server import Server

KEY = "sk-one-two-three"
WRONG = ["/status?code=401", "/status?code=429", "/status?code=500", "/close", "/half", "/slow?seconds=5"]


@pytest.mark.parametrize("headers", [{"api-key": KEY}, {"Authorization": f"Bearer {KEY}", "X-Org": "o"}])
@pytest.mark.parametrize("kind", KINDS)
def test_no_error_log_or_answer_shows_a_key(
    kind: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """No error, log or answer shows a key, whether clients hide a header of that name or not."""
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    with Server("a") as server, Server("b") as other:
        one, two = (
            HttpTarget(url=server.address, headers=headers),
            HttpTarget(url="127.0.0.1:1", headers=headers),
        )
        lb: LoadBalancer[Any] = LoadBalancer([Endpoint("one", one)], health=None, listeners=[shown.append])
        away = LoadBalancer([Endpoint("two", two)])

        async def scenario(client: Any) -> None:
            assert (
                json.loads((await client.get("http://orders/echo")).text)["headers"].items()
                >= {name.lower(): value for name, value in headers.items()}.items()
            )
            for path in WRONG:
                await look(client, f"http://orders{path}", shown)
                lb.update([Endpoint("other", other.address)])
                lb.update([Endpoint("one", one)])  # and so forget how long it is to be left alone

        play(kind, lb, scenario)
        play(kind, away, lambda client: look(client, "http://orders/ok", shown))
        shown += [lb, lb.endpoints, lb.stats(), lb.explain(), away, away.stats(), away.explain()]
    shown += [record.getMessage() for record in caplog.records]
    shown += [record.__dict__ for record in caplog.records]
    text = "\n".join(map(repr, shown))
    assert "attempt 1, at endpoint 'two'" in text
    assert KEY not in text


async def look(client: Any, url: str, shown: list[object]) -> None:
    """Ask for something, and keep all there is to be seen of what comes of it."""
    try:
        answer = await client.get(url, timeout=0.1)
        shown += [answer, answer.headers, answer.info]
    except (*client.timed_out, *client.broken, client.refused) as error:
        shown += [error, error.args, vars(error), *traceback.format_exception(error)]
        request = getattr(error, "request", None)
        shown += [request, dict(getattr(request, "headers", {}))]


def test_aiohttp_tells_of_the_request_without_the_key() -> None:
    """Answers and errors of aiohttp carry the request as it was sent, and show no key in their reprs."""
    with Server("a") as server:
        server.script.extend(["/status?code=418", "/nonsense"])
        target = HttpTarget(url=server.address, headers={"api-key": KEY})
        lb = LoadBalancer([Endpoint("one", target)])

        async def scenario(client: Any) -> None:
            async with client.session.get("http://orders/ok", headers={"X-Own": "mine"}) as response:
                told = response.request_info
                with pytest.raises(aiohttp.ClientResponseError) as refused:
                    response.raise_for_status()
            with pytest.raises(aiohttp.ClientResponseError) as broken:
                await client.session.get("http://orders/ok", headers={"X-Own": "mine"})
            assert told.url.authority == server.address
            assert str(told.real_url) == "http://orders/ok"
            for error in (refused.value, broken.value):
                assert error.request_info.headers["X-Own"] == "mine"
                assert KEY not in repr(error) + repr(error.args) + str(error)
            assert KEY not in repr(told)

        play("aiohttp", lb, scenario)
        assert [request.headers.get("api-key") for request in server.seen] == [KEY, KEY]


@pytest.mark.parametrize(
    "headers",
    [
        [("api-key", KEY)],
        {"api-key": KEY, "X-Number": 3},
        {"api-key": f"{KEY}\n"},
        {"api-key": f" {KEY}"},
        {"api-key": f"{KEY}\r\nHost: evil"},
        {"api-key": f"{KEY}\N{EM DASH}"},
        {"api-key": KEY.encode()},
        {f"{KEY}:": "x"},
        {"": KEY},
        {"api key": KEY},
    ],
)
def test_headers_that_cannot_be_sent_are_refused_unseen(headers: Any) -> None:
    """Headers that cannot be sent are refused at construction, by an error that does not show them."""
    with pytest.raises(ConfigurationError, match=r"headers=.*\*\*\*") as refused:
        HttpTarget(url="10.0.0.1:80", headers=headers)
    assert KEY not in repr(refused.value) + "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("value", ["", "a", "Bearer a=b", "a\tb", '{"json": true}'])
def test_headers_that_can_be_sent_are(value: str) -> None:
    """Headers that can be sent are accepted, empty ones too."""
    assert HttpTarget(url="10.0.0.1:80", headers={"X-Any": value}).headers == {"X-Any": value}
