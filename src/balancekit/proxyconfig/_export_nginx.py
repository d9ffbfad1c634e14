"""Writer of nginx's configuration.

Routes become one ``map`` of expressions over the conditions, the method, the host and the request line, in the order of the
table; a ``map`` tries expressions in the order in which they are written, a list of locations would not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, final

from balancekit.errors import ConfigurationError
from balancekit.l7 import ValueCondition
from balancekit.l7._patterns import Regex
from balancekit.proxyconfig._export_facts import Exported, Member
from balancekit.proxyconfig._export_pool import key_parts
from balancekit.proxyconfig._export_routes import (
    OTHER_KEYS,
    RouteRule,
    host_expression,
    path_expression,
    whole_value,
)
from balancekit.proxyconfig._export_text import expression

__all__ = ["nginx_text"]

END: Final = r"(?:\?|$)"
NOT_IN_PATH: Final = "?"
PREFIXES: Final = {"header": "http", "cookie": "cookie", "query": "arg"}
SOURCES: Final = {
    "cookie": ("$http_cookie", "(?:^|[;,]) *", " *= *([^;]*)"),
    "query": ("$args", "(?:^|&)", "=([^&]*)"),
}
"""The variable in which a value is found, and the expressions before and after its name."""
NO_BACKUP: Final = ("hash", "random")
MAX_WORD: Final = 4_000
"""Bytes; nginx reads its file in pieces of 4,096, and a word has to be in one."""
ZONE_KIB: Final = 256
"""The size of an upstream's shared memory, besides 1 KiB for each server."""
HUNDREDTHS: Final = 10_000
"""Hundredths of a percent in the whole of a split."""


def nginx_text(pools: Sequence[Exported], rules: Sequence[RouteRule], listen: str) -> str:
    """Return the configuration of nginx, without comments."""
    names = [pool.pool.name for pool in pools]
    if len({name.lower() for name in names}) < len(names):
        raise ConfigurationError(
            "pools", names, "names that differ by more than case: those of nginx have none"
        )
    values = _Values()
    lines = [f"    {line}" for pool in pools for line in _upstream(pool, values)]
    target = pools[0].pool.name
    if rules:
        writer = _Routes(pools, values)
        lines += [f"    {line}" for line in writer.lines(rules)]
        target = "$balancekit_pool"
    lines += [f"    {line}" for line in values.lines]
    lines += ["    server {", f"        listen {listen};"]
    if _underscores(pools, rules):
        pools[0].differ("headers with _ and with - in their names are taken for one")
        lines.append("        underscores_in_headers on;")
    lines.append("        location / {")
    if rules:
        lines += [
            '            if ($balancekit_pool = "") {',
            "                return 404;",
            "            }",
        ]
    lines += [f"            {line};" for line in _attempts(pools)]
    lines += [
        "            proxy_http_version 1.1;",
        '            proxy_set_header Connection "";',
        "            proxy_set_header Host $http_host;",
        f"            proxy_pass http://{target};",
        "        }",
        "    }",
    ]
    for line in lines:
        if len(line.encode("utf-8", "surrogatepass")) > MAX_WORD:
            raise ConfigurationError(
                "routes", line.strip()[:100], f"no word of more than {MAX_WORD:,} bytes: nginx reads none"
            )
    return "\n".join(["events {", "    worker_connections 1024;", "}", "http {", *lines, "}"]) + "\n"


def _underscores(pools: Sequence[Exported], rules: Sequence[RouteRule]) -> bool:
    """Whether a header is read that nginx drops unless configured otherwise."""
    keys = [pool.pool.key for pool in pools if pool.pool.keyed] + [rule.by or "" for rule in rules]
    named = [condition.name for rule in rules for condition in rule.conditions if condition.kind == "header"]
    return any("_" in name for name in (*[key for key in keys if key.startswith("header:")], *named))


def _upstream(pool: Exported, values: _Values) -> list[str]:
    method = pool.method.words
    if method == "random two least_conn" and pool.pool.options.get("d", 2) == 1:
        method = "random"
    elif method == "random two least_conn" and pool.pool.options.get("d", 2) > 2:
        pool.differ("nginx compares two, not d")
    if "KEY" in method:
        method = method.replace("KEY", f'"{_key(pool.pool.key, values)}"')
        if pool.pool.options:
            pool.differ("the options of the hash are nginx's own")
    lines = [
        f"upstream {pool.pool.name} {{",
        f"    zone {pool.pool.name} {ZONE_KIB + len(pool.members)}k;",
    ]
    lines += [f"    {method};"] if method else []
    lines += [f"    server {_server(pool, member, method)};" for member in pool.members]
    if pool.bound is not None:
        pool.differ("BoundedLoad has no equal: a hot key is not spread")
    pool.one_level_of_backups("nginx")
    if pool.pool.check is not None:
        pool.differ("nginx runs no active checks; failed requests alone take a server out")
    if pool.pool.health is not None:
        pool.differ("nginx counts failures within fail_timeout, not failures in a row")
        if pool.pool.health.warm_up is not None:
            pool.differ("slow start is not written: only the commercial nginx has it")
    return [*lines, "}"]


def _server(pool: Exported, member: Member, method: str) -> str:
    words = [str(member.address)]
    words += [f"weight={member.weight}"] if member.weight > 1 else []
    health = pool.pool.health
    if health is None:
        words.append("max_fails=0")
    else:
        words.append(
            f"max_fails={health.failures.threshold} fail_timeout={pool.seconds(health.ejection.max_duration)}s"
        )
    words += [f"max_conns={pool.max_inflight}"] if pool.max_inflight is not None else []
    if not member.weight:
        words.append("down")
    elif member.level:
        if method.startswith(NO_BACKUP):
            pool.differ(f"nginx has no backups with {method.split(maxsplit=1)[0]}: {member.name} is down")
        words.append("down" if method.startswith(NO_BACKUP) else "backup")
    return " ".join(words)


def _key(key: str, values: _Values) -> str:
    kind, name = key_parts(key)
    if kind in {"client", "target"}:
        return "$remote_addr" if kind == "client" else "$request_uri"
    found = values.variable(kind, name)
    assert found is not None, "names of keys have letters, digits, '-' and '_'"
    return found


@final
class _Values:
    """Variables of headers, cookies and arguments; a map finds what nginx has no variable for."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self.lines: list[str] = []
        """The maps."""

    def variable(self, kind: str, name: str) -> str | None:
        """Return the variable of a value, ``None`` for a header that nginx cannot name."""
        word = name.lower().replace("-", "_") if kind == "header" else name
        if word.isascii() and word.replace("_", "a").isalnum():
            return f"${PREFIXES[kind]}_{word}"
        if kind == "header":
            return None
        found = self._found.get((kind, name))
        if found is None:
            found = self._found[kind, name] = f"$balancekit_v{len(self._found)}"
            source, before, after = SOURCES[kind]
            self.lines += [
                f'map "{source}" {found} {{',
                '    default "";',
                f'    "~{before}{expression(re.escape(name))}{after}" $1;',
                "}",
            ]
        return found


def _attempts(pools: Sequence[Exported]) -> list[str]:
    attempts = max([pool.pool.attempts for pool in pools])
    timeouts = [pool.pool.timeout for pool in pools if pool.pool.timeout is not None]
    if any(pool.pool.attempts != attempts for pool in pools):
        pools[0].differ(f"all pools have {attempts} attempts: they share one location")
    lines = ["proxy_next_upstream off"]
    if attempts > 1:
        lines = ["proxy_next_upstream error timeout", f"proxy_next_upstream_tries {attempts}"]
    if timeouts:
        pools[0].differ(
            "the time-out is that of each read, and of starting the last attempt, not of the whole request"
        )
        timeout = pools[0].seconds(max(timeouts))
        lines += [f"proxy_read_timeout {timeout}s"]
        lines += [f"proxy_next_upstream_timeout {timeout}s"] if attempts > 1 else []
    return lines


@final
class _Routes:
    """The maps of a table of routes."""

    def __init__(self, pools: Sequence[Exported], values: _Values) -> None:
        self._differ = pools[0].differ
        self._values = values
        self._flags: dict[tuple[object, ...], int] = {}
        self._lines: list[str] = []

    def lines(self, rules: Sequence[RouteRule]) -> list[str]:
        """Return all maps, the one that decides last."""
        entries = [self._entry(place, rule) for place, rule in enumerate(rules)]
        marks = "".join([f"$balancekit_c{number}" for number in range(len(self._flags))])
        source = f"{marks} $request_method $host $request_uri"
        decisions = []
        for found in entries:
            if found is not None:
                needed, rest, pool = found
                flags = "".join(["1" if number in needed else "." for number in range(len(self._flags))])
                decisions.append(f'    "~^{flags} {rest}" {pool};')
        return [
            *self._lines,
            f'map "{source}" $balancekit_pool {{',
            '    default "";',
            *decisions,
            "}",
        ]

    def _entry(self, place: int, rule: RouteRule) -> tuple[set[int], str, str] | None:
        needed: set[int] = set()
        for condition in rule.conditions:
            flag = self._condition(condition)
            if flag is None:
                self._differ(f"route {rule.name} is left out: nginx has no equal for {condition!r}")
                return None
            needed.add(flag)
        path = "/"
        if isinstance(rule.path, Regex):
            self._differ(f"route {rule.name}: the expression is searched for in the decoded path, as PCRE")
            needed.add(
                self._flag(("path", rule.path.expression.pattern), "$uri", path_expression(rule.path), "1")
            )
        elif rule.path is not None:
            path = path_expression(rule.path, end=END, inside=NOT_IN_PATH)
        if rule.rewrite is not None:
            self._differ(f"route {rule.name}: the rewrite is not written")
        methods = f"(?:{'|'.join(map(expression, rule.methods))})" if rule.methods else "[^ ]*"
        pool = rule.targets[0][0] if len(rule.targets) == 1 else self._split(place, rule)
        return needed, f"{methods} {host_expression(rule.host)} {path}", pool

    def _condition(self, condition: ValueCondition) -> int | None:
        variable = self._values.variable(condition.kind, condition.name)
        if variable is None:
            return None
        if condition.accepts("") != condition.accepts(None):
            self._differ(f"{condition!r}: an empty value counts as absent")
        if condition.kind != "header":
            self._differ(f"{condition!r}: the name of a {condition.kind} has no case")
        if condition.operator == "matches":
            self._differ(f"{condition!r}: the expression is read as PCRE, byte by byte")
        negated = condition.operator in {"is not", "absent"}
        return self._flag(
            condition.identity, variable, f"^{whole_value(condition)}$", "0" if negated else "1"
        )

    def _flag(self, identity: tuple[object, ...], source: str, wanted: str, match: str) -> int:
        if identity in self._flags:
            return self._flags[identity]
        number = self._flags[identity] = len(self._flags)
        self._lines += [
            f'map "{source}" $balancekit_c{number} {{',
            f"    default {'0' if match == '1' else '1'};",
            f'    "~{wanted}" {match};',
            "}",
        ]
        return number

    def _split(self, place: int, rule: RouteRule) -> str:
        kind, _, name = (rule.by or "").partition(":")
        source = self._values.variable(kind, name) if rule.by else "$request_id"
        if source is None:
            self._differ(f"route {rule.name}: nginx has no variable for {rule.by}; requests are drawn")
            source = "$request_id"
        if rule.by:
            self._differ(f"route {rule.name}: {OTHER_KEYS}")
        last, *others = sorted(rule.targets, key=lambda target: -target[1])
        parts = [max(1, round(share * HUNDREDTHS)) for _, share in others]
        if any(abs(part / HUNDREDTHS - share) > 1e-9 for part, (_, share) in zip(parts, others, strict=True)):
            self._differ(f"route {rule.name}: its shares are whole hundredths of a percent")
        self._lines += [
            f'split_clients "{source}" $balancekit_s{place} {{',
            *[f"    {part / 100:.2f}% {pool};" for part, (pool, _) in zip(parts, others, strict=True)],
            f"    * {last[0]};",
            "}",
        ]
        return f"$balancekit_s{place}"
