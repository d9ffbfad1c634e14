"""Route files: every field is read, every mistake is named with its route."""

from __future__ import annotations

import tomllib

import pytest

from balancekit.errors import ConfigurationError
from balancekit.l7 import Request, Spelling, route_table

DOCUMENT = """
[table]
order = "specific"
spelling = "RAW"
no_match = "rest"

[[route]]
name = "orders"
to = { stable = 95, canary = 5 }
by = "cookie:uid"
host = ["*.shop.test"]
prefix = "/orders"
method = ["GET", "HEAD"]
headers = [{ name = "x-beta", is = "1" }, { name = "x-v", between = [2, 5] }, { name = "x-old", absent = true }]
cookies = [{ name = "c", present = true }, { name = "c", starts = "v" }]
query = [{ name = "q", is_not = "0" }, { name = "q", contains = "1" }, { name = "q", matches = "[0-9]+" }]
priority = 1
timeout = 2.0
attempts = 2
retry_on = [503]
rewrite = "/v2"

[[route]]
name = "user"
to = "web"
template = "/users/{id}"
"""


def test_every_field_is_read():
    """The table matches what the document says."""
    table = route_table(tomllib.loads(DOCUMENT))
    assert (table.order, table.spelling) == ("specific", Spelling.RAW)
    headers = {"X-Beta": "1", "X-V": "3", "Cookie": "c=v1; uid=7"}
    match = table.match(Request("/orders/7", host="eu.shop.test", query="q=12", headers=headers))
    assert match.route.name == "orders"
    assert match.pool() in {"stable", "canary"}
    assert match.target == "/v2/7?q=12"
    assert (match.route.timeout, match.route.attempts, match.route.retry_on) == (2.0, 2, frozenset({503}))
    assert table.match(Request("/users/7")).params == {"id": "7"}
    assert table.match(Request("/orders/7", host="eu.shop.test")).pool() == "rest"


def test_pools_are_found_by_name():
    """Names become the pools given; an unknown name is refused with those there are."""
    web = object()
    document = {"route": [{"name": "site", "to": "web"}]}
    assert route_table(document, pools={"web": web}).match(Request("/")).pool() is web
    with pytest.raises(ConfigurationError, match="one of the pools a, b, in route 'site'"):
        route_table(document, pools={"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("change", "text"),
    [({"to": 3}, "a pool's name"), ({"to": {}}, "weights"), ({"path": "/a"}, "one of"), ({"exact": "a"}, "begins with"),
     ({"exact": "/a", "prefix": "/b"}, "one kind of path"), ({"headers": {}}, "a list of tables"),
     ({"headers": [{"is": "1"}]}, "a name"), ({"headers": [{"name": "x"}]}, "one of is"),
     ({"headers": [{"name": "x", "is": "1", "starts": "1"}]}, "one of is"), ({"query": [{"name": "x", "like": "1"}]}, "one of"),
     ({"query": [{"name": "x", "between": 3}]}, "two whole numbers"), ({"query": [{"name": "x", "absent": False}]}, "true"),
     ({"timeout": "2s"}, "a finite number"), ({"headers": [{"name": "x", "is": 1}]}, "a string")],
)  # fmt: skip
def test_mistakes_are_named_with_their_route(change, text):
    """The error says what is allowed, and in which route."""
    with pytest.raises(ConfigurationError, match=text) as info:
        route_table({"route": [{"name": "r", "to": "web", **change}]})
    assert "in route 'r'" in str(info.value)


def test_a_route_without_a_name_is_named_by_its_number():
    """The error of a route without a name has its number, from one."""
    with pytest.raises(ConfigurationError, match=r"in route 2$"):
        route_table({"route": [{"name": "site", "to": "web"}, {"to": "web"}]})


def test_a_misspelt_key_is_named_with_the_one_that_was_meant():
    """An unknown key of a route, a condition, a table or a document is refused with the known one that is closest."""
    for document, close in (
        ({"route": [{"name": "r", "to": "web", "timeot": 1}]}, "timeout"),
        ({"route": [{"name": "r", "to": "web", "headers": [{"nme": "x", "name": "y"}]}]}, "name"),
        ({"table": {"spellng": "RAW"}}, "spelling"),
        ({"routes": []}, "route"),
    ):
        with pytest.raises(ConfigurationError, match=f"did you mean '{close}'"):
            route_table(document)


@pytest.mark.parametrize(
    "document",
    [{"routes": []}, {"route": {}}, {"route": ["x"]}, {"table": {"spelling": "X"}}, {"table": {"x": 1}}],
)
def test_odd_documents_are_refused(document):
    """Unknown tables, keys and spellings are configuration errors."""
    with pytest.raises(ConfigurationError):
        route_table(document)
