"""Reader of HAProxy's configuration: ``defaults``, ``frontend``, ``backend``, ``listen``, server lines, maps.

Followed: ``balance``, ``hash-type``, ``hash-balance-factor``, ``server``, ``server-template`` with an address,
``default-server``, ``cookie NAME insert``, ``option allbackups``, ``acl``, ``use_backend`` (maps too), ``default_backend``,
``http-request normalize-uri``, ``bind``, ``monitor-uri``, ``disabled``, ``.if``. Everything that is neither followed nor known to
decide nothing is listed as not modelled. Without ``balance`` the method is that of HAProxy 2.6, ``roundrobin``; without
``mode http`` requests are not read.

Source: HAProxy 2.6 configuration manual; :mod:`balancekit.compat.haproxy` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from balancekit._support.arguments import checked_arguments
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._facts import HaproxyFacts
from balancekit.proxyconfig._files import Files, without_mark
from balancekit.proxyconfig._haproxy_backend import read_backend
from balancekit.proxyconfig._haproxy_checks import check_head, check_line, check_removed
from balancekit.proxyconfig._haproxy_decide import Frontend
from balancekit.proxyconfig._haproxy_frontend import FrontendReader
from balancekit.proxyconfig._haproxy_lines import Line, Section, haproxy_sections
from balancekit.proxyconfig._haproxy_notes import Notes
from balancekit.proxyconfig._haproxy_rules import Acls
from balancekit.proxyconfig._haproxy_servers import check_references, template_servers
from balancekit.proxyconfig._model import Origin, Pool, ProxyConfigError, ProxyRequest, Routing

__all__ = ["read_haproxy"]

NOT_INHERITED: Final = frozenset({"acl", "use_backend", "bind", "server", "server-template"})
"""Lines of defaults that no other section takes over."""


@checked_arguments
def read_haproxy(
    path: str, *, files: Files | None = None, environment: Mapping[str, str] | None = None
) -> ProxyConfig:
    """Read a configuration of HAProxy, with its maps and files of patterns.

    Parameters
    ----------
    path
        The path of the file.
    files
        The reader of files, with its limits; one of its own if left out.
    environment
        Environment variables that the configuration names; none if left out.

    Raises
    ------
    ProxyConfigError
        If it cannot be read, with file and line.
    """
    limits = files or Files()
    text = without_mark(path, limits.read(path, Origin(path, 1)))
    return _Reader(path, limits, environment or {}).config(text)


@final
class _Reader:
    def __init__(self, path: str, files: Files, environment: Mapping[str, str]) -> None:
        self._path = path
        self._files = files
        self._given = environment
        self._notes = Notes(environment)
        self._frontends = FrontendReader(self._notes, self._read)
        self._pools: dict[str, Pool] = {}
        self._owners: dict[Origin, str] = {}
        self._defaults: list[Line] = []
        self._named_defaults: dict[str, list[Line]] = {}
        self._resolvers: set[str] = set()

    def config(self, text: str) -> ProxyConfig:
        found = 0
        for section in haproxy_sections(self._path, text, self._notes.environment, self._notes.add):
            found += 1
            self._check(section)
            if section.kind == "defaults":
                self._defaults = [*self._inherited(section, []), *section.lines]
                if section.name:
                    self._named_defaults[section.name] = self._defaults
                for line in section.lines:
                    self._notes.add_effect(line)
            elif section.kind in {"frontend", "backend", "listen"}:
                self._proxy(section)
            elif section.kind == "global":
                for line in section.lines:
                    self._notes.add_effect(line, in_global=True)
        if not found:
            raise ProxyConfigError(Origin(self._path, 1), "no section of HAProxy in this file")
        frontends = self._frontends.frontends
        for frontend in frontends:
            self._check_pools(frontend)
        check_references(self._pools, self._resolvers)
        facts = HaproxyFacts(self._given, frontends)
        return ProxyConfig(
            "haproxy", self._path, self._pools, self._route, tuple(self._notes.entries), self._owners, facts
        )

    def _read(self, path: str, origin: Origin) -> str:
        return self._files.read(str(Path(self._path).absolute().parent / path), origin)

    # ------------------------------------------------------------------ what HAProxy refuses

    def _check(self, section: Section) -> None:
        check_head(section)
        if section.kind == "resolvers":
            self._resolvers.add(section.name)
        if section.kind == "global":
            for line in section.lines:
                check_removed(line, in_global=True)
        if section.kind not in {"defaults", "frontend", "backend", "listen"}:
            return
        for line in section.lines:
            if not self._notes.has(line):  # a variable that is not known is empty here, not there
                check_line(line, section)
        if section.kind in {"frontend", "listen"} and any(
            one.name == section.name for one in self._frontends.frontends
        ):
            raise ProxyConfigError(section.origin, f"a second frontend {section.name!r}")

    def _check_pools(self, frontend: Frontend) -> None:
        for name, origin in frontend.named:
            pool = self._pools.get(name)
            if pool is None:
                raise ProxyConfigError(origin, f"there is no backend {name!r}")
            if frontend.mode == "http" and pool.settings.get("mode", "tcp") != "http":
                raise ProxyConfigError(
                    origin, f"backend {name!r} is not in mode http, as frontend {frontend.name!r} is"
                )

    # ------------------------------------------------------------------ sections

    def _proxy(self, section: Section) -> None:
        inherited = [
            line for line in self._inherited(section, self._defaults) if line.words[0] not in NOT_INHERITED
        ]
        default = None
        if section.kind in {"backend", "listen"}:
            if section.name in self._pools:
                raise ProxyConfigError(section.origin, f"a second backend {section.name!r}")
            lines = (*inherited, *section.lines)
            pool = self._pools[section.name] = read_backend(section.name, section.origin, lines, self._notes)
            default = section.name if pool.servers else None
        if section.kind in {"frontend", "listen"}:
            self._frontends.add(section, inherited, default)
        acls = Acls(self._read)
        for line in section.lines:
            if section.kind == "backend":
                self._owners[line.origin] = section.name
                if line.words[0] == "acl":
                    acls.add(line)  # for what it refuses: what a backend's rules do is not followed
                if line.words[:2] == ("http-request", "normalize-uri"):
                    self._notes.add(line, "what is hashed is taken as it came")
            if line.words[0] != "server-template" or template_servers(line) is None:
                self._notes.add_effect(line)

    def _inherited(self, section: Section, default: list[Line]) -> list[Line]:
        """Return the lines of the defaults that a section names."""
        name = section.base
        if name is None:
            return default
        if name not in self._named_defaults:
            raise ProxyConfigError(section.origin, f"there is no defaults section {name!r}")
        return self._named_defaults[name]

    def _route(self, request: ProxyRequest) -> Routing:
        frontends = self._frontends.frontends
        if not frontends:
            return Routing(None, "there is no frontend")
        frontend = next(
            (
                one
                for one in frontends
                if not one.disabled and (request.port is None or request.port in one.ports)
            ),
            None,
        )
        if frontend is None:
            return Routing(
                None,
                "every frontend is disabled"
                if request.port is None
                else f"nothing is bound to port {request.port}",
            )
        return frontend.route(request, self._pools)
