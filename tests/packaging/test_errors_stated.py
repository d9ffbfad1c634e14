"""Docstrings of what users construct and call name the errors of wrong arguments."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.packaging.test_signatures import public_modules

REFUSAL = re.compile(
    r"\bvalid\.[a-z]+\(|\braise ConfigurationError\(|\b(plain_function|check_window|require_\w+)\("
)
"""What a constructor or function does that refuses an argument."""
SECTION = re.compile(r"^Raises\n-{6}$", re.MULTILINE)
CHECKS = ("__init__", "__new__", "_check")
"""Where a class looks at the arguments of its constructor."""


def refusing(module: str) -> Iterator[tuple[str, Any]]:
    """Yield the public classes and functions of a module that look at their arguments, by name."""
    package = importlib.import_module(module)
    for name in getattr(package, "__all__", ()):
        value = getattr(package, name)
        parts: list[Callable[..., Any]] = []
        if inspect.isclass(value):
            own = [vars(value)[check] for check in CHECKS if check in vars(value)]
            parts = [inspect.unwrap(part) for part in own if inspect.isfunction(part)]
        elif inspect.isfunction(value):
            parts = [inspect.unwrap(value)]
        ours = [part for part in parts if part.__module__.startswith("balancekit")]
        if any(REFUSAL.search(inspect.getsource(part)) for part in ours):
            yield name, value


@pytest.mark.parametrize("module", public_modules())
def test_docstrings_name_the_errors(module):
    """A public class or function that refuses arguments has a section ``Raises`` in its docstring."""
    silent = [name for name, value in refusing(module) if not SECTION.search(inspect.getdoc(value) or "")]
    assert not silent


def test_what_refuses_is_seen():
    """The test sees a class that checks its fields, one that checks in ``__init__``, and a decorated function."""
    assert {"Ejection", "WarmUp"} <= {name for name, _ in refusing("balancekit.health")}
    assert "MaxInFlight" in {name for name, _ in refusing("balancekit.routing")}
    assert "erlang_c" in {name for name, _ in refusing("balancekit.capacity")}
