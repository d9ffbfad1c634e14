"""Documents of other shapes: zones, route tables and plans of capacity, as people write and generate them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from balancekit import ConfigurationError
from balancekit.capacity import read_plan
from balancekit.gslb import zone_file
from balancekit.l7 import route_table

ZONE = {
    "zone": {"origin": "example.com", "primary": "ns1", "contact": "admin", "ttl": {"minimum": 5}},
    "endpoints": {"eu-1": ["192.0.2.1"], "us-1": "192.0.2.2"},
    "maps": {"world": {"default": ["eu", "us"], "networks": {"10.0.0.0/8": ["us"]}}},
    "names": {
        "www": {
            "policy": "geo",
            "map": "world",
            "ttl": {"maximum": 30},
            "fail_back": {"hold_down": 1.0, "damping": {}},
            "sites": {
                "eu": {"policy": "all-up", "endpoints": ["eu-1"]},
                "us": {"policy": "weighted-one", "weights": {"us-1": 90}},
            },
        },
        "spill": {
            "policy": "spill",
            "sites": {"eu": {"policy": "rotation", "endpoints": ["eu-1"]}},
            "capacity": {"eu": 5},
            "demand": {"eu": 3},
        },
        "racks": {"policy": "grouped-one", "groups": {"a": {"eu-1": 1}}},
        "@": {"records": {"NS": ["ns1."]}, "ttl": 60},
    },
    "check": {"path": "/"},
}
ROUTES = {
    "table": {"order": "first", "spelling": "STRICT", "no_match": "web"},
    "route": [
        {
            "name": "orders",
            "to": {"stable": 95, "canary": 5},
            "by": "cookie:uid",
            "host": ["*.shop.test"],
            "prefix": "/orders",
            "method": ["GET"],
            "headers": [{"name": "x-beta", "is": "1"}],
            "query": [{"name": "v", "between": [1, 2]}],
            "timeout": 2.0,
            "attempts": 2,
            "retry_on": [500],
        },
        {"name": "site", "to": "web", "exact": "/old", "rewrite": "/new"},
    ],
}
PLAN = {
    "demand": {"requests": 1000.0},
    "gslb": {"sites": 2, "shares": [0.5, 0.5]},
    "l7": {"requests_per_second": 500.0},
    "survive": {"l7": 1},
    "utilisation": 0.7,
}
OTHERS: list[Any] = [
    None, 5, -1.5, "x", "", [], {}, {"a": 1}, ["a"], [None], True, float("nan"), {"a": {"b": 5}}, [[1]],
]  # fmt: skip


def places(document: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each part of a document stands, as the keys that lead to it."""
    yield before
    pairs = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, part in pairs:
        yield from places(part, (*before, key))


def replaced(document: Any, place: tuple[Any, ...], other: Any) -> Any:
    """Return a document with another part in one place."""
    if not place:
        return other
    changed = copy.deepcopy(document)
    around = changed
    for key in place[:-1]:
        around = around[key]
    around[place[-1]] = other
    return changed


@pytest.mark.parametrize(
    ("read", "document"),
    [(zone_file, ZONE), (route_table, ROUTES), (read_plan, PLAN)],
    ids=["zone", "routes", "plan"],
)
def test_any_part_may_be_something_else(read: Callable[[Any], object], document: Any) -> None:
    """A document of which any one part is replaced by something else is read, or refused with ConfigurationError, nothing else."""
    read(copy.deepcopy(document))
    refused = 0
    for place in places(document):
        for other in OTHERS:
            try:
                read(replaced(document, place, other))
            except ConfigurationError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("read", "document", "whole"),
    [(zone_file, ZONE, "the file"), (read_plan, PLAN, "plan")],
    ids=["zone", "plan"],
)
def test_a_refusal_names_a_place_of_the_document(
    read: Callable[[Any], object], document: Any, whole: str
) -> None:
    """What is refused in a document is named by the keys that lead to it, from the top of the document."""
    named = set()
    for place in places(document):
        for other in OTHERS:
            changed = replaced(document, place, other)
            error = refusal(read, changed)
            if error is None:
                continue
            named.add(error.parameter)
            first, *rest = error.parameter.split(".")
            assert first in document or error.parameter in {whole, "document"}, (place, str(error))
            around = changed
            for key in [first, *rest][:-1]:
                around = around[key]
            assert not rest or isinstance(around, dict), (place, str(error))
    assert len(named) > len(document)


def refusal(read: Callable[[Any], object], document: Any) -> ConfigurationError | None:
    """Return the error of a document that is refused."""
    try:
        read(document)
    except ConfigurationError as error:
        return error
    return None
