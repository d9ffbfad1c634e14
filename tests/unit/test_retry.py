"""The budget and the throttle, by their formulas."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.retry import RetryBudget


class TestBudget:
    """Retries as a share of requests."""

    def test_an_all_failing_side_gets_the_ratio_and_the_reserve_and_no_more(self):
        """A budget grants retries for a fifth of the requests, and a reserve besides.

        The reserve is one a second for ten seconds.
        """
        budget = RetryBudget(ratio=0.2, reserve=1.0, ttl=10.0)
        retries = 0
        for number in range(1_000):
            now = number / 200
            budget.deposit(now=now)
            retries += sum(budget.withdraw(now=now) for _ in range(3))
        assert retries == 0.2 * 1_000 + 10

    def test_contributions_end(self):
        """Contributions to a retry budget end after ttl seconds, and only the reserve is left."""
        budget = RetryBudget(ratio=0.5, reserve=0.0, ttl=10.0)
        for _ in range(10):
            budget.deposit(now=0.0)
        assert budget.balance(now=9.0) == 5.0
        assert budget.balance(now=10.0) == 0.0
        assert not budget.withdraw(now=10.0)

    @given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=300))
    def test_never_more_in_a_window_than_it_earns(self, steps):
        """Each retry and those of the ten tenths of ``ttl`` up to it are earned by the requests of the same ten and the reserve."""
        budget, tenth, requests, retries = (
            RetryBudget(ratio=0.3, reserve=0.5, ttl=5.0),
            0,
            Counter(),
            Counter(),
        )
        for tenths, retry in steps:
            tenth += tenths // 4
            now = (tenth + tenths % 4 / 4) * 0.5
            if not retry:
                budget.deposit(now=now)
                requests[tenth] += 1
            elif budget.withdraw(now=now):
                retries[tenth] += 1
                window = range(tenth - 9, tenth + 1)
                earned = 0.3 * sum(requests[one] for one in window) + 0.5 * 5.0
                assert sum(retries[one] for one in window) <= earned + 1e-9

    def test_retries_of_the_same_tenth_end_together(self):
        """The retries of a tenth of ``ttl`` no longer count once ten tenths have begun after it, and not before."""
        budget = RetryBudget(ratio=0.0, reserve=1.0, ttl=10.0)
        assert sum(budget.withdraw(now=0.99) for _ in range(20)) == 10
        assert not budget.withdraw(now=9.99)
        assert sum(budget.withdraw(now=10.0) for _ in range(20)) == 10

    def test_requests_of_before_a_clock_went_back_do_not_count(self):
        """If time goes back by more than ``ttl``, old requests earn no retries and old retries cost none; by less, all still count."""
        budget = RetryBudget(ratio=0.5, reserve=1.0, ttl=10.0)
        for _ in range(100):
            budget.deposit(now=10_000.0)
        assert budget.withdraw(now=10_000.0)
        assert budget.balance(now=9_992.0) == 59.0
        assert budget.balance(now=500.0) == 10.0

    @given(st.floats(0.01, 1.0), st.integers(0, 200))
    def test_a_balance_of_one_is_enough(self, ratio, requests):
        """``withdraw`` succeeds if and only if ``balance`` is at least one, so that a caller can look before it takes."""
        budget = RetryBudget(ratio=ratio, reserve=0.0)
        for _ in range(requests):
            budget.deposit(now=0.0)
        for _ in range(requests + 1):
            enough = budget.balance(now=0.0) >= 1.0
            assert budget.withdraw(now=0.0) is enough


@pytest.mark.parametrize(
    ("parameter", "make"),
    [
        ("ratio", lambda: RetryBudget(ratio=-0.1)),
        ("reserve", lambda: RetryBudget(reserve=float("nan"))),
        ("ttl", lambda: RetryBudget(ttl=0.0)),
    ],
)
def test_wrong_values_are_refused(parameter, make):
    """A wrong value of a retry budget raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter
