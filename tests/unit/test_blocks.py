"""Blocks of the wrong kind: `with` for a runner of a loop, `async with` for one of a thread."""

from __future__ import annotations

import importlib

import pytest

TWINS = [
    ("checks", "ThreadChecks", "AsyncChecks"),
    ("checks", "ThreadProbes", "AsyncProbes"),
    ("checks", "ThreadScrapes", "AsyncScrapes"),
    ("discovery", "ThreadDiscovery", "AsyncDiscovery"),
    ("sharing", "RedisStore", "AsyncRedisStore"),
    ("adapters.vrrp", "VrrpThread", "AsyncVrrp"),
    ("adapters.httpx2", "BalancedTransport", "AsyncBalancedTransport"),
    ("adapters.httpx", "BalancedTransport", "AsyncBalancedTransport"),
    ("adapters.routed_httpx2", "RoutedTransport", "AsyncRoutedTransport"),
    ("adapters.routed_httpx", "RoutedTransport", "AsyncRoutedTransport"),
]
"""Modules, classes for `with`, and classes for `async with`."""


@pytest.mark.parametrize(
    ("module", "blocking", "other"), TWINS, ids=[f"{module}.{one}" for module, one, _ in TWINS]
)
def test_the_wrong_block_names_the_right_class(module, blocking, other):
    """A block of the wrong kind raises AttributeError with the class to use, before anything starts."""
    found = importlib.import_module(f"balancekit.{module}")
    for name, twin, method in ((blocking, other, "__aenter__"), (other, blocking, "__enter__")):
        one = object.__new__(getattr(found, name))
        with pytest.raises(AttributeError, match=rf"\b{twin}\b"):
            getattr(one, method)


def test_every_class_of_a_loop_is_in_the_table():
    """Every public class with an asynchronous block and a name that begins with Async is one of these."""
    known = {(module, other) for module, _, other in TWINS}
    for module in ("checks", "discovery", "sharing", "adapters.vrrp", *{row[0] for row in TWINS}):
        found = importlib.import_module(f"balancekit.{module}")
        for name in found.__all__:
            if name.startswith("Async") and hasattr(getattr(found, name), "__aenter__"):
                assert (module, name) in known
