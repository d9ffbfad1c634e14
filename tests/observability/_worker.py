"""One worker of a service: serves a number of requests, and says when it is done."""

from __future__ import annotations

import sys

from prometheus_client import CollectorRegistry

from balancekit import First, Lease, LoadBalancer, Outcome
from balancekit.events import Hedged, Retried, RetryRefused
from balancekit.observability.prometheus import BalancerCollector


def answer(lease: Lease[str], tokens: int) -> None:
    """End a request to a language model."""
    lease.first_byte()
    lease.report_tokens(tokens)
    lease.release()


def main(successes: int, failures: int) -> None:
    """Serve, with one request left in flight."""
    lb = LoadBalancer(["a", "b"], selector=First(), timed=True)
    collector = BalancerCollector(lb, service="orders", registry=CollectorRegistry())
    for _ in range(successes):
        with lb.acquire():
            pass
    for _ in range(failures):
        lb.acquire(exclude=["a"]).release(Outcome.FAILURE)
    open_one, ended = lb.acquire(), lb.acquire()
    answer(ended, tokens=7)
    lb.emit(Retried(endpoint="a", at=0.0, reason="connect"))
    lb.emit(RetryRefused(endpoint="a", at=0.0, reason="connect"))
    lb.emit(Hedged(endpoint="b", at=0.0, won=True))
    sys.stdout.write("done\n")
    sys.stdout.flush()
    sys.stdin.read()
    answer(open_one, tokens=5)
    collector.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
