"""Sources: a resolver, a function, or a string such as ``"dns:orders.svc:8080"``.

A string names a scheme, an address and options: ``scheme:address?option=value&...`` (for ``http_sd``, whose address is
a URL with a query of its own: ``http_sd:http://sd/orders#interval=30``). Options of
:class:`~balancekit.discovery.Refresh` are understood for every scheme, others by the scheme itself.

Other packages add a scheme by an entry point in the group ``balancekit.resolvers``. The name of the entry point is the
scheme. Its object is called with the address and the scheme's own options, all strings, and returns a resolver.
Built-in schemes cannot be replaced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from balancekit._support import validation as valid
from balancekit._support.functions import has_methods, is_coroutine_function
from balancekit._support.headers import without_secrets
from balancekit._support.record import Record
from balancekit._support.tables import one_of
from balancekit._support.text import plain
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import AsyncResolver, Resolver
from balancekit.discovery._static import AsyncFunctionResolver, FunctionResolver
from balancekit.errors import ConfigurationError

__all__ = ["GROUP", "Source", "source"]

GROUP: Final = "balancekit.resolvers"
"""The entry point group of schemes from other packages."""

_BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "static": ("_static", "StaticResolver"),
    "dns": ("_addresses", "SystemResolver"),
    "dns_ttl": ("_dns", "DnsResolver"),
    "srv": ("_dns", "SrvResolver"),
    "file": ("_file", "FileSdResolver"),
    "http_sd": ("_http", "HttpSdResolver"),
    "kubernetes": ("_kubernetes", "KubernetesResolver"),
}
_NAMES: Final = ("dns", "dns_ttl", "srv", "kubernetes")
"""Schemes whose address is a name, not a URL."""
_TAKES_INTERVAL: Final = "http_sd"  # the service receives it
_DEFAULT_REFRESH: Final = Refresh()


class Source(Record):
    """A resolver, its name and its refresh settings.

    Parameters
    ----------
    name
        The name in logs and metrics.
    resolver
        The resolver.
    refresh
        The intervals, and the rules for accepting answers.
    """

    name: str
    resolver: Resolver | AsyncResolver
    refresh: Refresh


def source(
    what: str | Source | Resolver | AsyncResolver | Callable[[], Any],
    *,
    name: str | None = None,
    refresh: Refresh | None = None,
) -> Source:
    """Return the source of a resolver, a function or a string.

    Parameters
    ----------
    what
        A resolver, a string, or a function or coroutine function. The function returns a :class:`Resolution`, or anything a
        balancer accepts as endpoints.
    name
        If left out, the scheme of a string, or the name of the resolver or its class.
    refresh
        If left out, the options of a string, or the resolver's ``refresh`` attribute, or ``Refresh()``.

    Raises
    ------
    ConfigurationError
        For any other value, an unknown scheme or an unknown option.

    Example
    -------
    >>> from balancekit.discovery import source
    >>> found = source("static:10.0.0.1:80,10.0.0.2:80?interval=60")
    >>> found.name, found.refresh.interval, len(found.resolver.resolve().endpoints)
    ('static', 60.0, 2)
    """
    if isinstance(what, Source):
        own = what
    elif isinstance(what, str):
        own = _parsed(plain(what))
    elif has_methods(what, "resolve"):
        resolver = cast("Resolver", what)
        own = Source(name=type(what).__name__, resolver=resolver, refresh=_suggested(resolver))
    elif not isinstance(what, type) and callable(what):
        function = cast("Any", what)
        calls = AsyncFunctionResolver(function) if is_coroutine_function(what) else FunctionResolver(function)
        own = Source(name=getattr(what, "__name__", "function"), resolver=calls, refresh=_DEFAULT_REFRESH)
    else:
        raise ConfigurationError("source", what, 'a resolver, a function, or a string such as "dns:name:80"')
    if refresh is not None and not isinstance(refresh, Refresh):
        raise ConfigurationError("refresh", refresh, "a Refresh")
    return own.replace(
        name=valid.text("name", own.name if name is None else name),
        refresh=own.refresh if refresh is None else refresh,
    )


def _parsed(text: str) -> Source:
    scheme, colon, rest = text.partition(":")
    if not colon or not scheme or not rest:
        raise ConfigurationError("source", text, '"scheme:address" with options: "dns:orders:80?interval=30"')
    # The query of a URL belongs to the URL; there our options come after "#".
    address, _, written = rest.partition("#" if scheme == "http_sd" else "?")
    options = _pairs(written, scheme)
    settings = {name: options.pop(name) for name in Refresh._fields if name in options}
    if scheme == _TAKES_INTERVAL and "interval" in settings:
        options["interval"] = settings["interval"]
    make = _factory(scheme, text)
    _check_names(make, scheme, options)
    if address.startswith("//") and scheme in _NAMES:
        name = without_secrets(address[2:])
        raise ConfigurationError(
            "source", without_secrets(text), f"a name right after the colon: {scheme}:{name}"
        )
    try:
        resolver = make(address, **options)
    except TypeError as error:
        allowed = f"other options for {scheme!r} ({error})"
        raise ConfigurationError("source", without_secrets(text), allowed) from error
    return Source(name=scheme, resolver=resolver, refresh=_set(_suggested(resolver), settings))


def _check_names(make: Callable[..., Resolver], scheme: str, options: Mapping[str, str]) -> None:
    """Refuse options that a scheme does not have, and name those that it has."""
    try:
        _, *parameters = inspect.signature(make).parameters.values()  # the first is the address
    except ValueError:  # it has no signature
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    taken = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [*[each.name for each in parameters if each.kind in taken], *Refresh._fields]
    for name in options:
        if name not in known:
            raise ConfigurationError(f"{scheme} option", name, one_of(name, list(dict.fromkeys(known))))


def _pairs(written: str, scheme: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(written, keep_blank_values=True, strict_parsing=bool(written))
    except ValueError as error:
        raise ConfigurationError(f"{scheme} options", written, "name=value&name=value") from error
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ConfigurationError(f"{scheme} options", written, "each option once")
    return options


def _set(refresh: Refresh, settings: Mapping[str, str]) -> Refresh:
    changes: dict[str, object] = {}
    for name, value in settings.items():
        try:
            changes[name] = value if name == "on_empty" else float(value)
        except ValueError as error:
            raise ConfigurationError(name, value, "a number") from error
    return refresh.replace(**changes)


def _suggested(resolver: object) -> Refresh:
    refresh = getattr(resolver, "refresh", None)
    return refresh if isinstance(refresh, Refresh) else _DEFAULT_REFRESH


def _factory(scheme: str, text: str) -> Callable[..., Resolver]:
    if scheme in _BUILT_IN:
        module, name = _BUILT_IN[scheme]
        kind: Any = getattr(__import__(f"balancekit.discovery.{module}", fromlist=[name]), name)
        return cast("Callable[..., Resolver]", kind.parse)
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms, for other people's schemes only

    found = entry_points(group=GROUP)
    if scheme not in found.names:
        known = sorted({*_BUILT_IN, *found.names})
        raise ConfigurationError(
            "source",
            without_secrets(text),
            f"a scheme that is known: {', '.join(known)}; for any other service, a function that returns endpoints",
        )
    return cast("Callable[..., Resolver]", found[scheme].load())
