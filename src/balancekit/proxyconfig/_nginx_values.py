"""nginx's variables and maps.

Source: nginx 1.22, ``ngx_http_variables.c`` and ``ngx_http_map_module.c``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple, final

from balancekit._support.text import to_bytes
from balancekit._support.url_paths import nginx as read_path
from balancekit.compat._routing import UnsupportedExpressionError, compiled, split_target
from balancekit.compat.nginx._host_names import HostNames
from balancekit.compat.nginx._locations import Locations, host_name, path_and_query
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._model import ProxyConfigError, ProxyRequest
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_template import Template, Value, written_bytes

__all__ = ["Port", "Variables"]

MAX_MAPS: Final = 100
"""Maps that use each other, one behind the other."""


def _host(request: ProxyRequest) -> bytes:
    authority = split_target(request.target)[0]
    return to_bytes(host_name((request.host or "") if authority is None else authority) or "")


def _query(request: ProxyRequest) -> str:
    return path_and_query(split_target(request.target)[1])[1]


PLAIN: Final[Mapping[str, Value]] = {
    "remote_addr": lambda request: to_bytes(request.client),
    "binary_remote_addr": lambda request: ipaddress.ip_address(request.client).packed,
    "request_uri": lambda request: to_bytes(split_target(request.target)[1] or "/"),
    "args": lambda request: to_bytes(_query(request)),
    "query_string": lambda request: to_bytes(_query(request)),
    "is_args": lambda request: b"?" if _query(request) else b"",
    "host": _host,
    "http_host": lambda request: to_bytes(request.host or ""),
    "request_method": lambda request: to_bytes(request.method),
    "request": lambda request: to_bytes(f"{request.method} {request.target} HTTP/1.1"),
}
JOINED: Final[Mapping[str, str]] = {"cookie": "; ", "x-forwarded-for": ", "}
"""Headers whose lines are put together; of others the first line counts."""


class Port(NamedTuple):
    """How the requests of a port are read."""

    machine: Locations
    underscores: tuple[bool, ...]
    """Whether headers with ``_`` in their names are taken, as those with ``-``, by each server."""
    tls: bool


@final
class Variables:
    """The variables of a configuration: nginx's own and those of ``map`` blocks."""

    __slots__ = (
        "_depths",
        "_maps",
        "_open",
        "_waiting",
        "doubtful",
        "first_port",
        "fixed",
        "ports",
    )

    def __init__(self) -> None:
        self._maps: dict[str, Value] = {}
        self._waiting: dict[str, Directive] = {}
        """Maps that are not read yet; the order of maps decides nothing."""
        self._open: list[int] = []
        """For each map that is being read, the longest chain of maps that it uses so far."""
        self._depths: dict[str, int] = {}
        self.first_port: int | None = None
        """Where requests without a port arrive."""
        self.ports: dict[int, Port] = {}
        """By number."""
        self.doubtful: Collection[str] = frozenset()
        """Maps that use variables which are not known, for some requests."""
        self.fixed: Collection[str] = frozenset()

    def add_map(self, directive: Directive) -> None:
        """Remember a ``map`` block, to be read when it is used, or by :meth:`read_maps`.

        Raises
        ------
        ProxyConfigError
            If it is none.
        """
        if len(directive.args) != 2 or not directive.args[1].startswith("$"):
            raise ProxyConfigError(directive.origin, "a map needs a source and a $variable")
        self._waiting[directive.args[1][1:].lower()] = directive

    def read_maps(self) -> None:
        """Read all maps that are not read yet.

        Raises
        ------
        ProxyConfigError
            For a line that is none of a map, or maps that use too many others.
        """
        while self._waiting:
            self._read(next(iter(self._waiting)))

    def _read(self, name: str) -> None:
        directive = self._waiting.pop(name)
        self._open.append(0)
        if len(self._open) > MAX_MAPS:
            raise _too_deep(directive)
        self._maps[name] = self._map(directive, Template(directive.args[0], self))
        depth = self._depths[name] = self._open.pop() + 1
        if depth > MAX_MAPS:
            raise _too_deep(directive)
        if self._open:
            self._open[-1] = max(self._open[-1], depth)

    def find(self, name: str) -> Value | None:
        """Return how to compute a variable, ``None`` if it is not known here."""
        lower = name.lower()
        if lower in self._waiting:
            self._read(lower)
        elif self._open and lower in self._depths:
            self._open[-1] = max(self._open[-1], self._depths[lower])
        if lower in self._maps:  # before a variable of nginx, which a map may define again
            return self._maps[lower]
        if lower in PLAIN:
            return PLAIN[lower]
        if lower == "scheme":
            return self._scheme
        if lower in {"uri", "document_uri"}:
            return self._uri
        for prefix, value in (("arg_", _argument), ("http_", self._header), ("cookie_", _cookie)):
            if lower.startswith(prefix):
                return value(name[len(prefix) :])
        return None

    def _port(self, request: ProxyRequest) -> Port | None:
        number = self.first_port if request.port is None else request.port
        return None if number is None else self.ports.get(number)

    def _header(self, name: str) -> Value:
        wanted = name.lower().replace("_", "-")

        def value(request: ProxyRequest) -> bytes:
            port = self._port(request)
            underscores = port is not None and port.underscores[port.machine.server_of(request.raw)]
            every = (("Host", request.host),) if request.host is not None else ()
            found = [
                text.strip(" ")
                for key, text in (*every, *request.headers)
                if (key.lower().replace("_", "-") if underscores else key.lower()) == wanted
            ]
            return to_bytes(JOINED[wanted].join(found) if wanted in JOINED else "".join(found[:1]))

        return value

    def _scheme(self, request: ProxyRequest) -> bytes:
        port = self._port(request)
        return b"https" if port is not None and port.tls else b"http"

    def _uri(self, request: ProxyRequest) -> bytes:
        sent = path_and_query(split_target(request.target)[1])[0]
        port = self._port(request)
        merged = port is None or port.machine.merge_slashes
        path = read_path(to_bytes(sent).decode("latin-1"), merge_slashes=merged)
        return b"" if path is None else path.encode("latin-1")

    def _map(self, directive: Directive, source: Template) -> Value:
        table = _MapTable(source, Template("", self))
        for entry in directive.block or ():
            table.add(entry, self)
        if table.uncertain:
            self.doubtful = {*self.doubtful, directive.args[1][1:].lower()}
        return table.value


@final
class _MapTable:
    """The lines of one ``map``, and what they make of its source."""

    def __init__(self, source: Template, default: Template) -> None:
        self._source = source
        self._default = default
        self._exact: dict[bytes, Template] = {}
        self._hosts: HostNames[Template] | None = None
        self._forms: set[str] = set()
        self._expressions: list[tuple[re.Pattern[str], Template]] = []
        self._seen: set[tuple[bool, bytes]] = set()
        self.uncertain: bool = bool(source.unknown or source.doubtful)
        """Whether a text of the map has a variable that is not known, or may not be."""

    def add(self, entry: Directive, variables: Variables) -> None:
        """Add one line."""
        if entry.name in {"hostnames", "volatile"} and not entry.args:
            if entry.name == "hostnames" and self._hosts is None:
                self._hosts = HostNames()
            return
        if len(entry.args) != 1:
            raise ProxyConfigError(entry.origin, "a line of a map is a value and a result")
        expression = entry.name.startswith("~")
        name = written_bytes(entry.name.removeprefix("\\")).lower()
        if not expression:
            if (entry.name.startswith("\\"), name) in self._seen:
                raise ProxyConfigError(entry.origin, f"a second line for {entry.name!r}")
            self._seen.add((entry.name.startswith("\\"), name))
        compiled_entry = None
        captures: Collection[str] = ()
        if expression:
            try:
                compiled_entry = _expression(entry)
            except UnsupportedExpressionError:
                self.uncertain = True
            else:
                captures = {
                    *map(str, range(min(compiled_entry.groups, 9) + 1)),
                    *compiled_entry.groupindex,
                } - {"0"}
        result = Template(entry.args[0], variables, captures)
        self.uncertain = self.uncertain or bool(result.unknown or result.doubtful)
        if entry.name == "default":
            self._default = result
        elif expression:
            if compiled_entry is not None:
                self._expressions.append((compiled_entry, result))
        elif self._hosts is not None:  # nginx, too, takes names with wildcards only after the word hostnames
            host = name.decode("latin-1")
            self._add_host(entry, host, self._hosts, result)
        else:
            self._exact[name] = result

    def _add_host(self, entry: Directive, host: str, hosts: HostNames[Template], result: Template) -> None:
        forms = hosts.forms(host)
        if not forms:
            raise ProxyConfigError(entry.origin, f"{entry.name}: *. stands before a name, .* behind one")
        if not self._forms.isdisjoint(forms):
            raise ProxyConfigError(entry.origin, f"a second line for {entry.name!r}")
        self._forms.update(forms)
        hosts.add(host, result)

    def value(self, request: ProxyRequest) -> bytes:
        """Return what the map makes of a request."""
        value = self._source.value(request)
        text = value.decode("latin-1")
        found = self._exact.get(value.lower())
        if self._hosts is not None:
            text = text.removesuffix(".")
            found = found or self._hosts.find(text.lower())
        if found is None and text:  # no expression is tried with an empty text
            for expression, result in self._expressions:
                match = expression.search(text)
                if match is not None:
                    return result.value(request, match)
        return (self._default if found is None else found).value(request)


def _expression(entry: Directive) -> re.Pattern[str]:
    """Return the compiled expression of a line of a map."""
    insensitive = entry.name.startswith("~*")
    try:
        text = written_bytes(entry.name[1 + insensitive :]).decode("latin-1")
        return compiled("map", text, ignore_case=insensitive)
    except UnsupportedExpressionError:
        raise
    except ConfigurationError as error:
        raise ProxyConfigError(entry.origin, f"{error}") from None


def _too_deep(directive: Directive) -> ProxyConfigError:
    return ProxyConfigError(directive.origin, f"more than {MAX_MAPS} maps that use each other")


def _argument(name: str) -> Value:
    def value(request: ProxyRequest) -> bytes:
        for part in _query(request).split("&"):
            key, equals, text = part.partition("=")
            if equals and key.lower() == name.lower():
                return to_bytes(text)
        return b""

    return value


def _cookie(name: str) -> Value:
    """Return how to find a cookie: behind ``;`` or ``,``, with blanks round its ``=``, up to ``;``."""
    named = re.compile(re.escape(name).encode() + b"( *)(?:(=) *([^;]*)|.?)", re.IGNORECASE | re.DOTALL)
    skipped = re.compile(b"[^;,]*(?:[;,] *)?")

    def value(request: ProxyRequest) -> bytes:
        for header in request.raw.values("cookie"):
            text, place = to_bytes(header), 0
            while place < len(text):
                found = named.match(text, place)
                if found is not None and found[2]:
                    return found[3]
                after = skipped.match(text, place if found is None else found.end())
                assert after is not None
                place = after.end()
        return b""

    return value
