"""Picks by prefix affinity: cost relative to hashing the prompt, growth with the endpoints, memory of the table.

    uv run python -m benchmarks.inference            the table
    uv run python -m benchmarks.inference --check    fail if a bound does not hold

Prompts have 25,600 bytes, that is 100 blocks. A pick is ``acquire`` and release. Its cost is divided by that of a loop that
chains seeded MurmurHash3 over the blocks of the same prompts. Every round measures all subjects in turn, in one process, with
new prompts. Figures are minima over rounds. On a busy machine, more rounds are needed for a quiet moment of each subject.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from random import Random

import mmh3
from benchmarks._harness import add_save, save

from balancekit import LoadBalancer
from balancekit.inference import PrefixAffinity, PrefixTable, prompt_blocks

BLOCK = 256
PROMPT = 25_600
ROUNDS = 1_000
REPEATS = 16
"""Prompts per measurement. The table allocates places for as many at once, so each measurement contains its share of that."""
MAX_PICK = 1.5
"""The largest accepted cost of a pick, in costs of hashing."""
KINDS = ("one more attempt", "new", "with a common beginning")
MAX_GROWTH = 1.25
"""The largest accepted cost with 64 endpoints, relative to that with 8."""
MAX_BYTES = 16.0
"""The largest accepted memory of the table, in bytes per block and endpoint."""


def chained(prompt: bytes) -> int:
    """Return the hash of a prompt: the hash of each block is seeded with that of the block before."""
    number = 0
    for at in range(0, len(prompt), BLOCK):
        number = mmh3.mmh3_x64_128_uintdigest(prompt[at : at + BLOCK], number & 0xFFFF_FFFF)
    return number


def picks(endpoints: int) -> Callable[[bytes], object]:
    """Return a function that picks an endpoint for a prompt and releases it."""
    names = [f"e{number}" for number in range(endpoints)]
    lb = LoadBalancer(names, selector=PrefixAffinity(), rng=Random(1))

    def pick(prompt: bytes) -> None:
        with lb.acquire(prompt):
            pass

    return pick


def measure(rounds: int) -> dict[str, float]:
    """Return the figures by name."""
    common, known = os.urandom(PROMPT // 5), [os.urandom(PROMPT)] * REPEATS
    subjects: list[tuple[str, str, Callable[[bytes], object]]] = [
        ("hashing", "new", chained),
        ("numbers of blocks", "new", lambda prompt: prompt_blocks(prompt, BLOCK)),
        *((f"{n} endpoints, {kind}", kind, picks(n)) for n in (8, 64) for kind in KINDS),
    ]
    best: dict[str, float] = {}
    for _ in range(rounds):
        new = [os.urandom(PROMPT) for _ in range(REPEATS)]
        prompts = {
            "one more attempt": known,
            "new": new,
            "with a common beginning": [common + prompt[len(common) :] for prompt in new],
        }
        for name, kind, call in subjects:
            begun = time.perf_counter()
            for prompt in prompts[kind]:
                call(prompt)
            took = (time.perf_counter() - begun) / REPEATS
            best[name] = min(best.get(name, took), took)
    figures = {name: took / best["hashing"] for name, took in best.items() if name != "hashing"}
    table = PrefixTable(31_250)
    table.resize([str(number) for number in range(8)])
    figures["bytes a block and endpoint"] = table.nbytes / (31_250 * 8)
    return figures


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    add_save(parser)
    options = parser.parse_args()
    figures = measure(options.rounds)
    for name, figure in figures.items():
        print(f"{name:42} {figure:6.2f}")
    save("inference", figures, options.save)
    if options.check:
        for kind in KINDS:
            few, many = figures[f"8 endpoints, {kind}"], figures[f"64 endpoints, {kind}"]
            assert few <= MAX_PICK, f"a pick of {kind}: {few:.2f} times hashing"
            assert many <= MAX_GROWTH * few, f"64 endpoints, {kind}: {many / few:.2f} times 8"
        assert figures["bytes a block and endpoint"] <= MAX_BYTES


if __name__ == "__main__":
    main()
