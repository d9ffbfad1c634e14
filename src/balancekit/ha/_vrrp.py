"""VRRP machine: one election for one set of addresses, without input, output or a clock.

Its table is :data:`~balancekit.ha.VRRP`; time is real-valued seconds, given with every call. Rejected adverts have
no effect at all, not even on a timer.

Cost: O(number of addresses) per call.

Source: RFC 5798 and RFC 9568 section 6; ``preempt_delay``, faults and sync groups as keepalived 2.2.7 has them.
"""

from __future__ import annotations

from typing import Any, Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.whole import whole
from balancekit.errors import ConfigurationError
from balancekit.ha._effects import Announce, Became, Effect, Send, Withdraw
from balancekit.ha._packet import Advert, ip
from balancekit.ha._roles import VRRP, Action, Role, VrrpTrigger
from balancekit.ha._settings import OWNER, RouterSettings

__all__ = ["VrrpMachine"]

MAX_RIVALS: Final = 255
"""Routers remembered: as many as there are priorities."""


class VrrpMachine(StateRepr):
    """The state of one virtual router. Made by :class:`VirtualRouter`.

    Call :meth:`advance` when :attr:`deadline` has come, :meth:`receive` with every advert, and carry out the
    effects that they return, in order. A call that is interrupted has changed nothing, and can be made again. Not
    thread-safe: one driver owns it.

    Example
    -------
    >>> from balancekit.ha import VirtualRouter
    >>> router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", interval=0.5)
    >>> machine = router()
    >>> [str(effect) for effect in machine.start(now=0.0)]
    ['initialize -> backup: started']
    >>> sent, became, announced = machine.advance(now=machine.deadline)
    >>> sent.advert.priority, str(became), announced.addresses
    (100, 'backup -> active: no advert for 1.8 s', ('192.0.2.100',))
    """

    __slots__ = (
        "_armed_at",
        "_faults",
        "_preempt_at",
        "_rivals",
        "_skewed",
        "active_interval",
        "config",
        "deadline",
        "last_received",
        "last_received_at",
        "last_source",
        "priority",
        "role",
        "since",
    )

    @checked_arguments
    def __init__(self, config: RouterSettings) -> None:
        self.config: RouterSettings = config
        self.role: Role = Role.INITIALIZE
        """The present role."""
        self.deadline: float | None = None
        """When to call :meth:`advance` next; ``None`` if only a call can change anything."""
        self.priority: int = config.priority
        """The priority in force, which tracking may have changed."""
        self.active_interval: float = config.interval
        """The interval of the active router, in seconds."""
        self.last_received: Advert | None = None
        """The last advert that was not rejected."""
        self.last_received_at: float | None = None
        """When it was received."""
        self.last_source: str | None = None
        """The address that sent it."""
        self.since: float | None = None
        """When the role was entered."""
        self._armed_at = 0.0
        self._skewed = False
        self._preempt_at: float | None = None
        self._faults: dict[str, None] = {}
        self._rivals: dict[str, tuple[int, float]] = {}

    # ------------------------------------------------------------------ what a driver calls

    @whole
    @checked_arguments
    def start(self, *, now: float) -> tuple[Effect, ...]:
        """Begin as backup, as active if it owns the addresses, or in fault if a fault was reported before."""
        now = valid.number("now", now)
        if self.role is not Role.INITIALIZE:
            return ()
        if self._faults:
            return self._step(VrrpTrigger.FAIL, now, ", ".join(self._faults))
        active = self._owns or self.config.starts_active
        return self._step(VrrpTrigger.START_OWNER if active else VrrpTrigger.START, now, "started")

    @whole
    @checked_arguments
    def stop(self, *, now: float) -> tuple[Effect, ...]:
        """End; an active router resigns with an advert of priority 0, so that a backup waits for its skew only."""
        now = valid.number("now", now)
        return self._step(VrrpTrigger.STOP, now, "stopped")

    @whole
    @checked_arguments
    def receive(self, advert: Advert, source: str, *, now: float) -> tuple[Effect, ...]:
        """Process a received advert.

        Parameters
        ----------
        advert
            What :func:`decode_advert` read.
        source
            The sender's address.
        now
            Seconds.

        Returns
        -------
        tuple
            The effects; none, and nothing has changed, if :meth:`VirtualRouter.rejection` has a reason.
        """
        now = valid.number("now", now)
        if self.role not in {Role.BACKUP, Role.ACTIVE} or self.config.rejection(advert, source) is not None:
            return ()
        woken = self._wake(now)
        trigger = self._judge(advert, source, now)
        self.last_received, self.last_received_at, self.last_source = advert, now, source
        self._remember(advert, source, now)
        if trigger is VrrpTrigger.INFERIOR and self.role is Role.ACTIVE and not self.config.answer_lower:
            return woken
        what = "resigned" if advert.priority == 0 else f"sent priority {advert.priority}"
        return (*woken, *self._step(trigger, now, f"{source} {what}", advert))

    @whole
    @checked_arguments
    def advance(self, *, now: float) -> tuple[Effect, ...]:
        """Do what is due.

        *Pauses.* A router that has not run for longer than its down time past its deadline (a frozen process, a
        suspended machine) must assume that another one is active. It sends nothing, becomes or stays backup,
        and listens for one down time first. Receive what has arrived before advancing.
        """
        now = valid.number("now", now)
        woken = self._wake(now)
        if self.deadline is None or now < self.deadline:
            return woken
        if self.role is Role.ACTIVE:
            return (*woken, *self._step(VrrpTrigger.ADVERT_DUE, now, ""))
        silent = now - self._armed_at
        return (*woken, *self._step(VrrpTrigger.DOWN, now, f"no advert for {silent:.1f} s"))

    @whole
    @checked_arguments
    def set_priority(self, priority: int, *, now: float) -> tuple[Effect, ...]:
        """Change the priority, as tracking does.

        Parameters
        ----------
        priority
            1 to 254; 255 too, for a router that does not claim its addresses.
        now
            Seconds.

        Raises
        ------
        ConfigurationError
            If it is outside, or if the router owns its addresses: that priority never changes.
        """
        now = valid.number("now", now)
        priority = self.check_priority(priority)
        woken = self._wake(now)
        self.priority = priority
        if self.role is Role.BACKUP:
            self._arm(self._armed_at, skewed=self._skewed)
        if self.role is Role.ACTIVE and self.config.resign_when_outranked:
            better = [(above, source) for source, (above, _) in self._rivals.items() if above > priority]
            if better:
                above, source = max(better)
                why = f"priority {priority}, below the {above} of {source}"
                return (*woken, *self._step(VrrpTrigger.OUTRANKED, now, why))
        return woken

    @checked_arguments
    def check_priority(self, priority: int) -> int:
        """Return a priority that :meth:`set_priority` takes; raise its error for any other, and change nothing."""
        claims = self.config.claims
        if claims and self.config.priority == OWNER:
            raise ConfigurationError("priority", priority, "nothing else than 255: it owns the addresses")
        return valid.integer("priority", priority, minimum=1, maximum=OWNER - 1 if claims else OWNER)

    @whole
    @checked_arguments
    def renew(self, *, now: float) -> tuple[Effect, ...]:
        """Set the timer again: an active router sends at once, a backup waits a whole down time from now on."""
        now = valid.number("now", now)
        woken = self._wake(now)
        if self.role is Role.BACKUP:
            self._arm(now, skewed=False)
        elif self.role is Role.ACTIVE:
            self.deadline = now
        return woken

    @whole
    @checked_arguments
    def fault(self, reason: str = "fault", *, now: float) -> tuple[Effect, ...]:
        """Report a fault of something that the router needs: it resigns, and stays out until the fault is cleared.

        Several reasons may stand at once; reporting one twice is the same as once.
        """
        now = valid.number("now", now)
        self._faults[valid.text("reason", reason, empty=True)] = None
        if self.role is Role.INITIALIZE:
            return ()
        return self._step(VrrpTrigger.FAIL, now, reason)

    @whole
    @checked_arguments
    def clear(self, reason: str = "fault", *, now: float) -> tuple[Effect, ...]:
        """Report that a fault is over; once no reason is left, the router starts as backup."""
        now = valid.number("now", now)
        self._faults.pop(reason, None)
        if self.role is not Role.FAULT or self._faults:
            return ()
        trigger = VrrpTrigger.START_OWNER if self._owns else VrrpTrigger.START
        return self._step(trigger, now, f"{reason} cleared")

    @whole
    @checked_arguments
    def leave_with_group(self, *, resign: bool = False, now: float) -> tuple[Effect, ...]:
        """Become backup because another member of the sync group did; resign if that one did."""
        now = valid.number("now", now)
        trigger = VrrpTrigger.OUTRANKED if resign else VrrpTrigger.GROUP
        return self._step(trigger, now, "its sync group is backup")

    @property
    def faults(self) -> tuple[str, ...]:
        """The reasons that stand against this router."""
        return tuple(self._faults)

    @property
    def skew(self) -> float:
        """The present skew, in seconds."""
        return self.config.skew(self.active_interval, self.priority)

    @property
    def down(self) -> float:
        """The present down time, in seconds."""
        return self.config.down(self.active_interval, self.priority)

    def explain(self, *, now: float) -> str:
        """Return the role, the reason for it and what comes next, in one line.

        Example
        -------
        >>> from balancekit.ha import VirtualRouter
        >>> machine = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", interval=0.5)()
        >>> _ = machine.start(now=0.0)
        >>> rival = machine.config.advert(150)
        >>> _ = machine.receive(rival, "192.0.2.13", now=1.0)
        >>> machine.explain(now=1.3)
        'backup: 192.0.2.13 (150) active, last advert 0.3 s ago; would take over in 1.5 s'
        """
        if self.role is Role.INITIALIZE:
            return "initialize: not started"
        if self.role is Role.FAULT:
            return f"fault: {', '.join(self._faults)}"
        due = max(0.0, (self.deadline if self.deadline is not None else now) - now)
        if self.role is Role.ACTIVE:
            held = now - (self.since if self.since is not None else now)
            return f"active: priority {self.priority}, for {held:.1f} s; next advert in {due:.1f} s"
        if self.last_received is None or self.last_received_at is None:
            return f"backup: no advert received; would take over in {due:.1f} s"
        ago = now - self.last_received_at
        if self.last_received.priority == 0:
            seen = f"{self.last_source} resigned {ago:.1f} s ago"
        else:
            seen = f"{self.last_source} ({self.last_received.priority}) active, last advert {ago:.1f} s ago"
        return f"backup: {seen}; would take over in {due:.1f} s"

    # ------------------------------------------------------------------ inside

    def _saved(self) -> tuple[Any, ...]:
        """Return the state that an interrupted call goes back to.

        A change whose effects no driver carries out must not count.
        """
        kept = [getattr(self, name) for name in self.__slots__]
        return tuple([dict(value) if isinstance(value, dict) else value for value in kept])

    def _restore(self, saved: tuple[Any, ...]) -> None:
        for name, value in zip(self.__slots__, saved, strict=True):
            setattr(self, name, value)

    @property
    def _owns(self) -> bool:
        return self.config.claims and self.priority == OWNER

    def _wake(self, now: float) -> tuple[Effect, ...]:
        """Step down after a pause that is longer than the down time."""
        if not self.config.check_pause or self.deadline is None or now <= self.deadline + self.down:
            return ()
        return self._step(VrrpTrigger.PAUSED, now, f"did not run for {now - self.deadline:.1f} s")

    def _judge(self, advert: Advert, source: str, now: float) -> VrrpTrigger:
        """Return which of the triggers an accepted advert is."""
        if advert.priority == 0:
            return VrrpTrigger.RESIGNED
        if self.role is Role.ACTIVE:
            mine, theirs = int(ip(self.config.source)), int(ip(source))
            above = (advert.priority, theirs) > (self.priority, mine)
            return VrrpTrigger.SUPERIOR if above else VrrpTrigger.INFERIOR
        if advert.priority >= self.priority:
            self._preempt_at = None
            return VrrpTrigger.SUPERIOR
        if self._owns:
            return VrrpTrigger.INFERIOR
        if not self.config.preempt and self.priority != OWNER:
            return VrrpTrigger.TOLERATED
        if self._preempt_at is None:
            self._preempt_at = now + self.config.preempt_delay
        return VrrpTrigger.TOLERATED if now < self._preempt_at else VrrpTrigger.INFERIOR

    def _remember(self, advert: Advert, source: str, now: float) -> None:
        """Note the priority of a router that may outrank this one."""
        self._rivals.pop(source, None)
        if advert.priority:
            self._rivals[source] = (advert.priority, now)
            if len(self._rivals) > MAX_RIVALS:
                del self._rivals[next(iter(self._rivals))]

    def _step(
        self, trigger: VrrpTrigger, now: float, why: str, advert: Advert | None = None
    ) -> tuple[Effect, ...]:
        """Carry out what the table says of a trigger."""
        step = VRRP.get((self.role, trigger))
        if step is None:
            return ()
        sent: list[Effect] = []
        rest: list[Effect] = []
        was, self.role = self.role, step.role
        if was is not step.role:
            self.since, self._preempt_at = now, None
            rest.append(Became(role=step.role, was=was, why=why))
        if trigger is VrrpTrigger.DOWN:  # routers that were silent for so long outrank none
            recent = now - self.down
            self._rivals = {source: seen for source, seen in self._rivals.items() if seen[1] > recent}
        for action in step.actions:
            if action is Action.SEND:
                sent.append(Send(advert=self.config.advert(self.priority)))
            elif action is Action.RESIGN:
                sent.append(Send(advert=self.config.advert(0)))
            elif action is Action.ANNOUNCE:
                rest.append(Announce(addresses=self.config.addresses))
            elif action is Action.WITHDRAW:
                rest.append(Withdraw(addresses=self.config.addresses))
            else:
                self._set_timer(action, now, advert)
        return (*sent, *rest)

    def _set_timer(self, action: Action, now: float, advert: Advert | None) -> None:
        if action is Action.ADOPT and advert is not None and self.config.version == 3:
            self.active_interval = advert.interval
        elif action is Action.OWN_INTERVAL:
            self.active_interval = self.config.interval
        elif action is Action.ADVERT_TIMER:
            self.active_interval = self.config.interval
            self.deadline = now + self.config.interval
        elif action is Action.STOP_TIMER:
            self.deadline = None
        elif action in {Action.DOWN_TIMER, Action.SKEW_TIMER}:
            self._arm(now, skewed=action is Action.SKEW_TIMER)

    def _arm(self, at: float, *, skewed: bool) -> None:
        self._armed_at, self._skewed = at, skewed
        self.deadline = at + (self.skew if skewed else self.down)
