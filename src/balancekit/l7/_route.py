"""Routes: conditions on a request, and the pool for requests that meet all of them.

Cost: construction only. Source: the Gateway API's ``HTTPRoute`` for the set of conditions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Final, Generic, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l7._patterns import VARIABLE, Exact, PathPattern, Prefix, Regex, Template, TextPrefix, escaped
from balancekit.l7._spelling import short_address
from balancekit.l7._split import Split
from balancekit.l7._values import ValueCondition

__all__ = ["Route", "host_pattern"]

P = TypeVar("P")

HOST: Final = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\]")
METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
PATTERNS: Final = (Exact, Prefix, TextPrefix, Regex, Template)
QUERY: Final = "the query is forwarded as sent"


@final
class Route(Generic[P]):
    r"""One route. Every condition must hold; a condition left out always holds. Immutable.

    Parameters
    ----------
    name
        A name that no other route of the table has, for statistics, explanations and ties.
    to
        A pool (anything, usually a balancer), or a :class:`Split` over several.
    host
        ``"a.b"``, ``"*.b"`` (one or more labels before ``.b``, not ``b`` itself) or ``"*"``; or several of them.
        Without case, port and trailing dot.
    path
        :func:`exact`, :func:`prefix`, :func:`text_prefix`, :func:`regex` or :func:`template`.
    method
        A method or several. Methods are case-sensitive.
    headers, cookies, query
        Conditions made by :func:`header`, :func:`cookie` and :func:`query`; in any of the three.
    priority
        Routes with a higher number come first, in either order.
    timeout
        Seconds for the whole request, attempts included, > 0; ``None`` for no limit.
    attempts
        How many endpoints may be tried at most, >= 1. The adapter decides what may be sent again.
    retry_on
        Status codes to retry, in addition to those that the adapter retries anyway.
    rewrite
        Replaces what the path pattern matched: the prefix, the whole path of an exact pattern or a template
        (``"/v2/{id}"``), the match of an expression (``r"/v2/\1"``). Written without escapes, as patterns are, and without
        ``?`` and ``#``. Only for spellings that keep paths as sent.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, ``to`` is ``None``, or a condition is none of those above. If a number is
        outside its bounds, a status outside 400 to 599, or ``rewrite`` does not fit ``path``.

    Example
    -------
    >>> from balancekit.l7 import Route, header, prefix
    >>> Route("beta", "canary", host="*.shop.test", path=prefix("/orders"), headers=[header("x-beta").is_("1")])
    <Route beta: host *.shop.test, prefix('/orders'), header x-beta is '1' -> canary>
    """

    __slots__ = (
        "attempts",
        "conditions",
        "hosts",
        "methods",
        "name",
        "path",
        "priority",
        "retry_on",
        "rewrite",
        "timeout",
        "to",
    )

    @checked_arguments
    def __init__(
        self,
        name: str,
        to: P | Split[P],
        *,
        host: str | Iterable[str] | None = None,
        path: PathPattern | None = None,
        method: str | Collection[str] | None = None,
        headers: Iterable[ValueCondition] = (),
        cookies: Iterable[ValueCondition] = (),
        query: Iterable[ValueCondition] = (),
        priority: int = 0,
        timeout: float | None = None,
        attempts: int = 1,
        retry_on: Iterable[int] = (),
        rewrite: str | None = None,
    ) -> None:
        self.name: str = valid.text("name", name)
        if to is None:
            raise ConfigurationError("to", to, "a pool or a Split")
        self.to: P | Split[P] = to
        self.hosts: tuple[str, ...] = _hosts(host)
        if path is not None and not isinstance(path, PATTERNS):
            raise ConfigurationError("path", path, "exact(), prefix(), text_prefix(), regex() or template()")
        self.path: PathPattern | None = path
        self.methods: frozenset[str] | None = _methods(method)
        self.conditions: tuple[ValueCondition, ...] = (
            *_conditions("headers", headers),
            *_conditions("cookies", cookies),
            *_conditions("query", query),
        )
        self.priority: int = valid.integer("priority", priority, minimum=-(10**9), maximum=10**9)
        self.timeout: float | None = None if timeout is None else valid.number("timeout", timeout, above=0.0)
        self.attempts: int = valid.integer("attempts", attempts, minimum=1)
        self.retry_on: frozenset[int] = frozenset(
            [
                valid.integer("retry_on", status, minimum=400, maximum=599)
                for status in _several("retry_on", retry_on)
            ]
        )
        self.rewrite: str | None = _rewrite(rewrite, path)

    def __repr__(self) -> str:
        parts = [f"host {host}" for host in self.hosts]
        parts += [repr(self.path)] if self.path is not None else []
        parts += ["/".join(sorted(self.methods))] if self.methods is not None else []
        parts += [repr(condition) for condition in self.conditions]
        return f"<Route {self.name}: {', '.join(parts) or 'every request'} -> {self.to}>"


def host_pattern(text: object) -> str:
    """Return a host pattern as it is compared: lower case, without a trailing dot, an IPv6 address as short as it can be.

    Raises
    ------
    ConfigurationError
        If it is no host name, ``*.`` and a host name, or ``*``.

    Example
    -------
    >>> host_pattern("*.Shop.Test."), host_pattern("*")
    ('*.shop.test', '*')
    """
    if isinstance(text, str):
        name = text.lower()
        name = name.removesuffix(".") if len(name) > 1 else name
        if name == "*" or HOST.fullmatch(name.removeprefix("*.")):
            found = short_address(name) if name[0] == "[" else name
            if found is not None:
                return found
    raise ConfigurationError(
        "host", text, "'a.b', '*.b' or '*', ASCII (xn--... for other scripts), without a port"
    )


def _hosts(host: object) -> tuple[str, ...]:
    if host is None:
        return ()
    several = [host] if isinstance(host, str) else _several("host", host)
    names = tuple(dict.fromkeys([host_pattern(name) for name in several]))
    if not names:
        raise ConfigurationError("host", host, "at least one host name, or None")
    return () if "*" in names else names


def _methods(method: object) -> frozenset[str] | None:
    if method is None:
        return None
    several = [method] if isinstance(method, str) else _several("method", method)
    if not several or not all(isinstance(name, str) and METHOD.fullmatch(name) for name in several):
        raise ConfigurationError("method", method, "a method such as 'GET', or several")
    return frozenset(several)


def _conditions(parameter: str, given: object) -> list[ValueCondition]:
    found = _several(parameter, given)
    for condition in found:
        if not isinstance(condition, ValueCondition):
            raise ConfigurationError(parameter, condition, "conditions such as header('x').is_('1')")
    return found


def _several(parameter: str, given: Any) -> list[Any]:
    if isinstance(given, str | bytes):
        raise ConfigurationError(parameter, given, "a list")
    try:
        return list(given)
    except TypeError:
        raise ConfigurationError(parameter, given, "a list") from None


def _rewrite(text: str | None, path: PathPattern | None) -> str | None:
    """Return a rewrite as it is inserted: escaped like a pattern, but for variables and references to groups."""
    if text is None:
        return None
    if isinstance(path, Regex):
        return _expression_rewrite(valid.text("rewrite", text), path.expression)
    if path is None or not isinstance(text, str) or not text.startswith("/") or text.startswith("//"):
        raise ConfigurationError(
            "rewrite", text, "a path that begins with one '/', for a route with a path pattern"
        )
    unknown = {found[1] for found in VARIABLE.finditer(text)} - set(
        path.names if isinstance(path, Template) else ()
    )
    if unknown:
        raise ConfigurationError(
            "rewrite", text, f"variables of the path pattern; it has no {min(unknown)!r}"
        )
    parts: list[str] = []
    end = 0
    for found in VARIABLE.finditer(text):
        parts += [escaped("rewrite", text[end : found.start()], hint=QUERY), found[0]]
        end = found.end()
    return "".join([*parts, escaped("rewrite", text[end:], hint=QUERY)])


def _expression_rewrite(text: str, expression: re.Pattern[str]) -> str:
    try:
        expression.sub(text, "")
        made = re.compile(f"{expression.pattern}|").sub(text, "")
    except (re.error, IndexError) as error:
        raise ConfigurationError("rewrite", text, f"text with groups of the expression ({error})") from None
    if not made.isprintable():
        raise ConfigurationError("rewrite", text, "text without control characters")
    return escaped("rewrite", text, hint=QUERY, keep="\\<>")
