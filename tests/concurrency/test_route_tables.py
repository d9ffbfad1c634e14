"""Route tables under threads: a request sees one version of the table."""

from __future__ import annotations

from threading import Event, Thread

from balancekit.l7 import Request, Route, RouteTable, exact, prefix


def version(number):
    """Return a table whose answers all name its version, by different kinds of lookup."""
    return [
        Route("exact", number, path=exact("/a")),
        Route("prefix", number, path=prefix("/b")),
        Route("host", number, host="*.x.test"),
        Route("rest", number),
    ]


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
        requests = [Request("/a"), Request("/b/c"), Request("/c", host="y.x.test"), Request("/d")]
        while not stop.is_set():
            for request in requests:
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
