"""Writer of HAProxy's configuration.

One frontend, its routes as ``use_backend`` in the order of the table, and the backends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, final

from balancekit.checks import HttpCheck
from balancekit.l7 import PathPattern, ValueCondition
from balancekit.l7._patterns import Exact, Prefix, TextPrefix
from balancekit.proxyconfig._export_facts import Exported, Member
from balancekit.proxyconfig._export_pool import key_parts
from balancekit.proxyconfig._export_routes import OTHER_KEYS, RouteRule, path_expression, whole_value
from balancekit.proxyconfig._export_text import spans, strong

__all__ = ["haproxy_text"]

SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,60}")
FETCHES: Final = {"header": "req.fhdr", "cookie": "req.cook", "query": "url_param"}
MATCHES: Final = {"is": "str", "is not": "str", "starts with": "beg", "contains": "sub", "matches": "reg"}
DRAWN: Final = 1_000_000
MAX_FACTOR: Final = 65_535
"""The largest balance factor of HAProxy, in percent."""


def haproxy_text(pools: Sequence[Exported], rules: Sequence[RouteRule], listen: str) -> str:
    """Return the configuration of HAProxy, without comments."""
    timeouts = [pool.pool.timeout for pool in pools if pool.pool.timeout is not None]
    lines = [
        "defaults",
        "    mode http",
        "    timeout connect 5s",
        f"    timeout client {pools[0].seconds(max([60.0, *timeouts]))}s",
        f"    timeout server {pools[0].seconds(max([60.0, *timeouts]))}s",
        "frontend balancekit",
        f"    bind {listen}",
    ]
    if rules:
        lines += [f"    {line}" for line in _Routes(pools).lines(rules)]
    else:
        lines.append(f"    default_backend {pools[0].pool.name}")
    return "\n".join([*lines, *[line for pool in pools for line in _backend(pool)]]) + "\n"


def _backend(pool: Exported) -> list[str]:
    found = pool.pool
    lines = [f"backend {found.name}", *_balance(pool)]
    if sum([member.level > 0 for member in pool.members]) > 1 and pool.method.words != "first":
        lines.append("    option allbackups")
    if found.attempts > 1:
        lines += [f"    retries {found.attempts - 1}", "    option redispatch 1"]
    else:
        lines.append("    retries 0")
    if found.timeout is not None:
        lines.append(f"    timeout server {pool.seconds(found.timeout)}s")
        pool.differ("the time-out is that of the server's silence, not of the whole request")
    if pool.bound is not None and found.keyed and "consistent" in pool.method.words:
        lines.append(f"    hash-balance-factor {min(max(101, round(pool.bound * 100)), MAX_FACTOR)}")
    elif pool.bound is not None:
        pool.differ("BoundedLoad needs a consistent hash; it is not written")
    lines += _check(pool)
    if found.health is not None and found.check is None:
        pool.differ("without a check HAProxy takes out no server that fails; requests are sent to another")
    if pool.method.words != "first":
        pool.one_level_of_backups("HAProxy")
    taken: set[str] = set()
    for member in pool.members:
        lines.append(f"    server {_name(pool, member, taken)} {member.address}{_options(pool, member)}")
    return lines


def _balance(pool: Exported) -> list[str]:
    words = pool.method.words
    if not words.startswith("KEY"):
        return [f"    balance {words.replace('D', str(pool.pool.options.get('d', 2)))}"]
    if pool.pool.options:
        pool.differ("the options of the hash are HAProxy's own")
    kind, name = key_parts(pool.pool.key)
    balance = {
        "client": "source",
        "target": "uri whole",
        "header": f"hdr({name})",
        "cookie": f"hash req.cook({name})",
        "query": f"url_param {name}",
    }[kind]
    return [f"    balance {balance}", f"    hash-type {words.removeprefix('KEY ')} sdbm avalanche"]


def _check(pool: Exported) -> list[str]:
    check, schedule = pool.pool.check, pool.pool.schedule
    if check is None:
        return []
    lines = [f"    timeout check {pool.milliseconds(schedule.timeout)}ms"]
    if not isinstance(check, HttpCheck):
        return lines
    lines.append("    option httpchk")
    host = f" hdr Host {strong(check.host)}" if check.host is not None else ""
    lines.append(f"    http-check send meth GET uri {strong(check.path)}{host}")
    statuses = sorted(check.statuses)
    if statuses:
        parts = [f"{low}-{high}" if low != high else f"{low}" for low, high in spans(statuses)]
        lines.append(f"    http-check expect status {','.join(parts)}")
    if check.body is not None or check.headers:
        pool.differ("the body and the headers of the check are not written")
    return lines


def _name(pool: Exported, member: Member, taken: set[str]) -> str:
    name = member.name if SAFE_NAME.fullmatch(member.name) else f"server-{len(taken) + 1}"
    while name in taken:
        name += "-"
    if name != member.name:
        pool.differ(f"{member.name!r} is called {name}")
    taken.add(name)
    return name


def _options(pool: Exported, member: Member) -> str:
    words = [f"weight {member.weight}"] if member.weight != 1 else []
    words += [f"maxconn {pool.max_inflight}"] if pool.max_inflight is not None else []
    if member.level and pool.method.words != "first":
        words.append("backup")
    found = pool.pool
    if found.check is not None:
        fast = pool.milliseconds(found.schedule.period(changing=True))
        words.append(f"check inter {pool.milliseconds(found.schedule.interval)}ms fastinter {fast}ms")
        if found.health is not None:
            words.append(f"rise {found.health.thresholds.rise} fall {found.health.thresholds.fall}")
            words.append(f"observe layer7 error-limit {found.health.failures.threshold} on-error mark-down")
            if found.health.warm_up is not None:
                words.append(f"slowstart {pool.seconds(found.health.warm_up.window)}s")
    return "".join([f" {word}" for word in words])


@final
class _Routes:
    """The acls and rules of a table of routes."""

    def __init__(self, pools: Sequence[Exported]) -> None:
        self._differ = pools[0].differ
        self._lines: list[str] = []
        self._names: dict[str, str] = {}

    def lines(self, rules: Sequence[RouteRule]) -> list[str]:
        """Return acls and rules."""
        decisions = []
        for rule in rules:
            tests = self._tests(rule)
            targets = self._targets(rule)
            if rule.rewrite is not None:
                self._differ(f"route {rule.name}: the rewrite is not written")
            for pool, drawn in targets:
                condition = " ".join([*tests, *drawn])
                decisions.append(f"use_backend {pool}" + (f" if {condition}" if condition else ""))
        return [*self._lines, *decisions]

    def _acl(self, *tests: str) -> str:
        """Return the name of an acl that holds if one of the tests does."""
        whole = "\n".join(tests)
        if whole not in self._names:
            name = self._names[whole] = f"c{len(self._names)}"
            self._lines += [f"acl {name} {test}" for test in tests]
        return self._names[whole]

    def _tests(self, rule: RouteRule) -> list[str]:
        found = []
        if rule.host and rule.host != "*":
            name = rule.host.removeprefix("*.")
            start = "^" if name == rule.host else r"^.+\."
            end = r"\.?(?::[0-9]+)?$"
            found.append(self._acl(f"hdr(host) -m reg -i -- {strong(f'{start}{_escaped(name)}{end}')}"))
        if rule.path is not None:
            found.append(self._acl(*_path(rule.path)))
        if rule.methods:
            found.append(self._acl(f"method -m str -- {' '.join(map(strong, rule.methods))}"))
        for condition in rule.conditions:
            found += self._condition(condition)
        return found

    def _condition(self, condition: ValueCondition) -> list[str]:
        fetch = _fetch(condition.kind, condition.name)
        operator, argument = condition.operator, condition.argument
        if condition.kind != "header" and operator not in {"present", "absent"}:
            self._differ(f"{condition!r}: of a {condition.kind} sent twice every value counts")
        if condition.kind != "header" and condition.accepts("") != condition.accepts(None):
            what = "a parameter without =" if condition.kind == "query" else "an empty cookie without others"
            self._differ(f"{condition!r}: {what} counts as absent")
        if operator in {"present", "absent"}:
            name = self._acl(f"{fetch} -m found")
            return [name if operator == "present" else f"!{name}"]
        if operator == "between":
            return [self._acl(f"{fetch} -m reg -- {strong(f'^{whole_value(condition)}$')}")]
        whole = operator == "matches" or not argument  # no text is equal to an empty one
        text = f"^(?:{argument})$" if whole else str(argument)
        if operator == "matches":
            self._differ(f"{condition!r}: the expression is read as PCRE, byte by byte")
        name = self._acl(f"{fetch} -m {'reg' if whole else MATCHES[operator]} -- {strong(text)}")
        return [f"!{name}" if operator == "is not" else name]

    def _targets(self, rule: RouteRule) -> list[tuple[str, list[str]]]:
        if len(rule.targets) == 1:
            return [(rule.targets[0][0], [])]
        kind, _, name = (rule.by or "").partition(":")
        found: list[tuple[str, list[str]]] = []
        below, left = 0.0, 1.0
        for pool, share in rule.targets[:-1]:
            below += share
            if rule.by:
                sample = _fetch(kind, name, f",crc32(1),mod({DRAWN})")
                found.append((pool, [f"{{ {sample} lt {round(below * DRAWN)} }}"]))
            else:
                found.append((pool, [f"{{ rand({DRAWN}) lt {round(share / left * DRAWN)} }}"]))
            left -= share
        if rule.by:
            self._differ(f"route {rule.name}: {OTHER_KEYS}")
        return [*found, (rule.targets[-1][0], [])]


def _escaped(name: str) -> str:
    return name.replace(".", r"\.").replace("[", r"\[").replace("]", r"\]")


def _fetch(kind: str, name: str, converters: str = "") -> str:
    """Return the word that fetches a value. A name with signs is quoted within the word, and the word as a whole."""
    if re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        return f"{FETCHES[kind]}({name}){converters}"
    return strong(f"{FETCHES[kind]}({strong(name)}){converters}")


def _path(pattern: PathPattern) -> list[str]:
    if isinstance(pattern, Exact):
        return [f"path -m str -- {strong(pattern.literal)}"]
    if isinstance(pattern, TextPrefix):
        return [f"path -m beg -- {strong(pattern.literal)}"]
    if isinstance(pattern, Prefix):
        below = f"path -m beg -- {strong(f'{pattern.literal}/')}"
        return [f"path -m str -- {strong(pattern.literal)}", below] if pattern.literal else [below]
    text = path_expression(pattern)
    return [f"path -m reg -- {strong(text if hasattr(pattern, 'expression') else f'^{text}')}"]
