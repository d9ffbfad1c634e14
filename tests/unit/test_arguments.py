"""Arguments of the wrong type are named by a ConfigurationError, and nothing else changes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit._support.arguments import checked_arguments, checked_stream, fits
from balancekit._support.record import Record, field
from balancekit.discovery import DnsResolver
from balancekit.hashing import HashRing, JumpHash
from balancekit.routing import deterministic_subset
from balancekit.scheduling import AliasTable, SmoothWrr, smooth_cycle
from balancekit.sim import Recorded, RecordedArrivals


@checked_arguments
def total(prices: Sequence[float], /, factor: float = 1.0, *more: int, name: str | None = None) -> float:
    """Add up."""
    return sum(prices) * factor + sum(more) + len(name or "")


@checked_stream
def first(lines: Iterable[str]) -> str:
    """Return the first line."""
    return next(iter(lines)).strip()


@checked_stream
def opened(path: str | Path) -> str:
    """Open a file."""
    return Path(path).read_text(encoding="utf-8")


@checked_arguments
def document(rules: Mapping[str, Any]) -> object:
    """Read a document."""
    return rules["routes"]


def test_a_call_that_succeeds_is_as_without_the_decorator() -> None:
    """A decorated function has its own results, keywords, defaults and signature when its arguments fit."""
    assert total([1.0, 2.0], 2.0, 3, name="ab") == 11.0
    assert list(inspect.signature(total).parameters) == ["prices", "factor", "more", "name"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: total(7), r"prices=7 is not allowed: expected Sequence\[float\]"),
        (lambda: total(["a"]), r"prices=\['a'\] is not allowed"),
        (lambda: total([1.0], "b"), "factor='b' is not allowed: expected float"),
        (lambda: total([1.0], 1.0, 2, "c"), "more='c' is not allowed: expected int"),
        (lambda: total([1.0], name=5), "name=5 is not allowed"),
        (lambda: opened("a\0b"), "a path, which has no NUL"),
        (lambda: document({}), "rules={} is not allowed: expected a document with 'routes'"),
    ],
)
def test_the_first_argument_that_does_not_fit_is_named(call: Callable[[], object], named: str) -> None:
    """The error has the name of the parameter, the value and the annotation; the first error is its cause."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        call()
    assert not isinstance(caught.value.__cause__, ConfigurationError | None)


def test_an_error_of_fitting_arguments_and_of_the_call_itself_is_left_alone() -> None:
    """An error of the function itself, or of a missing argument, is raised as it is."""

    @checked_arguments
    def wrong(value: int) -> float:
        return value / 0

    with pytest.raises(ZeroDivisionError):
        wrong(1)
    with pytest.raises(TypeError, match="missing"):
        wrong()


def test_an_iterator_is_read_up_to_a_million_items() -> None:
    """An iterator is read up to a million items, and one that never ends is refused by name.

    A short one is a list for the function, and a stream is passed on unread.
    """
    assert total(iter([1.0, 2.0])) == 3.0
    with pytest.raises(ConfigurationError, match=r"prices=.* expected at most 1,000,000 items"):
        total(count())
    with pytest.raises(ConfigurationError, match=r"prices=.* expected at most 1,000,000 items"):
        total(range(10**12))
    assert first(f"line {n}" for n in count()) == "line 0"
    with pytest.raises(ConfigurationError, match="lines="):
        first(count())


@pytest.mark.parametrize(
    ("value", "annotation", "wanted"),
    [
        (1, "int", True), (True, "int", False), (2**1024, "float", False), (float("inf"), "float", False), (1, "float", True),
        (Decimal(1), "float", False), ("a", "Sequence[str]", False), (["a"], "Sequence[str]", True), (["a", 1], "Sequence[str]", False),
        (("a", 1), "tuple[str, int]", True), (("a",), "tuple[str, int]", False), ((1, 2), "tuple[int, ...]", True),
        ({"a": 1}, "Mapping[str, int]", True), ({1: 1}, "Mapping[str, int]", False), (None, "str | None", True), ("b", "Literal['a']", False),
        (print, "Callable[[], object]", True), (3, "Callable[[], object]", False), (3, "Any", True), (3, "NotKnownHere", True),
    ],
)  # fmt: skip
def test_fitting(value: object, annotation: str, wanted: bool) -> None:
    """Numbers fit if they are finite and no bools, texts if they are no containers, and items are looked at too.

    What cannot be told fits.
    """
    names = {**globals(), "Literal": Literal}
    assert fits(value, annotation, names) is wanted


class Order(Record):
    """A record whose check calls methods of its fields."""

    items: tuple[str, ...] = field(kw_only=False)
    note: str = ""

    def _check(self) -> None:
        self.__dict__.update(items=tuple([item.strip() for item in self.items]), note=self.note.strip())


def test_records_name_their_field() -> None:
    """A check that fails with a foreign error names the field that is not as annotated; an endless one is refused."""
    assert Order(iter([" a "])).items == ("a",)
    with pytest.raises(ConfigurationError, match="note=3 is not allowed: expected str"):
        Order(("a",), note=3)
    with pytest.raises(ConfigurationError, match=r"items=\(1,\) is not allowed: expected tuple\[str, ...\]"):
        Order((1,))
    with pytest.raises(ConfigurationError, match=r"items=.* at most 1,000,000 items"):
        Order(f"n{n}" for n in count())


def test_an_array_of_ids_excludes_and_any_other_array_is_refused() -> None:
    """``acquire`` takes exclusions as an array of numpy, which has no truth, and names what is no collection of ids."""
    lb = LoadBalancer(["a", "b"])
    for key in ((), ("k",)):
        with lb.acquire(*key, exclude=np.array(["a", "x"])) as lease:
            assert lease.target == "b"
        with pytest.raises(ConfigurationError, match=r"exclude=array\(\[1, 2\]\) is not allowed"):
            lb.acquire(*key, exclude=np.array([1, 2]))
    assert lb.stats().inflight == 0


class Unreadable(Collection):
    """A collection of one id that cannot be read."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        raise OSError("lost")

    def __contains__(self, _: object) -> bool:
        return True


@pytest.mark.parametrize(
    "exclude",
    [np.array(2.0), np.array("a"), Unreadable(), {"a": 1, 2: 1}, iter("a"), 1, b"a"],
    ids=["number", "array", "unreadable", "dict", "iterator", "int", "bytes"],
)
@pytest.mark.parametrize(
    "call",
    [
        LoadBalancer.acquire,
        LoadBalancer.ranking,
        LoadBalancer.explain,
        lambda lb, exclude: lb.attempts(2, exclude=exclude),
    ],
)
def test_exclusions_that_cannot_be_read_are_refused(call: Callable[..., object], exclude: object) -> None:
    """What is a collection by its class only, or is none, is named, and nothing is picked."""
    lb = LoadBalancer(["a", "b"])
    with pytest.raises(ConfigurationError, match=r"^exclude="):
        call(lb, exclude=exclude)
    assert lb.stats().inflight == 0


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("endpoints", LoadBalancer),
        ("endpoints", LoadBalancer(["a"]).update),
        ("listeners", lambda v: LoadBalancer(["a"], listeners=v)),
        ("nodes", HashRing),
        ("nodes", JumpHash),
        ("ids", lambda v: deterministic_subset(v, client=0, size=1)),
        ("kinds", lambda v: DnsResolver("orders.example", 80, kinds=v)),
    ],
)
def test_an_array_without_dimensions_is_no_list(name: str, call: Callable[[Any], object]) -> None:
    """Its class says that it can be iterated; wherever several values are wanted, it is refused by name."""
    with pytest.raises(ConfigurationError, match=f"^{name}=array"):
        call(np.array("a"))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: AliasTable([], []), "items"),
        (lambda: AliasTable("ab", [1.0, -1.0]), "weights"),
        (lambda: AliasTable("ab", [1.0, float("inf")]), "weights"),
        (lambda: SmoothWrr([1, 0]), "weights"),
        (lambda: SmoothWrr(b"\x01\x02"), "weights"),
        (lambda: smooth_cycle([10**9]), "weights"),
        (lambda: Recorded(b"\x01"), "seconds"),
        (lambda: Recorded([1.0, float("nan")]), "seconds"),
        (lambda: Recorded([10**400]), "seconds"),
        (lambda: RecordedArrivals([2.0, 1.0]), "seconds"),
        (lambda: RecordedArrivals([True]), "seconds"),
    ],
)
def test_lists_of_numbers_are_refused_by_name(make, name):
    """Bytes, bools, infinite, unordered and too large ones, in a time that is short for a million."""
    with pytest.raises(ConfigurationError, match=name):
        make()


def test_weights_of_any_size_make_an_alias_table():
    """A mean that no float could hold is not needed."""
    for unit in (5e-324, 1e-300, 1e300):
        table = AliasTable("ab", [unit, unit])
        assert {table.draw(lambda at=at: at) for at in (0.1, 0.6)} == {"a", "b"}


def test_a_key_that_one_of_several_documents_lacks_is_named():
    """The argument that holds the documents is named, and the key; a missing key of nothing of the kind is raised as it is."""

    @checked_arguments
    def pools(rules: list[Mapping[str, Any]], name: str) -> list[str]:
        return [rule["pool"] for rule in rules] + ([{}[name]] if name else [])

    assert pools([{"pool": "a"}], "") == ["a"]
    with pytest.raises(ConfigurationError, match="documents with 'pool'") as caught:
        pools([{"pool": "a"}, {}], "")
    assert caught.value.parameter == "rules"
    with pytest.raises(KeyError):
        pools([], "other")


def test_a_time_behind_a_collecting_parameter_is_checked():
    """``now`` is found by its name behind ``*ids``, and the ids stay as they are."""

    @checked_arguments
    def picked(*ids: str, now: float) -> object:
        return ids, now

    assert picked("a", "b", now=Decimal(3)) == (("a", "b"), 3.0)
    with pytest.raises(ConfigurationError, match="now=nan"):
        picked("a", "b", now=float("nan"))
