"""A wrong value for a parameter that takes a member of an enumeration is refused with a list of what is allowed."""

from __future__ import annotations

import enum
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from tests.fuzz._calls import callables
from tests.fuzz._subjects import GOOD

from balancekit import ConfigurationError, LoadBalancer
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.compat import envoy, haproxy
from balancekit.config import load
from balancekit.gslb import AllUp, GeoMap
from balancekit.ha import Advert
from balancekit.health import Lifecycle
from balancekit.outcome import Completion
from balancekit.sim import VrrpDo, VrrpEvent

OTHERS: Final[dict[str, Any]] = {
    **GOOD, "ids": ["a"], "children": [("a", AllUp(["a"]))], "sites": {"eu": AllUp(["a"])}, "primary": "a", "backup": "b", "weights": {"a": 1},
    "at": 0.0, "path": "x", "groups": {"g": {"a": 1}}, "capacity": {"eu": 1.0}, "endpoints": {"a": 1}, "geo_map": GeoMap.build(networks={}, default=["eu"]), "vrid": 5, "source": "192.0.2.2",
    "addresses": ("192.0.2.1",), "destination": "224.0.0.18", "demand": {"eu": 1.0}.__getitem__,
    "advert": Advert(version=3, vrid=5, priority=100, interval=1.0, addresses=("192.0.2.1",)),
}  # fmt: skip
"""What is given for the other parameters, by name; None where the name is not listed."""
RESULTS: Final = (
    "discovery.DiscoveryStats",
    "discovery.SourceChanged",
    "ha.Became",
    "health.shown",
    "l4.proxy_protocol.ProxyHeader",
)
"""What the library makes of its own values, or calls with them."""


def enumerations(one: Any, annotation: str) -> list[type[enum.Enum]]:
    """Return the enumerations that an annotation names."""
    names: dict[str, Any] = {}
    for base in reversed(getattr(one, "__mro__", (one,))):
        names |= vars(sys.modules[base.__module__])
    found = [names.get(name) for name in re.findall(r"\w+", annotation)]
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, enum.Enum)]


def cases() -> Iterator[tuple[Any, str, list[type[enum.Enum]]]]:
    """Yield each public callable that users call with each parameter that takes a member of an enumeration."""
    for name, one in callables():
        if (
            (inspect.isclass(one) and issubclass(one, tuple))
            or inspect.isbuiltin(one)
            or name.removeprefix("balancekit.") in RESULTS
        ):
            continue
        for parameter in inspect.signature(one).parameters.values():
            if kinds := enumerations(one, str(parameter.annotation)):
                yield pytest.param(one, parameter.name, kinds, id=f"{name}-{parameter.name}")


@pytest.mark.parametrize(
    "wrong", ["nope", "", 7, object()], ids=["a word", "an empty text", "a number", "an object"]
)
@pytest.mark.parametrize(("one", "name", "kinds"), [*cases()])
def test_every_public_callable_lists_the_members(
    one: Any, name: str, kinds: list[type[enum.Enum]], wrong: object
) -> None:
    """The error names the parameter and lists each member that is allowed, as it is to be written."""
    positional, named = [], {}
    for parameter in inspect.signature(one).parameters.values():
        if parameter.name == name:
            given = wrong
        elif parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
            continue
        else:
            given = OTHERS.get(parameter.name)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(given)
        else:
            named[parameter.name] = given
    with pytest.raises(ConfigurationError) as caught:
        one(*positional, **named)
    assert caught.value.parameter == name
    for kind in kinds:
        allowed = [member for member in kind if one is not Lifecycle or member.value in STARTS]
        for member in allowed:
            assert re.search(rf"\b{member.value}\b|\b{member.name}\b", str(caught.value)), caught.value


STARTS: Final = ("unknown", "probing", "warming", "healthy")
"""States of health that an endpoint may begin in."""


METHODS: Final[dict[str, Callable[[], object]]] = {
    "outcome": lambda: LoadBalancer(["a"]).acquire().release("success"),
    "completion": lambda: Completion("success", started_at=0.0, ended_at=1.0),
    "health of a host": lambda: envoy.Cluster([envoy.Host("a", address="10.0.0.1:80")], envoy.RoundRobin).set_health("a", "healthy!", now=0.0),
    "state of a server": lambda: haproxy.Backend([haproxy.Server("a")]).set_state("a", "nope"),
    "start in a file": lambda: load({"endpoints": ["a"], "balancer": {"health": {"start": "draining"}}}),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_methods_list_the_members(name: str) -> None:
    """Methods that take a member list all of them, and a configuration file the names that it may have."""
    with pytest.raises(ConfigurationError) as caught:
        METHODS[name]()
    allowed = {
        "outcome": ("Outcome.SUCCESS", "Outcome.IGNORED"),
        "completion": ("Outcome.SUCCESS", "Outcome.CANCELLED"),
        "health of a host": ("Health.HEALTHY", "Health.UNHEALTHY"),
        "state of a server": ("ready", "drain", "maint"),
        "start in a file": STARTS,
    }[name]
    for word in allowed:
        assert word in caught.value.allowed
    assert "removed" not in caught.value.allowed


def test_events_of_simulated_routers_take_a_name() -> None:
    """An event of a simulated network takes a member or its name, and lists the names."""
    assert VrrpEvent(at=0.0, do="stop") == VrrpEvent(at=0.0, do=VrrpDo.STOP)
    with pytest.raises(
        ConfigurationError, match=r"^do='nope' is not allowed: expected a member of VrrpDo: '"
    ):
        VrrpEvent(at=0.0, do="nope")


class Side(enum.StrEnum):
    """A member is a text."""

    LEFT = "left"


class Colour(enum.Enum):
    """A member is no text."""

    RED = "red"


def test_a_name_is_taken_where_members_are_texts() -> None:
    """A text is converted where members are texts, and refused where they are not, as is any other value."""
    assert valid.member("side", "left", Side) is Side.LEFT
    assert valid.member("colour", Colour.RED, Colour) is Colour.RED
    for value, kind, allowed in (("red", Colour, "Colour.RED"), (["left"], Side, "'left'"), ("right", Side, "'left'")):  # fmt: skip
        with pytest.raises(ConfigurationError, match=f"a member of {kind.__name__}: {re.escape(allowed)}$"):
            valid.member("x", value, kind)


def test_an_annotation_is_told_by_its_members() -> None:
    """A foreign error about a wrong value says what the enumerations of its annotation allow."""

    @checked_arguments
    def call(colour: Colour | None, side: Side | str = "left") -> str:
        return colour.value + side.upper()

    with pytest.raises(ConfigurationError) as caught:
        call("red")
    assert caught.value.allowed == "a member of Colour: Colour.RED | None"
    with pytest.raises(ConfigurationError) as caught:
        call(Colour.RED, 5)
    assert caught.value.allowed == "a member of Side: 'left' | str"
