"""Observers, logs, tallies: who hears what, and what they cannot break."""

from __future__ import annotations

import json
import logging
import math
import re
from pathlib import Path
from typing import Any

import pytest

from balancekit import ConfigurationError, Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import HttpTarget
from balancekit.events import Cooling, Draining, Ejected, Retried, Suppressed
from balancekit.loads import InFlight
from balancekit.observability import log_events
from balancekit.testing import ManualClock

from .test_prometheus import NAMES

DASHBOARD = Path(__file__).parents[2] / "docs" / "observability" / "grafana-dashboard.json"


@pytest.mark.parametrize("options", [{}, {"load": InFlight()}, {"health": None}, {"timed": True}])
@pytest.mark.parametrize("how", ["with", "release", "first byte", "cost", "drain", "removal"])
def test_an_observer_is_called_for_leases_that_were_opened_before(how: str, options: dict[str, Any]) -> None:
    """An observer is called once for the end of each lease that is open when it begins, whatever becomes of its endpoint."""
    lb = LoadBalancer(["a", "b"], **options)
    lease = lb.acquire(cost=2.0 if how == "cost" else 1.0)
    heard: list[Outcome] = []
    lb.on_completion(lambda endpoint, completion: heard.append(completion.outcome))
    if how == "drain":
        lb.drain(lease.endpoint.id)
    elif how == "removal":
        lb.remove(lease.endpoint.id)
    elif how == "first byte":
        lease.first_byte()
    if how == "release":
        lease.release()
    else:
        with lease:
            pass
    assert heard == [Outcome.SUCCESS]
    assert lb.stats().completed == 1


@pytest.mark.parametrize("options", [{}, {"load": InFlight()}, {"health": None}, {"timed": True}])
def test_an_observer_hears_every_end_while_it_observes(options: dict[str, Any]) -> None:
    """An observer is called for every end while it observes, by ``with`` or by hand, for old and new endpoints.

    It is called for none before or after.
    """
    clock = ManualClock()
    lb = LoadBalancer(["a"], selector=First(), clock=clock, **options)
    heard: list[tuple[str, Outcome]] = []
    with lb.acquire():
        pass
    stop = lb.on_completion(lambda endpoint, completion: heard.append((endpoint.id, completion.outcome)))
    lb.add("b")
    with lb.acquire():
        clock.advance(1.0)
    for outcome in Outcome:
        lb.acquire(exclude=["a"]).release(outcome)
    stop()
    with lb.acquire():
        pass
    assert heard == [("a", Outcome.SUCCESS), *[("b", outcome) for outcome in Outcome]]
    stats = lb.stats()
    assert stats.completed == 3 + len(Outcome)
    assert stats.inflight == 0


def test_an_observer_that_raises_is_logged_and_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises is logged, and the other observers are called."""
    lb = LoadBalancer(["a"])
    heard: list[str] = []

    def bad(endpoint: Endpoint[str], completion: object) -> None:
        raise RuntimeError("broken")

    lb.on_completion(bad)
    lb.on_completion(lambda endpoint, completion: heard.append(endpoint.id))
    with caplog.at_level(logging.ERROR, "balancekit"), lb.acquire():
        pass
    assert heard == ["a"]
    assert "broken" in caplog.text
    assert lb.stats().inflight == 0
    with pytest.raises(ConfigurationError, match="observer"):
        lb.on_completion(7)


def test_events_are_records_with_their_fields(caplog: pytest.LogCaptureFixture) -> None:
    """Events are log records with their fields, at a level by their kind, and without a target or its headers."""
    target = HttpTarget(url="http://10.0.0.1/v1", headers={"Authorization": "Bearer s3cret"})
    lb: LoadBalancer[HttpTarget] = LoadBalancer(
        [Endpoint("a", target), Endpoint("b", target)], selector=First()
    )
    with caplog.at_level(logging.DEBUG, "balancekit"):
        stop = log_events(lb, service="orders")
        for _ in range(5):
            lb.acquire().release(Outcome.FAILURE)
        lb.acquire().release(Outcome.OVERLOADED, retry_after=5.0)
        lb.emit(Retried(endpoint="a", at=0.0, reason="connect"))
        lb.remove("a")
        stop()
        lb.add(Endpoint("c", target))
    found = [
        (r.levelname, r.__dict__["balancekit_event"], r.__dict__["balancekit_endpoint"])
        for r in caplog.records
    ]
    assert found == [
        ("WARNING", "ejected", "a"),
        ("WARNING", "cooling", "b"),
        ("DEBUG", "retried", "a"),
        ("INFO", "removed", "a"),
        ("INFO", "drained", "a"),
    ]
    record = caplog.records[0].__dict__
    assert record["balancekit_service"] == "orders"
    assert record["balancekit_streak"] == 1
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr([r.__dict__ for r in caplog.records])


def test_times_of_events_are_logged_as_seconds_from_them(caplog: pytest.LogCaptureFixture) -> None:
    """The balancer's clock begins anywhere; the record has its figures, with the time of the event beside them."""
    lb = LoadBalancer(["a"])
    stop = log_events(lb)
    with caplog.at_level(logging.INFO, "balancekit"):
        lb.emit(Ejected(endpoint="a", at=1000.0, until=1012.44, streak=2, cause="three failures"))
        lb.emit(Suppressed(endpoint="a", at=1000.0, until=math.inf, penalty=2000.0))
        lb.emit(Cooling(endpoint="a", at=1000.0, until=1300.0))
        lb.emit(Draining(endpoint="a", at=1000.0, inflight=1, deadline=1030.0))
        lb.emit(Draining(endpoint="a", at=1000.0, inflight=1, deadline=None))
    stop()
    assert [record.getMessage() for record in caplog.records] == [
        "a ejected (until=+12.4 s, streak=2, cause=three failures)",
        "a suppressed (until=+inf s, penalty=2000.0)",
        "a cooling (until=+300.0 s)",
        "a draining (inflight=1, deadline=+30.0 s)",
        "a draining (inflight=1, deadline=None)",
    ]
    record = caplog.records[0].__dict__
    assert (record["balancekit_at"], record["balancekit_until"]) == (1000.0, 1012.44)


# ---------------------------------------------------------------------------- the dashboard


def expressions() -> list[str]:
    """Every query of the dashboard."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", []))]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_dashboard_asks_for_what_is_exported() -> None:
    """The dashboard uses exported names only, and nearly all of them."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    exported = {name + suffix for name, (kind, _) in NAMES.items() for suffix in suffixes[kind]}
    asked = {name for expression in expressions() for name in re.findall(r"balancekit_\w+", expression)}
    assert asked <= exported
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked}
    assert families >= set(NAMES) - {"balancekit_endpoint_weight"}


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """A datasource to choose, a service to choose, panels that have units, do not overlap and fit the width."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["id"] is None
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["service"]["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    cells: set[tuple[int, int]] = set()
    ids = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        cells |= taken
        ids.add(panel["id"])
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert target["refId"]
            assert "$service" in target["expr"]
    assert len(ids) == len(dashboard["panels"])


@pytest.mark.parametrize("wrong", [{"levels": 5}, {"logger": "balancekit"}, {"service": None}])
def test_wrong_arguments_of_log_events_are_named(wrong: dict[str, Any]) -> None:
    """Each wrong value raises ConfigurationError, and nothing listens."""
    lb = LoadBalancer(["a"])
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        log_events(lb, **wrong)
    assert not lb._runtime.listeners._listeners
