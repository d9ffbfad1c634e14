"""The cost of decisions about connections, in empty method calls, and the memory of a flow table.

    uv run python -m benchmarks.l4 [--check] [--json FILE] [--save]
    uv run python -m benchmarks.l4 --flows 8000000     the memory of so many flows

A *hit* is a packet of a pinned flow. The clock advances by 10 µs per packet. A *new* flow is not in the table, and the table
is full, so it drops generations. There are separate rows for packing keys and for hashing them by a Maglev table. The row
"with its hash" is the whole cost of a first packet except the packing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks._harness import Group, add_save, machine, save

from balancekit.hashing import MaglevTable
from balancekit.l4 import Ecmp, FlowMatch, FlowRoutes, FlowTable, ResilientGroup, flow_key
from balancekit.l4 import client_hello as hello
from balancekit.l4 import proxy_protocol as proxy

OWNERS: Final = 20
PACKET_S: Final = 1e-5
BOUNDS: Final = {"flow hit": 15.0, "flow new": 40.0, "flow new, guarded": 40.0}
"""The largest accepted cost, in empty method calls, without the cost of the key and the time."""
WITH_HASH: Final = "flow new, with its hash"
BYTES_A_FLOW: Final = (1 << 30) / 8e6
"""The largest accepted memory of a flow, in bytes: a gibibyte for eight million flows."""


def flows(count: int, seed: int) -> list[bytes]:
    """Return packed five-tuples."""
    rng = random.Random(seed)
    return [rng.randbytes(12) + b"\x06" for _ in range(count)]


def cycle(keys: list[bytes]) -> Callable[[], bytes]:
    """Return a function that returns one key after the other, and starts again after the last."""
    return itertools.cycle(keys).__next__


def clock() -> Callable[[], float]:
    """Return a clock that advances by ``PACKET_S`` with every call."""
    return (PACKET_S * tick for tick in itertools.count()).__next__


def measure(rounds: int) -> tuple[dict[str, float], bool]:
    """Return the cost of each decision without keys and times, and whether the machine was too busy for the check."""
    group = Group(rounds=rounds)
    ids = [f"10.0.0.{number}:80" for number in range(OWNERS)]
    alive, owner = frozenset(ids), MaglevTable(ids).lookup
    known, fresh = flows(20_000, 1), flows(400_000, 2)
    group.add("key and time", "k(), n()", k=cycle(known), n=clock())
    for label, keys, chooser, limit in (
        ("flow hit", known, owner, None),
        ("flow new", fresh, lambda _: ids[0], None),
        ("flow new, guarded", fresh, lambda _: ids[0], 10**9),
        (WITH_HASH, fresh, owner, None),
    ):
        table = FlowTable(capacity=100_000, new_per_second=limit)
        for flow in keys:
            table.steer(flow, now=0.0, owner=chooser, alive=alive)
        group.add(
            label,
            "s(k(), now=n(), owner=o, alive=a)",
            s=table.steer,
            k=cycle(keys),
            n=clock(),
            o=chooser,
            a=alive,
        )
    packed = b"\xc0\x00\x02\x01", b"\xc6\x33\x64\x02"
    group.add("flow key, packed addresses", "f(a, 1, b, 2)", f=flow_key, a=packed[0], b=packed[1])
    group.add("flow key, text", "f(a, 1, b, 2)", f=flow_key, a="192.0.2.1", b="198.51.100.2")
    group.add("ECMP, 16 next hops", "p(12345)", p=Ecmp([str(n) for n in range(16)]).pick)
    buckets = ResilientGroup([str(n) for n in range(16)], buckets=1024)
    group.add("resilient group", "p(12345, 1.0)", p=buckets.pick)
    v1, v2 = (proxy.build(("192.0.2.1", 1), ("198.51.100.2", 2), version=version) for version in (1, 2))
    group.add("PROXY v1", "p(d)", p=proxy.parse, d=v1)
    group.add("PROXY v2", "p(d)", p=proxy.parse, d=v2)
    data = bytes.fromhex("1603010031010000 2d0303" + "00" * 32 + "0000021301010000 02 0000".replace(" ", ""))
    group.add("ClientHello, smallest", "p(d)", p=hello.peek, d=data)
    names = FlowRoutes([(FlowMatch(server_names=[f"s{n}.shop.test"]), n) for n in range(10_000)])
    shop = hello.ClientHello(sni="s77.shop.test", alpn=(), versions=())
    ends = ("192.0.2.1", 1), ("198.51.100.2", 2)
    group.add("routes, 10,000 names", "m(s, d, h)", m=names.match, s=ends[0], d=ends[1], h=shop)
    ratios = {label: result.ratio for label, result in group.run().items()}
    base = ratios.pop("key and time")
    costs = {
        label: ratio - base if label in {*BOUNDS, WITH_HASH} else ratio for label, ratio in ratios.items()
    }
    return costs, group.busy


def bytes_a_flow(count: int) -> float:
    """Return the bytes of a flow with its key, in a table that is filled to its capacity."""
    ids = [f"10.0.0.{number}:80" for number in range(OWNERS)]
    alive = frozenset(ids)
    rng = random.Random(3)
    table = FlowTable(capacity=count)
    tracemalloc.start()
    for flow in _fresh(rng, count):
        table.steer(flow, now=0.0, owner=lambda key: ids[key[0] % OWNERS], alive=alive)
    used, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == count
    print(
        f"{count:,} flows: {used / count:.0f} bytes each, {used / (1 << 20):.0f} MiB, peak {peak / (1 << 20):.0f} MiB"
    )
    return peak / count


def _fresh(rng: random.Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield rng.randbytes(12) + b"\x06"


def main() -> int:
    """Print the table. With ``--check``, fail if a figure is over its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.l4", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--flows", type=int, default=400_000, help="flows whose memory is measured")
    parser.add_argument("--json", metavar="FILE")
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    ratios, busy = measure(options.rounds)
    for label, ratio in ratios.items():
        bound = f"  (at most {BOUNDS[label]:g})" if label in BOUNDS else ""
        print(f"{label:28} {ratio:7.1f}{bound}")
    each = bytes_a_flow(options.flows)
    if options.json:
        Path(options.json).write_text(json.dumps(ratios | {"bytes a flow": each}, indent=1), encoding="utf-8")
    save("l4", ratios | {"bytes a flow": each}, options.save)
    over = [
        f"{label}: {ratios[label]:.1f} > {bound:g}"
        for label, bound in BOUNDS.items()
        if ratios[label] > bound
    ]
    if each > BYTES_A_FLOW:
        over.append(f"bytes a flow: {each:.0f} > {BYTES_A_FLOW:.0f}")
    for line in over:
        print("over its bound:", line)
    if busy:
        print("machine busy: not judged")
    return int(options.check and bool(over) and not busy)


if __name__ == "__main__":
    sys.exit(main())
