"""Requests: what is read from ASGI, WSGI and URLs, and that nothing is decoded."""

from __future__ import annotations

import pytest

from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Route, RouteTable


def test_text_stays_as_sent():
    """Escapes in path, query and cookies are neither decoded nor changed."""
    request = Request(
        "/a%2fb", query="x=%20&y", headers=[("Cookie", 'uid="1%20"; b=2'), (b"X-A", b"1"), ("x-a", "2")]
    )
    assert request.target == "/a%2fb?x=%20&y"
    assert request.parameter("x") == "%20"
    assert request.parameter("y") == ""
    assert request.parameter("z") is None
    assert request.cookie("uid") == '"1%20"'
    assert request.cookie("b") == "2"
    assert request.header("X-a") == "1, 2"


def test_the_first_of_a_repeated_name_counts():
    """Of repeated cookies and parameters the first counts; ``;`` does not separate parameters."""
    request = Request("/", query="v=1&v=2&w=a;v=3", headers={"cookie": "a=1; a=2"})
    assert request.parameter("v") == "1"
    assert request.parameter("w") == "a;v=3"
    assert request.cookie("a") == "1"


def test_asgi_prefers_the_raw_path():
    """``raw_path`` is used if there is one; without it the decoded path is escaped."""
    scope = {"path": "/a/b c", "raw_path": b"/a%2Fb%20c", "headers": [], "query_string": b""}
    assert Request.from_asgi(scope).path == "/a%2Fb%20c"
    assert Request.from_asgi({**scope, "raw_path": None}).path == "/a/b%20c"


def test_two_hosts_are_joined():
    """Two different Host fields are both kept, so that a strict table rejects them; equal ones count once."""
    scope = {"path": "/", "headers": [(b"host", b"a"), (b"Host", b"b"), (b"host", b"a")]}
    assert Request.from_asgi(scope).host == "a,b"


def test_wsgi_prefers_the_raw_uri():
    """``RAW_URI`` and ``REQUEST_URI`` are used if there are any; else ``SCRIPT_NAME`` and ``PATH_INFO``, escaped."""
    environ = {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/caf\xc3\xa9",
        "QUERY_STRING": "q=1",
        "HTTP_HOST": "shop.test",
        "HTTP_X_BETA": "1",
        "CONTENT_TYPE": "text/plain",
    }
    request = Request.from_wsgi(environ)
    assert request.target == "/app/caf%C3%A9?q=1"
    assert request.method == "PUT"
    assert request.host == "shop.test"
    assert request.header("x-beta") == "1"
    assert request.header("content-type") == "text/plain"
    assert Request.from_wsgi({**environ, "RAW_URI": "/app/caf%c3%a9%2f?q=1"}).path == "/app/caf%c3%a9%2f"
    assert Request.from_wsgi({**environ, "REQUEST_URI": "http://x/a%2fb?q=1"}).path == "/a%2fb"


@pytest.mark.parametrize(
    ("url", "host", "path", "query"),
    [
        ("https://shop.test/a?b=1#c", "shop.test", "/a", "b=1"),
        ("https://user:pw@shop.test:8443", "shop.test:8443", "/", ""),
        ("http://shop.test?x=/y", "shop.test", "/", "x=/y"),
        ("/a/b?c", "", "/a/b", "c"),
        ("//a", "", "//a", ""),
        ("/x?u=http://y/z", "", "/x", "u=http://y/z"),
    ],
)
def test_urls_are_split(url, host, path, query):
    """An absolute URL or a path is split into host, path and query; user information and fragment are dropped."""
    request = Request.from_url(url)
    assert (request.host, request.path, request.query) == (host, path, query)


@pytest.mark.parametrize("name", ["path", "method", "host", "query"])
@pytest.mark.parametrize("value", [None, 1, b"/"])
def test_texts_must_be_text(name, value):
    """An argument that is not text is refused by name."""
    with pytest.raises(ConfigurationError, match=name):
        Request(**{"path": "/", name: value})


def test_a_query_in_the_path_is_refused():
    """A ``?`` in the path is refused: it would never match a pattern."""
    with pytest.raises(ConfigurationError, match="query="):
        Request("/a?b")


def test_headers_of_another_type_are_refused_when_they_are_read():
    """A header that is neither text nor bytes is refused by name."""
    with pytest.raises(ConfigurationError, match="headers"):
        Request("/", headers=[("a", 1)]).header("a")


@pytest.mark.parametrize(
    ("target", "field", "host"),
    [
        ("http://shop.test/a?x=1", "shop.test", "shop.test"),
        ("http://shop.test/a", "", "shop.test"),
        ("/a", "shop.test", "shop.test"),
        ("http://admin.test/a", "shop.test", "admin.test,shop.test"),
    ],
)
def test_a_wsgi_target_with_a_host_of_its_own_is_not_passed_over(target, field, host):
    """The host of an absolute target counts (RFC 9112 3.2.2); where the Host field is another, both stand, and are rejected."""
    request = Request.from_wsgi({"REQUEST_METHOD": "GET", "RAW_URI": target, "HTTP_HOST": field})
    assert (request.host, request.path) == (host, "/a")
    assert (RouteTable([Route("site", "web")]).rejection(request) is None) is ("," not in host)


@pytest.mark.parametrize(
    ("target", "fields", "host"),
    [
        (b"http://shop.test/a?x=1", [b"shop.test"], "shop.test"),
        (b"http://shop.test/a", [], "shop.test"),
        (b"/a", [b"shop.test"], "shop.test"),
        (b"http://admin.test/a", [b"shop.test"], "admin.test,shop.test"),
        (b"http://shop.test/a", [b""], "shop.test,"),
    ],
)
def test_an_asgi_target_with_a_host_of_its_own_is_not_passed_over(target, fields, host):
    """The host of an absolute target counts (RFC 9112 3.2.2); where a Host field is another, both stand, and are rejected."""
    scope = {"path": "/a", "raw_path": target, "headers": [(b"host", field) for field in fields]}
    request = Request.from_asgi(scope)
    assert (request.host, request.path) == (host, "/a")
    assert (RouteTable([Route("site", "web")]).rejection(request) is None) is ("," not in host)


@pytest.mark.parametrize("target", ["/a#b", "http://shop.test/a#b", "http://shop.test#/a"])
def test_a_target_with_a_fragment_is_rejected(target):
    """A target received with a ``#`` is no target (RFC 9112 3.2): it is kept, and a strict table rejects it."""
    requests = (
        Request.from_asgi({"raw_path": target.encode(), "headers": [(b"host", b"shop.test")]}),
        Request.from_wsgi({"RAW_URI": target, "HTTP_HOST": "shop.test"}),
    )
    assert all(RouteTable([Route("site", "web")]).rejection(request) for request in requests)
    assert Request.from_url("http://shop.test/a#b").path == "/a"


def test_the_empty_path_of_a_wsgi_environment_is_the_root():
    """PEP 3333 allows an empty ``PATH_INFO`` for the root of an application; without a ``SCRIPT_NAME`` it is ``/``."""
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "", "QUERY_STRING": "x=1"}
    assert Request.from_wsgi(environ).target == "/?x=1"
    assert Request.from_wsgi({**environ, "SCRIPT_NAME": "/app"}).target == "/app?x=1"
