"""What nginx's variables read from a request: targets, queries, hosts, headers and cookies, as nginx 1.22 was observed."""

from __future__ import annotations

import pytest

from balancekit.proxyconfig import ProxyRequest, read_nginx


@pytest.fixture
def key_of(tmp_path):
    """Return what reads the value that ``hash`` makes of a request."""

    def key(template, target="/", outside="", **request):
        path = tmp_path / "nginx.conf"
        path.write_text(
            f"http {{ {outside} upstream u {{ hash {template}; server 10.0.0.1; server 10.0.0.2; }}\n"
            "server { listen 80; location / { proxy_pass http://u; } } }"
        )
        return read_nginx(str(path)).explain(ProxyRequest(target, **request)).key

    return key


@pytest.mark.parametrize(
    ("template", "target", "value"),
    [
        ("$request_uri", "http://one.test/a?x=1", "/a?x=1"),
        ("$request_uri", "http://one.test?x=1", "?x=1"),
        ("$request_uri", "http://one.test", "/"),
        ("$request_uri", "/a#f", "/a#f"),
        ("$args", "/a?x=1#f", "x=1"),
        ("$args", "/a#f?x=1", None),
        ("$query_string", "http://one.test?x=1#f", "x=1"),
        ("$arg_x", "/a?x=1#f", "1"),
        ("$arg_x", "/a#?x=1", None),
        ("$is_args", "/a?#f", None),
        ("$is_args", "/a?b#f", "?"),
        ("$uri", "/a#f", "/a"),
        ("$uri", "http://one.test//a", "/a"),
        ("$uri", "http://one.test?x", "/"),
        ("$document_uri", "/a/%2e%2e/b", "/b"),
        ("$host", "http://One.test:80/", "one.test"),
        ("$http_host", "http://one.test/", "two.test"),
        ("$request", "http://one.test/", "GET http://one.test/ HTTP/1.1"),
    ],
)
def test_targets_are_read_as_nginx_reads_them(key_of, template, target, value):
    """An absolute target gives its authority to ``$host`` and the rest to the others; ``#`` ends path and query."""
    assert key_of(template, target, host="two.test") == value


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("user=1", "1"),
        ("a=2; user=1", "1"),
        ("a=2,user=1", "1"),
        ("a=2;user=1,x; b=3", "1,x"),
        ("user = 1 ; b=2", "1 "),
        ("USER=1", "1"),
        ("username=2; user=1", "1"),
        ("user; user=1", None),
        ("user;; user=1", "1"),
        ("xuser=2", None),
        ("user=", None),
        ('user="1"', '"1"'),
        ("user=é", "é"),
    ],
)
def test_cookies_are_read_as_nginx_reads_them(key_of, header, value):
    """Cookies stand behind ``;`` or ``,``, blanks may stand round ``=``, and ``;`` ends a value."""
    assert key_of("$cookie_user", headers=(("Cookie", header),)) == value


def test_the_first_header_with_the_cookie_counts(key_of):
    """The first header that has the cookie counts."""
    assert key_of("$cookie_user", headers=(("Cookie", "a=1"), ("Cookie", "user=2"))) == "2"


@pytest.mark.parametrize(
    ("template", "name", "value"),
    [
        ("$http_cookie", "Cookie", "a; b"),
        ("$http_x_forwarded_for", "X-Forwarded-For", "a, b"),
        ("$http_x_user", "x-USER", "a"),
    ],
)
def test_repeated_headers_are_joined_or_the_first_counts(key_of, template, name, value):
    """Lines of ``Cookie`` and ``X-Forwarded-For`` are put together; of others the first counts."""
    assert key_of(template, headers=((name, "a"), (name, "b"))) == value


SERVERS = """
server {{ listen 80; server_name first; {first} location / {{ proxy_pass http://u; }} }}
server {{ listen 80; server_name second; {second} location / {{ proxy_pass http://u; }} }}
server {{ listen 81; {third} location / {{ return 204; }} }}"""
OPTIONS = [("merge_slashes", "off"), ("underscores_in_headers", "on"), ("ignore_invalid_headers", "off")]


@pytest.mark.parametrize(("name", "value"), OPTIONS)
@pytest.mark.parametrize("where", ["outside", "first", "second", "third", "undone"])
def test_the_right_server_says_how_requests_are_read(key_of, name, value, where):
    """The default server of a port decides about slashes, the server of the host about headers; both may inherit."""
    said = {"first": "", "second": "", "third": ""}
    if where in said:
        said[where] = f"{name} {value};"
    elif where == "undone":
        said["first"] = said["second"] = f"{name} {'on' if value == 'off' else 'off'};"
    http = f"{name} {value};" if where in {"outside", "undone"} else ""
    slashes = name == "merge_slashes"
    for host in ("first", "second"):
        key = key_of(
            "$uri" if slashes else "$http_x_user",
            "//a" if slashes else "/",
            host=host,
            headers=(("X_User", "u"),),
            outside=http + SERVERS.format(**said),
        )
        changed = where in {"outside", "first" if slashes else host}
        assert key == (("//a" if changed else "/a") if slashes else ("u" if changed else None))


@pytest.mark.parametrize(
    ("location", "answer"),
    [
        ("if ($arg_a = b) { return 403; } return 299;", 403),
        ("return 299; if ($arg_a = b) { return 403; }", 299),
        ("return 299; return 403;", 299),
        pytest.param(f"return {'0' * 5000}403;", 403, id="zeros before a status"),
        ("break; if ($arg_a = b) { return 403; } proxy_pass http://u;", None),
        ("break; return 403; proxy_pass http://u;", None),
        ("proxy_pass http://u; return 403;", 403),
        ("if ($arg_a = c) { return 403; } break; return 299; proxy_pass http://u;", None),
    ],
)
def test_nothing_is_answered_after_a_return_or_break(tmp_path, location, answer):
    """After a ``return`` or ``break``, no ``if`` and no ``return`` of the location runs; a ``proxy_pass`` does."""
    path = tmp_path / "nginx.conf"
    path.write_text(
        f"http {{ upstream u {{ server 10.0.0.1; }} server {{ listen 80; location / {{ {location} }} }} }}"
    )
    decision = read_nginx(str(path)).explain(ProxyRequest("/?a=b"))
    assert decision.routing.status == answer
    assert (decision.server is None) is (answer is not None)
    assert not decision.not_modelled


def test_only_blanks_are_removed_around_the_value_of_a_header(key_of):
    """Spaces before and after the value of a header do not count; a tab is a part of it."""
    assert key_of("$http_x", headers=(("X", " a "),)) == "a"
    assert key_of("$http_x", headers=(("X", " a\t "),)) == "a\t"
