"""Answers of ``balancekit.compat.katran`` to vectors of Katran's rings.

:func:`candidates` takes a trace without its outputs and yields the one answer that the rules allow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from balancekit.compat import katran

__all__ = ["candidates", "table_facts"]

Json = Mapping[str, Any]

SHOWN = 24
COUNTED = 16


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    yield {"outputs": [_facts(ring) for ring in trace["inputs"]["rings"]]}


def _facts(ring: Json) -> Json:
    reals = [
        katran.Real(hash=hash, weight=weight)
        for hash, weight in zip(ring["hash"], ring["weight"], strict=True)
    ]
    table = katran.Ring(reals, size=ring["size"], version=ring["function"]).table
    return {
        **table_facts(table),
        "counts": [table.count(position) for position in range(len(reals))][:COUNTED],
    }


def table_facts(table: Sequence[int]) -> dict[str, Any]:
    """Return what a vector says of a table: the checksum of all entries, and the first few."""
    checksum = zlib.crc32(struct.pack(f">{len(table)}H", *table))
    return {"crc32_of_big_endian_u16": f"{checksum:08x}", "first": list(table[:SHOWN])}
