"""Detection of a lasting change of pace: what starts an average again, and what does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import pytest

from balancekit import Endpoint
from balancekit.loads import ExpectedDelay
from balancekit.loads._pace_shift import PaceAverage, PaceShift
from balancekit.node import Node

MEMORY_S = 200.0


class Average:
    """An average as loads keep it, with a window after every ``window`` answers."""

    def __init__(self, gap_s: float = 0.1, window: int = 10) -> None:
        self.shift = PaceShift(MEMORY_S)
        self.gap_s, self.window = gap_s, window
        self.root, self.count, self.now, self.answers = 0.0, 0.0, 0.0, 0
        self.shifts: list[PaceAverage] = []

    def answer(self, root: float) -> None:
        """Take an answer; look after every window."""
        self.now += self.gap_s
        self.count = self.count / (1.0 + self.gap_s / MEMORY_S) + 1.0
        self.root += (root - self.root) / self.count
        self.answers += 1
        if self.answers % self.window == 0:
            found = self.shift.look(PaceAverage(self.root, self.count, self.now))
            if found is not None:
                self.root, self.count, _ = found
                self.shifts.append(found)

    def answers_of(self, draw: Callable[[], float], count: int) -> None:
        """Take many answers whose latencies are drawn."""
        for _ in range(count):
            self.answer(math.sqrt(draw()))


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 3.0, 25.0])
def test_two_windows_of_a_new_pace_start_the_average_again(factor: float) -> None:
    """Steady times that change are noticed with the second window, and the average is then that of both."""
    average, rng = Average(), Random(1)
    average.answers_of(lambda: rng.uniform(0.9, 1.1), 300)
    assert not average.shifts
    average.answers_of(lambda: factor * rng.uniform(0.9, 1.1), 10)
    assert not average.shifts
    average.answers_of(lambda: factor * rng.uniform(0.9, 1.1), 10)
    [(root, count, _)] = average.shifts
    assert root == pytest.approx(math.sqrt(factor), rel=0.05)
    assert count == pytest.approx(20.0, rel=0.05)
    average.answers_of(lambda: factor * rng.uniform(0.9, 1.1), 300)
    assert len(average.shifts) == 1


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_a_small_change_is_left_to_the_average(factor: float) -> None:
    """A change of pace by less than 36 % down or 44 % up does not start the average again, however steady the times are, and does not hide a greater one that follows."""
    average = Average()
    average.answers_of(lambda: 1.0, 300)
    average.answers_of(lambda: factor, 2000)
    assert not average.shifts
    average.answers_of(lambda: 3.0 * factor, 20)
    assert len(average.shifts) == 1


@pytest.mark.parametrize("length", [1e2, 1e4, 1e6])
def test_one_long_answer_starts_nothing_again(length: float) -> None:
    """One answer, however long, is in one window only."""
    average, rng = Average(), Random(1)
    average.answers_of(lambda: rng.uniform(0.9, 1.1), 300)
    average.answers_of(lambda: length, 1)
    average.answers_of(lambda: rng.uniform(0.9, 1.1), 299)
    assert not average.shifts


@pytest.mark.parametrize(
    ("draw", "most"),
    [
        (lambda rng: rng.expovariate(1.0), 0.0002),
        (lambda rng: rng.lognormvariate(0.0, 2.0), 0.0006),
        (lambda rng: rng.paretovariate(1.5), 0.0015),
    ],
    ids=["exponential", "lognormal, sigma 2", "Pareto, 1.5"],
)
def test_times_that_only_vary_hardly_ever_start_it_again(
    draw: Callable[[Random], float], most: float
) -> None:
    """Of 60,000 windows of ten answers, few are taken for a change: the bound is 5 standard deviations above the share given."""
    windows, found = 0, 0
    for seed in range(12):
        average, rng = Average(), Random(seed)
        average.answers_of(lambda: draw(rng), 50_000)  # noqa: B023 - called within the turn
        windows += 5_000
        found += len(average.shifts)
    assert found <= most * windows + 5.0 * math.sqrt(most * windows)


def test_the_mean_of_a_window_is_that_of_its_answers() -> None:
    """The average before and after a window gives the mean of what came between, whatever came before."""
    average, rng = Average(gap_s=1.0), Random(1)
    average.answers_of(lambda: rng.uniform(0.9, 1.1), 200)
    roots = [math.sqrt(9.0 * rng.uniform(0.9, 1.1)) for _ in range(20)]
    for root in roots:
        average.answer(root)
    [(mean, _, _)] = average.shifts
    assert mean == pytest.approx(sum(roots) / 20.0, rel=0.01)


def test_a_change_by_other_means_begins_a_new_window() -> None:
    """After a trial or an ejection, what came before is not compared with what follows."""
    average = Average()
    average.answers_of(lambda: 1.0, 300)
    average.root, average.count = 3.0, 0.5
    average.shift.restart(PaceAverage(average.root, average.count, average.now))
    average.answers_of(lambda: 9.0, 300)
    assert not average.shifts


@pytest.mark.parametrize("extreme", [0.0, 5e-324, 1e-300, 1e154, 1e200, 1e308])
def test_extreme_answers_raise_nothing(extreme: float) -> None:
    """Averages at the ends of what floats can hold are taken, and what follows is noticed or averaged as before."""
    average = Average()
    for root in (1.0, extreme, 1.0, extreme):
        for _ in range(50):
            average.answer(root)
    assert not math.isnan(average.root)


@pytest.mark.parametrize("cut", ["nothing", "an ejection", "a trial"])
def test_a_change_is_noticed_whatever_cut_the_average_short(cut: str) -> None:
    """What counts less after an ejection or an idle time is compared with what follows, not with what it counted as before."""
    pool = ExpectedDelay().for_pool()
    nodes = [Node(Endpoint(id), pool) for id in "ab"]
    now = 0.0

    def answers(number: int, seconds: float, count: int) -> None:
        nonlocal now
        for _ in range(count):
            now += seconds
            node = nodes[number]
            node.successes += 1
            node.load.succeeded(seconds, now)
            if now >= pool.deadline:
                pool.advance(now=now)

    answers(0, 0.1, 400)
    if cut == "an ejection":
        nodes[0].load.reset()
    if cut == "a trial":
        answers(1, 0.1, 600)
        assert nodes[0].latency_estimate == -math.inf
    answers(0, 0.1, 100)
    answers(0, 0.5, 30)
    assert nodes[0].load.pace == pytest.approx(0.5, rel=0.1)
