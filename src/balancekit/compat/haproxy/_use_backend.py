"""HAProxy's choice of a backend for a request: ``use_backend`` rules in order, and maps.

The first rule whose condition is true decides. If its map has no entry for the request, the default backend serves, and later
rules are not read. A condition is true if any sample matches any pattern. A negated one is true if none does.

Cost: O(rules x patterns). Source: HAProxy 2.6.12, observed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat._documents import documents_of, texts_of
from balancekit.compat._routing import RawRequest, Routed, split_target
from balancekit.compat.haproxy._normalize import normalizer
from balancekit.compat.haproxy._patterns import METHODS, Lookup, lookup, matcher, value_matcher
from balancekit.compat.haproxy._samples import FETCHES, FIRST, Parsed, convert, parse
from balancekit.errors import ConfigurationError

__all__ = ["UseBackend", "use_backend"]

Condition = Callable[[Parsed], bool]

VALUE = "val"
"""The suffix of fetches that return a number."""


@final
class UseBackend(ConstructorRepr):
    """The ``use_backend`` rules of a frontend.

    Parameters
    ----------
    rules
        In order: ``{"pool", "if"}`` or ``{"map": {"sample", "match", "entries", "converters", "default"}, "if"}``; ``if`` is an
        OR of ANDs of ``{"fetch", "arg", "match", "flags", "patterns", "negate"}``.
    default
        ``default_backend``.
    normalize
        The ``normalize-uri`` steps, in order.

    Raises
    ------
    ConfigurationError
        If a rule in ``rules`` has an unknown fetch, match or converter, or a pattern that its match does not accept; or if
        a step in ``normalize`` is unknown.

    Example
    -------
    >>> from balancekit.compat.haproxy import RawRequest, UseBackend
    >>> table = UseBackend([{"pool": "api", "if": [[{"fetch": "path_beg", "patterns": ["/api"]}]]}], default="web")
    >>> [table.route(RawRequest(target=target)).pool for target in ("/apiary", "/x")]
    ['api', 'web']
    """

    @checked_arguments
    def __init__(
        self, rules: Iterable[Mapping[str, Any]], *, default: str | None = None, normalize: Iterable[str] = ()
    ) -> None:
        self._default = default
        self._steps = [normalizer(name) for name in normalize]
        self._rules: list[tuple[Condition, Callable[[Parsed], str | None]]] = [
            (_condition(rule.get("if")), _choice(rule)) for rule in rules
        ]

    @checked_arguments
    def route(self, request: RawRequest, /) -> Routed:
        """Return the backend of a request and the path after normalization.

        The status is 400 for a request that HAProxy refuses, and 503 if no rule is true and there is no default.
        """
        parsed = parse(request)
        if parsed is None:
            return Routed(status=400)
        if parsed.path:
            normalized = self._normalize(parsed.path, parsed.query or "")
            if normalized is None:
                return Routed(status=400)
            path, query = normalized
            parsed = Parsed(
                request=request,
                target=self.normalized(request.target),
                path=path,
                query=None if parsed.query is None else query,
            )
        pool = next((choose(parsed) for holds, choose in self._rules if holds(parsed)), None) or self._default
        if pool is None:
            return Routed(status=503)
        return Routed(pool=pool, path=parsed.path or "")

    @checked_arguments
    def normalized(self, target: str, /) -> str:
        """Return a target after the ``normalize`` steps; if a step refuses it, unchanged.

        Example
        -------
        >>> from balancekit.compat.haproxy import UseBackend
        >>> UseBackend([], default="b", normalize=["path-merge-slashes"]).normalized("http://h//a?b")
        'http://h/a?b'
        """
        authority, rest = split_target(target)
        path, mark, query = rest.partition("?")
        found = self._normalize(path, query) if path and not path.startswith("*") else None
        if found is None:
            return target
        before = target.removesuffix(rest) if authority is not None and rest else ""
        return f"{before}{found[0]}{mark}{found[1]}"

    def _normalize(self, path: str, query: str) -> tuple[str, str] | None:
        for step in self._steps:
            found = step(path, query)
            if found is None:
                return None
            path, query = found
        return path, query


@checked_arguments
def use_backend(rules: Mapping[str, Any]) -> UseBackend:
    """Return the rules of a mapping with ``rules`` and optionally ``default`` and ``normalize``."""
    return UseBackend(rules["rules"], default=rules.get("default"), normalize=rules.get("normalize") or ())


def _choice(rule: Mapping[str, Any]) -> Callable[[Parsed], str | None]:
    if "map" not in rule:
        pool: str = rule["pool"]
        return lambda _parsed: pool
    options = rule["map"]
    fetch, argument = _fetch(options["sample"], None)
    converters, default = list(options.get("converters") or ()), options.get("default")
    entries = [(key, value) for key, value in options["entries"]]
    find: Lookup = lookup(options["match"], entries, converted=bool(converters))
    for converter in converters:
        convert("", converter)

    def choose(parsed: Parsed) -> str | None:
        samples = list(FETCHES[fetch](parsed, argument))
        if not samples:
            return None
        sample = samples[0 if fetch in FIRST else -1]  # outside of a condition, a fetch returns one sample
        for converter in converters:
            sample = convert(sample, converter)
        value = find(sample)
        return default if value is None else value  # the empty value of a key is one, and names no backend

    return choose


def _condition(alternatives: Any) -> Condition:
    if not alternatives:
        return lambda _parsed: True
    if not isinstance(alternatives, list | tuple):
        raise ConfigurationError("if", alternatives, "a list of lists of terms")
    every = [[_term(term) for term in documents_of("if", terms)] for terms in alternatives]
    return lambda parsed: any(all(term(parsed) for term in terms) for terms in every)


def _term(term: Mapping[str, Any]) -> Condition:
    name, suffix = _method(valid.text("fetch", term["fetch"]))
    fetch, argument = _fetch(name, term.get("arg"))
    method = term.get("match") or suffix
    ignore_case = "-i" in texts_of("flags", term.get("flags"))
    negate = bool(term.get("negate"))
    if method == "found":
        return lambda parsed: any(True for _ in FETCHES[fetch](parsed, argument)) is not negate
    patterns = texts_of("patterns", term["patterns"])
    if method == VALUE and suffix == VALUE:
        tests = [value_matcher(pattern) for pattern in patterns]
    else:
        tests = [matcher(method, pattern, ignore_case=ignore_case) for pattern in patterns]
    number = method == "int"  # an empty sample is no number here, but ``hdr_val`` reads it as 0

    def holds(parsed: Parsed) -> bool:
        samples = [sample for sample in FETCHES[fetch](parsed, argument) if sample or not number]
        return any(test(sample) for sample in samples for test in tests) is not negate

    return holds


def _method(name: str) -> tuple[str, str]:
    """Return the name of a fetch without its suffix, and the match that the suffix names."""
    base, _, suffix = name.rpartition("_")
    if base in FETCHES and (suffix in METHODS or suffix == VALUE):
        return base, suffix
    return name, "str"


def _fetch(name: str, argument: str | None) -> tuple[str, str]:
    """Return the name and the argument of a fetch. The name may contain the argument: ``req.hdr(host)``."""
    if name.endswith(")"):
        name, _, argument = name[:-1].partition("(")
    if name not in FETCHES:
        raise ConfigurationError("fetch", name, f"one of {', '.join(FETCHES)}")
    return name, argument or ""
