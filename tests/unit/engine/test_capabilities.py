"""Optional hooks: found on instances of the user, looked up once a class for those of the library."""

from __future__ import annotations

import pytest

from balancekit import Endpoint
from balancekit.engine.capabilities import is_shipped, supports
from balancekit.loads import ExpectedDelay, InFlight
from balancekit.node import Node
from balancekit.protocols import SupportsFastSuccess, SupportsRamp


class Mine:
    """An object of the user."""


def test_an_instance_of_the_user_may_have_what_its_class_has_not() -> None:
    """Whether an object has an optional member is decided for each object, not for its class."""
    bare, able = Mine(), Mine()
    able.succeeded = lambda latency, now: None
    assert not is_shipped(bare)
    assert not supports(bare, SupportsFastSuccess)
    assert supports(able, SupportsFastSuccess)
    assert not supports(bare, SupportsFastSuccess)


def test_loads_of_the_library_have_what_their_class_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of the library has the optional members of the protocol; the answer is kept for its class."""
    timed, counted = Node(Endpoint("a"), ExpectedDelay()).load, Node(Endpoint("a"), InFlight()).load
    assert is_shipped(timed)
    for load in (timed, counted, timed, counted):
        assert supports(load, SupportsFastSuccess) == hasattr(load, "succeeded")
        assert not supports(load, SupportsRamp)
    monkeypatch.setattr(type(SupportsFastSuccess), "__instancecheck__", lambda *_: pytest.fail("asked again"))
    assert supports(timed, SupportsFastSuccess)


def test_a_property_that_raises_is_there() -> None:
    """A property that raises counts as a member that is there.

    It is called with care later, and its error is logged then.
    """

    class Broken:
        trial = 0

        @property
        def ramp(self) -> float:
            raise LookupError

    assert supports(Broken(), SupportsRamp)
