"""Replay of captured adverts under another configuration.

A driver writes every packet that it receives as one line of JSON (:class:`LoggedAdvert`); :func:`replay_adverts`
lets another :class:`VirtualRouter` receive the same packets at the same times, in virtual time.

*Limits:* adverts that the replayed router would have sent change nothing in the log. Once it becomes active where the
recorded one did not, the others would have acted differently from the log. The first change is exact; later ones are
indications.

Cost: O(packets), some 30 microseconds each, however far apart they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from balancekit._support import validation as valid
from balancekit._support.arguments import MAX_TIME_S, checked_arguments, checked_stream
from balancekit._support.text import plain
from balancekit.errors import ConfigurationError
from balancekit.ha._effects import Became, Effect
from balancekit.ha._packet import RejectedAdvert, decode_advert
from balancekit.ha._roles import Role
from balancekit.ha._router import VirtualRouter

__all__ = ["AdvertReplay", "LoggedAdvert", "read_advert_log", "replay_adverts"]


class LoggedAdvert(NamedTuple):
    """One packet as it was received.

    Example
    -------
    >>> from balancekit.ha import LoggedAdvert, read_advert_log
    >>> line = LoggedAdvert(1.5, "192.0.2.11", "224.0.0.18", 255, bytes.fromhex("313396010032d399c0000264")).line()
    >>> line
    '{"t":1.5,"source":"192.0.2.11","destination":"224.0.0.18","hop_limit":255,"hex":"313396010032d399c0000264"}'
    >>> next(read_advert_log([line])).t
    1.5
    """

    t: float
    """Seconds since the log was begun."""
    source: str
    destination: str
    hop_limit: int
    data: bytes

    @checked_arguments
    def line(self) -> str:
        """Return it as a line of a log, without the line break."""
        facts = {
            "t": round(self.t, 6),
            "source": self.source,
            "destination": self.destination,
            "hop_limit": self.hop_limit,
            "hex": self.data.hex(),
        }
        return json.dumps(facts, separators=(",", ":"))


def read_advert_log(lines: Iterable[str]) -> Iterator[LoggedAdvert]:
    """Read a log of adverts, line by line; empty lines are skipped.

    Parameters
    ----------
    lines
        An open file, or lines.

    Raises
    ------
    ConfigurationError
        If a line is none of :meth:`LoggedAdvert.line`.
    """
    if not isinstance(lines, Iterable) or isinstance(lines, str | bytes):
        raise ConfigurationError("lines", lines, "lines of an advert log")
    for number, line in enumerate(lines, 1):
        try:
            text = plain(line)
            if not text.strip():
                continue
            facts = json.loads(text)
            data = bytes.fromhex(facts["hex"])
            yield LoggedAdvert(
                _time("t", float(facts["t"])),
                str(facts["source"]),
                str(facts["destination"]),
                int(facts["hop_limit"]),
                data,
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise ConfigurationError(f"line {number}", line, "a line of an advert log") from None


class AdvertReplay(NamedTuple):
    """What a router would have done."""

    changes: tuple[tuple[float, Became], ...]
    """Every change of its role, with its time in the log."""
    rejected: Mapping[str, int]
    """How many packets were rejected, by reason."""

    @property
    def takeovers(self) -> int:
        """How often it would have become active."""
        return sum([change.role is Role.ACTIVE for _, change in self.changes])

    @checked_arguments
    def role_at(self, t: float) -> Role:
        """Return its role at a time of the log."""
        latest = valid.number("t", t)
        roles = [change.role for at, change in self.changes if at <= latest]
        return roles[-1] if roles else Role.INITIALIZE


@checked_stream
def replay_adverts(
    log: Iterable[LoggedAdvert], router: VirtualRouter, *, start: float = 0.0, end: float | None = None
) -> AdvertReplay:
    """Let a router receive the packets of a log, in virtual time.

    Parameters
    ----------
    log
        Packets in the order of their times.
    router
        The configuration to try.
    start
        When the router starts, in seconds of the log; packets before are not received.
    end
        When to look last; the last packet if left out.

    Raises
    ------
    ConfigurationError
        If times go backwards, or one is no number of seconds.

    Example
    -------
    >>> from balancekit.ha import LoggedAdvert, VirtualRouter, replay_adverts
    >>> rival = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=0.5)
    >>> data = bytes.fromhex("313396010032d399c0000264")
    >>> log = [LoggedAdvert(t, "192.0.2.11", "224.0.0.18", 255, data) for t in (0.0, 0.5, 1.0, 3.0)]
    >>> patient = rival.replace(source="192.0.2.12", priority=100, missed=5)
    >>> replay_adverts(log, patient.replace(missed=3)).takeovers, replay_adverts(log, patient).takeovers
    (1, 0)
    """
    now = _time("start", start)
    latest = None if end is None else _time("end", end)
    machine = router.replace(check_pause=False)()  # it is never paused: what is due is done before what comes
    changes: list[tuple[float, Became]] = []
    rejected: Counter[str] = Counter()

    def note(effects: Iterable[Effect]) -> None:
        changes.extend([(now, effect) for effect in effects if isinstance(effect, Became)])

    def run(until: float) -> None:
        nonlocal now
        if machine.role is Role.BACKUP and machine.deadline is not None and machine.deadline <= until:
            now = machine.deadline
            note(machine.advance(now=now))
        now = max(now, until)
        if machine.role is Role.ACTIVE:
            note(machine.advance(now=now))  # its adverts change nothing: one stands for all that were due

    note(machine.start(now=now))
    last = -MAX_TIME_S
    for packet in log:
        if not last <= packet.t <= MAX_TIME_S:
            raise ConfigurationError("log", packet.t, f"times in order, from {last:g} to {MAX_TIME_S:g}")
        last = packet.t
        if packet.t < start:
            continue
        run(packet.t)
        try:
            advert = decode_advert(
                packet.data,
                source=packet.source,
                destination=packet.destination,
                hop_limit=packet.hop_limit,
            )
        except RejectedAdvert as error:
            rejected[error.reason] += 1
            continue
        reason = router.rejection(advert, packet.source)
        if reason is not None:
            rejected[reason] += 1
        note(machine.receive(advert, packet.source, now=now))
    run(max(last, start) if latest is None else latest)
    return AdvertReplay(tuple(changes), dict(rejected))


def _time(parameter: str, t: float) -> float:
    return valid.number(parameter, t, minimum=-MAX_TIME_S, maximum=MAX_TIME_S)
