"""A configuration: a balancer with its discovery and checks, created from tables and started together."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, final

from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.headers import without_secrets
from balancekit._support.record import Record
from balancekit.balancer import LoadBalancer
from balancekit.checks import AsyncChecks, Schedule, ThreadChecks
from balancekit.config import _vocabulary as vocabulary
from balancekit.config._endpoints import endpoints_of
from balancekit.config._recipe import BALANCER_WORDS, recipe
from balancekit.discovery import AsyncDiscovery, Refresh, ThreadDiscovery
from balancekit.discovery import source as parsed
from balancekit.errors import ConfigurationError
from balancekit.retry import RetryBudget

__all__ = ["WORDS", "Configuration", "Retries", "configuration"]

WORDS: Final = ("title", "endpoints", "discovery", "balancer", "checks", "retry", "simulation")
RETRY_WORDS: Final = ("attempts", "timeout", "hedge", "budget")
FIRST_LIST_TIMEOUT_S: Final = 10.0


class Retries(Record):
    """The ``[retry]`` table: settings of adapters and ``lb.attempts``.

    Parameters
    ----------
    attempts
        Attempts per request, >= 1.
    timeout
        Seconds for the whole call, or ``None``.
    hedge
        Seconds after which a second attempt is sent, or ``None``.
    budget
        The retry budget, shared by all clients of the service.

    Raises
    ------
    ConfigurationError
        If ``attempts`` is not a whole number >= 1, or ``timeout`` or ``hedge`` is not > 0.
    """

    attempts: int = 2
    timeout: float | None = None
    hedge: float | None = None
    budget: RetryBudget

    def _check(self) -> None:
        valid.integer("attempts", self.attempts, minimum=1)
        for name in ("timeout", "hedge"):
            if getattr(self, name) is not None:
                valid.number(name, getattr(self, name), above=0.0)

    def adapter_options(self) -> dict[str, Any]:
        """Return the keyword arguments of an adapter: ``BalancedTransport(lb, **retries.adapter_options())``."""
        return {"attempts": self.attempts, "budget": self.budget}


@final
class Configuration:
    """A balancer with its discovery and checks; created by :func:`balancekit.config.load`.

    It is a context manager, for threads and asyncio. Entering it starts discovery, waits for the first list, then starts
    checks; leaving it stops both.

    *When not to use it:* if discovery and checks must start or stop at different times; use their runners.

    Example
    -------
    >>> from balancekit.config import load
    >>> with load({"endpoints": ["127.0.0.1:9101"], "retry": {"attempts": 3}}) as running:
    ...     with running.balancer.acquire() as lease:
    ...         print(lease.target, running.retry.attempts)
    127.0.0.1:9101 3
    """

    __slots__ = (
        "_blocks",
        "_check",
        "_refresh",
        "_running",
        "_schedule",
        "_source",
        "balancer",
        "retry",
        "title",
    )

    @checked_arguments
    def __init__(
        self,
        balancer: LoadBalancer[Any],
        retry: Retries,
        *,
        title: str = "",
        source: tuple[str, Refresh | None] | None = None,
        check: tuple[Any, Schedule] | None = None,
    ) -> None:
        self.balancer: LoadBalancer[Any] = balancer
        """The balancer."""
        self.retry: Retries = retry
        """The settings of the ``[retry]`` table."""
        self.title: str = title
        """The title of the file."""
        self._source = source
        self._check = check
        self._running: list[Any] = []
        self._blocks = 0
        """The number of open ``with`` blocks."""

    @property
    def source(self) -> str | None:
        """The source that discovery follows, or ``None``."""
        return None if self._source is None else self._source[0]

    @property
    def check(self) -> Any:
        """The health check, or ``None``."""
        return None if self._check is None else self._check[0]

    def start(self) -> None:
        """Start discovery and checks on threads. Starting twice does nothing.

        Raises
        ------
        TimeoutError
            If discovery has no list after 10 seconds; nothing is running then.
        """
        if self._running:
            return
        try:
            if self._source is not None:
                discovery = ThreadDiscovery(self.balancer, self._source[0], refresh=self._source[1])
                self._running.append(discovery)
                discovery.start()
                _require(ready=discovery.wait_ready(FIRST_LIST_TIMEOUT_S), source=self._source[0])
            if self._check is not None:
                checks = ThreadChecks(self.balancer, self._check[0], schedule=self._check[1])
                self._running.append(checks)
                checks.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop checks and discovery. Stopping twice does nothing."""
        for runner in reversed(self._running):
            runner.stop()
        self._running = []

    def __enter__(self) -> Self:
        self.start()
        self._blocks += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.stop()

    async def __aenter__(self) -> Self:
        self._blocks += 1
        if self._running:
            return self
        try:
            if self._source is not None:
                discovery = AsyncDiscovery(self.balancer, self._source[0], refresh=self._source[1])
                self._running.append(discovery)
                await discovery.start()
                _require(ready=await discovery.wait_ready(FIRST_LIST_TIMEOUT_S), source=self._source[0])
            if self._check is not None:
                checks = AsyncChecks(self.balancer, self._check[0], schedule=self._check[1])
                self._running.append(checks)
                await checks.start()
        except BaseException:
            self._blocks -= 1
            await self._stop_tasks()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            await self._stop_tasks()

    async def _stop_tasks(self) -> None:
        for runner in reversed(self._running):
            await runner.stop()
        self._running = []

    def __repr__(self) -> str:
        return f"Configuration({self.title!r}, {self.balancer!r})"


def _require(*, ready: bool, source: str) -> None:
    if not ready:
        shown = without_secrets(source)
        raise TimeoutError(f"discovery has had no list from {shown!r} for {FIRST_LIST_TIMEOUT_S:g} s")


def configuration(facts: Mapping[str, Any], *, environ: Mapping[str, str]) -> Configuration:
    """Return a configuration from tables.

    Raises
    ------
    ConfigurationError
        For an unknown key or a value outside its range.
    """
    for word in facts:
        if word not in WORDS:
            raise ConfigurationError("configuration", word, _meant(word) or tables.one_of(word, WORDS))
    title = valid.text("title", facts.get("title", ""), empty=True)
    endpoints = (
        endpoints_of("endpoints", facts["endpoints"], environ=environ) if "endpoints" in facts else None
    )
    source = _discovery(facts["discovery"]) if "discovery" in facts else None
    if (endpoints is None) == (source is None):
        both = "endpoints or [discovery]" if endpoints is None else "endpoints or [discovery], not both"
        raise ConfigurationError("configuration", sorted(facts), both)
    made = recipe("balancer", facts.get("balancer", {}), environ=environ)
    check = _checks(facts["checks"]) if "checks" in facts else None
    retry = _retry(facts.get("retry", {}))
    try:
        balancer = made.make(endpoints or [], allow_empty=endpoints is None)
    except ConfigurationError as error:
        raise ConfigurationError("endpoints", error.value, error.allowed) from None
    return Configuration(balancer, retry, title=title, source=source, check=check)


def _meant(word: object) -> str:
    """Return where a word belongs that stands beside the tables, empty if that is not known."""
    for table, words in {"balancer": BALANCER_WORDS, "retry": RETRY_WORDS}.items():
        if word in words:
            return f"it in [{table}]"
    table, _, rest = str(word).partition("_")
    if rest and table in WORDS:
        return f"{rest!r} in [{table}]; in the name of a variable, __ separates the two"
    return ""


def _discovery(value: object) -> tuple[str, Refresh | None]:
    """Return the source and its refresh settings; options of a scheme are part of its string."""
    facts = tables.table("discovery", value)
    text = valid.text("discovery.source", facts.pop("source", None))
    try:
        suggested = parsed(text).refresh
    except ConfigurationError as error:
        raise tables.located("discovery", error) from None
    if not facts:
        return text, None
    _, known = vocabulary.REFRESH
    return text, tables.call(
        "discovery", lambda **changes: suggested.replace(**changes), facts, (*known, "source")
    )


def _checks(value: object) -> tuple[Any, Schedule]:
    """Return a check and its schedule, whose keys are in one table."""
    facts = tables.table("checks", value)
    schedule, timing = vocabulary.SCHEDULE
    when = tables.call(
        "checks", schedule, {word: facts.pop(word) for word in timing if word in facts}, timing
    )
    kind, known = vocabulary.CHECKS[
        tables.choice("checks.kind", facts.pop("kind", "http"), vocabulary.CHECKS)
    ]
    tables.reject_unknown("checks", [word for word in facts if word not in known], ("kind", *known, *timing))
    return tables.call("checks", kind, facts, known), when


def _retry(value: object) -> Retries:
    facts = tables.table("retry", value)
    make, known = vocabulary.RETRY_BUDGET
    budget = tables.call("retry.budget", make, tables.table("retry.budget", facts.pop("budget", {})), known)
    found: Retries = tables.call("retry", Retries, {**facts, "budget": budget}, RETRY_WORDS)
    return found
