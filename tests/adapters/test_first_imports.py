"""Modules that a first request imports. A child that is forked meanwhile would wait for their locks for ever."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SEND = """
import importlib, json, sys
from balancekit import LoadBalancer
client = importlib.import_module({client!r})
adapter = importlib.import_module("balancekit.adapters.{client}")
with client.Client(transport=adapter.BalancedTransport(LoadBalancer(["127.0.0.1:1"]))) as session:
    before = set(sys.modules)
    try:
        session.get("http://orders/")
    except client.ConnectError:
        pass
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def imported(program: str) -> set[str]:
    """Return the packages that a program prints."""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.partition(".")[0] for name in json.loads(found.stdout)}


@pytest.mark.parametrize("client", ["httpx2", "httpx"])
def test_a_first_request_imports_no_transport(client: str) -> None:
    """The modules that send a request are imported with the adapter, not by the first request of some thread."""
    assert not imported(SEND.format(client=client)) & {"httpcore2", "httpcore", "h11", "balancekit"}
