"""A text is refused wherever several values are wanted, instead of being read letter by letter."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final, ForwardRef

import pytest
from tests.fuzz._calls import callables
from tests.fuzz._subjects import GOOD

from balancekit import ConfigurationError, LoadBalancer, UniformRandom
from balancekit._support.containers import text_check
from balancekit._support.record import Record
from balancekit.checks import HttpCheck
from balancekit.discovery import StaticResolver
from balancekit.gslb import GeoMap, Location
from balancekit.planning import Plan
from balancekit.proxyconfig import ProxyConfig

TEXTS: Final = ("abc", "", b"abc")
OTHERS: Final[dict[str, Any]] = {
    **GOOD, "balancer": LoadBalancer(["a"]), "host": "h", "name": "n", "port": 80, "zone": "eu", "make": UniformRandom,
    "source": StaticResolver(["a"]), "check": HttpCheck(),
}  # fmt: skip
"""What is given for the other parameters, by name; None where the name is not listed."""
CLIENTS: Final = {"deterministic_subset": 1, "rendezvous_subset": "worker-7"}
"""What is given for ``client``, by function."""


def annotation_of(parameter: inspect.Parameter) -> str:
    """Return the text of an annotation."""
    found = parameter.annotation
    return found.__forward_arg__ if isinstance(found, ForwardRef) else str(found)


def cases() -> Iterator[tuple[str, Any, str, Any]]:
    """Yield each public callable with each parameter that wants several values, and a text that it must refuse.

    Named tuples, plans and read configurations are what the library returns, and check nothing, but for ``Location``, which
    users make.
    """
    for name, one in callables():
        if inspect.isbuiltin(one) or (
            inspect.isclass(one) and issubclass(one, tuple | Plan | ProxyConfig) and one is not Location
        ):
            continue
        for parameter in inspect.signature(one).parameters.values():
            annotation = annotation_of(parameter)
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                continue
            if text_check(annotation) is not None and "Mapping" not in annotation:
                for text in TEXTS:
                    if not (isinstance(text, bytes) and "[int" in annotation):
                        yield name, one, parameter.name, text


def call(one: Any, name: str, value: Any) -> Any:
    """Call with a value for one parameter, and whatever is well for those that are required."""
    positional, named = [], {}
    for parameter in inspect.signature(one).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if parameter.name != name and parameter.default is not parameter.empty:
            continue
        others = OTHERS | {"client": CLIENTS.get(one.__name__)}
        given = value if parameter.name == name else others.get(parameter.name)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(given)
        else:
            named[parameter.name] = given
    made = one(*positional, **named)
    if inspect.iscoroutine(made):
        made.send(None)
    return next(made) if inspect.isgenerator(made) else made


@pytest.mark.parametrize(
    ("name", "one", "parameter", "text"),
    [pytest.param(*case, id=f"{case[0]}-{case[2]}-{case[3]!r}") for case in cases()],
)
def test_a_text_for_several_values_is_refused_by_every_public_callable(
    name: str, one: Any, parameter: str, text: Any
) -> None:
    """Each parameter that wants several values refuses a text by its own name, before anything else happens."""
    with pytest.raises(ConfigurationError) as caught:
        call(one, parameter, text)
    assert caught.value.parameter == parameter, name


class Table(Record):
    """Containers inside containers."""

    rows: Any = ()
    names: tuple[str, ...] = ()
    nested: tuple[tuple[str, ...], ...] = ()
    by_zone: dict[str, tuple[str, ...]] | Any = None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("Mapping[str, Sequence[str]]", {"a": ["x"], "b": "abc"}),
        ("Sequence[Sequence[str]]", [["x"], "abc"]),
        ("tuple[tuple[str, ...], ...]", (("x",), "abc")),
        ("Mapping[str, Sequence[str]] | None", {"b": "abc"}),
        ("Mapping[str, Mapping[str, tuple[str, ...]]]", {"a": {"b": "abc"}}),
        ("Sequence[int]", "abc"),
        ("Sequence[bool]", b"abc"),
        ("Collection[str]", bytearray(b"abc")),
    ],
)  # fmt: skip
def test_a_text_inside_is_found(annotation: str, value: Any) -> None:
    """A text is found inside mappings and sequences, and shown with its brackets where texts are wanted."""
    check = text_check(annotation)
    assert check is not None
    with pytest.raises(ConfigurationError, match="abc") as caught:
        check("x", value)
    assert ("one text is written [" in caught.value.allowed) == ("str]" in annotation or "str, ..." in annotation)  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("Sequence[int]", b"abc"),
        ("tuple[str, ...]", ("abc",)),
        ("Mapping[str, Sequence[str]]", {"a": ["abc"]}),
        ("tuple[str, int]", ("abc", 1)),
        ("Iterable[str]", iter("abc")),
    ],
)
def test_what_is_no_text_passes(annotation: str, value: Any) -> None:
    """Bytes are whole numbers where these are wanted, and containers with texts are containers."""
    check = text_check(annotation)
    assert check is not None
    check("x", value)


@pytest.mark.parametrize(
    "annotation",
    ["str | Iterable[str]", "str", "Sequence[str] | Any", "Mapping[str, str]", "Table[str]", "Sequence[T]"],
)
def test_where_a_text_may_be_meant_none_is_refused(annotation: str) -> None:
    """An annotation that takes a text, or wants no container, has no check."""
    assert text_check(annotation) is None


def test_records_look_into_their_fields() -> None:
    """A field of containers refuses a text among them, by its own name."""
    with pytest.raises(ConfigurationError, match=r"^nested=\('abc',\) is not allowed: .*\['abc'\]$"):
        Table(nested=("abc",))
    assert Table(nested=(("abc",),), names=("abc",)).names == ("abc",)


def test_a_location_is_checked_by_position_too() -> None:
    """A Location takes its subdivisions by position or by name, and one code only in a tuple."""
    assert Location("NA", "US", ("TX",)).path == ("NA", "US", "TX", "")
    for make in (lambda: Location("NA", "US", "TX"), lambda: Location(subdivisions="TX")):
        with pytest.raises(ConfigurationError, match=r"^subdivisions='TX' .*\('TX',\)"):
            make()


def test_an_order_of_a_map_is_no_text() -> None:
    """The order of endpoints of a network is a list, never a text."""
    with pytest.raises(ConfigurationError, match=r"^networks="):
        GeoMap.build(networks={"192.0.2.0/24": "eu"}, default=["eu"])
