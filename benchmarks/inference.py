"""Picks by prefix affinity: cost against hashing the prompt, growth with the endpoints, memory of the table.

    uv run python -m benchmarks.inference            the table
    uv run python -m benchmarks.inference --check    fail if a bound does not hold

Prompts have 25,600 bytes, that is 100 blocks. The measure is a loop that chains seeded MurmurHash3 over the blocks of the same
prompts. A pick is ``acquire`` and release. Minima of CPU time, all subjects by turns in one process.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from itertools import cycle
from random import Random

import mmh3
from benchmarks._harness import add_save, save

from balancekit import LoadBalancer
from balancekit.inference import PrefixAffinity, PrefixTable, prompt_blocks

BLOCK = 256
PROMPT = 25_600
ROUNDS = 100
REPEATS = 8
"""As many as the table gives places to at once; together fewer than there are prompts of a kind."""
MAX_PICK = 1.5
"""Times hashing."""
MAX_GROWTH = 1.25
"""64 endpoints against 8."""
MAX_BYTES = 16.0


def chained(prompt: bytes) -> int:
    """Hash the blocks of a prompt, each seeded with the one before."""
    number = 0
    for at in range(0, len(prompt), BLOCK):
        number = mmh3.mmh3_x64_128_uintdigest(prompt[at : at + BLOCK], number & 0xFFFF_FFFF)
    return number


def picks(endpoints: int, prompts: list[bytes]) -> Callable[[], object]:
    """Return a call that sends the next prompt."""
    names = [f"e{number}" for number in range(endpoints)]
    lb, turns = LoadBalancer(names, selector=PrefixAffinity(), rng=Random(1)), cycle(prompts)

    def pick() -> None:
        with lb.acquire(next(turns)):
            pass

    return pick


def measure() -> dict[str, float]:
    """Return the figures."""
    common = os.urandom(PROMPT // 5)
    kinds = {
        "one more attempt": [os.urandom(PROMPT)],
        "new": [os.urandom(PROMPT) for _ in range(ROUNDS * REPEATS)],
        "with a common beginning": [
            common + os.urandom(PROMPT - len(common)) for _ in range(ROUNDS * REPEATS)
        ],
    }
    hashed, numbered = cycle(kinds["new"]), cycle(kinds["new"])
    subjects: dict[str, Callable[[], object]] = {
        "hashing": lambda: chained(next(hashed)),
        "numbers of blocks": lambda: prompt_blocks(next(numbered), BLOCK),
    }
    for endpoints in (8, 64):
        for kind, prompts in kinds.items():
            subjects[f"{endpoints} endpoints, {kind}"] = picks(endpoints, prompts)
    best = dict.fromkeys(subjects, float("inf"))
    for _ in range(ROUNDS):
        for name, call in subjects.items():
            begun = time.perf_counter()
            for _ in range(REPEATS):
                call()
            best[name] = min(best[name], (time.perf_counter() - begun) / REPEATS)
    figures = {name: took / best["hashing"] for name, took in best.items() if name != "hashing"}
    table = PrefixTable(31_250)
    table.resize([str(number) for number in range(8)])
    figures["bytes a block and endpoint"] = table.nbytes / (31_250 * 8)
    return figures


def main() -> None:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    add_save(parser)
    options = parser.parse_args()
    figures = measure()
    for name, figure in figures.items():
        print(f"{name:42} {figure:6.2f}")
    save("inference", figures, options.save)
    if options.check:
        for kind in ("one more attempt", "new", "with a common beginning"):
            few, many = figures[f"8 endpoints, {kind}"], figures[f"64 endpoints, {kind}"]
            assert few <= MAX_PICK, f"a pick of {kind}: {few:.2f} times hashing"
            assert many <= MAX_GROWTH * few, f"64 endpoints, {kind}: {many / few:.2f} times 8"
        assert figures["bytes a block and endpoint"] <= MAX_BYTES


if __name__ == "__main__":
    main()
