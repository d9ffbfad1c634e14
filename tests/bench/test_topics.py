"""What the bench measures agrees with what is right, is the same for the same seed, and would notice if it did not."""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from balancekit.bench import TITLES, Findings, Step, card, draw, measure, steps
from balancekit.bench import _disruption as disruption
from balancekit.bench import _selection as selection
from balancekit.bench._registry import SELECTORS, STRUCTURES, SelectorCase, StructureCase
from balancekit.cli._bench_options import TOPICS
from balancekit.errors import ConfigurationError
from balancekit.hashing import JumpHash, MaglevTable
from balancekit.selectors import First


def claims(results, topic):
    """Return the claims of a topic by name."""
    return {claim.name: claim for claim in results.topics[topic].claims}


@pytest.mark.parametrize("topic", ["distribution", "disruption", "latency"])
def test_every_claim_holds(results, topic):
    """Every claim holds at a tolerance of five standard errors."""
    assert [c.text for c in results.topics[topic].claims if not c.holds] == []
    assert len(results.topics[topic].claims) >= 50


@pytest.mark.parametrize(
    ("topic", "name", "right"),
    [
        ("distribution", "one point, 3", 0.48),
        ("distribution", "one point, 4", 0.256),
        ("distribution", "one point, 5", 0.128),
        ("distribution", "150 points, 3", 1.0697),
        ("distribution", "150 points, 1000", 1.2862),
        ("disruption", "hash % N, 4 to 5", 0.8),
        ("disruption", "HashRing, 4 to 5", 0.2),
        ("disruption", "AnchorHash, 11 to 10, in the middle", 1 / 11),
        ("latency", "random at 0.8, mean", 5.0),
        ("latency", "two choices at 0.9, mean", 2.9852),
        ("latency", "central queue at 0.9, mean", 1.669),
    ],
)
def test_the_claims_that_are_quoted_are_measured(results, topic, name, right):
    """Quoted claims are measured with the right figure beside them.

    Their tolerance is one that a wrong program would miss.
    """
    claim = claims(results, topic)[name]
    assert claim.right == pytest.approx(right, rel=1e-3)
    assert claim.low < right < claim.high
    assert claim.high - right < right


def test_names_of_claims_are_unique(results):
    """Names of claims are unique, as a stored figure is found by them."""
    for findings in results.topics.values():
        names = [claim.name for claim in findings.claims]
        assert len(names) == len(set(names))


def test_every_selector_and_structure_is_measured(results):
    """Every selector and structure is in the tables."""
    shares = results.topics["distribution"]
    assert {row["selector"] for row in shares["selectors"].where()} == set(SELECTORS)
    assert {row["structure"] for row in shares["structures"].where()} == set(STRUCTURES)
    speed = results.topics["speed"]
    assert {row["selector"] for row in speed["speed"].where()} == set(SELECTORS)
    assert all(row["request"] > 1.0 for row in speed["speed"].where())
    assert {row["structure"] for row in speed["look-ups"].where()} == set(STRUCTURES)


def test_subjects_are_all_there_is():
    """A new selector or structure must be measured, too."""
    from balancekit import hashing, selectors

    assert {name for name in SELECTORS if "," not in name} == set(selectors.__all__)
    structures = {name for name in hashing.__all__ if hasattr(getattr(hashing, name), "lookup_many")}
    assert set(STRUCTURES) == structures


def test_the_same_seed_gives_the_same_figures(results):
    """The same seed gives the same figures bit by bit. Another seed gives others, which hold as well."""
    told = []
    again = measure(["disruption"], seed=1, quick=True, progress=lambda *facts: told.append(facts))
    assert again.data()["topics"]["disruption"] == results.data()["topics"]["disruption"]
    other = measure(["disruption"], seed=2, quick=True)
    assert other.holds
    assert other.topics != again.topics
    # Before each part it was told what it is, how many are done, how many there are.
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert {total for *_, total in told} == {len(told)}
    assert all(label for label, *_ in told)


def test_the_data_are_plain_and_complete(results):
    """What ``--json`` prints survives JSON and says everything about a claim."""
    data = json.loads(json.dumps(results.data(), allow_nan=False))
    assert data["seed"] == 1
    assert data["quick"] is True
    assert {"balancekit", "numpy", "mmh3", "sortedcontainers"} == set(data["versions"])
    assert {"python", "machine", "system", "processors"} <= set(data["machine"])
    assert list(data["topics"]) == list(TITLES) == list(TOPICS)
    for topic in data["topics"].values():
        for claim in topic["claims"]:
            assert set(claim) == {
                "name",
                "text",
                "measured",
                "right",
                "low",
                "high",
                "source",
                "judged",
                "holds",
            }
            assert isinstance(claim["measured"], float | int)
            assert claim["source"]
        for table in topic["tables"]:
            assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_processes_change_nothing(results):
    """Simulation in two processes gives the same figures as in one."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        part = next(steps("latency", quick=True, executor=processes)).run()
    assert part.claims == results.topics["latency"].claims[: len(part.claims)]
    assert part["latency"].rows == results.topics["latency"]["latency"].rows[: len(part["latency"].rows)]


@pytest.mark.parametrize(
    ("topics", "options", "says"),
    [
        (["weather"], {}, "topic"),
        (["speed"], {"seed": -1}, "seed"),
        (["speed"], {"seed": 1.5}, "seed"),
        (["speed"], {"seed": True}, "seed"),
    ],
)
def test_bad_input(topics, options, says):
    """Each wrong argument is named on standard error before anything is measured."""
    with pytest.raises(ConfigurationError, match=says):
        measure(topics, **options)


def run(topic, label):
    """Run the parts of a topic whose label begins so; return the claims that do not hold."""
    parts = [step for step in steps(topic, quick=True, executor=None) if step.label.startswith(label)]
    assert parts
    return [claim.name for part in parts for claim in part.run().claims if not claim.holds]


def test_a_structure_that_moves_too_much_is_found_out(monkeypatch):
    """Jump hash passed off as a structure of which any node may leave is found out."""
    wrong = STRUCTURES | {"JumpHash": StructureCase(make=JumpHash)}
    monkeypatch.setattr(disruption, "STRUCTURES", wrong)
    found = run("disruption", "JumpHash, 10 servers")
    assert found == ["JumpHash, 11 to 10, in the middle, needless", "JumpHash, 11 to 10, in the middle"]


def test_a_table_passed_off_as_a_ring_is_found_out(monkeypatch):
    """A Maglev table moves a quarter of a percent too much: the set identity sees it."""
    monkeypatch.setattr(disruption, "STRUCTURES", {"HashRing": StructureCase(make=MaglevTable)})
    assert "HashRing, 10 to 11, needless" in run("disruption", "HashRing, 10 servers")


def test_a_selector_that_is_not_by_lot_is_found_out(monkeypatch):
    """A selector that picks the first and claims to be random is found out."""
    monkeypatch.setattr(
        selection, "SELECTORS", {"UniformRandom": SelectorCase(make=First, weighted=False, exact="random")}
    )
    assert run("distribution", "shares by UniformRandom") == ["UniformRandom, equal"]


def test_figures_are_finite(results):
    """No figure that theory is compared with is missing."""
    for findings in results.topics.values():
        assert all(math.isfinite(claim.measured) for claim in findings.claims)


@pytest.mark.parametrize(
    ("parameter", "call"),
    [
        ("topics", lambda: measure("speed")),
        ("topic", lambda: measure(["height"])),
        ("topic", lambda: draw("height", Findings())),
        ("seed", lambda: card("LeastRequest", seed=-1)),
        ("seed", lambda: card("HashRing", seed="x")),
        ("name", lambda: card("Height")),
    ],
)
def test_wrong_values_are_refused(parameter, call):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert caught.value.parameter == parameter


def test_a_topic_is_measured_once(monkeypatch):
    """A topic that is named twice is measured once, and its claims are there once."""
    monkeypatch.setattr(
        "balancekit.bench._results.steps", lambda topic, **_: iter([Step(label=topic, run=Findings)])
    )
    told = []
    measure(["speed", "speed"], progress=lambda label, done, total: told.append((label, done, total)))
    assert told == [("speed", 0, 1)]
