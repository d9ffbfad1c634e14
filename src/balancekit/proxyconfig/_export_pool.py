"""Pools to export: the settings of a balancer that a proxy has, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from balancekit import config, selectors
from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.checks import HttpCheck, Schedule, TcpCheck
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle, Thresholds, WarmUp
from balancekit.proxyconfig._export_text import address_of, name_of

__all__ = ["DEFAULT_SELECTOR", "ExportPool", "export_pool", "key_parts"]

DEFAULT_SELECTOR: Final = "ShortestExpectedDelay"
SELECTORS: Final = tuple(name for name in selectors.__all__ if name != "BoundedLoad")
KEYED: Final = frozenset({"RingHash", "MaglevHash", "RendezvousHash", "SourceHash"})
FOLLOWED: Final = frozenset({"failures", "thresholds", "ejection", "warm_up"})
"""Tables of health that a proxy may have a word for."""
SCHEDULE: Final = ("interval", "timeout", "jitter", "fast")


class ExportPool(Record):
    """A pool to export. Made by :func:`export_pool` from a configuration, or by its constructor.

    Parameters
    ----------
    name
        The name in the proxy: letters, digits, ``.``, ``-`` and ``_``.
    endpoints
        At least one; targets are ``host:port`` or ``http://host:port``.
    selector
        The name of a selector, as in a configuration.
    options
        The selector's options.
    routers
        Tables of routers, the outermost first, each with its ``kind``.
    key
        What of a request the key is: ``"header:NAME"``, ``"cookie:NAME"``, ``"query:NAME"``, ``"client"`` (its address) or
        ``"target"`` (path and query as sent). Selectors with keys need it.
    health
        As of the balancer; ``None`` for none.
    check, schedule
        An active check and how often it runs; ``None`` for none.
    attempts
        Of a request, >= 1.
    timeout
        Of a request in seconds, ``None`` for none.
    left_out
        Words of the configuration that no proxy has.

    Raises
    ------
    ConfigurationError
        For a name, target, key, option or number that a configuration cannot hold, or an unknown selector.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.proxyconfig import ExportPool
    >>> ExportPool(name="api", endpoints=(Endpoint("10.0.0.1:80"),), selector="RingHash", key="client").key
    'client'
    """

    name: str
    endpoints: tuple[Endpoint[Any], ...]
    selector: str = DEFAULT_SELECTOR
    options: Mapping[str, Any] = {}
    routers: tuple[Mapping[str, Any], ...] = ()
    key: str = ""
    health: Lifecycle | None = Lifecycle()
    check: HttpCheck | TcpCheck | None = None
    schedule: Schedule = Schedule()
    attempts: int = 2
    timeout: float | None = None
    left_out: tuple[str, ...] = ()

    def _check(self) -> None:
        name_of("name", self.name)
        if not self.endpoints:
            raise ConfigurationError(
                "endpoints", self.endpoints, "at least one; what discovery finds is not in a file"
            )
        for endpoint in self.endpoints:
            address_of(endpoint)
        if not any(endpoint.weight for endpoint in self.endpoints):
            raise ConfigurationError("endpoints", "weights of zero only", "a weight > 0")
        tables.choice("selector", self.selector, SELECTORS)
        valid.integer("attempts", self.attempts, minimum=1)
        if self.timeout is not None:
            valid.number("timeout", self.timeout, above=0.0)
        for parameter, value, kinds in (
            ("options", self.options, Mapping),
            ("routers", self.routers, tuple),
            ("health", self.health, Lifecycle | None),
            ("check", self.check, HttpCheck | TcpCheck | None),
            ("schedule", self.schedule, Schedule),
        ):
            if not isinstance(value, kinds):
                raise ConfigurationError(parameter, value, f"{getattr(kinds, '__name__', kinds)}")
        config.recipe("pool", {"selector": self.selector, "options": self.options})
        for router in self.routers:
            _check_router(router)
        if self.selector in KEYED or self.key:
            key_parts(self.key)

    @property
    def keyed(self) -> bool:
        """Whether keys decide."""
        return self.selector in KEYED

    def router(self, kind: str) -> Mapping[str, Any] | None:
        """Return the table of a router, ``None`` if it has none of that kind."""
        return next((one for one in self.routers if one.get("kind") == kind), None)


def _check_router(router: Mapping[str, Any]) -> None:
    """Refuse a table whose numbers no proxy takes."""
    if not isinstance(router, Mapping) or "kind" not in router:
        raise ConfigurationError("routers", router, "tables of routers, each with its kind")
    if "factor" in router:
        valid.number("factor", router["factor"], minimum=1.0)
    if "overprovisioning" in router:
        valid.number("overprovisioning", router["overprovisioning"], minimum=1.0)
    if isinstance(router.get("max_inflight"), int | float):
        valid.integer("max_inflight", router["max_inflight"], minimum=1)


def key_parts(key: str) -> tuple[str, str]:
    """Return kind and name of a key.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    kind, colon, name = key.partition(":")
    named = kind in {"header", "cookie", "query"}
    plain = name.replace("-", "").replace("_", "")
    if (named and plain.isalnum() and plain.isascii()) or (kind in {"client", "target"} and not colon):
        return kind, name
    raise ConfigurationError(
        "key",
        key,
        "what of a request the key is: 'header:NAME', 'cookie:NAME', 'query:NAME', 'client' or 'target', with names of "
        "letters, digits, '-' and '_'",
    )


@checked_arguments
def export_pool(
    name: str,
    source: Mapping[str, Any] | str | Path,
    *,
    key: str = "",
    environ: Mapping[str, str] | None = None,
) -> ExportPool:
    """Return the pool that a balancer's configuration describes.

    Parameters
    ----------
    name
        The name of the pool in the proxy.
    source
        The path of the configuration, or its tables, as :func:`balancekit.config.load` takes them.
    key
        What of a request the key is; see :class:`ExportPool`.
    environ
        Environment variables that the configuration names.

    Raises
    ------
    ConfigurationError
        If it is no configuration, its endpoints come from discovery, or a name or target cannot stand in a proxy's file.

    Example
    -------
    >>> from balancekit.proxyconfig import export_pool
    >>> pool = export_pool("api", {"endpoints": ["10.0.0.1:80"], "balancer": {"selector": "RoundRobin"}})
    >>> pool.selector, pool.attempts
    ('RoundRobin', 2)
    """
    facts = dict(source) if isinstance(source, Mapping) else config.read(source)
    found = config.load(facts, environ=environ)
    balancer = tables.table("balancer", facts.get("balancer", {}))
    health, left_out = _health(balancer.get("health", True))
    left_out += [f"balancer.{word}" for word in ("load", "exhaustion", "on_missing_key") if word in balancer]
    if found.source is not None:
        raise ConfigurationError("endpoints", found.source, "a list; what discovery finds is not in a file")
    check = found.check
    if check is not None and not isinstance(check, HttpCheck | TcpCheck):
        left_out.append("checks.kind = 'deep'")
        check = None
    checks = facts.get("checks", {})
    retry = facts.get("retry", {})
    left_out += [f"retry.{word}" for word in ("hedge", "budget") if word in retry]
    return ExportPool(
        name=name,
        endpoints=tuple(found.balancer.endpoints),
        selector=balancer.get("selector", DEFAULT_SELECTOR),
        options=balancer.get("options", {}),
        routers=tuple(balancer.get("routing", ())),
        key=key,
        health=health,
        check=check,
        schedule=Schedule(**{word: checks[word] for word in SCHEDULE if word in checks}),
        attempts=found.retry.attempts,
        timeout=found.retry.timeout,
        left_out=tuple(left_out),
    )


def _health(value: Any) -> tuple[Lifecycle | None, list[str]]:
    if isinstance(value, bool):
        return (Lifecycle() if value else None), []
    made = Lifecycle(
        failures=ConsecutiveFailures(**value.get("failures", {})),
        thresholds=Thresholds(**value.get("thresholds", {})),
        ejection=Ejection(**value.get("ejection", {})),
        warm_up=WarmUp(**value["warm_up"]) if "warm_up" in value else None,
    )
    return made, [f"balancer.health.{word}" for word in value if word not in FOLLOWED]
