"""Findings in configurations of nginx.

Source: nginx 1.22, ``ngx_http_upstream_module`` and ``ngx_http_core_module``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final

from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._lint_finding import LintFinding, is_loopback, repeated
from balancekit.proxyconfig._model import Pool
from balancekit.proxyconfig._nginx_blocks import location_name
from balancekit.proxyconfig._nginx_files import Directive, nginx_directives
from balancekit.proxyconfig._nginx_misspelt import misspelt
from balancekit.proxyconfig._nginx_words import METHODS, PASSES

__all__ = ["lint_nginx"]

EVERYTHING: Final = frozenset({"", "^", ".", ".*", ".+", "/", "^/", "^/.*", "^/.*$", "^.*$", "^.*", "/.*"})
"""Expressions that are found in every path."""
START: Final = re.compile(r"\^((?:[A-Za-z0-9/_-]|\\\.)+)")
ESCAPED: Final = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
"""Escaped letters and sets of letters, in which no sign has its meaning."""
FORWARDED: Final = "$http_x_forwarded_"
ADDRESSES: Final = ("$remote_addr", "$binary_remote_addr")
NAME: Final = re.compile(r"[\w.-]+")


def lint_nginx(config: ProxyConfig) -> Iterator[LintFinding]:
    """Yield the findings of a configuration."""
    top = nginx_directives(config.path, Files())
    parts = tuple([directive for directive in top if directive.name not in {"stream", "mail"}])
    blocks = [directive for directive in top if directive.name == "http"]
    if parts and not blocks:
        blocks = [Directive("http", (), parts[0].origin, parts)]
    for directive, meant in misspelt(blocks):
        yield LintFinding(
            origin=directive.origin,
            rule="misspelt-directive",
            text=f"nginx has no directive {directive.name} and does not start, unless a module adds it",
            advice=f"Write {meant}",
        )
    everything = [directive for block in blocks for directive in _walk(block)]
    upstreams = [
        directive
        for directive in everything
        if directive.name == "upstream" and directive.args and directive.args[0] in config.pools
    ]
    why = _one_address(everything)
    for upstream in upstreams:
        pool = config.pools[upstream.args[0]]
        yield from _upstream(upstream, pool)
        if why:
            yield from _by_address(upstream, why)
        yield from _limits(upstream, pool, top)
    yield from _one_attempt(blocks, upstreams)
    yield from _passes(config, everything)
    for server in everything:
        if server.name == "server" and server.block is not None:
            yield from _locations(server)
    yield from _names(everything)
    for directive in everything:
        if directive.name.endswith("_next_upstream") and "non_idempotent" in directive.args:
            yield LintFinding(
                origin=directive.origin,
                rule="repeated-writes",
                text="a POST that a server may have carried out is sent to another server",
                advice="Leave out non_idempotent, or set it only in locations whose writes may be repeated",
            )


def _walk(directive: Directive) -> Iterator[Directive]:
    yield directive
    for inner in directive.block or ():
        yield from _walk(inner)


def _upstream(upstream: Directive, pool: Pool) -> Iterator[LintFinding]:
    yield from repeated(pool.servers)
    first = [server for server in pool.servers if not server.backup]
    if all(server.down for server in first):
        rest = "the backups serve everything" if len(first) < len(pool.servers) else "every request gets 502"
        yield LintFinding(
            origin=upstream.origin,
            rule="all-down",
            text=f"all servers of {pool.name} are down: {rest}",
            advice="Remove down from a server",
        )
    method = next((directive for directive in upstream.block or () if directive.name in METHODS), None)
    kept = upstream.last("keepalive")
    if method is not None and kept is not None and kept.origin < method.origin:
        yield LintFinding(
            origin=kept.origin,
            rule="keepalive-before-method",
            text=f"{method.name} comes after keepalive and takes its place: no connection is kept",
            advice=f"Write keepalive after {method.name}",
        )
    usable = [server for server in first if not server.down]
    if (
        method is not None
        and len(usable) == 1
        and len(pool.servers) > 1
        and method.name in {"ip_hash", "hash"}
    ):
        yield LintFinding(
            origin=method.origin,
            rule="hash-over-one",
            text=f"only {usable[0].name} may serve: {method.name} decides nothing",
            advice="Add servers, or remove the method",
        )
    total = sum([server.weight for server in usable])
    for server in usable:
        if server.weight * 2000 < total:
            yield LintFinding(
                origin=server.origin,
                rule="never-serves",
                text=f"its weight is {server.weight} of {total}: less than one request of 2000",
                advice="Raise its weight, or mark it as backup or down",
            )


def _one_address(found: Sequence[Directive]) -> str:
    """Return why all clients may have one address, empty if there is no sign of it."""
    if any(directive.name == "set_real_ip_from" for directive in found):
        return ""
    listens = [directive for directive in found if directive.name == "listen" and directive.args]
    if listens and all(is_loopback(directive.args[0]) for directive in listens):
        return "nginx listens on this machine only"
    if any("proxy_protocol" in directive.args for directive in listens):
        return "clients come through a proxy that speaks the PROXY protocol"
    if any(FORWARDED in argument for directive in found for argument in (directive.name, *directive.args)):
        return "X-Forwarded headers are read, so clients come through a proxy"
    return ""


def _by_address(upstream: Directive, why: str) -> Iterator[LintFinding]:
    method = next((directive for directive in upstream.block or () if directive.name in METHODS), None)
    if method is not None and (
        method.name == "ip_hash" or method.args[:1] in [(address,) for address in ADDRESSES]
    ):
        yield LintFinding(
            origin=method.origin,
            rule="hash-of-one-address",
            text=f"{why}: all clients have the address of that proxy, and all go to one server",
            advice="Set set_real_ip_from and real_ip_header, or hash a header or a cookie",
        )


def _limits(upstream: Directive, pool: Pool, top: Iterable[Directive]) -> Iterator[LintFinding]:
    workers = next(
        (directive.args[0] for directive in top if directive.name == "worker_processes" and directive.args),
        "1",
    )
    if workers == "1" or upstream.last("zone") is not None:
        return
    for server in pool.servers:
        if server.options.get("max_conns"):
            yield LintFinding(
                origin=server.origin,
                rule="limit-per-worker",
                text=f"max_conns holds for each of {workers} workers by itself",
                advice=f"Add zone {pool.name} 64k; to the upstream",
            )
            return


def _one_attempt(blocks: Iterable[Directive], upstreams: Iterable[Directive]) -> Iterator[LintFinding]:
    by_name = {directive.args[0]: directive for directive in upstreams}

    def inside(block: Directive, *, off: bool) -> Iterator[LintFinding]:
        for directive in block.block or ():
            if directive.name == "proxy_next_upstream":
                off = directive.args == ("off",)
            elif directive.name == "proxy_next_upstream_tries":
                off = directive.args == ("1",) or off
        for directive in block.block or ():
            if directive.name == "proxy_pass" and off and directive.args:
                upstream = by_name.get(directive.args[0].partition("://")[2].partition("/")[0])
                for server in upstream.all("server") if upstream is not None else ():
                    if "max_fails=0" in server.args:
                        yield LintFinding(
                            origin=server.origin,
                            rule="no-way-around",
                            text=f"max_fails=0 never takes it out, and {directive.origin} tries one server only: its share of all "
                            "requests fails while it is down",
                            advice="Remove max_fails=0, or allow a second try by proxy_next_upstream",
                        )
            elif directive.block is not None:
                yield from inside(directive, off=off)

    for block in blocks:
        yield from inside(block, off=False)


def _occurs(name: str, names: Container[str], text: str) -> bool:
    """Whether the name of an upstream is in a text, not as a part of another name."""
    return name in names if NAME.fullmatch(name) else name in text


def _passes(config: ProxyConfig, everything: Iterable[Directive]) -> Iterator[LintFinding]:
    found = list(everything)
    passes = [directive for directive in found if directive.name in PASSES and directive.args]
    upstreams = {name.lower() for name in config.pools}
    text = " ".join(
        [
            argument
            for directive in found
            if directive.name != "upstream"
            for argument in (directive.name, *directive.args)
        ]
    ).lower()
    names = set(NAME.findall(text))
    for directive in found:
        if (
            directive.name == "upstream"
            and directive.args
            and not _occurs(directive.args[0].lower(), names, text)
        ):
            yield LintFinding(
                origin=directive.origin,
                rule="unused-pool",
                text=f"nothing leads to upstream {directive.args[0]}",
                advice="Name it in a proxy_pass, or remove it",
            )
    for directive in passes:
        host = directive.args[0].partition("://")[2].partition("/")[0].partition(":")[0]
        if (
            host
            and "$" not in host
            and "." not in host
            and host.lower() not in upstreams
            and host not in {"localhost", "unix"}
            and not host.startswith("[")
        ):
            yield LintFinding(
                origin=directive.origin,
                rule="unknown-pool",
                text=f"there is no upstream {host!r}: nginx looks for a host of that name, once at its start",
                advice=f"Add upstream {host} {{ }}, or correct the name",
            )


def _locations(server: Directive) -> Iterator[LintFinding]:
    seen: list[tuple[str, str, Directive]] = []
    for directive in server.all("location"):
        name = location_name(directive)
        seen.append((name.modifier, name.pattern, directive))
    prefixes = {text: sign for sign, text, _ in seen if sign in {"", "^~"}}
    before: dict[tuple[str, str], Directive] = {}
    catching: Directive | None = None
    for sign, text, directive in seen:
        if sign not in {"~", "~*"}:
            continue
        blocker = before.get((sign, text)) or before.get(("~*", text)) or catching
        literal = _beginning(text, any_case=sign == "~*")
        longest = max([prefix for prefix in prefixes if literal.startswith(prefix)], key=len, default="")
        below = any(prefix.startswith(literal) and prefix != longest for prefix in prefixes if literal)
        if blocker is not None:
            yield _unreachable(
                directive,
                f"{' '.join(blocker.args)} in line {blocker.origin.line} is tried first and matches",
            )
        elif longest and prefixes[longest] == "^~" and not below:
            yield _unreachable(directive, f"^~ {longest} forbids expressions below it")
        before.setdefault((sign, text), directive)
        if text in EVERYTHING:
            catching = catching or directive


def _beginning(expression: str, *, any_case: bool) -> str:
    """Return the text with which every path begins that an expression matches, as far as it is simple to see."""
    start = START.match(expression)
    depth = 0
    for sign in ESCAPED.sub("", expression):
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and not depth:
            return ""
    if start is None:
        return ""
    found = start[1].replace("\\.", ".")
    if expression[start.end() :][:1] in {"?", "*", "{"}:
        found = found[:-1]
    return re.split("[A-Za-z]", found, maxsplit=1)[0] if any_case else found


def _unreachable(directive: Directive, why: str) -> LintFinding:
    return LintFinding(
        origin=directive.origin,
        rule="unreachable-route",
        text=f"no request takes location {' '.join(directive.args)}: {why}",
        advice="Write it before the other, or remove one of them",
    )


def _names(everything: Iterable[Directive]) -> Iterator[LintFinding]:
    taken: dict[tuple[str, str], Directive] = {}
    for server in everything:
        if server.name != "server" or server.block is None:
            continue
        ports = [directive.args[0] for directive in server.all("listen") if directive.args] or ["80"]
        names = [name for directive in server.all("server_name") for name in directive.args] or [""]
        for place in [(port, name.lower()) for port in ports for name in names]:
            if place in taken:
                yield LintFinding(
                    origin=server.origin,
                    rule="unreachable-route",
                    text=f"the server in line {taken[place].origin.line} has the same listen {place[0]} and the same name "
                    f"{place[1] or 'of none'}; this one gets nothing by it",
                    advice="Give each server a name of its own",
                )
            taken.setdefault(place, server)
