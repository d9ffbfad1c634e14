"""Workers that share their loads beside workers that do not, and what a pick costs with each.

    uv run python -m benchmarks.sharing            two minutes: eight workers on ten servers, then costs
    uv run python -m benchmarks.sharing --check    fail if p99 with shared load is above 0.85 of that without
    uv run python -m benchmarks.sharing --cost     costs only, and what a stopped store does to them (needs redis-server)

Workers and servers are processes that speak TCP; servers sleep for the time of service, so two cores are enough. Both
kinds get the same requests at the same moments, in turn, and the times are in mean times of service.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import uuid

from benchmarks._harness import Group, add_save, machine, save
from benchmarks._workers import run_workers, servers
from redis import Redis

from balancekit import LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight, PeakEwmaLatency
from balancekit.protocols import LoadPolicy
from balancekit.sharing import RedisStore, Shared
from balancekit.sharing._rows import row_path

BOUND = 0.85
SLOWER = 1.2
MAX_LOAD_AVERAGE = 2.0
"""For each processor; above, requests wait for a processor and not for servers."""
WORKERS, SERVERS, UTILIZATION = 8, 10, 0.8


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument("--cost", action="store_true", help="costs only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round and kind")
    parser.add_argument("--load", choices=["in-flight", "latency"], default="in-flight")
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    figures = costs()
    slower = 0.0
    if shutil.which("redis-server") is not None:
        slower = figures["request, store stopped / answering"] = stopped()
    ratio = 0.0
    if not options.cost:
        before = os.getloadavg()[0]
        ratio = figures["p99, shared / own"] = latency(options.rounds, options.seconds, options.load)
        if before > MAX_LOAD_AVERAGE * (os.cpu_count() or 1):
            print(f"  machine busy (load average {before:.1f} before): not judged")
            ratio = 0.0
    save("sharing", figures, options.save)
    return 1 if options.check and (ratio > BOUND or slower > SLOWER) else 0


def latency(rounds: int, seconds: float, load: str) -> float:
    """Return the ratio of the 99th percentiles over all rounds."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    found: dict[str, list[float]] = {"": [], name: []}
    try:
        for seed in range(rounds):
            for file in found:
                with servers(SERVERS) as ports:
                    found[file] += run_workers(
                        ports,
                        workers=WORKERS,
                        seconds=seconds,
                        load=load,
                        file=file,
                        utilization=UTILIZATION,
                        seed=seed,
                    )
    finally:
        row_path(name).unlink(missing_ok=True)
    print(f"\n{WORKERS} workers, {SERVERS} servers, {UTILIZATION:.0%} load; in mean times of service")
    p99 = {}
    for kind, latencies in (("own counts", found[""]), ("shared", found[name])):
        p99[kind] = statistics.quantiles(latencies, n=100)[98]
        mean = statistics.fmean(latencies)
        print(f"  {kind:12} mean {mean:5.2f}  p99 {p99[kind]:5.2f}   {len(latencies)} requests")
    ratio = p99["shared"] / p99["own counts"]
    print(f"  p99 shared / own {ratio:.3f} (bound {BOUND})")
    return ratio


def costs() -> dict[str, float]:
    """Return what a whole request costs with each load, in empty calls."""
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
    figures = {label: timing.ratio for label, timing in group.run().items() if label in loads}
    print("\na request with two choices, in empty calls")
    for label, ratio in figures.items():
        print(f"  {label:28} {ratio:6.1f}")
    for lease in held:
        lease.release()
    row_path(name).unlink()
    return figures


def stopped() -> float:
    """Return how much slower requests are, in CPU time of their thread, while the store stands still for ten seconds."""
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/redis"
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--daemonize", "no"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            time.sleep(1.0)
            store = RedisStore(Redis(unix_socket_path=socket, socket_timeout=0.5), name="benchmark")
            lb = _balancer([f"10.0.0.{number}:8080" for number in range(SERVERS)], Shared(store=store))
            answering = _cheapest(lb, 5.0)
            server.send_signal(signal.SIGSTOP)
            standing = _cheapest(lb, 10.0)
            server.send_signal(signal.SIGCONT)
            store.close()
            server.terminate()
    print(f"\na request while the store stands still, over one while it answers: {standing / answering:.3f}")
    return standing / answering


def _cheapest(lb: LoadBalancer[str], seconds: float) -> float:
    """Return what a request costs at best, over batches for so long."""
    best, end = float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.thread_time()
        for _ in range(2_000):
            with lb.acquire():
                pass
        best = min(best, time.thread_time() - begin)
    return best


def _balancer(ids: list[str], load: LoadPolicy) -> LoadBalancer[str]:
    """Return a balancer that has served."""
    lb = LoadBalancer(ids, selector=PowerOfChoices(), load=load)
    for _ in range(700):
        lb.acquire().release()
    return lb


if __name__ == "__main__":
    raise SystemExit(main())
