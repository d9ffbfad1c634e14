"""Signatures that users see: every public class, function and method shows its real parameters at run time."""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import balancekit

VARIABLE = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
NAMELESS = {"args", "arguments", "fields", "kwargs", "more", "named", "options", "values"}
"""Names of collecting parameters that tell nothing; ``*addresses: str`` does tell."""


def public_modules() -> list[str]:
    """Return the names of the public modules."""
    names = [found.name for found in pkgutil.walk_packages(balancekit.__path__, "balancekit.")]
    return [
        name
        for name in names
        if not {"engine", "cli", "__main__"} & set(name.split(".")) and "._" not in name
    ]


def callables(module: str) -> Iterator[tuple[str, Any]]:
    """Yield what users call: functions, classes that they construct, and methods."""
    package = importlib.import_module(module)
    for name in getattr(package, "__all__", ()):
        value = getattr(package, name)
        if inspect.isfunction(value):
            yield name, value
        if not inspect.isclass(value) or typing.is_typeddict(value) or getattr(value, "_is_protocol", False):
            continue
        own_init = "__init__" in vars(value)
        if not issubclass(value, enum.Enum) and (own_init or not issubclass(value, BaseException)):
            yield name, value
        for method, function in vars(value).items():
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{method}", function


PASSED_ON = {
    ("balancekit.adapters.requests", "BalancedResponse.iter_content"),
    ("balancekit.adapters.requests", "BalancedResponse.iter_lines"),
}
"""Methods that overrule those of a client and hand on whatever these take."""


@pytest.mark.parametrize("module", public_modules())
def test_parameters_have_names(module):
    """No public callable has **values, **options or *args in its signature, only collecting parameters that say what they take."""
    wrong = []
    for name, value in callables(module):
        if (module, name) in PASSED_ON:
            continue
        parameters = inspect.signature(value).parameters.values()
        wrong += [
            f"{name}: {parameter}"
            for parameter in parameters
            if parameter.kind in VARIABLE and parameter.name in NAMELESS
        ]
    assert wrong == []


def test_options_of_adapters_are_spelled_out():
    """An adapter shows the options that it shares with the others, with their types."""
    from balancekit.adapters.requests import BalancedAdapter

    parameters = inspect.signature(BalancedAdapter).parameters
    assert {"attempts", "budget", "key", "service", "pool_maxsize"} <= set(parameters)
    assert parameters["attempts"].annotation == "int"
