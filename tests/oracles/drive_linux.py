"""Answers of ``balancekit.compat.linux`` to a trace of Linux next-hop groups.

:func:`candidates` takes a trace without its outputs and yields the one answer that the rules allow. Every group is
declared in the words of ``ip nexthop``. Of an ECMP flow only the region of its hash is known: the answer lists the
next hops that some hash of the region has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from balancekit.compat import linux
from balancekit.l4 import Ecmp, ResilientGroup

__all__ = ["candidates"]

Json = Mapping[str, Any]

REGIONS = 64
REGION_SIZE = 2**31 // REGIONS


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    if trace["kind"] == "ecmp":
        inputs = trace["inputs"]
        yield {"outputs": [_by_region(members, inputs["region"]) for members in inputs["groups"]]}
    elif trace["kind"] == "resilient":
        yield {"outputs": list(_tables(trace["inputs"]["steps"]))}
    else:
        raise ValueError(f"a kind we do not have: {trace['kind']}")


def _by_region(members: list[list[int]], regions: list[int]) -> list[list[int]]:
    group = linux.nexthop_group(f"group {_members(members)}")
    assert isinstance(group, Ecmp)
    ids = [id for id, _ in members]
    found = []
    for region in regions:
        first, last = (
            int(group.pick(hash)) for hash in (region * REGION_SIZE, (region + 1) * REGION_SIZE - 1)
        )
        found.append(ids[ids.index(first) : ids.index(last) + 1])
    return found


def _tables(steps: list[Json]) -> Iterator[list[int]]:
    group: ResilientGroup | None = None
    now = 0.0
    for step in steps:
        if step["op"] == "create":
            timers = f"idle_timer {step['idle']} unbalanced_timer {step['unbalanced']}"
            made = linux.nexthop_group(
                f"group {_members(step['members'])} type resilient buckets {step['buckets']} {timers}"
            )
            assert isinstance(made, ResilientGroup)
            group = made
        assert group is not None
        match step["op"]:
            case "create":
                pass
            case "at":
                now = float(step["t"])
                group.advance(now)
            case "use":
                for bucket in step["buckets"]:
                    group.pick(bucket, now)
                continue
            case "replace":
                members = {str(id): weight for id, weight in step["members"]}
                group.replace(
                    members, now, idle_timer=step.get("idle"), unbalanced_timer=step.get("unbalanced")
                )
            case _:
                raise ValueError(f"a step we do not have: {step}")
        yield [int(id) for id in group.table]


def _members(members: list[list[int]]) -> str:
    return "/".join(f"{id},{weight}" for id, weight in members)
