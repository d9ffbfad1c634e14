"""What a notebook shows: tables with the figures of the object, in which nothing of the user's is HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from balancekit import LoadBalancer, RingHash
from balancekit.sim import Deterministic, Poisson, Server, simulate


class Cells(HTMLParser):
    """Collects the texts of cells and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def shown():
    """Return the objects that have a form for notebooks."""
    balancer = LoadBalancer(["<b>&", "plain"], selector=RingHash())
    for key in range(20):
        with balancer.acquire(key):
            pass
    servers = {
        "<b>&": Server(service=Deterministic(mean=0.01)),
        "plain": Server(service=Deterministic(mean=0.01)),
    }
    return {
        "stats": balancer.stats(),
        "explanation": balancer.explain("user-17"),
        "plan": balancer.plan(["<b>&"]),
        "report": simulate(servers, Poisson(10.0), requests=50),
    }


@pytest.mark.parametrize("name", ["stats", "explanation", "plan", "report"])
def test_a_notebook_shows_a_table(name):
    """The table is well-formed, has a row for each endpoint, and an id with markup is text."""
    page = shown()[name]._repr_html_()
    cells = Cells()
    cells.feed(page)
    assert not cells.open
    assert page.startswith("<table>")
    assert page.count("<tr>") == 3
    assert "<b>" not in page
    assert "<b>&" in cells.texts
    assert "plain" in cells.texts


def test_shares_are_those_of_the_statistics():
    """The share of each endpoint in the table is its part of the ended requests."""
    stats = shown()["stats"]
    for each in stats.endpoints:
        assert f"{each.completed / stats.completed:.1%}" in stats._repr_html_()
