"""Writer of nginx's configuration.

Routes become one ``map`` of expressions over the conditions, the method, the host and the request line, in the order of the
table; a ``map`` tries expressions in the order in which they are written, a list of locations would not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from balancekit.l7 import ValueCondition
from balancekit.l7._patterns import Regex
from balancekit.proxyconfig._export_facts import Exported, Member, seconds
from balancekit.proxyconfig._export_pool import key_parts
from balancekit.proxyconfig._export_routes import RouteRule, host_expression, path_expression, whole_value
from balancekit.proxyconfig._export_text import expression

__all__ = ["nginx_text"]

END: Final = r"(?:\?|$)"
NOT_IN_PATH: Final = "?"
PREFIXES: Final = {"header": "http", "cookie": "cookie", "query": "arg"}
NO_BACKUP: Final = ("hash", "random")


def nginx_text(pools: Sequence[Exported], rules: Sequence[RouteRule], listen: str) -> str:
    """Return the configuration of nginx, without comments."""
    lines = [f"    {line}" for pool in pools for line in _upstream(pool)]
    target = pools[0].pool.name
    if rules:
        writer = _Routes(pools)
        lines += [f"    {line}" for line in writer.lines(rules)]
        target = "$balancekit_pool"
    lines += ["    server {", f"        listen {listen};", "        location / {"]
    if rules:
        lines += [
            '            if ($balancekit_pool = "none") {',
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
    return "\n".join(["events {", "    worker_connections 1024;", "}", "http {", *lines, "}"]) + "\n"


def _upstream(pool: Exported) -> list[str]:
    method = pool.method.words
    if method == "random two least_conn" and pool.pool.options.get("d", 2) == 1:
        method = "random"
    elif method == "random two least_conn" and pool.pool.options.get("d", 2) > 2:
        pool.differ("nginx compares two, not d")
    if "KEY" in method:
        method = method.replace("KEY", f'"{_key(pool.pool.key)}"')
        if pool.pool.options:
            pool.differ("the options of the hash are nginx's own")
    lines = [f"upstream {pool.pool.name} {{", f"    zone {pool.pool.name} 256k;"]
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
            f"max_fails={health.failures.threshold} fail_timeout={seconds(health.ejection.max_duration)}s"
        )
    words += [f"max_conns={pool.max_inflight}"] if pool.max_inflight is not None else []
    if not member.weight:
        words.append("down")
    elif member.level:
        if method.startswith(NO_BACKUP):
            pool.differ(f"nginx has no backups beside {method.split(maxsplit=1)[0]}: {member.name} is down")
        words.append("down" if method.startswith(NO_BACKUP) else "backup")
    return " ".join(words)


def _key(key: str) -> str:
    kind, name = key_parts(key)
    if kind in {"client", "target"}:
        return "$remote_addr" if kind == "client" else "$request_uri"
    return _value(kind, name) or ""


def _value(kind: str, name: str) -> str | None:
    """Return the variable of a value, ``None`` if nginx has none of that name."""
    word = name.lower().replace("-", "_") if kind == "header" else name
    if not word.replace("_", "a").isalnum() or not word.isascii():
        return None
    return f"${PREFIXES[kind]}_{word}"


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
        lines += [f"proxy_read_timeout {seconds(max(timeouts))}s"]
        lines += [f"proxy_next_upstream_timeout {seconds(max(timeouts))}s"] if attempts > 1 else []
    return lines


@final
class _Routes:
    """The maps of a table of routes."""

    def __init__(self, pools: Sequence[Exported]) -> None:
        self._differ = pools[0].differ
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
            "    default none;",
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
        variable = _value(condition.kind, condition.name)
        wanted = whole_value(condition)
        if variable is None or wanted is None:
            return None
        if condition.operator in {"present", "absent"}:
            self._differ(f"{condition!r}: an empty value counts as absent")
        negated = condition.operator in {"is not", "absent"}
        return self._flag(condition.identity, variable, f"^{wanted}$", "0" if negated else "1")

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
        source = _value(kind, name) if rule.by else "$request_id"
        if source is None:
            self._differ(f"route {rule.name}: nginx has no variable for {rule.by}; requests are drawn")
            source = "$request_id"
        if rule.by:
            self._differ(f"route {rule.name}: the shares are the same, but of other keys")
        *others, last = rule.targets
        self._lines += [
            f'split_clients "{source}" $balancekit_s{place} {{',
            *[f"    {share * 100:.2f}% {pool};" for pool, share in others],
            f"    * {last[0]};",
            "}",
        ]
        return f"$balancekit_s{place}"
