"""The terms that people search the documentation for lead to a name of the library that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.test_documents import public_names

from balancekit import LoadBalancer

GLOSSARY = (Path(__file__).parents[2] / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
TERMS = [
    "active and passive health checks",
    "backpressure",
    "blue/green",
    "bulkhead",
    "canary",
    "circuit breaker",
    "connection draining",
    "consistent hashing",
    "DNS load balancing",
    "failover",
    "GeoDNS",
    "global server load balancing",
    "hedged requests",
    "IP hash",
    "least connections",
    "least response time",
    "load shedding",
    "outlier detection",
    "panic threshold",
    "power of two",
    "rate limit",
    "rendezvous hashing",
    "retry",
    "round robin",
    "service discovery",
    "session affinity",
    "slow start",
    "sticky session",
    "subsetting",
    "virtual IP",
    "VRRP",
    "weighted round robin",
    "zone-aware",
]


@pytest.mark.parametrize("term", TERMS)
def test_a_term_of_the_field_is_found(term):
    """Each term stands in the first column of the table, in any case."""
    terms = [line.split("|")[1].lower() for line in GLOSSARY.split("\n") if line.startswith("| ")]
    assert any(term.lower() in each for each in terms)


def test_the_names_exist():
    """Each name in code that the table gives is public, a method of a balancer, or a state."""
    known = {*public_names(), *dir(LoadBalancer), "lb", "balancekit", "ejected", "probation", "attempts"}
    codes = re.findall(r"`([^`]+)`", GLOSSARY)
    names = {name for code in codes for name in re.match(r"(?:lb\.)?([A-Za-z_]+)", code).groups()}
    assert len(names) >= 40
    assert names <= known
