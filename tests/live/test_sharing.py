"""Eight worker processes on real servers: what sharing their loads is worth."""

from __future__ import annotations

import os
import statistics

import pytest
from benchmarks._workers import run_workers, servers

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(os.name != "posix", reason="there are no record locks here"),
]


def test_workers_that_share_answer_sooner(tmp_path):
    """At 80 % load, p99 of eight workers that share is below that of eight that do not, for the same requests.

    ``benchmarks/sharing.py --check`` judges 0.85 with five times the requests; here are 3,200 for each, and a tenth more.
    """
    p99, late = [], []
    for file in ("", str(tmp_path / "loads")):
        with servers(10) as ports:
            run = run_workers(
                ports, workers=8, seconds=20.0, load="in-flight", file=file, utilization=0.8, seed=1
            )
        p99.append(statistics.quantiles(run.took, n=100)[98])
        late.append(run.late)
    if max(late) > 0.5:
        pytest.skip("the machine was busy with other things: requests were sent late")
    assert p99[1] <= 0.95 * p99[0]
