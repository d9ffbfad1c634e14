"""Workers that share their loads compared with workers that do not, and the cost of a request with each.

    uv run python -m benchmarks.sharing            five minutes: costs, then eight workers on ten servers
    uv run python -m benchmarks.sharing --check    fail if p99 with shared load is above 0.85 of that without
    uv run python -m benchmarks.sharing --cost     costs only, also with a stopped store (needs redis-server)
    uv run python -m benchmarks.sharing --latency  the workers only

Workers and servers are processes that use TCP. Servers sleep for the service time, so all processes together use a fifth of a
core. Runs with own counts and with shared counts alternate, and have the same requests at the same times. The figure is the
ratio of the medians, over rounds, of the 99th percentile. Workers also measure the delays with which they send. On a busy
machine, requests wait for a processor instead of a server, so the check is skipped.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import uuid
from itertools import count
from typing import Any

from benchmarks._harness import Group, add_save, machine, save
from benchmarks._workers import run_workers, servers
from redis import Redis

from balancekit import LoadBalancer, PowerOfChoices, RoundRobin
from balancekit.loads import InFlight, PeakEwmaLatency
from balancekit.outcome import LoadReport
from balancekit.protocols import LoadPolicy
from balancekit.reported import NodeAttributes, Prequal, Probed, ProbePool, ReportedRoundRobin
from balancekit.routing import Gradient, MaxInFlight
from balancekit.sharing import RedisStore, Shared
from balancekit.sharing._rows import row_path

BOUND = 0.85
"""The largest accepted ratio of the 99th percentiles: shared over own counts."""
SLOWER = 1.2
"""The largest accepted cost of a request with a stopped store, relative to one with a store that answers."""
MAX_LATE = 0.5
"""The largest 99th percentile of delays in sending, in mean service times, with which the check is done."""
WORKERS, SERVERS, UTILIZATION = 8, 10, 0.8


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument("--cost", action="store_true", help="costs only")
    parser.add_argument("--latency", action="store_true", help="the workers only")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of each run")
    parser.add_argument("--load", choices=["in-flight", "latency"], default="in-flight")
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    figures: dict[str, float] = {}
    slower = ratio = 0.0
    if not options.latency:
        figures |= costs()
        if shutil.which("redis-server") is not None:
            slower = figures["request, store stopped / answering"] = stopped()
    if not options.cost:
        ratio, late = latency(options.rounds, options.seconds, options.load)
        figures["p99, shared / own"] = ratio
        if late > MAX_LATE:
            print(f"  machine busy (requests were sent {late:.2f} mean service times late): not judged")
            ratio = 0.0
    save("sharing", figures, options.save)
    return 1 if options.check and (ratio > BOUND or slower > SLOWER) else 0


def latency(rounds: int, seconds: float, load: str) -> tuple[float, float]:
    """Return the ratio of the medians of the 99th percentiles, and the median of the delays in sending."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    kinds = {"own counts": "", "shared": name}
    p99: dict[str, list[float]] = {kind: [] for kind in kinds}
    late: list[float] = []
    print(f"\n{WORKERS} workers, {SERVERS} servers, {UTILIZATION:.0%} load; in mean service times")
    try:
        for seed in range(rounds):
            for kind, file in kinds.items():
                before = _processor_seconds()
                with servers(SERVERS) as ports:
                    run = run_workers(
                        ports,
                        workers=WORKERS,
                        seconds=seconds,
                        load=load,
                        file=file,
                        utilization=UTILIZATION,
                        seed=seed,
                    )
                used = (_processor_seconds() - before) / seconds
                p99[kind].append(statistics.quantiles(run.took, n=100)[98])
                late.append(run.late)
                print(
                    f"  {kind:12} mean {statistics.fmean(run.took):5.2f}  p99 {p99[kind][-1]:5.2f}  "
                    f"{len(run.took)} requests, sent {run.late:.2f} late (p99), {used:.2f} cores",
                    flush=True,
                )
    finally:
        row_path(name).unlink(missing_ok=True)
    own, shared = (statistics.median(p99[kind]) for kind in kinds)
    pairs = [a / b for a, b in zip(p99["shared"], p99["own counts"], strict=True)]
    print(f"  median p99 shared {shared:.2f}, own {own:.2f}: {shared / own:.3f} (bound {BOUND})")
    print(f"  of single pairs {', '.join(f'{pair:.2f}' for pair in pairs)}")
    return shared / own, statistics.median(late)


def _processor_seconds() -> float:
    """Return the processor time of the child processes that have ended, including their start."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def costs() -> dict[str, float]:
    """Return the cost of a whole request with each load, in empty calls."""
    ids = [f"10.0.0.{number}:8080" for number in range(SERVERS)]
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    others = [_balancer(ids, Shared(file=name)) for _ in range(WORKERS - 1)]
    held = [lb.acquire() for lb in others for _ in range(5)]
    loads: dict[str, LoadPolicy] = {
        "in-flight": InFlight(),
        "in-flight, shared by a file": Shared(InFlight(), file=name),
        "in-flight, shared by a store": Shared(
            InFlight(), store=RedisStore(Redis(port=1, socket_timeout=0.1), name="benchmark")
        ),
        "latency": PeakEwmaLatency(),
        "latency, shared by a file": Shared(PeakEwmaLatency(), file=name),
    }
    group = Group(rounds=15, milliseconds=30.0)
    for label, load in loads.items():
        group.add(label, "with a(): pass", a=_balancer(ids, load).acquire)
    for label, (acquire, report) in _reporting(ids).items():
        if report is None:
            group.add(label, "with a(): pass", a=acquire)
        else:
            group.add(label, "with a() as lease: lease.report_load(r)", a=acquire, r=report)
    figures = {label: timing.ratio for label, timing in group.run().items() if label != "empty method call"}
    print("\na request, in empty calls")
    for label, ratio in figures.items():
        print(f"  {label:32} {ratio:6.1f}")
    for lease in held:
        lease.release()
    row_path(name).unlink()
    return figures


def _reporting(ids: list[str]) -> dict[str, tuple[Any, LoadReport | None]]:
    """Return, by label, the ``acquire`` of balancers that use reports of servers, and the report of each response."""
    report = LoadReport(application_utilization=0.5, rps=100.0)
    attributes = NodeAttributes(max_age=3600.0)
    prequal = Prequal(ProbePool(max_age=3600.0, rate=1e-6, removal=0.0))
    picks = count()

    def refill() -> None:
        """Add a probe of each endpoint now and then, so that each pick is by probes: a probe has 1,000 uses at most."""
        if next(picks) % 1_000 == 0:
            for id in ids:
                prequal.pool.add(id, in_flight=5.0, latency=0.1, now=time.monotonic())

    for id in ids:
        attributes.record(id, {"requests": 5.0}, now=time.monotonic())
    refill()
    prequal.on_due = refill
    made: dict[str, tuple[Any, LoadReport | None]] = {
        "default": (LoadBalancer(ids), None),
        "default, with a report": (LoadBalancer(ids), report),
        "round robin": (LoadBalancer(ids, selector=RoundRobin()), None),
        "by reports, without one": (LoadBalancer(ids, selector=ReportedRoundRobin()), None),
        "by reports, with a report": (LoadBalancer(ids, selector=ReportedRoundRobin()), report),
        "probed": (LoadBalancer(ids, selector=PowerOfChoices(), load=Probed(attributes)), None),
        "Prequal": (LoadBalancer(ids, selector=prequal), None),
        "limit": (LoadBalancer(ids, selector=MaxInFlight(100)), None),
        "limit, adaptive": (LoadBalancer(ids, selector=MaxInFlight(Gradient(min_rtt=1.0))), None),
    }
    for lb, reported in made.values():
        for _ in range(700):
            with lb.acquire() as lease:
                if reported is not None:
                    lease.report_load(reported)
    return {label: (lb.acquire, reported) for label, (lb, reported) in made.items()}


def stopped() -> float:
    """Return the CPU time of a request while the store is stopped for ten seconds, relative to one while it answers."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis"
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--daemonize", "no"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            time.sleep(1.0)
            store = RedisStore(Redis(unix_socket_path=socket, socket_timeout=0.5), name="benchmark")
            lb = _balancer([f"10.0.0.{number}:8080" for number in range(SERVERS)], Shared(store=store))
            answering = _cheapest(lb, 5.0)
            server.send_signal(signal.SIGSTOP)
            while_stopped = _cheapest(lb, 10.0)
            server.send_signal(signal.SIGCONT)
            store.close()
            server.terminate()
    print(
        f"\na request while the store is stopped, over one while it answers: {while_stopped / answering:.3f}"
    )
    return while_stopped / answering


def _cheapest(lb: LoadBalancer[str], seconds: float) -> float:
    """Return the least CPU time of a batch of requests. Batches run for ``seconds``."""
    best, end = float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.thread_time()
        for _ in range(2_000):
            with lb.acquire():
                pass
        best = min(best, time.thread_time() - begin)
    return best


def _balancer(ids: list[str], load: LoadPolicy) -> LoadBalancer[str]:
    """Return a balancer that has served requests."""
    lb = LoadBalancer(ids, selector=PowerOfChoices(), load=load)
    for _ in range(700):
        lb.acquire().release()
    return lb


if __name__ == "__main__":
    raise SystemExit(main())
