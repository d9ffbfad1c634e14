"""Answers of one policy from many threads while its sites fail and come back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from random import Random

import pytest

from balancekit.gslb import AllUp, Client, FailBack, Failover, Geo, GeoMap, Policy, Query, Standing

QUERY = Query(name="www", client=Client(address="192.0.2.53"))
FAIL_BACK = FailBack(hold_down=0.5, ramp=5.0, steps=50)


def failover() -> Failover:
    """Return two sites in a fixed order."""
    return Failover({"eu": AllUp(["a"]), "us": AllUp(["b"])}, fail_back=FAIL_BACK)


def geo() -> Geo:
    """Return two sites of which the first is nearest to all."""
    sites = {"eu": AllUp(["a"]), "us": AllUp(["b"])}
    return Geo(GeoMap.build(default=["eu", "us"]), sites, fail_back=FAIL_BACK)


@pytest.mark.usefixtures("switch_often")
@pytest.mark.parametrize("make", [failover, geo])
def test_answers_of_many_threads_share_a_fail_back(make: Callable[[], Policy]) -> None:
    """No answer fails, and each names one site, whatever other threads see of the sites at that moment."""
    errors: list[Exception] = []
    for _ in range(60):
        policy, up, ticks = make(), {"a": True, "b": True}, itertools.count()

        def ask(
            seed: int, policy: Policy = policy, up: dict[str, bool] = up, ticks: Iterator[int] = ticks
        ) -> None:
            rng = Random(seed)
            try:
                for _ in range(150):
                    if rng.random() < 0.03:
                        up["a"] = not up["a"]
                    answer = policy.answer(
                        QUERY, lambda one: Standing(up=up[one]), now=next(ticks) * 0.02, rng=rng
                    )
                    assert answer.chosen in (("a",), ("b",))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
