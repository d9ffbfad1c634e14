"""The classes of the library that users make or receive."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator

import balancekit

HOT = {"HotFields"}
"""Bases of a node and of a load, which have no instances of their own."""


def public_classes() -> Iterator[type]:
    """Yield the classes of all public modules, without protocols and typed dictionaries, which have no instances of their own."""
    for found in pkgutil.walk_packages(balancekit.__path__, "balancekit."):
        if "._" in found.name or {"engine", "cli", "__main__"} & set(found.name.split(".")):
            continue
        module = importlib.import_module(found.name)
        for kind in filter(
            inspect.isclass, [getattr(module, name) for name in getattr(module, "__all__", ())]
        ):
            if not getattr(kind, "_is_protocol", False) and not typing.is_typeddict(kind):
                yield kind
