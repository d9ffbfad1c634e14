"""Edges of readings, conditions and coverage: the last value that counts and the first that does not."""

from __future__ import annotations

import pytest

from balancekit._support.url_paths import remove_dots
from balancekit.l7 import Request, Route, RouteTable, Spelling, header, prefix, template
from balancekit.l7._covers import path_covers
from balancekit.l7._literals import literal_of


@pytest.mark.parametrize(
    ("path", "nginx", "rfc"),
    [("/a/..", "/", "/"), ("/a/../..", None, "/"), ("/../a", None, "/a"), ("/a/.", "/a/", "/a/"), ("/a//", "/a/", "/a//"),
     ("//a//b", "/a/b", "//a//b"), ("/a/b/..", "/a/", "/a/"), ("/a/b/../", "/a/", "/a/")],
)  # fmt: skip
def test_dot_segments_and_slashes(path, nginx, rfc):
    """What climbs above the root is rejected by nginx, which merges slashes; RFC 3986 stays at the root and merges none."""
    assert Spelling.NGINX.read(path) == nginx
    assert Spelling.RFC3986.read(path) == rfc
    assert remove_dots(path, merge_slashes=True, climb=False) == nginx


def test_what_envoy_encodes():
    """Normalisation encodes quotes, angle brackets, braces, the bar, the caret and the backtick, and nothing else that is printed."""
    path = "/" + "".join(map(chr, range(0x21, 0x7F))).translate({ord(c): None for c in "#%?\\/"})
    found = Spelling.envoy(normalize=True).read(path)
    assert found == "/" + "".join([f"%{ord(c):02X}" if c in '"<>^`{|}' else c for c in path[1:]])
    assert Spelling.envoy(normalize=False).read(path) == path


@pytest.mark.parametrize(
    ("path", "merged"), [("/", "/"), ("//", "//"), ("////", "//"), ("///a//", "/a/"), ("/a", "/a")]
)
def test_slashes_alone_are_merged_to_two(path, merged):
    """Envoy merges slashes around segments; of a path that has none, two are left."""
    assert Spelling.envoy(normalize=False, merge_slashes=True).read(path) == merged


@pytest.mark.parametrize(
    ("value", "holds"), [("0", False), ("1", True), ("5", True), ("6", False), ("3x", False), ("", False)]
)
def test_both_ends_of_a_range_count(value, holds):
    """``between(1, 5)`` holds for whole decimal integers from 1 to 5."""
    assert header("k").between(1, 5).holds(Request("/", headers={"k": value})) is holds


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ("GET", None, []),
        (None, "GET", ["shadowed"]),
        (["GET", "PUT"], "GET", ["shadowed"]),
        ("GET", ["GET", "PUT"], []),
    ],
)
def test_methods_cover(first, second, kinds):
    """A route shadows another only if it takes all of its methods."""
    table = RouteTable([Route("a", 1, method=first), Route("b", 2, path=prefix("/b"), method=second)])
    assert [problem.kind for problem in table.check()] == kinds


def test_the_rest_of_a_template_needs_its_slash():
    """``/f/{rest:path}`` covers what is below ``/f``, not ``/f`` itself."""
    rest = template("/f/{rest:path}")
    assert not path_covers(rest, template("/f"))
    assert not path_covers(rest, prefix("/f"))
    assert path_covers(rest, template("/f/x"))
    assert path_covers(rest, template("/f/{other:path}"))
    assert path_covers(rest, prefix("/f/x"))
    assert not path_covers(template("/f/{x}"), rest)


@pytest.mark.parametrize(
    ("expression", "literal"),
    [("^/ab{0,1}c", "/a"), ("^/ab?c", "/a"), ("^/ab*c", "/a"), ("^/ab+c", "/ab"), ("^/a[b]", "/a")],
)
def test_a_repeated_character_may_be_absent(expression, literal):
    """A character that may occur no times is not part of the literal."""
    assert literal_of(expression) == literal
