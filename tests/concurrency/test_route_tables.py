"""Route tables under threads: a request sees one version of the table."""

from __future__ import annotations

import sys
from threading import Event, Thread

import pytest

from balancekit.l7 import Request, Route, RouteTable, exact, prefix

REQUESTS = [Request("/a"), Request("/b/c"), Request("/c", host="y.x.test"), Request("/d")]


def traced(act, at_event):
    """Return what a call returns; ``at_event`` is called at every line of it and of what it calls, as another thread may be."""

    def trace(*_):
        at_event()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return act()
    finally:
        sys.settrace(before)


def pools(table):
    """Return the versions that a table answers with; None for a request that no route takes."""
    matches = [table.match(request) for request in REQUESTS]
    return {None if match is None else match.pool() for match in matches}


def version(number):
    """Return a table whose answers all name its version, by different kinds of lookup."""
    return [
        Route("exact", number, path=exact("/a")),
        Route("prefix", number, path=prefix("/b")),
        Route("host", number, host="*.x.test"),
        Route("rest", number),
    ]


def test_a_table_that_is_being_replaced_is_one_version():
    """At every line of a replacement, all requests are answered by the old table, or all by the new one."""
    table = RouteTable(version(0))
    seen = []
    traced(lambda: table.replace(version(1)), lambda: seen.append(pools(table)))
    assert len(seen) > 50
    assert [one for one in seen if one not in ({0}, {1})] == []
    assert pools(table) == {1}


@pytest.mark.parametrize("request_", REQUESTS, ids=["exact", "prefix", "host", "rest"])
def test_a_match_during_which_the_table_is_replaced_is_of_one_version(request_):
    """A replacement at any line of a match: a route of the old table or of the new one takes the request."""
    last = [Route("another", 1, path=exact("/other")), Route("all", 1)]
    place = events = 0
    while events >= place:
        place, events = place + 1, 0
        table = RouteTable(version(0))

        def replace(table=table, place=place):
            nonlocal events
            events += 1
            if events == place:
                table.replace(last)

        match = traced(lambda table=table: table.match(request_), replace)
        assert match is not None, place
        assert (match.route.name, match.pool()) in {("all", 1), *[(one.name, 0) for one in version(0)]}, place
    assert place > 5


@pytest.mark.usefixtures("switch_often")
def test_no_request_sees_two_tables():
    """Eight threads match while the table is replaced 300 times; each match belongs to one version, none goes back.

    Every version has all routes; a table seen half replaced would answer with no route or with one of another version
    than the match before it and after it.
    """
    table = RouteTable(version(0))
    stop = Event()
    wrong = []

    def ask():
        last = 0
        while not stop.is_set():
            for request in REQUESTS:
                match = table.match(request)
                pool = -1 if match is None else match.pool()
                if pool < last:
                    wrong.append((last, pool))
                last = max(last, pool)

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(1, 301):
        table.replace(version(number))
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert table.match(Request("/d")).pool() == 300
