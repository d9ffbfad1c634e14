"""Path patterns: what they match, their literals, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Route, RouteTable, exact, prefix, regex, template, text_prefix
from balancekit.l7._patterns import literal_of


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (exact("/a"), ["/a"], ["/a/", "/A", "/ab", "/"]),
        (exact("/café d"), ["/caf%C3%A9%20d"], ["/caf", "/café d"]),
        (exact("/caf%c3%a9"), ["/caf%C3%A9"], []),
        (prefix("/a"), ["/a", "/a/", "/a/b"], ["/ab", "/", "/A"]),
        (prefix("/a/"), ["/a", "/a/", "/a/b"], ["/ab"]),
        (prefix("/"), ["/", "/a"], []),
        (text_prefix("/ap"), ["/ap", "/api", "/ap/x"], ["/a", "/AP"]),
        (regex("^/a[0-9]$"), ["/a1"], ["/a", "/a12", "/b/a1"]),
        (regex(r"\.php"), ["/x.php", "/x.php/y"], ["/php"]),
        (template("/users/{id}"), ["/users/7"], ["/users/", "/users", "/users/7/x", "/x/users/7"]),
        (template("/f/{rest:path}"), ["/f/", "/f/a", "/f/a/b"], ["/f", "/g/a"]),
        (template("/{a}/x.y/{b}"), ["/1/x.y/2"], ["/1/xzy/2", "//x.y/2"]),
    ],
)
def test_patterns_match(pattern, yes, no):
    """The pattern matches these paths and not those."""
    assert all(pattern.matches(path) for path in yes)
    assert not any(pattern.matches(path) for path in no)
    assert all(path.startswith(pattern.literal) for path in yes)


@pytest.mark.parametrize("make", [exact, prefix, text_prefix, template])
@pytest.mark.parametrize("text", ["", "a", None, 7])
def test_what_is_no_path_is_refused(make, text):
    """A pattern that does not begin with a slash is refused."""
    with pytest.raises(ConfigurationError, match="begins with '/'"):
        make(text)


@pytest.mark.parametrize("text", ["/a?b=1", "/a#b"])
@pytest.mark.parametrize("make", [exact, prefix, text_prefix, template])
def test_a_query_in_a_pattern_is_refused(make, text):
    """A pattern with a query could never match; the error names ``query()``."""
    with pytest.raises(ConfigurationError, match=r"query\(\)"):
        make(text)


@pytest.mark.parametrize("text", ["/{a}{b}", "/x{a}", "/{a}/{a}", "/{a:path}/b", "/{1}", "/{", "/{a:int}"])
def test_odd_templates_are_refused(text):
    """Variables are whole segments with distinct names, the rest is last."""
    with pytest.raises(ConfigurationError, match="template"):
        template(text)


@pytest.mark.parametrize("expression", ["(", "", None, "[a", "*"])
def test_odd_expressions_are_refused(expression):
    """An expression that does not compile is refused by name."""
    with pytest.raises(ConfigurationError, match="regex"):
        regex(expression)


PIECES = st.lists(
    st.sampled_from(
        [
            "/",
            "a",
            "b",
            "1",
            r"\.",
            r"\-",
            "[0-9]",
            "(x|y)",
            "(?:z)?",
            "+",
            "*",
            "?",
            "{2}",
            "$",
            "|",
            r"\d",
            ".",
            "(?i:q)",
        ]
    ),
    max_size=8,
).map("".join)


@given(PIECES, st.text(alphabet="/ab1.-xyzqQ", max_size=10))
def test_every_match_begins_with_the_literal(pieces, path):
    """The literal of an expression is the beginning of every path in which the expression is found."""
    expression = f"^{pieces}"
    try:
        compiled = re.compile(expression)
    except re.error:
        return
    if compiled.search(path):
        assert path.startswith(literal_of(expression))


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        (r"^/ab/[(]x|/cd", "/cd"),
        (r"^/ab/[^(]x|/cd", "/cd"),
        (r"^/ab/[](]x|/cd", "/cd"),
        (r"^/ab/[\](]x|/cd", "/cd"),
        (r"^/ab(?#()x|/cd", "/cd"),
        (r"^/ab/\(x|/cd", "/cd"),
    ],
)
def test_an_alternative_is_found_whatever_precedes_it(expression, path):
    """Parentheses in classes, comments and escapes are no groups: a table finds what the expression finds."""
    pattern = regex(expression)
    assert pattern.matches(path)
    assert RouteTable([Route("r", "pool", path=pattern)]).match(Request(path)) is not None


@pytest.mark.parametrize(
    ("expression", "literal"),
    [(r"^/users/[(|)]x", "/users/"), (r"^/a/(b|c)/[0-9]", "/a/"), (r"^/a\|b", "/a|b"), (r"^/a/[]|]", "/a/")],
)
def test_a_bar_in_a_group_or_a_class_costs_no_literal(expression, literal):
    """An expression with a bar in a group or a class is still looked up by its beginning."""
    assert regex(expression).literal == literal


def test_a_rewritten_path_begins_with_a_slash():
    """What a client sends never becomes a part of the host: ``http://shop.test`` and ``.evil.test/x`` are not put together."""
    route = Route("r", "pool", path=regex(r"^/(.*)$"), rewrite=r"\1")
    assert RouteTable([route]).match(Request("/.evil.test/x")).target == "/.evil.test/x"
