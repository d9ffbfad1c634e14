"""nginx's variables and maps: the text that ``hash`` and ``proxy_pass`` make of a request.

Source: nginx 1.22, ``ngx_http_variables.c`` and ``ngx_http_map_module.c``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final, final

from balancekit._support.text import to_bytes
from balancekit.compat._routing import compiled
from balancekit.compat.nginx._host_names import HostNames
from balancekit.errors import ConfigurationError
from balancekit.l7._paths import nginx as read_path
from balancekit.proxyconfig._model import ProxyConfigError, ProxyRequest
from balancekit.proxyconfig._nginx_files import Directive

__all__ = ["Template", "UnknownVariableError", "Variables"]

Value = Callable[[ProxyRequest], bytes]

VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")


def _host(request: ProxyRequest) -> bytes:
    return to_bytes(
        (request.host or "").lower().rpartition("]")[0] + "]"
        if (request.host or "").startswith("[")
        else (request.host or "").lower().partition(":")[0]
    )


def _uri(request: ProxyRequest) -> bytes:
    path = read_path(request.target.partition("?")[0])
    return b"" if path is None else path.encode("latin-1", "replace")


PLAIN: Final[Mapping[str, Value]] = {
    "remote_addr": lambda request: to_bytes(request.client),
    "binary_remote_addr": lambda request: ipaddress.ip_address(request.client).packed,
    "request_uri": lambda request: to_bytes(request.target),
    "uri": _uri,
    "document_uri": _uri,
    "args": lambda request: to_bytes(request.query),
    "query_string": lambda request: to_bytes(request.query),
    "is_args": lambda request: b"?" if request.query else b"",
    "host": _host,
    "http_host": lambda request: to_bytes(request.host or ""),
    "request_method": lambda request: to_bytes(request.method),
    "scheme": lambda _: b"http",
    "request": lambda request: to_bytes(f"{request.method} {request.target} HTTP/1.1"),
}


class UnknownVariableError(Exception):
    """A value that needs a variable which is not known here."""


@final
class Variables:
    """The variables of a configuration: nginx's own and those of ``map`` blocks."""

    __slots__ = ("_maps", "doubtful")

    def __init__(self) -> None:
        self._maps: dict[str, Value] = {}
        self.doubtful: set[str] = set()
        """Maps that use variables which are not known, for some requests."""

    def add_map(self, directive: Directive) -> None:
        """Read a ``map`` block.

        Raises
        ------
        ProxyConfigError
            If it is none.
        """
        if len(directive.args) != 2 or not directive.args[1].startswith("$"):
            raise ProxyConfigError(directive.origin, "a map needs a source and a $variable")
        self._maps[directive.args[1][1:]] = self._map(directive, Template(directive.args[0], self))

    def find(self, name: str) -> Value | None:
        """Return how to compute a variable, ``None`` if it is not known here."""
        lower = name.lower()
        if lower in PLAIN:
            return PLAIN[lower]
        for prefix, value in (("arg_", _argument), ("http_", _header), ("cookie_", _cookie)):
            if lower.startswith(prefix):
                return value(name[len(prefix) :])
        return self._maps.get(name)

    def _map(self, directive: Directive, source: Template) -> Value:
        templates = [source]
        exact: dict[str, Template] = {}
        hosts: HostNames[Template] | None = None
        expressions: list[tuple[re.Pattern[str], Template]] = []
        default = Template("", self)
        for entry in directive.block or ():
            if entry.name in {"hostnames", "volatile"} and not entry.args:
                hosts = hosts or (HostNames() if entry.name == "hostnames" else None)
                continue
            if len(entry.args) != 1:
                raise ProxyConfigError(entry.origin, "a line of a map is a value and a result")
            result = Template(entry.args[0], self)
            templates.append(result)
            if entry.name == "default":
                default = result
            elif entry.name.startswith("~"):
                insensitive = entry.name.startswith("~*")
                try:
                    expression = compiled("map", entry.name[1 + insensitive :], ignore_case=insensitive)
                except ConfigurationError as error:
                    raise ProxyConfigError(entry.origin, f"{error}") from None
                expressions.append((expression, result))
            elif hosts is not None:  # nginx, too, takes names with wildcards only after the word hostnames
                hosts.add(entry.name.removeprefix("\\"), result)
            else:
                exact.setdefault(entry.name.removeprefix("\\").lower(), result)
        if any(template.unknown or template.doubtful for template in templates):
            self.doubtful.add(directive.args[1][1:])

        def value(request: ProxyRequest) -> bytes:
            text = source.value(request).decode("latin-1")
            found = exact.get(text.lower())
            if hosts is not None:
                text = text.removesuffix(".")
                found = found or hosts.find(text.lower())
            if found is None:
                found = next(
                    (result for expression, result in expressions if expression.search(text)), default
                )
            return found.value(request)

        return value


@final
class Template:
    """A text with variables.

    Parameters
    ----------
    text
        As written.
    variables
        What is known.
    """

    __slots__ = ("_parts", "doubtful", "text", "unknown")

    def __init__(self, text: str, variables: Variables) -> None:
        self.text: str = text
        self.unknown: list[str] = []
        """Variables that are not known."""
        self.doubtful: list[str] = []
        """Variables that are not known for some requests."""
        self._parts: list[bytes | Value] = []
        start = 0
        for found in VARIABLE.finditer(text):
            name = found[1] or found[2]
            value = variables.find(name)
            if value is None:
                self.unknown.append(f"${name}")
                value = _unknown(name)
            elif name in variables.doubtful:
                self.doubtful.append(f"${name}")
            self._parts += [to_bytes(text[start : found.start()]), value]
            start = found.end()
        self._parts.append(to_bytes(text[start:]))

    @property
    def constant(self) -> bool:
        """Whether there is no variable in it."""
        return "$" not in self.text

    def value(self, request: ProxyRequest) -> bytes:
        """Return what a request makes of it.

        Raises
        ------
        UnknownVariableError
            If it needs a variable that is not known.
        """
        return b"".join([part if isinstance(part, bytes) else part(request) for part in self._parts])


def _unknown(name: str) -> Value:
    def value(_: ProxyRequest) -> bytes:
        raise UnknownVariableError(f"${name}")

    return value


def _argument(name: str) -> Value:
    def value(request: ProxyRequest) -> bytes:
        for part in request.query.split("&"):
            key, equals, text = part.partition("=")
            if equals and key.lower() == name.lower():
                return to_bytes(text)
        return b""

    return value


def _header(name: str) -> Value:
    wanted = name.lower().replace("_", "-")

    def value(request: ProxyRequest) -> bytes:
        return to_bytes(request.header(wanted) or "")

    return value


def _cookie(name: str) -> Value:
    def value(request: ProxyRequest) -> bytes:
        for header in request.raw.values("cookie"):
            for part in header.split(";"):
                key, equals, text = part.strip(" \t").partition("=")
                if equals and key.lower() == name.lower():
                    return to_bytes(text)
        return b""

    return value
