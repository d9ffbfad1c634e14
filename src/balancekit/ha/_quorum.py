"""Quorum: whether enough of a group is up, and whether one node alone may act.

:class:`Quorum` decides whether enough servers are up to justify an address. It has hysteresis, so that one flapping
server does not move the address. :class:`Majority` decides whether a node may be the only active one, by votes that
are lent for a time: two nodes and a witness that cannot see each other never hold a majority at once.

*Guarantee of Majority.* A voter lends its vote to one candidate at a time, from the moment it answers; the
candidate counts it from the moment of its request, and shorter by ``drift``. A vote that is given back is free unless
its candidate has requested it again. Therefore at most one candidate holds more than half of the votes, whatever
is lost, delayed, repeated or paused. This requires that no two clocks run faster or slower than each other by more than
``drift``, and that no clock is reset while a message that states its time is on the way. So no clock goes back, and none
stands still while its machine is suspended: on Linux ``time.clock_gettime(time.CLOCK_BOOTTIME)``, not ``time.time`` or
``time.monotonic``.

Cost: O(1) per call; O(voters) for :meth:`MajorityMachine.holds`.

Source: keepalived 2.2.7, ``quorum`` and ``hysteresis``; Gray and Cheriton (1989), *Leases*.
"""

from __future__ import annotations

import enum
import math

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Majority", "MajorityMachine", "Quorum", "QuorumMachine", "QuorumState", "VoteMachine"]


class QuorumState(enum.StrEnum):
    """Whether enough is there."""

    UP = "up"
    DOWN = "down"


class Quorum(Record):
    """A threshold with hysteresis: up from one weight on, down below a smaller one.

    Parameters
    ----------
    quorum
        The weight that must be up, > 0.
    hysteresis
        Up at ``quorum + hysteresis`` or more, down below ``quorum - hysteresis``; in [0, quorum).
    start
        The state before the first observation.

    Raises
    ------
    ConfigurationError
        If ``quorum`` is not > 0, ``hysteresis`` is outside [0, quorum), or ``start`` is no ``QuorumState``.

    Example
    -------
    >>> from balancekit.ha import Quorum
    >>> machine = Quorum(quorum=3, hysteresis=1)()
    >>> [machine.observe(weight).value for weight in (3, 4, 3, 2, 1, 3)]
    ['down', 'up', 'up', 'up', 'down', 'down']
    """

    quorum: float = 1.0
    hysteresis: float = 0.0
    start: QuorumState = QuorumState.DOWN

    def _check(self) -> None:
        self.__dict__["start"] = valid.member("start", self.start, QuorumState)
        valid.number("quorum", self.quorum, above=0.0)
        valid.number("hysteresis", self.hysteresis, minimum=0.0)
        if self.hysteresis >= self.quorum:
            raise ConfigurationError("hysteresis", self.hysteresis, f"a number < quorum ({self.quorum:g})")

    def __call__(self) -> QuorumMachine:
        """Make the machine."""
        return QuorumMachine(self)


class QuorumMachine(StateRepr):
    """The quorum of one group. Made by :class:`Quorum`."""

    @checked_arguments
    def __init__(self, config: Quorum) -> None:
        self.config: Quorum = config
        self.state: QuorumState = config.start
        """The present state."""

    @checked_arguments
    def observe(self, weight: float) -> QuorumState:
        """Record the weight of all members that are up; return the state."""
        config = self.config
        valid.number("weight", weight, minimum=0.0)
        if weight >= config.quorum + config.hysteresis:
            self.state = QuorumState.UP
        elif weight < config.quorum - config.hysteresis:
            self.state = QuorumState.DOWN
        return self.state


class Majority(Record):
    """A lock that needs more than half of all votes, each lent for a time.

    Parameters
    ----------
    voters
        Ids, each once: the nodes and, for two nodes, a witness that holds nothing itself.
    lease
        Seconds for which a vote is lent, > 0: the longest outage when the holder is lost.
    drift
        By what fraction two clocks may run apart, in [0, 1).

    Raises
    ------
    ConfigurationError
        If ``voters`` is empty or has an id twice, ``lease`` is not > 0, or ``drift`` is outside [0, 1).

    *When not to use it:* where an outage is worse than two holders. A node that loses its majority must let go,
    even if nothing else is wrong: with the witness lost as well, nothing is held.

    Example
    -------
    >>> from balancekit.ha import Majority
    >>> majority = Majority(voters=("a", "b", "witness"), lease=3.0)
    >>> votes = {voter: majority.voter(now=0.0) for voter in majority.voters}
    >>> a, b = majority(), majority()
    >>> for candidate, name, reachable in ((a, "a", ("a", "witness")), (b, "b", ("b", "witness"))):
    ...     for voter in reachable:
    ...         if votes[voter].request(name, now=10.0):
    ...             candidate.granted(voter, requested_at=10.0)
    >>> a.holds(now=10.1), b.holds(now=10.1)
    (True, False)
    """

    voters: tuple[str, ...]
    lease: float = 3.0
    drift: float = 0.01

    def _check(self) -> None:
        valid.ids("voters", self.voters)
        if not self.voters or len(set(self.voters)) < len(self.voters):
            raise ConfigurationError("voters", self.voters, "one id or more, each once")
        valid.number("lease", self.lease, above=0.0)
        if not 0.0 <= valid.number("drift", self.drift) < 1.0:
            raise ConfigurationError("drift", self.drift, "a number >= 0 and < 1")

    def __call__(self) -> MajorityMachine:
        """Make the machine of a candidate."""
        return MajorityMachine(self)

    @checked_arguments
    def voter(self, *, now: float) -> VoteMachine:
        """Make the machine of a voter that starts now, and may have lent its vote before it was restarted."""
        return VoteMachine(self, now=now)


class MajorityMachine(StateRepr):
    """The votes of one candidate. Made by :class:`Majority`."""

    @checked_arguments
    def __init__(self, config: Majority) -> None:
        self.config: Majority = config
        self._until: dict[str, float] = {}
        self._released_at = -math.inf

    @checked_arguments
    def granted(self, voter: str, *, requested_at: float) -> None:
        """Record that a voter has lent its vote. Do nothing if it was requested before the last :meth:`release_all`.

        Parameters
        ----------
        voter
            Its id.
        requested_at
            The time at which this candidate *sent* the request, on its own clock.

        Raises
        ------
        ConfigurationError
            If it is no voter, or the time is not finite.
        """
        requested_at = valid.number("requested_at", requested_at)
        if voter not in self.config.voters:
            raise ConfigurationError("voter", voter, f"one of {', '.join(self.config.voters)}")
        if requested_at <= self._released_at:
            return
        until = requested_at + self.config.lease * (1.0 - self.config.drift)
        self._until[voter] = max(until, self._until.get(voter, until))

    @checked_arguments
    def refused(self, voter: str) -> None:
        """Take note that a voter has lent its vote to another candidate."""
        self._until.pop(voter, None)

    @checked_arguments
    def release_all(self, *, now: float) -> None:
        """Discard all votes that were requested until now. Then notify the voters (:meth:`VoteMachine.give_back`)."""
        self._released_at = max(self._released_at, valid.number("now", now))
        self._until.clear()

    @checked_arguments
    def holds(self, *, now: float) -> bool:
        """Return whether this candidate has more than half of all votes."""
        deadline = self.deadline
        return deadline is not None and now < deadline

    @property
    def deadline(self) -> float | None:
        """When the majority ends unless a vote is renewed; ``None`` if there are too few."""
        needed = len(self.config.voters) // 2 + 1
        ends = sorted(self._until.values(), reverse=True)
        return ends[needed - 1] if len(ends) >= needed else None


class VoteMachine(StateRepr):
    """The vote of one voter. Made by :meth:`Majority.voter`.

    Raises
    ------
    ConfigurationError
        If ``now`` is no finite number.
    """

    @checked_arguments
    def __init__(self, config: Majority, *, now: float) -> None:
        self.config: Majority = config
        self.lent_to: str | None = None
        """The candidate that has the vote, or had it last."""
        self.lent_until: float = valid.number("now", now) + config.lease
        """Until when no other candidate can get it."""
        self._requested_at = math.inf

    @checked_arguments
    def request(self, candidate: str, *, now: float, requested_at: float | None = None) -> bool:
        """Lend the vote for a lease from now, unless another candidate has it; return whether it was lent.

        Parameters
        ----------
        candidate
            Its id.
        now
            The time, by this voter's clock.
        requested_at
            The time at which the candidate sent the request, on its own clock; ``None`` if the vote is never given back.
        """
        valid.text("candidate", candidate)
        at = valid.number("now", now)
        requested = math.inf if requested_at is None else valid.number("requested_at", requested_at)
        if candidate == self.lent_to:
            requested = max(requested, self._requested_at)  # requests may overtake each other
        elif at < self.lent_until:
            return False
        self.lent_to, self.lent_until, self._requested_at = candidate, at + self.config.lease, requested
        return True

    @checked_arguments
    def give_back(self, candidate: str, *, released_at: float, now: float) -> None:
        """Free the vote of a candidate that has released its votes. Do nothing if it has requested the vote again since.

        Parameters
        ----------
        candidate
            Its id.
        released_at
            The time of the call of :meth:`MajorityMachine.release_all`, on the clock of the candidate.
        now
            The time, by this voter's clock.
        """
        gone = valid.number("released_at", released_at)
        at = valid.number("now", now)
        if candidate == self.lent_to and self._requested_at <= gone:
            self.lent_to, self.lent_until = None, at
