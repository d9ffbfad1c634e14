"""A waiting room as a state machine: callers come, give up and are served in any order, beside a model of slots and a queue.

Callers are tasks of one event loop that the machine steps, so each history is reproducible. After each step nothing waits beside
a slot that it could have, no more slots are taken than there are, and what was served is what the queue's order says.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from balancekit import LoadBalancer
from balancekit.errors import UnavailableError
from balancekit.lease import Lease
from balancekit.routing import MaxInFlight
from balancekit.waiting import WaitingQueue, WaitingRoom, _handover

VISITED: Counter[str] = Counter()


class RoomMachine(RuleBasedStateMachine):
    """Two endpoints of one slot each, and a third that comes and goes."""

    tasks = Bundle("tasks")

    @initialize(order=st.sampled_from(["fifo", "lifo", "adaptive"]), most=st.sampled_from([1, 1, 3, None]))
    def begin(self, order, most):
        """Make the loop, the balancer and the room."""
        self.loop = asyncio.new_event_loop()
        self.lb = LoadBalancer(["a", "b"], selector=MaxInFlight(1))
        self.room = WaitingRoom(self.lb, WaitingQueue(max_waiting=most, order=order))
        self.order, self.most = order, most
        self.open: list[Lease[str]] = []
        self.waiting: dict[asyncio.Task[None], dict[str, object]] = {}
        self.served: list[asyncio.Task[None]] = []

    def step(self):
        """Let the loop run until nothing in it is ready."""
        for _ in range(6):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.waiting if task.done()]:
            asked = self.waiting.pop(task)
            if task.cancelled():
                VISITED["cancelled"] += 1
            elif task.exception() is None:
                VISITED["served"] += 1
                assert task.result().target not in asked["exclude"]
                self.open.append(task.result())
            else:
                VISITED[type(task.exception()).__name__] += 1
                assert isinstance(task.exception(), UnavailableError)

    @rule(
        target=tasks,
        criticality=st.integers(0, 2),
        tenant=st.sampled_from("xy"),
        exclude=st.sampled_from([(), (), (), ("a",), ("b",)]),
    )
    def ask(self, criticality, tenant, exclude):
        """Let a request come."""
        asking = self.room.acquire_async(
            timeout=900.0, criticality=criticality, tenant=tenant, exclude=exclude
        )
        task = self.loop.create_task(asking)
        self.waiting[task] = {"exclude": exclude, "criticality": criticality}
        self.step()
        VISITED["had to wait"] += task in self.waiting
        return task

    @rule(place=st.integers(0, 5))
    def release(self, place):
        """End a lease; the slot goes to one that waits, if any can use it."""
        if self.open:
            best = max(
                [one["criticality"] for one in self.waiting.values() if not one["exclude"]], default=None
            )
            before = dict(self.waiting)
            lease = self.open.pop(place % len(self.open))
            lease.release()
            self.step()
            gone = [one for task, one in before.items() if task not in self.waiting]
            assert len(gone) <= 1, "one request is woken for a slot"
            present = self.lb._current.published.state.snapshot.members.nodes
            if best is not None and any(node is lease.node for node in present):
                assert gone
                assert gone[0]["criticality"] >= best

    @rule(task=consumes(tasks))
    def give_up(self, task):
        """Cancel a request while it waits."""
        if not task.done():
            task.cancel()
        self.step()

    @rule(task=consumes(tasks), place=st.integers(0, 5))
    def give_up_as_a_slot_comes(self, task, place):
        """Cancel a request right after it was given a slot, if it is the one that is next: the slot goes on."""
        if self.open and not task.done():
            self.open.pop(place % len(self.open)).release()
            VISITED["cancelled with a slot"] += len(self.open) < self.lb.stats().inflight
            task.cancel()
        self.step()

    @rule()
    def change(self):
        """Add an endpoint, or remove it."""
        if "c" in self.lb:
            self.lb.remove("c")
        else:
            self.lb.add("c")
        self.step()

    @rule()
    def drain(self):
        """Drain an endpoint, and let it back."""
        self.lb.drain("a")
        self.step()
        self.lb.undrain("a")
        self.room._handover.notify()  # no event says so: time does
        self.step()

    @invariant()
    def nothing_waits_beside_a_slot(self):
        """Check that what waits could not be served now, and that slots and places are counted right."""
        stats = self.lb.stats()
        assert len(self.room) == len(self.waiting) <= (self.most or 10**9)
        assert stats.inflight == len(self.open)
        assert all(endpoint.inflight <= 1 for endpoint in stats.endpoints)
        for asked in self.waiting.values():
            with pytest.raises(UnavailableError):
                self.lb.acquire(exclude=asked["exclude"])

    def teardown(self):
        """Close the room: what waits is refused, and nothing is held."""
        self.room.close()
        self.step()
        assert not self.waiting
        for lease in self.open:
            lease.release()
        assert (self.lb.stats().inflight, len(self.room)) == (0, 0)
        assert not any(self.room._handover.queue._levels)
        self.loop.close()


@pytest.fixture(autouse=True)
def _wake_ups_alone(monkeypatch):
    """Switch off the looks that time causes."""
    monkeypatch.setattr(_handover, "POLL_S", 3600.0)


def test_any_history_of_a_room():
    """Requests waited, were served, refused, cancelled, and cancelled with a slot; no history breaks an invariant."""
    VISITED.clear()
    run_state_machine_as_test(
        RoomMachine,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
        ),
    )
    assert {"had to wait", "served", "cancelled", "cancelled with a slot", "SaturatedError"} <= {
        name for name, count in VISITED.items() if count
    }
