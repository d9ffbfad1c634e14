"""Numbers and texts of other classes are stored as plain ones wherever they come in; values that cannot be read are refused by name."""

from __future__ import annotations

import enum
import json
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, MaglevHash, RingHash
from balancekit._support.arguments import checked_arguments
from balancekit._support.plain import converter
from balancekit._support.record import Record
from balancekit.adapters import HttpTarget, RequestOptions
from balancekit.adapters._gslb import BalancerStandings
from balancekit.checks import HttpCheck, MetricsProbe
from balancekit.discovery import DnsResolver, StaticResolver, parse_targets
from balancekit.gslb import Answer, Client, Query, ResolverCache, Standing
from balancekit.ha import SyncGroup, Tracking, VirtualRouter, priorities_for
from balancekit.hashing import (
    AnchorHash,
    HashRing,
    JumpHash,
    MaglevTable,
    MultiProbeHash,
    jump,
    table_size_for,
)
from balancekit.health import CheckResult
from balancekit.l4 import DsrBook, FlowMatch
from balancekit.l7 import Request, Split
from balancekit.outcome import LoadReport
from balancekit.proxyconfig import read_haproxy, read_nginx
from balancekit.reported import NodeAttributes, ProbePool, format_orca
from balancekit.retry import RetryBudget
from balancekit.routing import Sticky, StickyValues, deterministic_subset, rendezvous_subset
from balancekit.scheduling import AliasTable
from balancekit.sim import read_recording, scenario_text
from balancekit.stats import Ewma, PeakEwma
from balancekit.testing import chi_square_z, make_context, make_nodes, share_z
from balancekit.waiting import WaitingQueue


def _raise(*_: object) -> Any:
    raise RuntimeError("a method of the value")


class OddText(str):
    """A text whose methods raise."""

    __slots__ = ()
    __eq__ = __hash__ = __str__ = __repr__ = __len__ = __bool__ = __iter__ = __contains__ = _raise
    encode = lower = strip = split = partition = startswith = isascii = _raise


class OddFloat(float):
    """A number whose methods raise."""

    __slots__ = ()
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __float__ = __repr__ = _raise
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _raise


class OddInt(int):
    """A whole number whose methods raise."""

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __index__ = __repr__ = _raise
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = _raise


class Unhashable(str):
    """A text that no dictionary takes."""

    __slots__ = ()
    __hash__ = None


class Unreadable(dict[str, Any]):
    """A mapping that changes while it is read."""

    def items(self) -> Any:
        raise RuntimeError("dictionary changed size during iteration")


class Site(enum.StrEnum):
    """A text that an application has as a member of an enumeration."""

    EU = "eu"


class Facts(Record):
    """A field of each kind that is converted."""

    name: str = ""
    other: str | None = None
    raw: bytes = b""
    shares: dict[str, float] | Any = None
    by_name: Any = None


class Containers(Record):
    """Fields of containers."""

    figures: tuple[float, ...] = ()
    names: frozenset[str] = frozenset()


def plain_only(value: Any) -> bool:
    """Return whether a value and its items are of built-in classes."""
    if isinstance(value, dict):
        return all(map(plain_only, [*value, *value.values()]))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(plain_only, value))
    return type(value) in {str, bytes, int, float, bool, type(None)}


STORED: dict[str, Callable[[], Any]] = {
    "texts of a record": lambda: [Facts(name=Site.EU).name, Facts(other=OddText("x")).other],
    "items of a record": lambda: [
        Containers(figures=(Decimal(1), np.float32(2), OddFloat(3.0))).figures,
        Containers(names=frozenset([Site.EU])).names,
    ],
    "a load report": lambda: [
        dict(LoadReport(named_metrics={Site.EU: Decimal("0.5")}).named_metrics),
        dict(LoadReport(utilization={"a": Fraction(1, 2)}).utilization),
        dict(LoadReport(request_cost={"a": np.int64(2)}).request_cost),
    ],
    "tracked values": lambda: dict(Tracking(values={"a": np.int64(3)}).values),
    "ports of a flow": lambda: list(FlowMatch(source_ports=[np.int64(80), OddInt(81)]).source_ports),
    "a target": lambda: [HttpTarget(OddText("http://h")).url, dict(HttpTarget("http://h", headers={Site.EU: Site.EU}).headers)],
    "a check": lambda: [HttpCheck(OddText("/healthz"), host=Site.EU).path, CheckResult(passed=False, detail=OddText("x")).detail],
    "sizes of selectors": lambda: [RingHash(vnodes=np.int64(7))._vnodes, MaglevHash(size=np.int32(251))._size],
    "a delay of a queue": lambda: list(WaitingQueue[str](max_waiting=1, controlled_delay=(Fraction(1), Decimal(2)))._delay or ()),
    "ids of structures": lambda: [
        HashRing([OddText("a"), "b"]).nodes,
        AnchorHash([OddText("a"), "b"]).nodes,
        JumpHash([OddText("a"), "b"]).nodes,
        MultiProbeHash([OddText("a"), "b"]).nodes,
        MaglevTable({Site.EU: OddFloat(2.0), "b": 1}, size=251).nodes,
    ],
    "an address": lambda: [one.target for one in StaticResolver([str(Site.EU)]).resolve().endpoints],
}  # fmt: skip


@pytest.mark.parametrize("name", STORED)
def test_numbers_and_texts_are_stored_plain(name: str) -> None:
    """Whatever class a number or a text is of, what is kept is of a built-in class, and can be pickled and written as JSON."""
    found = STORED[name]()
    assert plain_only(found)
    assert pickle.loads(pickle.dumps(found)) == found
    json.dumps(sorted(found) if isinstance(found, set | frozenset) else found, default=sorted)


def ring(node: str) -> HashRing:
    """Return a ring with two nodes."""
    made = HashRing(["b"])
    made.add(node)
    return made


WORKING: dict[str, Callable[[], Any]] = {
    "jump": lambda: jump(OddInt(7), OddInt(3)) == jump(7, 3),
    "table_size_for": lambda: table_size_for(Fraction(1, 100), np.int64(100)) == 10_007,
    "deterministic_subset": lambda: len(deterministic_subset(["a", "b", "c"], client=np.int64(1), size=np.int64(1))) == 1,
    "rendezvous_subset": lambda: len(rendezvous_subset(["a", "b", "c"], client=OddText("x"), size=OddInt(2))) == 2,
    "priorities_for": lambda: priorities_for({"a": ["x", "y"]}, "y", step=np.int64(4)) == {"a": 250},
    "ring.add": lambda: ring(OddText("a")).nodes == ("a", "b"),
    "ring.remove": lambda: ring("a").remove(OddText("a")) is None,
    "anchor.remove": lambda: AnchorHash(["a", "b"]).remove(OddText("a")) is None,
    "ring.lookup": lambda: HashRing(["a", "b"]).lookup(OddText("k")) == HashRing(["a", "b"]).lookup("k"),
    "table.lookup": lambda: MaglevTable(["a", "b"], size=251).lookup(OddText("k")) in {"a", "b"},
    "a name of a hash": lambda: HashRing(["a"], hash=OddText("murmur3")).lookup("k") == "a",
    "HTTP headers": lambda: format_orca(LoadReport(named_metrics={"a": Decimal("0.5")})).endswith("0.5"),
    "resolver": lambda: DnsResolver("h", 80, timeout=Decimal(2)).refresh.timeout == 4.0,
    "targets": lambda: len(parse_targets(OddText('[{"targets": ["a:80"]}]')).endpoints) == 1,
    "a probe of gauges": lambda: MetricsProbe(OddText("vllm"), fetch=str) is not None,
    "bytes of a flow": lambda: DsrBook([Site.EU]).received(Site.EU, np.int64(5)) is None,
    "a priority": lambda: VirtualRouter(vrid=np.int64(5), addresses=("192.0.2.1",), source="192.0.2.2").vrid == 5,
    "a probed load": lambda: ProbePool()().add(OddText("a"), in_flight=Decimal(1), latency=Fraction(1, 2), now=0.0) is None,
    "a seed": lambda: make_context(np.int64(3)).rng.random() == make_context(3).rng.random(),
    "a share": lambda: share_z(np.int64(60), np.int64(100), Decimal("0.5")) == 2.0,
    "a sample": lambda: used(Ewma()).observe(OddFloat(1.0), now=OddFloat(1.0)) is None,
    "a value at rest": lambda: used(Ewma()).value(now=1.0, rest=OddFloat(1.0)) == 1.0,
    "a bound of an average": lambda: used(PeakEwma()).raise_to(OddFloat(1.0), now=1.0) is None,
    "counts": lambda: chi_square_z({"a": np.int64(5), "b": 5}, {"a": Decimal(1), "b": Fraction(1)}) < 0,
}  # fmt: skip


@pytest.mark.parametrize("name", WORKING)
def test_numbers_and_texts_of_other_classes_are_used_as_what_they_are(name: str) -> None:
    """A call takes a number or a text of any class by its value, and asks none of its methods."""
    assert WORKING[name]()


REFUSED: dict[str, Callable[[], Any]] = {
    "a text without a hash": lambda: NodeAttributes().value(Unhashable("a"), "x", now=0.0),
    "a name of a cookie": lambda: Request("/").cookie(Unhashable("a")),
    "nodes that change": lambda: HashRing(["a"]).replace(Unreadable(a=1)),
    "counts that change": lambda: chi_square_z(Unreadable(a=1, b=1), Unreadable(a=1, b=1)),
    "a share of one": lambda: share_z(1, 0, 0.5),
    "no nodes": lambda: make_nodes(3),
    "a path of nginx": lambda: read_nginx(3.5),
    "a path of HAProxy": lambda: read_haproxy(["x"]),
    "a path with a NUL": lambda: read_nginx("a\0b"),
    "an advert of a group": lambda: SyncGroup(routers={"a": ROUTER})().receive("x", "192.0.2.3", now=0.0),
    "an advert": lambda: ROUTER().fault(b"x", now=0.0),
    "a path of a recording": lambda: read_recording(chr(0xD800)),
    "a path of a scenario": lambda: scenario_text(chr(0xD800)),
}


ROUTER = VirtualRouter(vrid=5, addresses=("192.0.2.1",), source="192.0.2.2")


def used(average: Any) -> Any:
    """Return an average that has seen a sample."""
    average.observe(1.0, now=0.0)
    return average


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str) -> None:
    """What the methods of a value raise is the cause of a ConfigurationError that names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        REFUSED[name]()
    assert caught.value.parameter


def test_an_error_of_a_function_is_not_blamed_on_a_value() -> None:
    """What a function of the user raises about a value of the user's class stays that error."""

    @checked_arguments
    def call(name: str, function: Callable[[str], object]) -> object:
        return function(name)

    with pytest.raises(LookupError):
        call(Site.EU, lambda _: {}["x"])


def test_a_plain_container_is_kept() -> None:
    """A container is copied only if one of its items is to be converted."""
    figures = (1.0, 2.0)
    assert Containers(figures=figures).figures is figures
    convert = converter("Mapping[str, float]")
    assert convert is not None
    weights = {"a": 1.0}
    assert convert(weights) is weights
    assert convert({"a": Decimal(1)}) == {"a": 1.0}
    assert converter("object") is None


def test_a_parameter_after_any_number_of_others_is_converted_by_name() -> None:
    """A keyword-only parameter behind ``*args`` is never taken for one of them."""

    @checked_arguments
    def call(*names: object, weight: float = 1.0) -> tuple[tuple[object, ...], float]:
        return names, weight

    fraction = Fraction(1, 2)
    names, weight = call(fraction, fraction, weight=fraction)
    assert names == (fraction, fraction)
    assert type(names[0]) is Fraction
    assert type(weight) is float
    assert math.isclose(weight, 0.5)


class Indexed:
    """A whole number by ``__index__`` alone."""

    def __index__(self) -> int:
        return 2


def test_a_thing_with_an_index_is_a_number_wherever_one_is_wanted() -> None:
    """What Python takes for a whole number is stored as a float or an int, by what is wanted."""
    endpoint = Endpoint("a", weight=Indexed(), priority=Indexed())
    assert (type(endpoint.weight), endpoint.weight, endpoint.priority) == (float, 2.0, 2)
    assert LoadReport(rps=Indexed()).rps == 2.0
    assert repr(Split({"a": Indexed()})) == repr(Split({"a": 2}))
    assert Ewma(decay=Indexed()).value(now=0.0) == 0.0


TRUTHS: dict[str, Callable[[Any], Any]] = {
    "a weight": lambda truth: Endpoint("a", weight=truth),
    "a priority": lambda truth: Endpoint("a", priority=truth),
    "a deadline": lambda truth: LoadBalancer(["a"]).drain("a", deadline=truth),
    "a cost": lambda truth: LoadBalancer(["a"]).acquire(cost=truth),
    "a field of a record": lambda truth: LoadReport(rps=truth),
    "a field of a policy": lambda truth: RetryBudget(ratio=truth),
    "a time": lambda truth: ROUTER().start(now=truth),
    "a number of a list": lambda truth: AliasTable(["a"], [truth]),
    "a size": lambda truth: RingHash(vnodes=truth),
    "a key of a jump": lambda truth: jump(truth, 3),
}  # fmt: skip


@pytest.mark.parametrize("truth", [True, np.True_, np.bool_(False)], ids=repr)
@pytest.mark.parametrize("name", TRUTHS)
def test_a_truth_is_no_number(name: str, truth: Any) -> None:
    """``True`` is a mistake for a number, whether it is Python's or numpy's."""
    with pytest.raises(ConfigurationError):
        TRUTHS[name](truth)


@pytest.mark.parametrize("ttl", [Decimal("sNaN"), np.array([1, 2]), math.nan, True, "30", None], ids=repr)
def test_an_answer_is_stored_with_a_time_to_live_that_is_a_number(ttl: Any) -> None:
    """An answer of a user with another time to live is refused by name, and the cache keeps nothing of it."""
    cache = ResolverCache()
    query = Query(name="www", client=Client(address="192.0.2.1"))
    with pytest.raises(ConfigurationError, match=r"^ttl="):
        cache.store(query, Answer(("a",), ttl=ttl), now=0.0)
    assert cache.expire(now=0.0) == 0
    cache.store(query, Answer(("a",)), now=0.0)
    assert cache.look_up(query, now=1.0) is not None


ENDLESS: dict[str, Callable[[Any], float]] = {
    "the end of a standing": lambda endless: Standing(up=True, until=endless).until,
    "a horizon": lambda endless: BalancerStandings(LoadBalancer(["a"]), horizon=endless)("a").until,
    "a bound": lambda endless: Sticky(StickyValues("pool", [b"sixteen secrets!"]), bound=endless)._bound,
    "a deadline of a request": lambda endless: RequestOptions(deadline=endless).deadline or 0.0,
    "a deadline in a queue": lambda endless: WaitingQueue[str](max_waiting=1).offer("a", now=0.0, deadline=endless)[0].deadline,
    "a time to live": lambda endless: stored_for_ever(Answer(("a",), ttl=endless)),
}  # fmt: skip


def stored_for_ever(answer: Answer) -> float:
    """Return for how long a cache without a limit of its own keeps an answer."""
    cache, query = ResolverCache(max_ttl=1e9), Query(name="www", client=Client(address="192.0.2.1"))
    cache.store(query, answer, now=0.0)
    return math.inf if cache.look_up(query, now=1e9 - 1.0) is not None else 0.0


@pytest.mark.parametrize(
    "endless",
    [math.inf, np.float32("inf"), np.float64("inf"), OddFloat("inf"), Decimal("Infinity")],
    ids=["float", "float32", "float64", "a class derived from float", "decimal"],
)
@pytest.mark.parametrize("name", ENDLESS)
def test_infinity_may_be_of_any_class(name: str, endless: Any) -> None:
    """Where infinity is allowed, one of another class is stored as a ``float``."""
    found = ENDLESS[name](endless)
    assert type(found) is float
    assert found == math.inf


@pytest.mark.parametrize("name", ENDLESS)
def test_what_is_no_number_is_no_infinity(name: str) -> None:
    """Where infinity is allowed, what is no number is refused, and so are several and a text."""
    for wrong in (math.nan, "inf", np.array([math.inf, 1.0])):
        with pytest.raises(ConfigurationError, match=r"a finite number.* or infinity$"):
            ENDLESS[name](wrong)


def test_no_time_is_refused_where_one_is_needed() -> None:
    """``now=None`` is refused by name although nothing is there to be compared with it, but where it may be left out."""
    query = Query(name="www", client=Client(address="192.0.2.1"))
    for call in (
        lambda: ResolverCache().look_up(query, now=None),
        lambda: WaitingQueue[str](max_waiting=1).next(now=None),
        lambda: ROUTER().start(now=None),
    ):
        with pytest.raises(ConfigurationError, match=r"^now=None"):
            call()
