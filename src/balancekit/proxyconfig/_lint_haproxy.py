"""Findings in configurations of HAProxy.

Source: HAProxy 2.6 configuration manual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._facts import HaproxyFacts
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._haproxy_decide import Frontend
from balancekit.proxyconfig._haproxy_lines import Environment, Line, Section, haproxy_sections
from balancekit.proxyconfig._haproxy_misspelt import meant_by
from balancekit.proxyconfig._haproxy_rules import Condition
from balancekit.proxyconfig._lint_finding import MIN_POINTS, LintFinding, is_loopback, repeated, seconds_of
from balancekit.proxyconfig._model import Origin, Pool

__all__ = ["lint_haproxy"]

POINTS_PER_WEIGHT: Final = 16
MAX_SLOW_START_S: Final = 300.0
DEFAULT_INTERVAL_S: Final = 2.0
KEYS_BY_ADDRESS: Final = "source"
STATIC: Final = ("static-rr", "first")


def lint_haproxy(config: ProxyConfig) -> Iterator[LintFinding]:
    """Yield the findings of a configuration."""
    text = Files().read(config.path, Origin(config.path, 1))
    facts = config.facts
    if not isinstance(facts, HaproxyFacts):
        raise TypeError(config.kind)
    sections = list(haproxy_sections(config.path, text, Environment(facts.environment)))
    for one in config.not_modelled:
        meant = meant_by(one.text.split())
        if meant is not None:
            yield LintFinding(
                origin=one.origin,
                rule="misspelt-word",
                text="HAProxy does not know it and does not start",
                advice=f"Write {meant}",
            )
    behind = _behind_a_proxy(sections)
    for pool in config.pools.values():
        if not pool.servers:
            continue
        yield from repeated(pool.servers)
        yield from _weights(pool)
        yield from _ring(pool)
        yield from _checks(pool)
        yield from _slow_start(pool)
        yield from _retries(pool)
        yield from _cookies(pool)
        if pool.key == KEYS_BY_ADDRESS and behind:
            yield LintFinding(
                origin=pool.settings["balance"].origin,
                rule="hash-of-one-address",
                text=f"{behind}: all clients have the address of that proxy, and all go to one server",
                advice="Write accept-proxy on bind, or balance hdr(X-Forwarded-For)",
            )
    yield from _rules(config, facts.frontends, sections)


def _behind_a_proxy(sections: list[Section]) -> str:
    lines = [line for section in sections for line in section.lines]
    binds = [line for line in lines if line.words[0] == "bind" and len(line.words) > 1]
    if any({"accept-proxy", "accept-netscaler-cip"} & {*line.words} for line in binds):
        return ""
    if any(line.words[:2] == ("http-request", "set-src") for line in lines):
        return ""
    if binds and all(is_loopback(line.words[1]) for line in binds):
        return "HAProxy listens on this machine only"
    return ""


def _weights(pool: Pool) -> Iterator[LintFinding]:
    balance = pool.settings["balance"]
    active = [server for server in pool.servers if not server.backup and not server.down]
    for server in pool.servers:
        if server.weight == 0 and not server.down:
            yield LintFinding(
                origin=server.origin,
                rule="never-serves",
                text="weight 0: it gets no request, not even if all others are down; only cookies lead to it",
                advice="Write a weight of 1 to 256, or disabled",
            )
    if balance.words[1:2] == ("first",) and any(server.weight != 1 for server in active):
        yield LintFinding(
            origin=balance.origin,
            rule="weights-ignored",
            text="balance first fills servers in order and looks at no weight",
            advice="Remove the weights, or write balance roundrobin",
        )
    if balance.words[1:2] == ("first",) and not any(server.options.get("maxconn") for server in active):
        yield LintFinding(
            origin=balance.origin,
            rule="never-serves",
            text="balance first without maxconn: the first server gets everything, the others nothing",
            advice="Write maxconn on each server",
        )
    backups = [server for server in pool.servers if server.backup]
    if not active and backups:
        return
    if len(backups) > 1 and not pool.settings.get("allbackups"):
        yield LintFinding(
            origin=backups[1].origin,
            rule="never-serves",
            text=f"only the first backup serves, {backups[0].name}; this one waits until that is down too",
            advice="Write option allbackups to use all of them",
        )


def _ring(pool: Pool) -> Iterator[LintFinding]:
    kind = pool.settings.get("hash-type") or ()
    active = [server for server in pool.servers if not server.backup and not server.down and server.weight]
    if not pool.keyed or kind[:1] != ("consistent",) or len(active) < 2:
        return
    least = min([server.weight for server in active])
    if least * POINTS_PER_WEIGHT < MIN_POINTS:
        yield LintFinding(
            origin=pool.settings.get("hash-type.origin", pool.origin),
            rule="ring-of-few-points",
            text=f"a server of weight {least} has {least * POINTS_PER_WEIGHT} points on the ring: shares of equal servers "
            f"differ by about {1 / (least * POINTS_PER_WEIGHT) ** 0.5:.0%}",
            advice="Give every server a larger weight, such as weight 10 or 100",
        )


def _checks(pool: Pool) -> Iterator[LintFinding]:
    checked = [server for server in pool.servers if server.options.get("check")]
    if pool.settings.get("option httpchk") and not checked:
        yield LintFinding(
            origin=pool.origin,
            rule="check-never-runs",
            text="option httpchk is set, but no server has check: none is ever taken out",
            advice="Write check on every server, or default-server check",
        )
    elif (
        len(pool.servers) > 1
        and not checked
        and not any(server.options.get("track") for server in pool.servers)
    ):
        yield LintFinding(
            origin=pool.origin,
            rule="no-checks",
            text="no server has check: one that is down keeps its share of the requests",
            advice="Write default-server check",
        )
    limit = pool.settings.get("timeout check")
    timeout = seconds_of(limit, unit="ms") if isinstance(limit, str) else None
    for server in checked:
        interval = seconds_of(str(server.options.get("inter", "2s")), unit="ms") or DEFAULT_INTERVAL_S
        if timeout is not None and timeout > interval:
            yield LintFinding(
                origin=server.origin,
                rule="check-slower-than-its-time-out",
                text=f"a check may take {timeout:g} s, but is due every {interval:g} s: a server that hangs is found later than "
                "inter and fall allow",
                advice=f"Write timeout check below {interval:g}s, or a longer inter",
            )
            return


def _slow_start(pool: Pool) -> Iterator[LintFinding]:
    balance = pool.settings["balance"]
    mapped = pool.keyed and (pool.settings.get("hash-type") or ("map-based",))[0] == "map-based"
    for server in pool.servers:
        slow = seconds_of(str(server.options.get("slowstart", "0")), unit="ms") or 0.0
        if slow and (balance.words[1] in STATIC or mapped):
            yield LintFinding(
                origin=server.origin,
                rule="slow-start-without-effect",
                text=f"balance {balance.words[1]} cannot change weights while it runs: slowstart does nothing",
                advice="Write balance roundrobin, leastconn or hash-type consistent, or remove slowstart",
            )
            return
        if slow > MAX_SLOW_START_S:
            yield LintFinding(
                origin=server.origin,
                rule="slow-start-starves",
                text=f"a server that comes back is below its share for {slow:g} s; one that fails now and then never gets there, "
                "and the others carry its load",
                advice="Write slowstart 30s or the like",
            )
            return


def _retries(pool: Pool) -> Iterator[LintFinding]:
    settings = pool.settings
    usable = [server for server in pool.servers if not server.down]
    if len(usable) < 2 or settings.get("mode") == "tcp":
        return
    if settings.get("retries") == "0":
        return
    if not settings.get("option redispatch"):
        yield LintFinding(
            origin=pool.origin,
            rule="retries-to-the-same-server",
            text="without option redispatch every retry goes to the server that has just refused",
            advice="Write option redispatch",
        )


def _cookies(pool: Pool) -> Iterator[LintFinding]:
    cookie = pool.settings.get("cookie")
    missing = [server for server in pool.servers if not server.options.get("cookie")]
    if cookie and missing:
        yield LintFinding(
            origin=missing[0].origin,
            rule="no-cookie-value",
            text=f"{missing[0].name} has no cookie value: clients that it serves are not bound to it",
            advice=f"Write cookie {missing[0].name} on its line",
        )


def _rules(
    config: ProxyConfig, frontends: Sequence[Frontend], sections: list[Section]
) -> Iterator[LintFinding]:
    for frontend in frontends:
        yield from _order(frontend)
    for section in sections:
        if section.kind in {"frontend", "listen"}:
            yield from _unused_acls(section)
    yield from _unused_pools(config, frontends, sections)


def _unused_acls(section: Section) -> Iterator[LintFinding]:
    used = {word.lstrip("!") for line in section.lines if line.words[0] != "acl" for word in line.words}
    acls = {
        line.words[1]: line.origin for line in section.lines if line.words[0] == "acl" and len(line.words) > 1
    }
    for name, origin in acls.items():
        if name not in used:
            yield LintFinding(
                origin=origin,
                rule="unused-acl",
                text=f"no rule uses acl {name}",
                advice="Use it in a condition, or remove it",
            )


def _unused_pools(
    config: ProxyConfig, frontends: Sequence[Frontend], sections: Sequence[Section]
) -> Iterator[LintFinding]:
    rules = [
        line.words[1]
        for section in sections
        if section.kind in {"frontend", "listen"}
        for line in section.lines
        if line.words[0] == "use_backend" and len(line.words) > 1
    ]
    if any("%[" in name for name in rules):  # any pool may be meant
        return
    named = {*rules, *[pool for frontend in frontends for pool, _ in frontend.named]}
    defaults = {frontend.default for frontend in frontends}
    listens = {section.name for section in sections if section.kind == "listen"}
    for pool in config.pools.values():
        if pool.name not in named | defaults | listens and pool.servers:
            yield LintFinding(
                origin=pool.origin,
                rule="unused-pool",
                text=f"no frontend leads to backend {pool.name}",
                advice="Name it in use_backend or default_backend, or remove it",
            )


def _order(frontend: Frontend) -> Iterator[LintFinding]:
    """Yield rules that no request reaches, because earlier rules take all of them.

    A rule is only compared with those that begin with one of its terms.
    """
    before: dict[str, list[tuple[int, Condition, Line]]] = {}
    always: Line | None = None
    for number, (rule, line) in enumerate(zip(frontend.rules, frontend.lines, strict=True)):
        condition: Condition = rule["if"]
        terms = [str(term) for term in condition[0]] if condition else []
        likely = sorted(
            [one for word in {*terms, ""} for one in before.get(word, ())], key=lambda one: one[0]
        )
        blocker = next((earlier for _, known, earlier in likely if _covers(known, condition)), None)
        if blocker is not None:
            yield LintFinding(
                origin=line.origin,
                rule="unreachable-route",
                text=f"line {blocker.origin.line} ({blocker}) takes every request that this rule would",
                advice="Write it before that line, or remove it",
            )
        for word in {str(alternative[0]) if alternative else "" for alternative in condition} or {""}:
            before.setdefault(word, []).append((number, condition, line))
        if always is None and not condition and ("map" not in rule or rule["map"]["default"] is not None):
            always = line  # a map without a default leaves keys without an entry to default_backend
    if always is not None and frontend.default and frontend.default_origin != frontend.origin:
        yield LintFinding(
            origin=frontend.default_origin,
            rule="unreachable-route",
            text=f"line {always.origin.line} ({always}) has no condition: default_backend gets nothing",
            advice="Give that rule a condition, or remove one of them",
        )


def _covers(known: Condition, condition: Condition) -> bool:
    """Whether a condition, an OR of ANDs, holds whenever another does, as far as their terms show."""
    if not known:
        return True
    return bool(condition) and all(
        any(all(term in terms for term in wanted) for wanted in known) for terms in condition
    )
