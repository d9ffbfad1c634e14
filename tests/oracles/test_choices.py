"""The search among what a recorded run does not tell is complete, and leaves out what did not matter."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
Choices = importlib.import_module("_choices").Choices


def runs(play, recorded):
    """Return what each run made until one equals the recorded picks, told each time where they part."""
    choices, made = Choices(), []
    while True:
        picks = play(choices)
        made.append(picks)
        wrong = [
            place for place, (one, other) in enumerate(zip(picks, recorded, strict=True)) if one != other
        ]
        if not wrong or not choices.advance(until=wrong[0]):
            return made


def digits(choices):
    """Make five picks, each of its own choice, and mention the last choice first."""
    last = choices.of("last", 3)
    picks = [choices.of(place, 3, since=place) for place in range(4)]
    choices.matters("last", since=4)
    return (*picks, last)


@pytest.mark.parametrize("recorded", [(0, 0, 0, 0, 0), (2, 2, 2, 2, 2), (1, 0, 2, 0, 1)])
def test_choices_are_settled_one_after_the_other(recorded):
    """Where each pick settles one choice, there are as many runs as steps to the right values, and the last is right."""
    made = runs(digits, recorded)
    assert made[-1] == recorded
    assert len(made) == 1 + sum(recorded)


def test_nothing_is_left_out_where_the_end_settles_all():
    """Where only the last pick tells, every combination is tried, once."""
    made = runs(lambda choices: (3 * choices.of("a", 2, since=0) + choices.of("b", 3, since=0),), (9,))
    assert sorted(made) == [(0,), (1,), (2,), (3,), (4,), (5,)]


def test_a_choice_that_never_mattered_is_not_varied():
    """A choice without a moment from which it matters has its first value in every run."""
    made = runs(lambda choices: (choices.of("a", 2, since=0), choices.of("idle", 50)), (3, 0))
    assert made == [(0, 0), (1, 0)]


def test_later_choices_begin_anew_after_an_earlier_one():
    """A choice that is asked for only after a wrong turn is forgotten with it, however many options it had."""

    def play(choices):
        first = choices.of("first", 2, since=0)
        return first, choices.of(("then", first), 2 + first, since=1)

    assert runs(play, (1, 2)) == [(0, 0), (1, 0), (1, 1), (1, 2)]


def test_the_first_moment_counts():
    """A choice matters from the first moment that is mentioned, whatever comes later."""
    choices = Choices()
    choices.of("a", 2)
    choices.matters("a", since=3.0)
    choices.matters("a", since=7.0)
    assert not choices.advance(until=2.0)
    choices.of("a", 2)
    choices.matters("a", since=3.0)
    assert choices.advance(until=3.0)
    assert choices.of("a", 2) == 1
    assert not Choices().advance(until=math.inf)
