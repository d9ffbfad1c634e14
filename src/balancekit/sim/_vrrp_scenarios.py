"""Built-in VRRP scenarios with claims: a split network, a frozen process, a cut link, and lost adverts.

``balancekit vrrp simulate`` runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, NamedTuple

from balancekit._support.display import call
from balancekit.ha import Role, VirtualRouter
from balancekit.sim._vrrp_events import VrrpDo, VrrpEvent
from balancekit.sim._vrrp_network import VrrpSimulation
from balancekit.sim._vrrp_report import VrrpReport

__all__ = ["VrrpClaim", "VrrpFound", "VrrpScenario", "vrrp_scenarios"]

INTERVAL_S: Final = 0.5
FIRST: Final = VirtualRouter(
    vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=INTERVAL_S
)
SECOND: Final = FIRST.replace(source="192.0.2.12", priority=100)
DOWN_S: Final = SECOND.down(INTERVAL_S)
"""Active_Down_Interval of the second router in seconds: it becomes active if it receives no advert for so long."""
ROUTERS: Final = MappingProxyType({"r1": FIRST, "r2": SECOND})
SETTLED_S: Final = 3.0
"""Time in seconds at which the first election has ended."""
LOST_SHARE: Final = 0.2
"""The share of packets that the scenario ``lost-adverts`` loses."""
LOSSY_S: Final = 600.0
"""Length of that scenario in seconds."""
DEVIATIONS: Final = 4.5
"""Allowed deviation of the number of false takeovers, in standard deviations."""


class VrrpFound(NamedTuple):
    """The result of a claim."""

    text: str
    """The statement."""
    holds: bool
    """Whether the statement is true of the report."""
    found: str
    """The measured value, as text."""


class VrrpClaim(NamedTuple):
    """A statement about a VRRP scenario, and the function that measures it."""

    text: str
    """The statement."""
    measure: Callable[[VrrpReport], tuple[bool, str]]
    """Function of a report. It returns whether the statement is true, and the measured value as text."""

    def __repr__(self) -> str:
        return call("VrrpClaim", self, {})


class VrrpScenario(NamedTuple):
    """A scenario with two routers, ``r1`` of priority 150 and ``r2`` of priority 100, and an advert interval of 0.5 s."""

    title: str
    """One line that describes the scenario."""
    why: str
    """The result of the scenario and its reason."""
    events: tuple[VrrpEvent, ...]
    """The events."""
    seconds: float
    """Length of the simulation in seconds."""
    claims: tuple[VrrpClaim, ...]
    """The claims, which :meth:`check` measures."""
    seed: int = 1
    """Seed of latencies and losses."""

    def run(self) -> VrrpReport:
        """Simulate the scenario.

        Example
        -------
        >>> from balancekit.sim import vrrp_scenarios
        >>> scenario = vrrp_scenarios()["split-brain"]
        >>> report = scenario.run()
        >>> report.holders(6.0), report.holders(9.0)
        (('r1', 'r2'), ('r1',))
        >>> all(found.holds for found in scenario.check(report))
        True
        """
        return VrrpSimulation(ROUTERS, self.events, seed=self.seed).run(self.seconds)

    def check(self, report: VrrpReport) -> list[VrrpFound]:
        """Measure the claims of the scenario."""
        return [VrrpFound(claim.text, *claim.measure(report)) for claim in self.claims]


def vrrp_scenarios() -> dict[str, VrrpScenario]:
    """Return the built-in VRRP scenarios, by name.

    Example
    -------
    >>> from balancekit.sim import vrrp_scenarios
    >>> sorted(vrrp_scenarios())[:3]
    ['cut-wire', 'frozen', 'lost-adverts']
    """
    return {
        "split-brain": VrrpScenario(
            "The network splits, and heals",
            "VRRP has no quorum. A router that receives no advert for a down time takes over. It cannot know whether the\n"
            "other router is dead or only unreachable. Where two active routers do harm, use a Majority with a witness.",
            (
                VrrpEvent(at=SETTLED_S, do=VrrpDo.SPLIT, nodes=("r1",)),
                VrrpEvent(at=7.0, do=VrrpDo.HEAL),
            ),
            10.0,
            (
                VrrpClaim("both are active one down time after the split", _both_active),
                VrrpClaim(
                    "one interval after it heals, only the router of higher priority is active",
                    _one_active(7.0),
                ),
                VrrpClaim("at each moment a router is active", _no_outage),
            ),
        ),
        "frozen": VrrpScenario(
            "The active router's process is frozen, and goes on",
            "Its kernel answers for the address all the time. When its process continues, it must assume that another\n"
            "router is active: it becomes backup and listens for a down time before it sends anything.",
            (
                VrrpEvent(at=SETTLED_S, do=VrrpDo.FREEZE, nodes=("r1",)),
                VrrpEvent(at=7.0, do=VrrpDo.THAW, nodes=("r1",)),
            ),
            10.0,
            (
                VrrpClaim("the other router takes over", lambda report: _holds(report, 6.9, ("r1", "r2"))),
                VrrpClaim(
                    "the resumed router is backup at once", lambda report: _holds(report, 7.001, ("r2",))
                ),
                VrrpClaim("the resumed router sends nothing for a down time", _silent_after(7.0)),
            ),
        ),
        "cut-wire": VrrpScenario(
            "The active router's link is cut, and restored",
            "A lost carrier is a fault: the router gives the address up, but its resignation cannot arrive. So the other\n"
            "router waits for its whole down time.",
            (
                VrrpEvent(at=SETTLED_S, do=VrrpDo.CUT, nodes=("r1",)),
                VrrpEvent(at=7.0, do=VrrpDo.JOIN, nodes=("r1",)),
            ),
            12.0,
            (
                VrrpClaim(
                    "the outage lasts between a down time less an interval, and a down time",
                    _outage_of_a_death,
                ),
                VrrpClaim(
                    "two routers are never active for longer than a packet takes", _overlaps_under(0.001)
                ),
                VrrpClaim(
                    "with its link restored, the router takes over again",
                    lambda report: _holds(report, 12.0, ("r1",)),
                ),
            ),
        ),
        "lost-adverts": VrrpScenario(
            "A fifth of all packets is lost",
            "Three adverts lost in a row look like a failure of the router. The false takeover ends when one packet gets\n"
            "through: the active router answers adverts of lower priority at once.",
            (VrrpEvent(at=SETTLED_S, do=VrrpDo.LOSE, value=LOST_SHARE),),
            LOSSY_S,
            (
                VrrpClaim("false takeovers are as frequent as three losses in a row", _false_takeovers),
                VrrpClaim("at each moment a router is active", _no_outage),
                VrrpClaim("each overlap ends within ten intervals", _overlaps_under(10 * INTERVAL_S)),
            ),
        ),
    }


def _holds(report: VrrpReport, t: float, holders: tuple[str, ...]) -> tuple[bool, str]:
    found = report.holders(t)
    return found == holders, f"{', '.join(found)} at {t:g} s"


def _both_active(report: VrrpReport) -> tuple[bool, str]:
    (overlap,) = report.overlaps()
    waited = overlap.begin - SETTLED_S
    return DOWN_S - INTERVAL_S <= waited <= DOWN_S, f"after {waited:.2f} s, down time {DOWN_S:.2f} s"


def _one_active(healed: float) -> Callable[[VrrpReport], tuple[bool, str]]:
    def measure(report: VrrpReport) -> tuple[bool, str]:
        overlap = report.overlaps()[-1]
        waited = overlap.end - healed
        only = report.holders(report.end) == ("r1",)
        return only and waited <= INTERVAL_S + 0.001, f"after {waited:.3f} s"

    return measure


def _no_outage(report: VrrpReport) -> tuple[bool, str]:
    outages = report.outages(after=SETTLED_S)
    return not outages, f"{len(outages)} outages"


def _silent_after(woken: float) -> Callable[[VrrpReport], tuple[bool, str]]:
    def measure(report: VrrpReport) -> tuple[bool, str]:
        first = next((sent.t for sent in report.sent if sent.node == "r1" and sent.t >= woken), math.inf)
        down = FIRST.down(INTERVAL_S)
        return first - woken >= down, f"first advert after {first - woken:.2f} s, down time {down:.2f} s"

    return measure


def _outage_of_a_death(report: VrrpReport) -> tuple[bool, str]:
    outage = report.outages(after=SETTLED_S)[0].seconds
    return DOWN_S - INTERVAL_S <= outage <= DOWN_S, f"{outage:.2f} s, down time {DOWN_S:.2f} s"


def _overlaps_under(seconds: float) -> Callable[[VrrpReport], tuple[bool, str]]:
    def measure(report: VrrpReport) -> tuple[bool, str]:
        longest = max([overlap.seconds for overlap in report.overlaps()], default=0.0)
        return longest <= seconds, f"the longest takes {longest:.4f} s"

    return measure


def _false_takeovers(report: VrrpReport) -> tuple[bool, str]:
    """Compare the number of false takeovers with that of runs of three or more losses, ``adverts * p**3 * (1 - p)``.

    The claim holds if they differ by at most 4.5 standard deviations.
    """
    adverts = sum([sent.node == "r1" and sent.t > SETTLED_S for sent in report.sent])
    expected = adverts * LOST_SHARE**3 * (1.0 - LOST_SHARE)
    found = sum(
        [
            change.node == "r2" and change.role is Role.ACTIVE and change.t > SETTLED_S
            for change in report.changes
        ]
    )
    holds = abs(found - expected) <= DEVIATIONS * math.sqrt(expected)
    return holds, f"{found}, expected {expected:.1f} in {adverts} adverts"
