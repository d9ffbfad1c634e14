"""The cost of consistent hashing, compared with other packages in the same run.

    uv run --group bench python -m benchmarks.hashing                the tables
    uv run --group bench python -m benchmarks.hashing --check        fail if a figure misses its bound
    uv run --group bench python -m benchmarks.hashing --json FILE    write the figures as JSON too
    uv run --group bench python -m benchmarks.hashing --save         store the ratios in benchmarks/results
    uv run --group bench python -m benchmarks.hashing.churn          lookups while nodes change

The cost of a lookup is given in empty method calls of the same run, without the cost of getting a key. Builds and batches are
ratios to the operation that their row names. Keys are ``str`` unless the row says otherwise.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import itertools
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
from benchmarks._harness import Group, add_save, machine, save
from benchmarks.hashing import _peers as peers

from balancekit._support.splitmix import splitmix64
from balancekit.hashing import AnchorHash, HashRing, JumpHash, MaglevTable, MultiProbeHash, RendezvousHash
from balancekit.hashing._keys import hash64

SIZES = (10, 100, 1_000, 10_000)
MILLION = 1_000_000
BOUNDS = {
    ("HashRing", 10_000): 15.0,
    **{("MaglevTable", size): 8.0 for size in SIZES},
    **{("AnchorHash", size): 11.0 for size in SIZES},
}
GROWTH = 1.6
"""The largest accepted cost of a lookup on a ring of 10,000 nodes, relative to one on a ring of 10."""
Row = tuple[str, float, str, float | None]
"""The name of a figure, its value, its unit and its bound. A bound below zero is the negative of a least value."""


def names(size: int) -> list[str]:
    """Return ``size`` addresses."""
    return [f"10.0.{k >> 8}.{k & 255}:8080" for k in range(size)]


def best(run: Callable[[], object], rounds: int = 5) -> float:
    """Return the least time of a call, in seconds."""
    spent = []
    for _ in range(rounds):
        gc.collect()
        begin = time.perf_counter()
        run()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def lookups(rounds: int) -> dict[int, dict[str, float]]:
    """Return the cost of one lookup at every size, in empty method calls."""
    keys = [f"user:{random.Random(k).getrandbits(40)}" for k in range(4_096)]
    found = {}
    for size in SIZES:
        group, ids = Group(rounds=rounds), names(size)
        group.add("key", "k()", k=itertools.cycle(keys).__next__)
        ours = {
            "HashRing": HashRing(ids).lookup,
            "MaglevTable": MaglevTable(ids).lookup,
            "AnchorHash": AnchorHash(ids).lookup,
            "JumpHash": JumpHash(ids).lookup,
            "RendezvousHash": RendezvousHash(ids).lookup,
            "MultiProbeHash": MultiProbeHash(ids).lookup,
        }
        for name, lookup in ours.items():
            group.add(name, "p(k())", p=lookup, k=itertools.cycle(keys).__next__)
        for name, (statement, values) in peers.lookups(ids).items():
            group.add(name, statement, k=itertools.cycle(keys).__next__, **values)
        results = group.run()
        supply = results["key"].ratio
        found[size] = {name: r.ratio - supply for name, r in results.items() if name[0] not in "ek"}
        print(f"measured lookups at {size}", file=sys.stderr)
    return found


def ring_growth(rounds: int) -> list[Row]:
    """Compare lookups on rings of 10 and 10,000 nodes, and the access to as many nodes without a ring.

    The parts of the ring that 4,096 keys use fit into the caches of the processor. 131,072 keys use all of the ring.
    """
    draw = random.Random(1).getrandbits
    keys = {count: [f"user:{draw(40)}" for _ in range(count)] for count in (4_096, 131_072)}
    group, rings = Group(rounds=2 * rounds), {size: HashRing(names(size)) for size in (10, 10_000)}
    for count, some in keys.items():
        group.add(f"key {count}", "k()", k=itertools.cycle(some).__next__)
        for size, ring in rings.items():
            group.add(f"ring {size} {count}", "p(k())", p=ring.lookup, k=itertools.cycle(some).__next__)
            finding = nodes_alone(ring.nodes)
            group.add(f"nodes {size} {count}", "p(k())", p=finding, k=itertools.cycle(some).__next__)
    results = group.run()

    def growth(what: str, count: int) -> float:
        supply = results[f"key {count}"].ratio
        large, small = [results[f"{what} {size} {count}"].ratio - supply for size in (10_000, 10)]
        return large / small

    circle = rings[10_000]._state.circle
    assert circle is not None
    return [
        (
            "HashRing, 10 000 over 10" + (" (machine busy: not judged)" if group.busy else ""),
            growth("ring", 4_096),
            "x",
            None if group.busy else GROWTH,
        ),
        ("the same without a ring: hash, touch a node", growth("nodes", 4_096), "x", None),
        ("the same, keys that touch all of the ring", growth("ring", 131_072), "x", None),
        ("these without a ring", growth("nodes", 131_072), "x", None),
        ("HashRing, 10 000 x 150", circle.nbytes / 1e6, "MB", None),
        *((f"cache of the processor, {name}", size / 1e6, "MB", None) for name, size in caches()),
    ]


def nodes_alone(nodes: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that does the parts of a lookup except the ring: it hashes the key and reads a node."""
    size = len(nodes)

    def find(key: str) -> str:
        place = mmh3.hash(key, 0, False) if key.__class__ is str and key.isascii() else 0
        return nodes[place * size >> 32]

    return find


def caches() -> list[tuple[str, int]]:
    """Return the name and the size in bytes of each data cache; none on systems that do not report them."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = [(index / name).read_text().strip() for name in ("level", "type", "size")]
        if kind != "Instruction" and size.endswith("K"):
            found.append((f"level {level}", int(size[:-1]) << 10))
    return found


def builds() -> list[Row]:
    """Compare builds and changes with uhashring, and the build of a Maglev table with plain Python."""
    rows: list[Row] = []
    for size in SIZES if importlib.util.find_spec("uhashring") else ():
        rows += against_uhashring(size)
    ids, size = names(1_000), 65_537
    offsets = [hash64(id) % size for id in ids]
    skips = [splitmix64(hash64(id)) % (size - 1) + 1 for id in ids]
    plain = best(lambda: peers.plain_populate(offsets, skips, size), 3)
    rows.append(
        ("plain Python Maglev, 65 537 x 1 000", plain / best(lambda: MaglevTable(ids)), "x ours", -20.0)
    )
    tracemalloc.start()
    ring = HashRing(names(1_000))
    rows.append(
        ("memory of a ring, 1 000 x 150", tracemalloc.get_traced_memory()[0] / 150_000, "bytes/point", 40.0)
    )
    tracemalloc.stop()
    assert len(ring) == 1_000
    return rows


def against_uhashring(size: int) -> list[Row]:
    """Compare with uhashring the building of a ring, and adding and removing a node."""
    make: Callable[..., Any] = importlib.import_module("uhashring").HashRing
    ids, rounds, least = names(size), 1 if size > 1_000 else 3, -50.0 if size >= 1_000 else None
    theirs, ours = make(ids, vnodes=150), HashRing(ids)

    def add() -> None:
        ours.add("new")

    def remove() -> None:
        ours.remove("new")

    def add_theirs() -> None:
        theirs.add_node("new")

    def remove_theirs() -> None:
        theirs.remove_node("new")

    build = best(lambda: make(ids, vnodes=150), rounds) / best(lambda: HashRing(ids))
    adding = changing(add_theirs, remove_theirs, rounds) / changing(add, remove, 9)
    add()
    add_theirs()
    removing = changing(remove_theirs, add_theirs, rounds) / changing(remove, add, 9)
    return [
        (f"uhashring build, {size}", build, "x ours", -5.0),
        (f"uhashring add, {size}", adding, "x ours", least),
        (f"uhashring remove, {size}", removing, "x ours", least),
    ]


def changing(change: Callable[[], object], undo: Callable[[], object], rounds: int) -> float:
    """Return the least time of a change, in seconds. The change is undone after each round."""
    spent = []
    for _ in range(rounds):
        begin = time.perf_counter()
        change()
        spent.append(time.perf_counter() - begin)
        undo()
    return min(spent)


def batches() -> list[Row]:
    """Compare a lookup of a million keys in one call with a numpy gather, and with hashing the keys."""
    numbers = np.random.default_rng(1).integers(0, 1 << 62, MILLION)
    slots, table = (numbers % 65_537).astype(np.intp), np.zeros(65_537, np.int32)
    texts = [f"user:{number}" for number in numbers.tolist()]
    ring, maglev = HashRing(names(1_000)), MaglevTable(names(1_000))
    gather = best(lambda: table[slots], 9)
    hashing = best(lambda: [mmh3.hash(text) for text in texts])
    return [
        (
            "MaglevTable.lookup_many, int64",
            best(lambda: maglev.lookup_many(numbers), 9) / gather,
            "gathers",
            3.0,
        ),
        ("HashRing.lookup_many, int64", best(lambda: ring.lookup_many(numbers), 9) / gather, "gathers", 12.0),
        ("MaglevTable.lookup_many, str", best(lambda: maglev.lookup_many(texts)) / hashing, "x hashing", 1.2),
        ("HashRing.lookup_many, str", best(lambda: ring.lookup_many(texts)) / hashing, "x hashing", 1.2),
    ]


def report(found: dict[int, dict[str, float]], rows: list[Row]) -> list[str]:
    """Print the tables. Return a line for each figure that misses its bound."""
    over = []
    print(f"{'lookup, in empty method calls':40}" + "".join(f"{size:>12}" for size in found))
    for name in found[SIZES[0]]:
        cells = [found[size].get(name) for size in found]
        print(f"{name:40}" + "".join(f"{'-' if c is None else format(c, '.1f'):>12}" for c in cells))
    for (name, size), bound in BOUNDS.items():
        if found[size][name] > bound:
            over.append(f"{name} at {size}: {found[size][name]:.1f} > {bound:g}")
    for size, costs in found.items():
        for ours, theirs in (
            ("HashRing", "uhashring"),
            ("HashRing", "cassandra TokenAwarePolicy"),
            ("RendezvousHash", "clandestined"),
        ):
            if theirs in costs:
                rows.append((f"{theirs} over {ours}, {size}", costs[theirs] / costs[ours], "x", -1.0))
        for ours, theirs in (("AnchorHash", "jump-consistent-hash"), ("HashRing", "fastring")):
            if theirs in costs:
                rows.append(
                    (f"{theirs} (compiled) over {ours}, {size}", costs[theirs] / costs[ours], "x", None)
                )
    print()
    for what, value, unit, limit in rows:
        wanted = "" if limit is None else f"at {'least' if limit < 0 else 'most'} {abs(limit):g}"
        print(f"{what:54}{value:10.2f} {unit:12}{wanted}")
        if limit is not None and (value < -limit if limit < 0 else value > limit):
            over.append(f"{what}: {value:.2f}, {wanted}")
    return over


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hashing", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its bound")
    parser.add_argument("--json", metavar="FILE")
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    found, rows = lookups(options.rounds), ring_growth(options.rounds) + builds() + batches()
    over = report(found, rows)
    if options.json:
        data = {"machine": machine(), "lookups": found, "ratios": [row[:3] for row in rows]}
        Path(options.json).write_text(json.dumps(data, indent=1), encoding="utf-8")
    figures = {f"{name}, n={size}": cost for size, costs in found.items() for name, cost in costs.items()}
    save("hashing", figures | {f"{what}, {unit}": value for what, value, unit, _ in rows}, options.save)
    for line in over:
        print("misses its bound:", line)
    return 1 if over and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
