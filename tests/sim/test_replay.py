"""What a recorder writes is what happened, and a replay of it says what would have."""

from __future__ import annotations

import asyncio
import copy
import errno
import json
import os
import subprocess
import sys
import textwrap
import time
from heapq import heappop, heappush
from io import FileIO
from pathlib import Path
from random import Random
from threading import Thread

import numpy as np
import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome, PowerOfChoices, RingHash, RoundRobin
from balancekit._support.elsewhere import Elsewhere
from balancekit.lease import Lease
from balancekit.loads import InFlight
from balancekit.outcome import LoadReport
from balancekit.sim import RecordedLease, Recorder, read_recording, replay
from balancekit.sim._jsonl_writer import BATCH_SIZE, LineWriter
from balancekit.testing import ManualClock


@pytest.fixture
def path(tmp_path):
    """Where a log may go."""
    return tmp_path / "requests.jsonl"


class TestRecorder:
    """One line for every request that ended."""

    def test_what_is_written(self, path):
        """Each line has time, key, cost, endpoint, duration and outcome, in the order of the ends."""
        clock = ManualClock()
        clock.advance(100.0)
        with Recorder(LoadBalancer(["a"], clock=clock), path, clock=clock) as balancer:
            clock.advance(1.0)
            first = balancer.acquire("user 7", cost=2.5)
            clock.advance(0.5)
            with balancer.acquire(b"\x00\xff"):
                clock.advance(0.25)
            with pytest.raises(TimeoutError), balancer.acquire(12):
                raise TimeoutError
            assert first.active
            assert first.release(Outcome.OVERLOADED, retry_after=1.0)
            assert not first.release()
            assert (first.target, first.endpoint.id, first.active) == ("a", "a", False)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines[0] == {
            "time": 101.5,
            "key": {"hex": "00ff"},
            "cost": 1.0,
            "endpoint": "a",
            "duration": 0.25,
            "outcome": "success",
        }
        assert [line["outcome"] for line in lines] == ["success", "timeout", "overloaded"]
        assert lines[2] | {"time": 101.0, "key": "user 7", "cost": 2.5, "duration": 0.75} == lines[2]
        rows = read_recording(path).rows
        assert [row.key for row in rows] == ["user 7", b"\x00\xff", 12]
        assert [row.failed for row in rows] == [True, False, True]

    def test_a_lease_ends_once_however_it_is_ended(self, path):
        """A lease has one line however it ends: released within the block, in a coroutine or cancelled."""

        async def cancelled(balancer):
            async with balancer.acquire() as lease:
                lease.first_byte()
                raise asyncio.CancelledError

        with Recorder(LoadBalancer(["a"]), path) as balancer:
            with balancer.acquire() as lease:
                assert lease.started_at >= 0.0
                lease.release(Outcome.FAILURE)
            with pytest.raises(asyncio.CancelledError):
                asyncio.run(cancelled(balancer))
            assert balancer.balancer.stats().completed == 2
        assert [row.outcome for row in read_recording(path).rows] == [Outcome.FAILURE, Outcome.CANCELLED]

    def test_lines_are_whole_under_threads(self, path):
        """Four threads with two thousand requests write whole lines."""
        with Recorder(LoadBalancer(["a", "b"]), path) as balancer:

            def work():
                for _ in range(500):
                    with balancer.acquire("k" * 50):
                        pass

            threads = [Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(read_recording(path).rows) == 2_000

    def test_trouble_with_the_file_is_not_the_requests(self, path):
        """An error of the file is counted and fails no request, and a second recorder appends."""
        recorder = Recorder(LoadBalancer(["a"]), path)
        lease = recorder.acquire()
        recorder.close()
        assert lease.release()
        assert recorder.dropped == 1
        for _ in range(2):
            with Recorder(LoadBalancer(["a"]), path) as balancer, balancer.acquire():
                pass
        assert len(path.read_text().splitlines()) == 2

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_a_full_disk_is_counted_and_raises_nothing(self):
        """Every line that a full disk does not take is counted, and nothing is raised.

        This holds at the end of ``with`` too.
        """
        with Recorder(LoadBalancer(["a"]), "/dev/full") as balancer:
            for _ in range(1_000):
                with balancer.acquire():
                    pass
        assert balancer.dropped == 1_000

    def test_a_line_that_was_torn_off_is_completed_before_the_next(self, path):
        """A line that a full disk tore off is completed before the next one is written."""
        room = [105]

        class Disk(FileIO):
            def write(self, data):
                if not room[0]:
                    raise OSError(errno.ENOSPC, "full")
                written = super().write(data[: room[0]])
                room[0] -= written
                return written

        writer = LineWriter(path)
        writer._file.close()
        writer._file = Disk(path, "a")
        for number in range(3 * BATCH_SIZE):
            if number == 2 * BATCH_SIZE:
                room[0] = 1 << 20
            writer.add(f"line {number:04}")
        writer.close()
        lines = path.read_text().splitlines()
        assert lines == [
            f"line {number:04}" for number in [*range(11), *range(2 * BATCH_SIZE, 3 * BATCH_SIZE)]
        ]
        assert writer.dropped + len(lines) == 3 * BATCH_SIZE

    def test_a_key_that_cannot_be_written_is_counted(self, path):
        """A key that cannot be written, such as a number of too many digits, is counted."""
        with Recorder(LoadBalancer(["a"]), path) as balancer, balancer.acquire(10**5_000):
            pass
        assert (balancer.dropped, path.read_text()) == (1, "")

    def test_two_runs_in_one_file_follow_each_other(self, path):
        """Two runs in one file follow each other, as times count from 1970 unless a clock is given."""
        before = time.time()
        for _ in range(2):
            with Recorder(LoadBalancer(["a"]), path) as balancer, balancer.acquire():
                pass
        times = [row.time for row in read_recording(path).rows]
        assert before - 1.0 < times[0] < times[1] < time.time() + 1.0

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_writes_its_own_lines_only(self, path):
        """A forked child writes its own lines only, also if the program forgets to close."""
        program = """
            import os, sys
            from balancekit import LoadBalancer
            from balancekit.sim import Recorder
            recorder = Recorder(LoadBalancer(["a"]), sys.argv[1])
            def request(key):
                with recorder.acquire(key):
                    pass
            request("parent")
            if os.fork() == 0:
                request("child")
                sys.exit()
            os.wait()
            request("parent")
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(program), path], check=True)
        assert sorted(str(row.key) for row in read_recording(path).rows) == ["child", "parent", "parent"]

    def test_each_attempt_has_its_line(self, path):
        """Each attempt has a line, with its outcome. Wrong arguments are refused at once."""
        with Recorder(LoadBalancer(["a", "b", "c"]), path) as balancer:
            with pytest.raises(ConfigurationError, match="limit"):
                balancer.attempts(0)
            for lease in balancer.attempts(3, "user 7", cost=2.0):
                if lease.endpoint.id == balancer.balancer.endpoints[0].id:
                    lease.release()
                    break
        rows = read_recording(path).rows
        assert [row.outcome for row in rows] == [Outcome.FAILURE] * (len(rows) - 1) + [Outcome.SUCCESS]
        assert {(row.key, row.cost) for row in rows} == {("user 7", 2.0)}
        assert len({row.endpoint for row in rows}) == len(rows)


def record(path, selector, requests, *, workers, rate, seed):
    """Drive a balancer over real queues of a fast and three slow servers, and record it."""
    rng, clock = Random(seed), ManualClock()
    means = {"a": 0.3, "b": 1.0, "c": 1.0, "d": 1.0}
    free = {id: [0.0] * workers for id in means}
    lines = LoadBalancer(
        list(means), selector=selector, load=InFlight(), health=None, clock=clock, rng=Random(1)
    )
    heap = []
    with Recorder(lines, path, clock=clock) as balancer:
        now = 0.0
        for number in range(requests):
            now += rng.expovariate(rate)
            while heap and heap[0][0] <= now:
                end, _, lease = heappop(heap)
                clock.advance(end - clock())
                lease.release()
            clock.advance(now - clock())
            lease = balancer.acquire(cost=rng.choice([1.0, 2.0]))
            line = free[lease.target]
            length = rng.expovariate(1.0 / means[lease.target]) * lease._cost
            line[0] = end = max(now, line[0]) + length
            line.sort()
            heappush(heap, (end, number, lease))
        while heap:
            end, _, lease = heappop(heap)
            clock.advance(end - clock())
            lease.release()
    return means


@pytest.mark.parametrize("workers", [1, 3])
def test_the_waiting_is_taken_away(path, workers):
    """Service times without the waiting are those that were drawn, in mean and in Kolmogorov's distance."""
    from balancekit.sim._replay import _lengths

    means = record(path, RoundRobin(), 4_000, workers=workers, rate=2.4 * workers * 0.7, seed=4)
    found = _lengths(read_recording(path).rows, dict.fromkeys(means, workers))
    for id, mean in means.items():
        lengths = np.sort(found[id])
        distance = np.abs(1.0 - np.exp(-lengths / mean) - np.arange(len(lengths)) / len(lengths)).max()
        assert distance < 2.2 / len(lengths) ** 0.5  # exceeded with a probability of 1e-4
    assert read_recording(path).report(workers=workers).mean > 1.2 * np.mean([*means.values()])


def test_a_replay_says_what_would_have_happened(path):
    """A replay of two choices on a log of round robin does as two choices do where the log was made."""
    means = record(path, RoundRobin(), 8_000, workers=1, rate=1.6, seed=5)
    recording = read_recording(path)
    happened = recording.report(workers=1)
    again = replay(recording, selector=RoundRobin(), load=InFlight(), workers=1, seed=2)
    other = replay(recording, selector=PowerOfChoices(), load=InFlight(), workers=1, seed=2)

    other_path = path.with_name("other.jsonl")
    record(other_path, PowerOfChoices(), 8_000, workers=1, rate=1.6, seed=5)
    truth = read_recording(other_path).report(workers=1)
    assert happened.shares == pytest.approx(again.shares, abs=0.01)
    assert again.mean == pytest.approx(happened.mean, rel=0.15)
    assert other.mean == pytest.approx(truth.mean, rel=0.15)
    assert other.mean < 0.8 * happened.mean
    assert other.shares["a"] == pytest.approx(truth.shares["a"], abs=0.02)
    assert other.overload == pytest.approx(truth.overload, rel=0.1)
    assert set(means) == set(other.shares)


def test_failures_keys_and_cost_are_replayed(path):
    """A replay has the recorded share of failures, keys and cost. The same seed gives the same report."""
    rng = Random(6)
    lines = [
        json.dumps(
            {
                "time": k / 10,
                "key": f"user {rng.randrange(50)}" if k % 4 else None,
                "cost": 1.0,
                "endpoint": "ab"[k % 2],
                "duration": 0.01,
                "outcome": "failure" if k % 2 and k % 5 == 0 else "cancelled" if k % 7 == 0 else "success",
            }
        )
        for k in range(4_000)
    ]
    report = replay(lines, balancer=plain(RingHash), workers=None, seed=3)
    assert report.disruption == 0.0
    assert report == replay(lines, balancer=plain(RingHash), workers=None, seed=3)
    turns = replay(lines, balancer=plain(RoundRobin), workers={"a": 2, "b": 2}, seed=3)
    assert abs(turns.errors - 0.1) < 5.0 * (0.1 * 0.9 / 4_000) ** 0.5
    assert turns.disruption > 0.9
    assert replay(lines, balancer=plain(RoundRobin), workers=2, attempts=3, seed=3).errors < turns.errors / 4
    assert replay(lines, workers=2, warm_up=3_000).requests == 1_000


def plain(selector):
    """Return a maker of balancers without health."""
    return lambda endpoints, clock, rng: LoadBalancer(
        endpoints, selector=selector(), health=None, clock=clock, rng=rng
    )


def test_who_was_turned_away_kept_no_worker():
    """A refused request kept no worker, neither in the report of the log nor in the service times."""
    lines = [
        LINE.replace("0.3", "1.0"),
        LINE.replace("success", "overloaded").replace("0.3", "2.5"),
        LINE.replace('"time": 1.0', '"time": 1.5').replace("0.3", "1.5").replace("null", '"k"'),
        LINE.replace('"time": 1.0', '"time": 3.0'),
        LINE.replace('"time": 1.0', '"time": 3.0').replace("success", "cancelled"),
    ]
    from balancekit.sim._replay import _lengths

    recording = read_recording(lines)
    assert _lengths(recording.rows, {"a": 1})["a"] == pytest.approx([1.0, 1.0, 0.3])
    report = recording.report(workers=1)
    assert report.failures == 1  # what was cancelled counts as served
    assert report.seconds == 2.0
    assert report.busy["a"] == 1.0
    assert report.overload == pytest.approx(0.5)
    assert report.disruption == 0.0


LINE = '{"time": 1.0, "key": null, "cost": 1.0, "endpoint": "a", "duration": 0.3, "outcome": "success"}'


@pytest.mark.parametrize(
    ("parameter", "call"),
    [
        ("log", lambda: read_recording("nowhere.jsonl")),
        ("log", lambda: read_recording([])),
        ("log", lambda: read_recording(["{"])),
        ("log", lambda: read_recording(["[]"])),
        ("log", lambda: read_recording([LINE.replace("1.0,", "NaN,", 1)])),
        ("log", lambda: read_recording([LINE.replace("0.3", "-0.3")])),
        ("log", lambda: read_recording([LINE.replace('"cost": 1.0', '"cost": 0.0')])),
        ("log", lambda: read_recording([LINE.replace("success", "victory")])),
        ("log", lambda: read_recording([LINE.replace('"a"', '""')])),
        ("log", lambda: read_recording([LINE.replace("1.0", "1" + "0" * 400, 1)])),
        ("log", lambda: read_recording([LINE.replace("null", "1.5")])),
        ("log", lambda: read_recording([LINE.replace("null", "true")])),
        ("log", lambda: read_recording([LINE.replace("null", "[1]")])),
        ("workers", lambda: replay([LINE], workers=0)),
        ("workers", lambda: replay([LINE], workers={"b": 1})),
        ("balancer", lambda: replay([LINE], workers=1, balancer=plain(RoundRobin), selector=RoundRobin())),
        ("attempts", lambda: replay([LINE], workers=1, attempts=0)),
        ("balancer", lambda: Recorder(None, "nowhere")),
        ("clock", lambda: Recorder(LoadBalancer(["a"]), "nowhere", clock=3)),
    ],
)
def test_wrong_values_are_refused(parameter, call):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert caught.value.parameter == parameter


ROW = '{{"time": {}, "key": null, "cost": 1.0, "endpoint": "{}", "duration": 0.3, "outcome": "{}"}}'


@pytest.mark.parametrize("begin", [-100.0, 0.0, 1.8e9])
def test_times_may_count_from_any_moment(begin):
    """A log whose times are negative is replayed as the same log at another time."""
    log = [ROW.format(begin + k / 8, "ab"[k % 2], "success") for k in range(64)]
    report = replay(log, workers=4)
    assert report.mean == pytest.approx(0.3, rel=1e-5)


def test_requests_that_say_nothing_of_the_endpoint_fail_in_neither_report():
    """Cancelled and ignored requests count as served in the report of a log, as they do in its replay."""
    outcomes = ["success", "cancelled", "ignored", "failure"]
    log = [ROW.format(k / 8, "a", outcomes[k % 4]) for k in range(400)]
    recording = read_recording(log)
    assert recording.report().errors == 0.25
    assert replay(recording, workers=None).errors == pytest.approx(0.25, abs=0.1)


def test_a_recorded_lease_has_all_that_a_lease_has(tmp_path):
    """Each public name of a lease is one of a recorded lease, so that adapters find what they call."""
    hints = {name for name, value in vars(Lease).items() if isinstance(value, Elsewhere)}
    assert {name for name in dir(Lease) if not name.startswith("_")} - hints <= set(dir(RecordedLease))
    reports = []
    balancer = LoadBalancer(["a"])
    balancer.on_completion(lambda endpoint, completion: reports.append(completion.load_report))
    with Recorder(balancer, tmp_path / "log") as recorder:
        with recorder.acquire() as lease:
            lease.report_load(LoadReport(rps=7.0))
        assert reports[0].rps == 7.0
        with pytest.raises(TypeError, match="ends once"):
            copy.copy(recorder.acquire())


def test_awaiting_a_recorded_lease_says_that_acquire_never_waits(tmp_path):
    """``await recorder.acquire()`` raises TypeError with the right form, and leaves no lease open."""
    balancer = LoadBalancer(["a"])

    async def mistaken(recorder):
        await recorder.acquire()

    with Recorder(balancer, tmp_path / "log") as recorder, pytest.raises(TypeError, match="never waits"):
        asyncio.run(mistaken(recorder))
    assert balancer.stats().inflight == 0
    assert "cancelled" in (tmp_path / "log").read_text()
