"""Driver of ``balancekit.compat.sglang``, ``smg`` and ``dynamo`` for traces of prompts.

Where a router picks at random among several servers, what comes later depends on its pick. So the judge tells this driver,
pick by pick, which one was recorded: :func:`follow` yields what is admissible, and is sent the pick.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from balancekit.compat import dynamo, sglang, smg

__all__ = ["follow"]

Json = Mapping[str, Any]

TOKENS_OF_A_PREFIX = 1 << 20
DYNAMO_OPTIONS = (
    "block_size",
    "overlap_score_credit",
    "prefill_load_scale",
    "decode_active_request_weight",
    "assume_kv_reuse",
)
DYNAMO_OFF = ("router_temperature", "use_kv_events")
"""Options that must be off: 0 or false."""


def follow(trace: Json) -> Generator[Json, str]:
    """Yield for each pick which servers may be picked, with costs where they are recorded; receive the pick."""
    if trace["server"] == "dynamo":
        yield from _dynamo(trace)
    else:
        yield from _texts(trace)


def _texts(trace: Json) -> Generator[Json, str]:
    make: Any = sglang.CacheAware if trace["server"] == "sglang-router" else smg.CacheAware
    policy = make(**trace["config"]["policy"])
    open = {server["name"]: 0 for server in trace["config"]["servers"]}
    held: dict[Any, str] = {}
    for event in trace["inputs"]["events"]:
        if event["op"] == "release":
            open[held.pop(event["id"])] -= 1
            continue
        picked = yield {"admissible": sorted(policy.admissible(event["prompt"], open))}
        policy.history.add(picked, event["prompt"])
        if event["op"] == "hold":
            held[event["id"]] = picked
            open[picked] += 1


def _dynamo(trace: Json) -> Generator[Json, str]:
    policy = trace["config"]["policy"]
    unknown = [name for name in policy if name not in DYNAMO_OPTIONS + DYNAMO_OFF]
    unknown += [name for name in DYNAMO_OFF if policy.get(name)]
    if unknown:
        raise ValueError(f"options we do not have: {', '.join(unknown)}")
    options = {name: policy[name] for name in DYNAMO_OPTIONS if name in policy}
    router = dynamo.KvRouter([server["name"] for server in trace["config"]["servers"]], **options)
    fresh = 1 << 31
    for event in trace["inputs"]["events"]:
        if event["op"] == "prefill_complete":
            router.prefill_complete(event["id"])
        elif event["op"] == "release":
            router.free(event["id"])
        else:
            common, size = event["prefix_tokens"], event["tokens"]
            begin = event["prefix"] * TOKENS_OF_A_PREFIX
            tokens = [*range(begin, begin + common), *range(fresh, fresh + size - common)]
            fresh += size - common
            costs = router.costs(tokens, now=0.0)
            least = min(found.cost for found in costs.values())
            picked = yield {
                "admissible": sorted(name for name, found in costs.items() if found.cost == least),
                "cost": {name: found.cost for name, found in costs.items()},
                "overlap": {name: found.overlap for name, found in costs.items()},
            }
            router.book(event["id"], picked, tokens, now=0.0)
