"""Keys from headers, cookies and queries: names that no request has are refused, and no other cookie hides the one that is wanted."""

from __future__ import annotations

from http.cookies import SimpleCookie

import httpx
import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.adapters import from_cookie, from_header, from_query

from ._clients import play
from ._server import Server


def request(**headers: str | bytes) -> httpx.Request:
    """Return a request with these headers."""
    given = [
        (name.encode(), value.encode("latin-1") if isinstance(value, str) else value)
        for name, value in headers.items()
    ]
    return httpx.Request("GET", "http://orders/?user=17&user=18&bad=%ff%ED%A0%80", headers=given)


@pytest.mark.parametrize("source", [from_header, from_cookie])
@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a:",
        "a;b",
        "a=b",
        "a\r\nb",
        "a\0",
        "\u00fcser",
        "user\u200b",
        chr(0xD800),
        b"user",
        None,
    ],
)
def test_a_name_that_no_request_has_is_refused(source, name):
    """A header or a cookie of such a name would never be found, and clients raise when they are asked for it."""
    with pytest.raises(ConfigurationError, match=r"^name="):
        source(name)


@pytest.mark.parametrize(
    "header",
    [
        "user=17",
        "a=b; user=17",
        'seen={"a": [1]}; user=17',
        "bad[]=x; user=17",
        "user=17; bad[]=x",
        "flag; user=17; a=\xff",
        ";; ;user=17;user=18",
        "user = 17 ",
        'user="17"',
        "b\xfccher=1; user=17",
    ],
)
def test_a_cookie_is_found_whatever_others_hold(header):
    """A cookie that another application has set does not unpin a client; the first of a name counts."""
    assert from_cookie("user")(request(cookie=header)) == "17"


@pytest.mark.parametrize("header", ["", "xuser=17", "user", "=17", "users=1; User=17"])
def test_a_cookie_that_is_not_there_is_no_key(header):
    """A request without the cookie has no key, or an empty one where the cookie is."""
    assert from_cookie("user")(request(cookie=header)) in {None, ""}


def test_a_cookie_in_quotes_is_read_as_it_was_written():
    """A value that ``http.cookies`` has put into quotes comes back as the text that was set."""
    jar = SimpleCookie()
    jar["user"] = 'a b;"c",\u00fc'
    assert from_cookie("user")(request(cookie=jar["user"].OutputString())) == 'a b;"c",\u00fc'


def test_a_query_that_is_no_utf_8_is_read():
    """The first value of a field counts, and what is no text elsewhere is no matter."""
    assert from_query("user")(request()) == "17"
    assert isinstance(from_query("bad")(request()), str)
    assert from_query("none")(request()) is None


def raising(_):
    """Find nothing, as a function does whose author expected another request."""
    raise LookupError("no such header")


@pytest.mark.parametrize(
    "kind", ["httpx", "httpx-asyncio", "httpx2", "httpx2-asyncio", "requests", "aiohttp"]
)
@pytest.mark.parametrize(
    ("option", "find", "reason"),
    [
        ("key", raising, "no such header"),
        ("key", lambda _: [1], "key="),
        ("key", lambda _: 1.5, "key="),
        ("cost", raising, "no such header"),
        ("cost", lambda _: 0, "cost="),
        ("cost", lambda _: "1", "cost="),
        ("cost", lambda _: float("nan"), "cost="),
        ("cost", lambda _: None, "cost="),
    ],
)
def test_a_function_that_fails_loses_no_request(kind, option, find, reason, caplog):
    """A key or cost function that raises, or finds what no request can have, is logged; the request is sent without a key, at a cost of 1."""
    with Server("a") as server:
        lb = LoadBalancer([server.address])

        async def scenario(client):
            assert (await client.get("http://orders/ok")).status == 200

        play(kind, lb, scenario, **{option: find})
    assert lb.stats().completed == 1
    assert f"the {option} function of an adapter failed" in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize("option", ["key", "cost"])
def test_an_interrupt_in_a_function_is_passed_on(option):
    """An exception of a key or cost function that is no ``Exception`` ends the request and is raised."""

    def interrupted(_):
        raise KeyboardInterrupt

    async def scenario(client):
        with pytest.raises(KeyboardInterrupt):
            await client.get("http://orders/ok")

    lb = LoadBalancer(["127.0.0.1:9"])
    play("httpx", lb, scenario, **{option: interrupted})
    assert lb.stats().completed == 0
