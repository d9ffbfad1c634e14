"""Does balancekit choose as the real proxies did? Replay recorded traces through its public classes.

    uv run python tests/oracles/replay.py PATH...

takes trace files or folders of them, from anywhere, prints per server and match kind how many files and
entries are equal, and the first difference of each file that fails; exits with 1 if any does. Families that
have no driver yet are counted in lines of their own: see ``families.py``. They are no failures, but where nothing at all
was judged the status is 1 too, for a status of 0 says that something agrees. ``--strict`` fails on each of them.

Fields of a configuration that a driver does not read do not fail a file: most tell what an operator would want to know, as
names, addresses and the native text do, and one that decides shows as a difference. ``families.py`` lists those that are
known to decide and are not read.

Traces of PROXY headers and ClientHellos are judged together, server beside server: see ``agreement.py``.

Traces in which requests waited for a slot are judged twice, by the server's queue and by ours: see ``drive_waiting.py``.

A driver per server (``drive_nginx.py`` and so on) is given a *question*: configuration, inputs and the
match rule, nothing else. It does not see the trace's name nor anything recorded. Its answers are computed
first; then the judge compares, by the rule that the file states. Where much of a run is unknown, as when a timer began, a
driver is told when its last answer parted from what was recorded, so that it varies only what mattered by then:

======================================  ==================================================================
``exact``                               equal, entry by entry, statuses included where they were recorded;
                                        where the server drew one of several answers, ours is one of them
``exact where the flow's hash region``  each recorded next hop is one of those that the region allows
``exact up to the starting phase``      equal to one of the answers, one per starting point
``each pick has the fewest active``     every recorded pick, and every one of ours, is of the least busy
``statistical``                         shares within 5 standard deviations of the difference of two samples
``ordering``                            the same events in the same order, per stream, times informative
``steps exact``                         the same steps, each within the tolerance in seconds that is stated
``each pick is admissible``              each recorded pick is one of those that the rule allows after the picks before
``costs exact``                         the same, and equal costs
``shares follow the locality``          counts within 2 of the share, theirs and ours
``who is ejected exact``                the same ejections and counters, rates and thresholds to 1e-6
``allowed or not``                      the same requests allowed; one that comes with a token may get it or not
``the set of servers is exact``         per request the same set of servers
``each limit follows``                  each recorded limit follows from the one before it, by our rule, for a
                                        figure within what was rounded away; and so does each gradient
``states in order``                     per router the same VRRP states, in order, and the same set of packets
======================================  ==================================================================
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

Json = Mapping[str, Any]

QUESTION = ("server", "version", "algorithm", "kind", "match", "config", "inputs")
SERVERS = (
    "nginx",
    "haproxy",
    "envoy",
    "ipvs",
    "katran",
    "keepalived",
    "linux",
    "gdnsd",
    "powerdns",
    "knot",
    "bind",
    "unbound",
)
DRIVERS = {name: f"drive_{name}" for name in SERVERS} | {
    "nsd": "drive_bind",
    "grpc (C-core, python)": "drive_reports",
    "sglang-router": "drive_prompts",
    "smg": "drive_prompts",
    "dynamo": "drive_prompts",
}
ALGORITHMS = {
    "client-side weighted round robin (ORCA reports)": "drive_reports",
    "adaptive concurrency (gradient)": "drive_limits",
}
"""Algorithms that have a driver apart from their server's."""
WAITING = "drive_waiting"
"""The driver that replays traces with ``dequeued`` once more, with requests in our own queue."""
KINDS = {"routes": "drive_routes"}
"""Kinds that have one driver for all servers."""
DEVIATIONS = 5.0
SAME_TICK_S = {"returned": 0.05, "ejected": 0.02}
"""Seconds within which hosts return, or are ejected, at one tick of a timer."""
SLACK_S = 0.1
"""Seconds by which an event other than a pick may be seen late."""
SIDE = ("statuses", "dequeued")
"""Recorded beside the outputs in some files."""


@dataclass
class Verdict:
    """What came of one file."""

    trace: str
    server: str
    algorithm: str
    kind: str
    match: str
    equal: int
    total: int
    difference: str = ""
    no_driver: str = ""
    """The family, if no driver answers it."""

    @property
    def passed(self) -> bool:
        """Whether the file agrees by its rule."""
        return not self.difference and not self.no_driver


def question(trace: Json) -> dict[str, Any]:
    """Return what a driver may know of a trace, with whole numbers as such, and without options of servers that are null."""
    return {name: _plain(trace[name]) for name in QUESTION if name in trace}


def _plain(value: Any, within: str = "") -> Any:
    if isinstance(value, Mapping):
        return {
            name: _plain(inner, name)
            for name, inner in value.items()
            if inner is not None or within != "servers"
        }
    if isinstance(value, list):
        return [_plain(inner, within) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def replay(trace: Json) -> Verdict:
    """Ask the driver, then judge."""
    verdict = Verdict(
        trace.get("id", "?"), trace["server"], trace["algorithm"], trace["kind"], trace["match"], 0, 0
    )
    module = KINDS.get(trace["kind"]) or ALGORITHMS.get(trace["algorithm"])
    try:
        if module is None:
            verdict.no_driver = import_module("families").family_without_driver(trace, DRIVERS)
            if verdict.no_driver:
                return verdict
        driver = import_module(module or DRIVERS[trace["server"]])
        if trace["match"].startswith(("each pick is admissible", "costs exact")):
            admissible(trace, driver.follow(question(trace)), verdict)
        else:
            judge(trace, driver.candidates(question(trace)), verdict)
        if not verdict.total and not verdict.difference:
            verdict.difference = "nothing recorded that the rule compares"
    except Exception as error:
        verdict.difference = f"{type(error).__name__}: {error}"
    return verdict


def replay_queue(trace: Json) -> Verdict:
    """Judge our waiting queue by a trace in which requests waited."""
    verdict = Verdict(
        trace.get("id", "?"), trace["server"], "WaitingQueue", trace["kind"], trace["match"], 0, 0
    )
    try:
        judge(trace, import_module(WAITING).candidates(question(trace)), verdict)
    except Exception as error:
        verdict.difference = f"{type(error).__name__}: {error}"
    return verdict


def agree(traces: list[Json]) -> Verdict:
    """Judge our parser by the cases on which the servers of a group agree."""
    agreement = import_module("agreement")
    first = traces[0]
    verdict = Verdict(
        agreement.group_of(first), "together", "strict parser", first["kind"], "where servers agree", 0, 0
    )
    try:
        for case, difference in agreement.differences(traces):
            verdict.total += 1
            verdict.equal += not difference
            verdict.difference = verdict.difference or (difference and f"{case}: {difference}")
    except Exception as error:
        verdict.difference = f"{type(error).__name__}: {error}"
    return verdict


def judge(trace: Json, answers: Iterator[Json], verdict: Verdict) -> None:
    """Compare answers with what was recorded, by the rule of the file."""
    rule = trace["match"]
    if trace["kind"] == "subsets":
        best(trace, answers, verdict, same_sets)
    elif rule.startswith("exact where the flow's hash region"):
        best(trace, answers, verdict, allowed)
    elif rule.startswith("exact"):
        best(trace, answers, verdict, exactly)
    elif rule.startswith("each pick has the fewest active"):
        fewest(trace, next(answers), verdict)
    elif rule.startswith("statistical"):
        statistically(trace["outputs"], next(answers)["outputs"], verdict)
    elif rule.startswith("ordering"):
        best(trace, answers, verdict, in_order)
    elif rule.startswith("steps exact"):
        steps(trace, next(answers), verdict)
    elif rule.startswith("the last weights exact"):
        best(trace, answers, verdict, last_weights)
    elif rule.startswith("shares follow the locality weights"):
        best(trace, answers, verdict, near)
    elif rule.startswith("who is ejected exact"):
        best(trace, answers, verdict, shown)
    elif rule.startswith("allowed or not"):
        best(trace, answers, verdict, admitted)
    elif rule.startswith("shares within 3 picks"):
        best(trace, answers, verdict, near)
    elif rule.startswith("each limit follows"):
        limits_follow(trace, next(answers), verdict)
    elif rule.startswith("states in order"):
        best(trace, answers, verdict, elections)
    else:
        raise ValueError(f"a match rule we do not have: {rule}")


def admissible(trace: Json, answers: Generator[Json, str], verdict: Verdict) -> None:
    """Check that each recorded pick is one of those that ours allows, given the recorded picks before it."""
    verdict.total = len(trace["outputs"])
    ours = next(answers)
    for place, output in enumerate(trace["outputs"]):
        recorded = output if isinstance(output, Mapping) else {"picked": output}
        facts = {name: value for name, value in ours.items() if name != "admissible"}
        if recorded["picked"] in ours["admissible"] and recorded == {"picked": recorded["picked"], **facts}:
            verdict.equal += 1
        elif not verdict.difference:
            verdict.difference = f"outputs[{place}]: recorded {output!r}, ours {ours!r}"
        try:
            ours = answers.send(recorded["picked"])
        except StopIteration:
            if place + 1 < verdict.total:
                verdict.difference = verdict.difference or f"no answer after outputs[{place}]"
            return
    verdict.difference = verdict.difference or "more answers than outputs"


def best(trace: Json, answers: Iterator[Json], verdict: Verdict, compare: Any) -> None:
    """Take the answer that agrees, or else the one that agrees longest."""
    verdict.difference = "no answer"
    for answer in answers:
        equal, total, difference = compare(trace, answer)
        if not verdict.total or not difference or equal > verdict.equal:
            verdict.equal, verdict.total, verdict.difference = equal, total, difference
        if not difference:
            return
        if "tell" in answer:
            answer["tell"](parted(trace["outputs"], answer["outputs"]))


def exactly(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare entry by entry."""
    equal = total = 0
    difference = ""
    for name in ("outputs", *SIDE):
        if name not in trace:
            continue
        if name not in answer:
            raise ValueError(f"the driver says nothing of the recorded {name}")
        recorded, ours = trace[name], answer[name]
        if isinstance(recorded, Mapping):
            recorded, ours = sorted(recorded.items()), sorted(ours.items())
        total += max(len(recorded), len(ours))
        for place, (theirs, mine) in enumerate(zip_longest(recorded, ours)):
            if same(theirs, mine):
                equal += 1
            elif not difference:
                difference = f"{name}[{place}]: recorded {theirs!r}, ours {mine!r}"
    return equal, total, difference


def limits_follow(trace: Json, rule: Json, verdict: Verdict) -> None:
    """Check each change of a limit, and each gradient, against the rule.

    Gradients were recorded in thousandths and latencies in milliseconds, both cut off. While the least latency is measured the
    limit is the first, and then what it was.
    """
    limit, held = rule["first"], rule["first"]
    measured = False
    for entry in trace["outputs"]:
        if "concurrency_limit" not in entry:
            continue
        found, thousandths = entry["concurrency_limit"], entry["gradient"]
        measuring = bool(entry["min_rtt_calculation_active"])
        if measuring or measured or not thousandths:
            low = high = rule["first"] if measuring or not thousandths else held
            if measuring and not measured:
                held = limit
            elif measured and not measuring and found != held:
                low, high = _between(rule, held, thousandths)
        else:
            low, high = _between(rule, limit, thousandths)
        verdict.total += 1
        problem = "" if low <= found <= high else f"limit {found} after {limit}, ours {low} to {high}"
        if thousandths and entry["sample_rtt_msecs"] and not measuring and not measured:
            problem = problem or _wrong_gradient(rule, entry)
        verdict.equal += not problem
        verdict.difference = verdict.difference or (problem and f"t={entry['t']}: {problem}")
        limit, measured = found, measuring


def _between(rule: Json, limit: int, thousandths: int) -> tuple[int, int]:
    ends = (thousandths / 1000.0, (thousandths + 1) / 1000.0 - 1e-9)
    low, high = (rule["limit"](limit, gradient) for gradient in ends)
    return low, high


def _wrong_gradient(rule: Json, entry: Json) -> str:
    """Return what is wrong with a gradient, given the latencies beside it."""
    least, sample = entry["min_rtt_msecs"], entry["sample_rtt_msecs"]
    low = rule["gradient"](least / 1000.0, (sample + 1) / 1000.0)
    high = rule["gradient"]((least + 1) / 1000.0, sample / 1000.0)
    found = entry["gradient"]
    return (
        "" if int(1000 * low) <= found <= 1000 * high else f"gradient {found}, ours {low:.3f} to {high:.3f}"
    )


def allowed(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Check that each recorded next hop is among those that ours names for the flow, group by group.

    Only flows with a single possible next hop are counted: a region that a bound cuts may go either way.
    """
    equal = total = 0
    difference = ""
    for group, (recorded, ours) in enumerate(zip(trace["outputs"], answer["outputs"], strict=True)):
        for flow, (theirs, mine) in enumerate(zip(recorded, ours, strict=True)):
            total += len(mine) == 1
            equal += [theirs] == mine
            if theirs not in mine and not difference:
                difference = f"outputs[{group}][{flow}]: recorded {theirs!r}, ours one of {mine!r}"
    return equal, total, difference


def same(theirs: Any, mine: Any) -> bool:
    """Whether two entries are equal; where a server draws one of several answers, ours is one of them."""
    if not (isinstance(theirs, Mapping) and "one_of" in theirs and isinstance(mine, Mapping)):
        return bool(theirs == mine)
    drawn = mine.get("answers", ())
    rest = {name: value for name, value in theirs.items() if name != "one_of"}
    return len(drawn) == 1 and drawn[0] in theirs["one_of"] and {**rest, "answers": drawn} == mine


def fewest(trace: Json, answer: Json, verdict: Verdict) -> None:
    """Check, pick by pick, that the picked one had the fewest active requests, in their run and in ours."""
    for whose, picks in (("ours", answer["outputs"]), ("recorded", trace["outputs"])):
        active = Counter({server["name"]: 0 for server in trace["config"]["servers"]})
        held: dict[Any, str] = {}
        chosen = iter(picks)
        for event in trace["inputs"]["events"]:
            if event["op"] == "release":
                active[held.pop(event["id"])] -= 1
                continue
            for _ in range(event.get("n", 1)):
                allowed = {name for name, count in active.items() if count == min(active.values())}
                pick = next(chosen, None)
                if whose == "recorded":
                    verdict.total += 1
                    verdict.equal += pick in allowed
                if pick not in allowed and not verdict.difference:
                    verdict.difference = f"{whose}: {pick!r} is not of the least busy {sorted(allowed)}"
                if event["op"] == "hold" and pick is not None:
                    held[event["id"]] = pick
                    active[pick] += 1


def statistically(recorded: Any, ours: Any, verdict: Verdict) -> None:
    """Compare counts, or counts per window of time, as two samples; all TTLs that were seen, exactly, if ours says them."""
    if isinstance(recorded, Mapping):
        pairs = [("", recorded["counts"], ours["counts"])]
        if "ttl" in recorded and "ttl" in ours:
            verdict.total += 1
            verdict.equal += recorded["ttl"] == ours["ttl"]
            if recorded["ttl"] != ours["ttl"]:
                verdict.difference = f"ttl: recorded {recorded['ttl']}, ours {ours['ttl']}"
    else:
        pairs = [(f"{w['from']:g}-{w['to']:g} s: ", w["counts"], within(w, ours)) for w in recorded]
    for where, theirs, mine in pairs:
        sums = sum(theirs.values()), sum(mine.values())
        for name in sorted({*theirs, *mine}):
            z = deviations(theirs.get(name, 0), sums[0], mine.get(name, 0), sums[1])
            verdict.total += 1
            if z <= DEVIATIONS:
                verdict.equal += 1
            elif not verdict.difference:
                verdict.difference = (
                    f"{where}{name}: recorded {theirs.get(name, 0)} of {sums[0]}, "
                    f"ours {mine.get(name, 0)} of {sums[1]}, {z:.1f} standard deviations"
                )


def within(window: Json, ours: list[Json]) -> Counter[str]:
    """Add up our windows inside one of theirs."""
    found: Counter[str] = Counter()
    for one in ours:
        if window["from"] - 1e-9 <= one["from"] and one["to"] <= window["to"] + 1e-9:
            found.update(one["counts"])
    return found


def deviations(hits: int, trials: int, others: int, tries: int) -> float:
    """Return how far two shares are apart, in standard deviations of their difference."""
    if not trials or not tries:
        return math.inf
    pooled = (hits + others) / (trials + tries)
    spread = math.sqrt(pooled * (1.0 - pooled) * (1.0 / trials + 1.0 / tries))
    gap = abs(hits / trials - others / tries)
    return gap / spread if spread else 0.0


def in_order(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare time lines stream by stream: picks, other events, or what concerns one server.

    Where servers have timers of their own, ``apart`` holds the time lines that each of them may have, and the closest counts.
    """
    theirs = streams(trace["outputs"])
    if "apart" in answer:
        mine = {name: closest(theirs.get(name, []), lines) for name, lines in answer["apart"].items()}
    else:
        mine = streams(answer["outputs"])
    equal = total = 0
    difference = ""
    for name in sorted({*theirs, *mine}):
        recorded, ours = theirs.get(name, []), mine.get(name, [])
        total += max(len(recorded), len(ours))
        for place, (one, other) in enumerate(zip_longest(recorded, ours)):
            if one == other:
                equal += 1
            elif not difference:
                difference = f"{name}[{place}]: recorded {one!r}, ours {other!r}"
    return equal, total, difference


def closest(recorded: list[Json], lines: Iterable[list[Json]]) -> list[Json]:
    """Return the one of several time lines of a server that agrees in most places, without the times."""
    best_line: list[Json] = []
    most = -1
    for line in lines:
        [ours] = streams(line).values() or [[]]
        wrong = sum(one != other for one, other in zip_longest(recorded, ours))
        if most < 0 or wrong < most:
            best_line, most = ours, wrong
        if not wrong:
            break
    return best_line


def parted(recorded: list[Json], ours: list[Json]) -> float:
    """Return when two time lines part, as far as that can be said: a pick has its time, other events come about then."""
    theirs, mine = timed_streams(recorded), timed_streams(ours)
    times = [math.inf]
    for name in {*theirs, *mine}:
        for one, other in zip_longest(theirs.get(name, []), mine.get(name, [])):
            if one is None or other is None or timeless(one) != timeless(other):
                times.append((other or one)["t"] if name == "picks" else _earlier(one, other) + SLACK_S)
                break
    return min(times)


def _earlier(one: Json | None, other: Json | None) -> float:
    return min(event["t"] for event in (one, other) if event)


def streams(events: list[Json]) -> dict[str, list[Json]]:
    """Split a time line into what must be in order, without the times."""
    return {stream: [*map(timeless, listed)] for stream, listed in timed_streams(events).items()}


def timeless(event: Json) -> Json:
    """Return an event without its time."""
    return {name: value for name, value in event.items() if name != "t"}


def timed_streams(events: list[Json]) -> dict[str, list[Json]]:
    """Split a time line into what must be in order.

    Envoy goes through its hosts in the order of a hash table: those that return, or are ejected, at the same tick are put in the
    order of names.
    """
    found: dict[str, list[Json]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event["t"]):
        stream = "picks" if "picked" in event else "events"
        if "set" in event:
            stream = "sets"
        stream = event.get("server", stream)
        found[stream].append(event)
    found["events"].sort(key=tick_order(found["events"]))
    return {stream: listed for stream, listed in found.items() if listed}


def tick_order(events: list[Json]) -> Callable[[Json], tuple[float, str]]:
    """Return a sort key: the time, but for hosts that a tick concerns alike that of the first of them, and their names."""
    began: dict[int, float] = {}
    names: dict[int, str] = {}
    before: tuple[str, float, float] = ("", 0.0, 0.0)
    for event in events:
        kind = next((kind for kind in SAME_TICK_S if kind in event), "")
        together = kind and kind == before[0] and event["t"] - before[1] < SAME_TICK_S[kind]
        began[id(event)] = before[2] if together else event["t"]
        names[id(event)] = event.get(kind, "")
        before = kind, event["t"], began[id(event)]
    return lambda event: (began[id(event)], names[id(event)])


def steps(trace: Json, answer: Json, verdict: Verdict) -> None:
    """Compare steps exactly, and their times within the tolerance that the rule states."""
    stated = re.search(r"within ([\d.]+) s", trace["match"])
    tolerance = float(stated[1]) if stated else math.inf
    recorded, ours = trace["outputs"], answer["outputs"]
    verdict.total = max(len(recorded), len(ours))
    for place, (one, other) in enumerate(zip_longest(recorded, ours)):
        same = (
            one is not None
            and other is not None
            and {**one, "t": 0} == {**other, "t": 0}
            and abs(one["t"] - other["t"]) <= tolerance
        )
        verdict.equal += same
        if not same and not verdict.difference:
            verdict.difference = f"step {place}: recorded {one!r}, ours {other!r}"


def last_weights(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare the last weights exactly, and picks with the share that they give, both theirs and ours."""
    last = {}
    for rows in (trace["outputs"], answer["outputs"]):
        for row in rows:
            last.setdefault(id(rows), {}).update(
                {name: row[name] for name in ("weights", "picks") if name in row}
            )
    theirs, mine = last.values()
    equal = total = 0
    difference = ""
    whole, weights = sum(theirs["picks"].values()), sum(theirs["weights"].values())
    if theirs["weights"].keys() != mine["weights"].keys():
        raise ValueError(f"weights of {sorted(theirs['weights'])}, ours of {sorted(mine['weights'])}")
    for name, weight in theirs["weights"].items():
        total += 1
        share = whole * weight / weights
        same = mine["weights"][name] == weight
        near_share = max(abs(picks["picks"].get(name, 0) - share) for picks in (theirs, mine)) <= 2.0
        equal += same and near_share
        if not (same and near_share) and not difference:
            difference = (
                f"{name}: recorded weight {weight}, picks {theirs['picks'].get(name)}, "
                f"ours {mine['weights'][name]}, {mine['picks'].get(name)}"
            )
    return equal, total, difference


def same_sets(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare which servers each request reaches; counts too where all of a set weigh the same in turn."""
    counted = "counts differ by at most 1" in trace["match"]
    equal, difference = 0, ""
    for place, (theirs, mine) in enumerate(zip(trace["outputs"], answer["outputs"], strict=True)):
        alike = set(theirs) == set(mine)
        if counted and alike:
            alike = all(abs(theirs[name] - mine[name]) <= 1 for name in theirs)
        equal += alike
        if not alike and not difference:
            difference = f"outputs[{place}]: recorded {theirs!r}, ours {mine!r}"
    return equal, len(trace["outputs"]), difference


def shown(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare admin pages leaf by leaf: numbers to 1e-6, everything else exactly."""
    theirs, mine = leaves(trace["outputs"]), leaves(answer["outputs"])
    names = sorted({*theirs, *mine})
    wrong = [name for name in names if not alike(theirs.get(name, ...), mine.get(name, ...))]
    difference = ""
    if wrong:
        difference = f"{wrong[0]}: recorded {theirs.get(wrong[0])!r}, ours {mine.get(wrong[0])!r}"
    return len(names) - len(wrong), len(names), difference


def leaves(value: Any, path: str = "outputs") -> dict[str, Any]:
    """Return the values inside a document by their paths."""
    if isinstance(value, Mapping):
        pairs = [(f"{path}.{name}", inner) for name, inner in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{path}[{place}]", inner) for place, inner in enumerate(value)]
    else:
        return {path: value}
    return {name: leaf for inner_path, inner in pairs for name, leaf in leaves(inner, inner_path).items()}


def alike(theirs: Any, mine: Any) -> bool:
    """Whether two values are equal, numbers to 1e-6."""
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (theirs, mine)]
    return abs(theirs - mine) <= 1e-6 if all(numbers) else type(theirs) is type(mine) and theirs == mine


def admitted(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare which requests were allowed; times are informative."""
    theirs = [row["allowed"] for row in trace["outputs"]]
    mine = [row["allowed"] for row in answer["outputs"]]
    wrong = [place for place, pair in enumerate(zip(theirs, mine, strict=True)) if pair[0] != pair[1]]
    difference = f"outputs[{wrong[0]}]: recorded {theirs[wrong[0]]}" if wrong else ""
    return len(theirs) - len(wrong), len(theirs), difference


def near(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare counts; theirs are within 3 of exact shares, and ours within 1."""
    theirs, mine = Counter(trace["outputs"]["counts"]), Counter(answer["outputs"]["counts"])
    names = sorted({*theirs, *mine})
    wrong = [name for name in names if abs(theirs[name] - mine[name]) > 4]
    difference = f"{wrong[0]}: recorded {theirs[wrong[0]]}, ours {mine[wrong[0]]}" if wrong else ""
    return len(names) - len(wrong), len(names), difference


def elections(trace: Json, answer: Json) -> tuple[int, int, str]:
    """Compare BACKUP and MASTER states of each router, in order and in time, and the packets it sent, as a set."""
    intervals: dict[str, float] = defaultdict(float)
    for server in trace["config"]["servers"]:
        for one in (server, *server.get("instances", ())):
            intervals[server["name"]] = max(intervals[server["name"]], float(one.get("interval", 0.0)))
    longest = max(intervals.values())
    equal = total = 0
    difference = ""
    theirs, mine = states(trace["outputs"]), states(answer["outputs"])
    for name in sorted({*theirs, *mine}):
        recorded, ours = theirs.get(name, []), mine.get(name, [])
        for place, (one, other) in enumerate(zip_longest(recorded, ours)):
            total += 1
            if one and other and one[1] == other[1] and abs(one[0] - other[0]) <= longest + 0.1:
                equal += 1
            elif not difference:
                difference = f"{'/'.join(name)} state {place}: recorded {one!r}, ours {other!r}"
    sent, ours_sent = adverts(trace["outputs"]), adverts(answer["outputs"])
    total += len(sent | ours_sent)
    equal += len(sent & ours_sent)
    if sent != ours_sent and not difference:
        difference = f"packets: {min(sent ^ ours_sent)!r} on one side only"
    return equal, total, difference


def states(events: list[Json]) -> dict[tuple[str, str], list[tuple[float, str]]]:
    """Return the BACKUP and MASTER states of each instance, with their times."""
    found: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for event in events:
        if event.get("state") in {"BACKUP", "MASTER"} and "instance" in event:
            found[event["router"], event["instance"]].append((event["t"], event["state"]))
    return found


def adverts(events: list[Json]) -> set[tuple[str, str]]:
    """Return the distinct packets of each router."""
    return {(event["router"], event["hex"]) for event in events if "advert" in event}


def all_verdicts(paths: list[Path]) -> Iterator[Verdict]:
    """Read and judge trace files, those of a group together after the others."""
    groups: dict[str, dict[str, Json]] = defaultdict(dict)
    for path in paths:
        try:
            trace = _read(path)
            agreement = import_module("agreement")
            if trace["kind"] in agreement.KINDS:
                found = groups[agreement.group_of(trace)]
                for one in (trace, *map(_read, agreement.beside(trace, path.parent))):
                    found.setdefault(one["id"], one)
                continue
            verdict = replay(trace)
            if "dequeued" in trace:
                yield verdict
                verdict = replay_queue(trace)
        except (OSError, ValueError, KeyError) as error:
            verdict = Verdict(path.stem, "?", "?", "?", "?", 0, 0, f"{type(error).__name__}: {error}")
        yield verdict
    yield from (agree([*group.values()]) for group in groups.values())


def _read(path: Path) -> Json:
    return {"id": path.stem, **json.loads(path.read_text(encoding="utf-8"))}


def files(paths: list[str]) -> list[Path]:
    """Return the trace files named, or in the folders named, in order."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(path.rglob("*.json"))
        else:
            found.append(path)
    return found


def summary(verdicts: list[Verdict]) -> list[str]:
    """Return a line per server and match kind."""
    groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if not verdict.no_driver:
            groups[verdict.server, verdict.match].append(verdict)
    width = max((len(match) for _, match in groups), default=0)
    lines = [f"{'server':8} {'match':{width}} {'files':>9} {'entries':>15}"]
    for (server, match), group in sorted(groups.items()):
        passed = f"{sum(v.passed for v in group)}/{len(group)}"
        entries = f"{sum(v.equal for v in group)}/{sum(v.total for v in group)}"
        lines.append(f"{server:8} {match:{width}} {passed:>9} {entries:>15}")
    unanswered = Counter(verdict.no_driver for verdict in verdicts if verdict.no_driver)
    return [*lines, *(f"no driver: {family}, {count} files" for family, count in sorted(unanswered.items()))]


def table(verdicts: list[Verdict]) -> list[str]:
    """Return a table of all files, in Markdown, in the words that pages use."""
    lines = ["| trace | algorithm | kind | match | equal |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {v.trace} | {v.algorithm} | {v.kind} | {v.match.replace('who is ejected', 'ejected hosts')} | {(v.no_driver and 'no driver') or f'{v.equal}/{v.total}'} |"
        for v in verdicts
    ]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="replay.py", description="Replay traces recorded from real servers."
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a trace file, or a folder of them")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print data")
    form.add_argument("--table", action="store_true", help="print a table of all files")
    parser.add_argument("--strict", action="store_true", help="fail on files that no driver answers")
    options = parser.parse_args(arguments)
    found = files(options.paths)
    if not found:
        parser.error("no trace files there")
    verdicts = [*all_verdicts(found)]
    if options.json:
        print(json.dumps([asdict(v) | {"passed": v.passed} for v in verdicts], indent=1))
    else:
        print("\n".join(table(verdicts) if options.table else summary(verdicts)))
        for v in verdicts:
            if v.difference:
                print(f"{v.trace}: {v.difference}", file=sys.stderr if options.table else sys.stdout)
    if all(v.no_driver for v in verdicts):
        print("nothing was judged: no file has a driver", file=sys.stderr)
        return 1
    return 1 if any(v.difference or (options.strict and v.no_driver) for v in verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
