"""Hostile text and bytes for everything that is read from elsewhere: it is read, or refused by a documented error."""

from __future__ import annotations

import random
import time
from pathlib import Path

import dns.exception
import pytest

from balancekit import BalancekitError
from balancekit.checks._http import BadAnswerError

from ._readers import READERS, VALID, mutated

INPUTS = 300
SLOW_S = 1.0
DOCUMENTED: tuple[type[Exception], ...] = (BalancekitError, BadAnswerError)
ALSO: dict[str, tuple[type[Exception], ...]] = {
    "DNS address": (dns.exception.DNSException,),
    "DNS service": (dns.exception.DNSException,),
}
"""What a reader documents beside the errors of the library."""


def read_mutated(name: str, inputs: int, seed: int) -> tuple[int, float]:
    """Read mutated inputs; return how many were refused, and the CPU seconds of the slowest."""
    rng, read, refused, slowest = random.Random(f"{name} {seed}"), READERS[name], 0, 0.0
    texts: set[bool] = set()
    for _ in range(inputs):
        data = mutated(VALID[name], rng)
        began = time.thread_time()
        try:
            read(data)
        except DOCUMENTED + ALSO.get(name, ()) as error:
            texts.add(bool(str(error)))
            refused += 1
        slowest = max(slowest, time.thread_time() - began)
    assert texts <= {True}
    return refused, slowest


@pytest.mark.parametrize("name", READERS)
def test_a_valid_input_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mutation starts from an input that its reader takes."""
    monkeypatch.chdir(tmp_path)
    READERS[name](VALID[name])


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_input_is_read_or_refused_by_a_documented_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutated input is read, or refused by a documented error with a text, within a second."""
    monkeypatch.chdir(tmp_path)
    _, slowest = read_mutated(name, INPUTS, seed=1)
    assert slowest < SLOW_S


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", READERS)
def test_many_mutated_inputs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutated inputs are read or refused by a documented error, in thirty times as many cases."""
    monkeypatch.chdir(tmp_path)
    _, slowest = read_mutated(name, 30 * INPUTS, seed=2)
    assert slowest < SLOW_S
