"""A sweep's results do not depend on where, or in which order, or how many at once its cases run."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from random import Random

import pytest
from tests.cli.test_command import children, none_left, unique

from balancekit import ConfigurationError
from balancekit.sim import Exponential, Hang, Poisson, Server, SimulationReport, simulate, sweep

CASES = [{"seed": seed, "n": n} for seed in range(16) for n in (2, 3, 5, 8)]


def one(seed: int, n: int) -> SimulationReport:
    """Simulate one case, in the loop that it needs."""
    servers = {f"s{k}": Server(service=Exponential(mean=0.01)) for k in range(n)}
    faults = [Hang(endpoint="s1", at=0.5, seconds=0.5)] if seed % 2 else []
    return simulate(
        servers, Poisson(rate=60.0 * n), requests=300, seed=seed, attempts=2, timeout=0.1, faults=faults
    )


def pickled(reports):
    """Return the bytes of every report."""
    return [pickle.dumps(report) for report in reports]


@pytest.fixture(scope="module")
def serial():
    """Every case in this process, one after the other."""
    return pickled([one(**case) for case in CASES])


def test_the_cases_differ(serial):
    """The cases give different results, so that their equality elsewhere says something."""
    assert len(set(serial)) == len(CASES) == 64


def test_processes_and_chunks(serial):
    """Two processes with seven cases at a time give the same results."""
    with ProcessPoolExecutor(2) as processes:
        assert pickled(sweep(one, CASES, executor=processes, chunk=7)) == serial


def test_processes_by_default(serial):
    """The default number of processes gives the same results, and the processes import what they run."""
    assert pickled(sweep(one, CASES[:8], chunk=4)) == serial[:8]


def test_shuffled_order_in_threads(serial):
    """Four threads with a shuffled order give the same results."""
    order = list(range(len(CASES)))
    Random(1).shuffle(order)
    with ThreadPoolExecutor(4) as threads:
        found = pickled(sweep(one, [CASES[k] for k in order], executor=threads))
    assert found == [serial[k] for k in order]


@pytest.mark.filterwarnings("default")  # what a cluster warns of while it stops is not ours
def test_a_dask_cluster(serial):
    """The executor of a dask client gives the same results."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = pickled(sweep(one, CASES, executor=client.get_executor(), chunk=8))
    assert found == serial


def fails(number: int) -> int:
    """Fail for one number."""
    if number == 5:
        raise ValueError("five")
    return number


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_case_that_fails_is_named(chunk):
    """A case that fails is named with its number and its arguments, from another process too."""
    cases = [{"number": number} for number in range(9)]
    for kind in (ThreadPoolExecutor, ProcessPoolExecutor):
        with kind(2) as executor, pytest.raises(ValueError, match="five") as caught:
            sweep(fails, cases, executor=executor, chunk=chunk)
        assert caught.value.__notes__ == ["case 5: {'number': 5}"]


@pytest.mark.parametrize(
    ("parameter", "call"),
    [
        ("run", lambda: sweep("f", [])),
        ("cases", lambda: sweep(one, [3])),
        ("chunk", lambda: sweep(one, [], chunk=0)),
    ],
)
def test_wrong_values_are_refused(parameter, call):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert caught.value.parameter == parameter


def test_a_report_as_data_and_as_a_pickle():
    """A report can be JSON and be pickled, more than once. Equal runs have equal reports, and others have not."""
    report = one(3, 5)
    data = json.loads(json.dumps(report.data(), allow_nan=False))
    assert data == report.data()
    assert data["retries"] == report.retries > 0
    assert data["p99"] == report.quantile(0.99)
    again = pickle.loads(pickle.dumps(report))
    assert again == report == one(3, 5)
    assert again.latency.tolist() == report.latency.tolist()
    assert hash(again) == hash(report)
    assert report != one(4, 5)
    assert report != 3
    nothing = simulate(
        {"a": Server(service=Exponential(mean=1.0))},
        Poisson(rate=1.0),
        requests=3,
        timeout=1e-9,
    )
    assert nothing.errors == 1.0
    assert json.loads(json.dumps(nothing.data(), allow_nan=False))["p50"] is None


NAPS = """
import sys
import time
from balancekit.sim import sweep

def nap(seconds):
    print("begun", flush=True)
    time.sleep(seconds)

if __name__ == "__main__":
    sweep(nap, [{"seconds": 300.0}])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(how, tmp_path):
    """A program that is killed while it sweeps leaves no process behind."""
    script = tmp_path / "naps.py"
    script.write_text(NAPS)
    mark = f"sweep-{how.name}"
    with subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"SWEEP_MARK": unique(mark)},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "begun\n"
            assert len(children(mark)) > 1
            parent.send_signal(how)
            parent.wait(30)
            assert none_left(mark)
        finally:
            parent.kill()
