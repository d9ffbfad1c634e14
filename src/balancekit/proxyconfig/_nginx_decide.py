"""nginx's decisions: what a location does with a request, and the server of an upstream that was just started."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Final, NamedTuple, Protocol, final

from balancekit.compat import nginx
from balancekit.proxyconfig._model import Origin, Pool, PoolServer, ProxyConfigError, ProxyRequest, Routing
from balancekit.proxyconfig._nginx_blocks import LocationName
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_template import (
    Template,
    UnknownVariableError,
    VariableSource,
    written_bytes,
)

__all__ = [
    "DEFAULT_PORT",
    "NETWORK",
    "Action",
    "Guard",
    "UpstreamChooser",
    "guard_of",
    "port_problem",
    "refuse_path",
    "upstream_server",
]

DEFAULT_PORT: Final = 80
NETWORK: Final = "the client's network"
"""What ``ip_hash`` hashes."""
PASSED: Final = re.compile(
    r"(https?|grpcs?|fastcgi|uwsgi|scgi)://(unix:[^:]*|\[[^]]*\][^/?]*|[^/?]+)", re.IGNORECASE
)
"""The scheme and the host of what is passed to."""
PORT: Final = re.compile(r":[0-9]*\Z")
REWRITES: Final = frozenset({"break", "if", "return", "rewrite", "set"})
"""Directives that run in the order in which they are written, until one of them ends that."""
STATUSES_WITH_LOCATION: Final = frozenset({301, 302, 303, 307, 308})


class ActionReader(Protocol):
    """What an action needs of the reader."""

    pools: dict[str, Pool]
    names: dict[str, str]
    """Pools by their name in lower case."""
    upstreams: set[str]
    """Names of ``upstream`` blocks in lower case."""

    def note(self, directive: Directive, why: str) -> None:
        """List a directive as not modelled."""
        ...

    def implicit(self, address: str, directive: Directive) -> str:
        """Return the pool of an address that is no upstream."""
        ...


class Answer(NamedTuple):
    """A ``return``: a status, and the text or the URL behind it."""

    status: int
    text: Template

    def routing(self, request: ProxyRequest, rule: str) -> Routing:
        """Return what is answered; a URL with variables that are not known stays as written."""
        if self.status not in STATUSES_WITH_LOCATION or not self.text.text:
            return Routing(None, rule, self.status)
        try:
            location = self.text.value(request).decode("utf-8", "backslashreplace")
        except UnknownVariableError:
            location = self.text.text
        return Routing(None, rule, self.status, location)


def answer_of(directive: Directive, variables: VariableSource) -> Answer:
    """Return what a ``return`` answers.

    Raises
    ------
    ProxyConfigError
        If it has neither a status nor a URL, or more than both.
    """
    if not 1 <= len(directive.args) <= 2:
        raise ProxyConfigError(directive.origin, "return has a status, a URL, or both")
    first = directive.args[0]
    if first.isascii() and first.isdecimal():
        if len(first.lstrip("0")) > 3:
            raise ProxyConfigError(directive.origin, f"return {first}: a status is 0 to 999")
        return Answer(
            int(first[-3:]), Template(directive.args[1] if len(directive.args) > 1 else "", variables)
        )
    if len(directive.args) > 1 or not first.startswith(("http://", "https://", "$scheme")):
        raise ProxyConfigError(
            directive.origin, f"return {first}: a status, or a URL with its scheme, is expected"
        )
    return Answer(302, Template(first, variables))


def running(block: Directive) -> Iterator[Directive]:
    """Yield the directives of a block. After a ``return`` or ``break``, those of the rewrite module do not run."""
    ended = False
    for directive in block.block or ():
        if not (ended and directive.name in REWRITES):
            yield directive
        ended = ended or directive.name in {"break", "return"}


class Guard(NamedTuple):
    """An ``if`` that compares a variable with a text, and answers."""

    written: str
    template: Template
    equal: bool
    text: bytes
    answer: Answer

    def holds(self, request: ProxyRequest) -> bool:
        """Whether a request gets the answer."""
        return (self.template.value(request) == self.text) is self.equal


def guard_of(directive: Directive, variables: VariableSource) -> Guard | None:
    """Return an ``if`` that only answers, ``None`` for any other."""
    if len(directive.args) != 3 or directive.args[1] not in {"=", "!="} or "$" in directive.args[2]:
        return None
    inside = directive.block or ()
    template = Template(directive.args[0], variables)
    if len(inside) != 1 or inside[0].name != "return" or not inside[0].args or template.unknown:
        return None
    return Guard(
        str(directive),
        template,
        directive.args[1] == "=",
        written_bytes(directive.args[2]),
        answer_of(inside[0], variables),
    )


def refuse_path(block: Directive, location: LocationName | None = None) -> None:
    """Refuse a ``proxy_pass`` with a path in a place where nginx has nothing that the path could replace.

    Raises
    ------
    ProxyConfigError
        With the line of the ``proxy_pass``.
    """
    if location is None:
        if block.name not in {"if", "limit_except"}:
            return
        where = block.name
    elif location.is_expression or location.is_named:
        where = f"location {location.modifier or location.pattern}"
    else:
        return
    for directive in block.all("proxy_pass"):
        text = directive.args[0] if directive.args else ""
        found = PASSED.match(text)
        rest = "" if found is None or "$" in text else text[found.end() :]
        if rest.removeprefix(":" if found is not None and found[2].lower().startswith("unix:") else ""):
            raise ProxyConfigError(directive.origin, f"{text}: no path can stand here, in {where}")


def port_problem(address: str) -> str:
    """Return why nginx refuses an address, empty if it does not."""
    if address.lower().startswith("unix:"):
        return "" if len(address) > len("unix:") else f"{address}: a path is expected"
    host, colon, port = address.rpartition(":")
    if "/" in address or (address.startswith("[") and "]" not in address):
        return f"{address}: a host is expected"
    if ":" in host and not address.startswith("["):
        return f"{address}: a port is 1 to 65535, and an IPv6 address stands in brackets"
    if address.startswith("[") and address.endswith("]"):
        return ""
    if not colon:
        return ""
    if not host:
        return f"{address}: a host is expected"
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        return f"{address}: a port is 1 to 65535"
    return ""


@final
class Action:
    """What a location does."""

    def __init__(
        self,
        reader: ActionReader,
        target: Directive | None,
        written: str,
        origin: Origin,
        *,
        variables: VariableSource,
        guards: Sequence[Guard] = (),
    ) -> None:
        self.rule: str = f"{written} ({origin})"
        self.origin: Origin = origin
        self.target: Directive | None = target
        self._reader = reader
        self._guards = guards
        self._template: Template | None = None
        self._answer: Answer | None = None
        if target is not None and target.name == "return":
            self._answer = answer_of(target, variables)
        if target is not None and target.name != "return":
            if len(target.args) != 1:
                raise ProxyConfigError(target.origin, f"{target.name} has one argument")
            self._template = Template(target.args[0], variables)
            if self._template.unknown:
                reader.note(target, f"the value of {', '.join(self._template.unknown)} is not known here")
            elif self._template.constant:
                self._check(target, self._template.text)
                self._pool_of(target, self._template.text)
            elif self._template.fixed:
                self._pool_of(target, self._template.value(ProxyRequest()).decode("utf-8", "replace"))

    def _check(self, target: Directive, text: str) -> None:
        """Refuse what nginx refuses of a text without variables."""
        found = PASSED.match(text)
        if found is None:
            if target.name == "proxy_pass":
                raise ProxyConfigError(target.origin, "proxy_pass has a URL with a scheme")
            return
        problem = port_problem(found[2])
        if problem:
            raise ProxyConfigError(target.origin, problem)
        name = PORT.sub("", found[2]).lower()
        if name != found[2].lower() and name in self._reader.upstreams:
            raise ProxyConfigError(target.origin, f"{found[2]}: an upstream has no port here")

    def _pool_of(self, target: Directive, text: str) -> str | None:
        """Return the pool of a text, ``None`` if it is none that nginx can send a request to."""
        found = PASSED.match(text)
        if found is None and target.name == "proxy_pass":
            return None
        name = found[2] if found is not None else text
        known = self._reader.names.get(name.lower())
        if known is not None:
            return known
        if port_problem(name):
            return None
        if found is not None and PORT.search(name) is None and not name.lower().startswith("unix:"):
            name = f"{name}:{443 if found[1].lower() in {'https', 'grpcs'} else DEFAULT_PORT}"
        return self._reader.implicit(name, target)

    def routing(self, request: ProxyRequest) -> Routing:
        """Return where it leads."""
        try:
            guard = next((guard for guard in self._guards if guard.holds(request)), None)
            if guard is not None:
                return guard.answer.routing(request, f"{self.rule}: {guard.written}")
            return self._routing(request)
        except UnknownVariableError as error:
            return Routing(None, f"{self.rule}: the value of {error} is not known here")

    def _routing(self, request: ProxyRequest) -> Routing:
        if self.target is None:
            return Routing(None, f"{self.rule} does not proxy: nginx answers by itself")
        if self._answer is not None:
            return self._answer.routing(request, self.rule)
        if self._template is None or self._template.unknown:
            return Routing(None, f"{self.rule}: {self.target} is not modelled")
        text = self._template.value(request).decode("utf-8", "replace")
        rule = f"{self.rule}: {self.target.name} {text}"
        pool = self._pool_of(self.target, text)
        return Routing(pool, rule) if pool is not None else Routing(None, f"{rule} is no URL", 500)


def upstream_server(server: PoolServer) -> nginx.Server:
    """Return a server as that of an upstream."""
    names = ("max_fails", "fail_timeout", "max_conns")
    return nginx.Server(
        server.name,
        address=server.address,
        weight=server.weight,
        down=server.down,
        backup=server.backup,
        **{name: server.options[name] for name in names if name in server.options},
    )


@final
class UpstreamChooser:
    """An upstream that was just started."""

    def __init__(
        self,
        servers: Iterable[PoolServer],
        method: nginx.Method,
        template: Template | None,
        key: str,
        rng: Random,
    ) -> None:
        self._upstream = nginx.Upstream([upstream_server(server) for server in servers], method, rng=rng)
        self._template = template
        self._by_network = key == NETWORK

    def pick(self, request: ProxyRequest, _: Routing, /) -> str | None:
        """Return the server of a request that ends at once."""
        key = b""
        if self._by_network:
            key = nginx.IpHash.key_of(request.client)
        elif self._template is not None:
            key = self._template.value(request)
        return self._upstream.request(key).get(now=0.0)
