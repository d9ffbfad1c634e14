"""Reader of HAProxy's frontends: ``bind``, ``acl``, ``use_backend``, ``default_backend``, ``normalize-uri``.

Source: HAProxy 2.6 configuration manual, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from balancekit.compat import haproxy
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._haproxy_checks import check_bind
from balancekit.proxyconfig._haproxy_decide import Frontend
from balancekit.proxyconfig._haproxy_lines import Line, Section, bound_ports
from balancekit.proxyconfig._haproxy_notes import Notes
from balancekit.proxyconfig._haproxy_rules import Acls, Condition, UnknownTestError, backend_rule
from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["FrontendReader"]


@final
class FrontendReader:
    """The frontends of a configuration, in order; those of ``listen`` are among them.

    Parameters
    ----------
    notes
        Gets the lines that are not modelled.
    read
        Returns the text of a map or a file of patterns.
    """

    __slots__ = ("_bound", "_notes", "_read", "frontends")

    def __init__(self, notes: Notes, read: Callable[[str, Origin], str]) -> None:
        self._notes = notes
        self._read = read
        self._bound: dict[int, str] = {}
        """The first frontend of each port."""
        self.frontends: list[Frontend] = []

    def add(self, section: Section, inherited: Sequence[Line], default: str | None) -> None:
        """Read a frontend.

        Parameters
        ----------
        section
            The section.
        inherited
            Lines of its defaults.
        default
            The backend of requests that no rule matches, unless a line names another.

        Raises
        ------
        ProxyConfigError
            For a line that HAProxy refuses.
        """
        frontend = Frontend(section.name, section.origin)
        frontend.default = default
        acls = Acls(self._read)
        default_backend: Line | None = None
        for line in (*inherited, *section.lines):
            if line.words[0] == "default_backend" and len(line.words) > 1:
                default_backend = line  # the last one is in force
            else:
                self._line(line, frontend, acls)
        if acls.extended:
            self._read_again(frontend, acls)
        if default_backend is not None:
            frontend.default, frontend.default_origin = default_backend.words[1], default_backend.origin
            frontend.named.append((frontend.default, frontend.default_origin))
        for rule, line in zip(frontend.rules, frontend.lines, strict=True):
            if any(rule["if"]) and frontend.mode != "http":
                self._notes.add(line, "outside of mode http it holds only if the bytes are there in time")
        frontend.unused = acls.names - acls.used
        frontend.compile()
        self.frontends.append(frontend)

    def _line(self, line: Line, frontend: Frontend, acls: Acls) -> None:
        first = line.words[0]
        if first == "bind":
            self._bind(line, frontend)
        elif first == "monitor-uri":
            frontend.monitor = line.words[1] if len(line.words) > 1 else None
        elif first in {"disabled", "enabled"}:
            frontend.disabled = first == "disabled"
        elif first == "acl":
            unknown = acls.add(line)
            if unknown:
                self._notes.add(line, unknown)
        elif first == "http-request" and line.words[1:2] == ("normalize-uri",):
            self._normalize(line, frontend)
        elif first == "use_backend":
            self._use(line, frontend, acls)
        elif first == "mode":
            frontend.mode = " ".join(line.words[1:])

    def _normalize(self, line: Line, frontend: Frontend) -> None:
        name, *rest = line.words[2:] or ("",)
        if rest[:1] in (["full"], ["strict"]):
            name = f"{name} {rest.pop(0)}"
        if rest:
            self._notes.add(line, "its condition is not followed: it is taken to hold")
        if name in {"fragment-strip", "fragment-encode"}:
            return  # a target with a fragment has been refused by then
        try:
            haproxy.UseBackend([], normalize=[name])
        except ConfigurationError as error:
            raise ProxyConfigError(line.origin, str(error)) from None
        frontend.steps.append(name)

    def _bind(self, line: Line, frontend: Frontend) -> None:
        ports = bound_ports(line, self._notes.environment)
        if not self._notes.environment.unknown and not self._notes.has(line):
            for address in line.words[1].split(","):
                check_bind(line, self._notes.expanded(address))
            if line.words[2:] and line.words[2].startswith((":", "*")):
                raise ProxyConfigError(
                    line.origin, f"a blank before {line.words[2]!r} in a list of addresses"
                )
        self._notes.add_unknown(line)
        others = {self._bound.setdefault(port, frontend.name) for port in ports} - {frontend.name}
        if others:
            self._notes.add(
                line, f"addresses are not distinguished: its port is taken to lead to {min(others)}"
            )
        frontend.ports += ports

    def _use(self, line: Line, frontend: Frontend, acls: Acls) -> None:
        if len(line.words) < 2:
            raise ProxyConfigError(line.origin, "use_backend has a backend")
        condition = self._condition(line, acls)
        if condition is None:
            return
        try:
            rule, pools = backend_rule(line.words[1], line.origin, self._read)
        except UnknownTestError as error:
            self._notes.add(line, f"{error}; it is taken not to match")
            return
        frontend.rules.append({**rule, "if": condition})
        frontend.lines.append(line)
        if "pool" in rule:
            frontend.named += [(pool, line.origin) for pool in pools]

    def _condition(self, line: Line, acls: Acls) -> Condition | None:
        """Return the condition of a rule; ``None`` for one that never holds, or that is taken not to."""
        try:
            condition = acls.condition(line.words[2:], line.origin)
        except UnknownTestError as error:
            self._notes.add(line, f"{error}; it is taken not to match")
            return None
        return None if line.words[2:] and not condition else condition

    def _read_again(self, frontend: Frontend, acls: Acls) -> None:
        """Read the conditions with names that later lines declare again. Those lines hold for earlier rules, too."""
        for number in reversed(range(len(frontend.lines))):
            line = frontend.lines[number]
            if acls.extended.isdisjoint(word.lstrip("!") for word in line.words[2:]):
                continue
            condition = self._condition(line, acls)
            if condition is None:
                del frontend.rules[number], frontend.lines[number]
            else:
                frontend.rules[number]["if"] = condition
