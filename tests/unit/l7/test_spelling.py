"""Spellings: which paths and hosts are the same, and which are rejected."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit._support import url_paths as paths
from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Route, RouteTable, Spelling

TARGETS = st.lists(
    st.sampled_from(
        ["/", "/", "/", "a", "B", ".", "..", "%2e", "%2F", "%41", "%c3%A9", "%00", "%zz", "%", ";x", "\\", "%5c", " ", "é",
         "#", "~", "+", "%7e", "%20", "*"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["", "*", "a", "/a//b", "//", "/.", "/..", "/a/./b", "/a/../b", "/a/..;x/b", "/a/.;", "/a%2fb", "/a%5Cb", "/a\\b",
     "/%2e%2e/", "/%61", "/%7E", "/%30", "/%5f", "/%2D", "/a%00", "/a%252fb", "/a%", "/a%zz", "/a b", "/é", "/a#b", "/a\n", "/a\x7f"],
)  # fmt: skip
def test_strict_rejects_what_servers_read_differently(path):
    """``STRICT`` rejects the path and says why."""
    assert Spelling.STRICT.read(path) is None
    assert Spelling.STRICT.problem(path)


@pytest.mark.parametrize(
    "path",
    ["/", "/a/", "/.well-known/x", "/a..b", "/...", "/a/.b", "/a;v=1/b", "/a%20b", "/caf%C3%A9", "/a%40b", "/x%2Bb", "/a:b"],
)  # fmt: skip
def test_strict_accepts_ordinary_paths(path):
    """``STRICT`` accepts the path and leaves it as it is."""
    assert Spelling.STRICT.read(path) == path
    assert Spelling.STRICT.problem(path) is None


def test_strict_makes_hexadecimal_digits_upper_case():
    """``STRICT`` makes hexadecimal digits upper case, so that two spellings of one escape are one path."""
    assert Spelling.STRICT.read("/caf%c3%a9") == "/caf%C3%A9"


@given(TARGETS)
def test_servers_agree_on_what_strict_accepts(path):
    """Of an accepted path, nginx and Envoy read the same text as was sent, once nginx's decoding is undone."""
    read = Spelling.STRICT.read(path)
    if read is None:
        return
    assert read.upper() == path.upper()
    assert paths.unescape(
        paths.envoy(path, merge_slashes=True, escaped_slashes="unescape")
    ) == paths.unescape(path)
    assert paths.nginx(path) == paths.unescape(path)
    assert paths.unescape(paths.rfc3986(path)) == paths.unescape(path)


@given(TARGETS)
def test_the_short_way_of_a_table_is_safe(path):
    """A table reads every path as its spelling does, also those that it does not show to the spelling."""
    for spelling in (Spelling.STRICT, Spelling.RFC3986, Spelling.RAW, Spelling.NGINX, Spelling.ENVOY):
        match = RouteTable([Route("site", 1)], spelling=spelling).match(Request(path))
        assert (None if match is None else match.path) == spelling.read(path)


@given(TARGETS)
def test_reading_twice_changes_nothing_more(path):
    """``STRICT`` and ``RFC3986`` leave a path that they have returned as it is."""
    for spelling in (Spelling.STRICT, Spelling.RFC3986, Spelling.RAW):
        read = spelling.read(path)
        if read is not None:
            assert spelling.read(read) == read


@given(st.text(max_size=30))
def test_no_text_raises(text):
    """Every spelling answers for every text."""
    for spelling in (Spelling.STRICT, Spelling.RFC3986, Spelling.RAW, Spelling.NGINX, Spelling.ENVOY):
        assert (spelling.read(text) is None) == (spelling.problem(text) is not None)
        spelling.host(text)


@pytest.mark.parametrize(
    ("host", "name"),
    [("Shop.Test", "shop.test"), ("shop.test.", "shop.test"), ("shop.test:80", "shop.test"), ("shop.test.:80", "shop.test"),
     ("shop.test:", "shop.test"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("10.0.0.1:8", "10.0.0.1"), ("", "")],
)  # fmt: skip
def test_hosts_have_no_case_port_or_final_dot(host, name):
    """Case, port and one trailing dot do not count."""
    assert Spelling.STRICT.host(host) == name == Spelling.RAW.host(host)


@pytest.mark.parametrize(
    "host",
    ["[2001:db8::1]", "[2001:DB8::1]", "[2001:db8:0::1]", "[2001:0db8:0:0:0:0:0:1]", "[2001:db8::0.0.0.1]", "[2001:db8:0:0::1]:80"],
)  # fmt: skip
@pytest.mark.parametrize("route", ["[2001:db8::1]", "[2001:DB8:0:0::1]"])
@pytest.mark.parametrize(
    "spelling", [Spelling.STRICT, Spelling.RAW, Spelling.NGINX, Spelling.ENVOY], ids=repr
)
def test_an_address_is_the_same_host_however_it_is_written(host, route, spelling):
    """A request for an IPv6 address takes the route of that address: a longer spelling leads to no other."""
    table = RouteTable([Route("address", 1, host=route), Route("others", 2)], spelling=spelling)
    assert table.match(Request("/", host=host)).route.name == "address"
    assert table.match(Request("/", host="[2001:db8::2]")).route.name == "others"
    assert Route("address", 1, host=route).hosts == ("[2001:db8::1]",)


@pytest.mark.parametrize("host", ["[:::]", "[1::2::3]", "[::1", "[12345::]", "[::1.2.3]", "[1:2]"])
def test_what_is_in_brackets_is_an_address(host):
    """``STRICT`` rejects a host in brackets that is no IPv6 address, and a route refuses it by name."""
    assert Spelling.STRICT.host(host) is None
    with pytest.raises(ConfigurationError, match="host"):
        Route("address", 1, host=host)


@pytest.mark.parametrize(
    "host", ["a..b", ".a", "a,b", "a b", "a/b", "u@a", ".", "a:b:c", "é", "a:8x", "a:\u0668", "a\0"]
)
def test_strict_rejects_odd_hosts(host):
    """A host with empty labels or odd characters is rejected."""
    assert Spelling.STRICT.host(host) is None


def test_envoy_refuses_an_unknown_action():
    """The action for escaped slashes is one of three words."""
    with pytest.raises(ConfigurationError, match=re.escape("'keep', 'reject', 'unescape'")):
        Spelling.envoy(escaped_slashes="redirect")
