"""The guard around hooks of the user."""

from __future__ import annotations

import pytest

from balancekit.engine.guard import Guard
from balancekit.engine.locks import EngineLocks


def boom(*_: object, **__: object) -> list[object]:
    """Raise."""
    raise ValueError("boom")


@pytest.mark.parametrize("name", ["writer", "serial", "listeners"])
def test_no_hook_is_called_under_a_lock_in_a_balancer_for_debugging(name: str) -> None:
    """Calling a hook, for a value or for events, while this thread holds an engine lock raises, naming the lock."""
    locks = EngineLocks()
    guard, careless = Guard(locks, debug=True), Guard(locks, debug=False)
    with getattr(locks, name):
        assert locks.held() == (name,)
        for ask in (
            lambda: guard.call("load", lambda: 1, default=0),
            lambda: guard.events("health policy", lambda *, now: [], now=1.0),
            guard.check,
        ):
            with pytest.raises(AssertionError, match=f"under {name}"):
                ask()
        assert careless.call("load", lambda: 1, default=0) == 1
    assert locks.held() == ()
    assert guard.call("load", lambda: 1, default=0) == 1


def test_a_hook_that_raises_is_logged_and_answered_by_the_default(caplog: pytest.LogCaptureFixture) -> None:
    """``call`` returns its default and ``tell`` no events; the log names what failed."""
    guard = Guard(EngineLocks(), debug=True)
    assert guard.call("load", boom, default=7) == 7
    assert guard.events("health policy", boom, now=1.0) == []
    assert "load" in caplog.text
    assert "health policy" in caplog.text
