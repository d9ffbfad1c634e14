"""nginx's servers and balancing directives: the lines of an ``upstream`` block.

Source: nginx 1.22, ``ngx_http_upstream.c`` and the modules of the methods.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from balancekit.compat import nginx
from balancekit.compat.nginx._methods import POINTS
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._model import PoolServer, ProxyConfigError
from balancekit.proxyconfig._nginx_decide import NETWORK, port_problem, upstream_server
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_template import Template
from balancekit.proxyconfig._nginx_values import Variables
from balancekit.proxyconfig._nginx_words import SERVER_FLAGS, SERVER_NUMBERS

__all__ = ["method_problem", "read_method", "read_server"]

MAX_RING_POINTS: Final = 2_000_000
"""Points of a ring that are followed. nginx computes all at its start, and so does an explanation, in seconds."""
UNITS_S: Final = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60, 1)
TIME: Final = re.compile(
    "".join([f"(?:([0-9]{{1,9}}){unit} ?)?" for unit in "yMwdhm"]) + "(?:([0-9]{1,9})s?)?"
)
"""A time in seconds, as nginx reads it: units in this order, each once, and no milliseconds."""


def read_method(
    directive: Directive | None, variables: Variables
) -> tuple[nginx.Method, str, Template | None, bool]:
    """Return the method, what it hashes in words and as a template, and whether it draws nothing.

    Raises
    ------
    ProxyConfigError
        For arguments that it does not have.
    """
    if directive is None:
        return nginx.RoundRobin(), "", None, True
    if directive.name in {"least_conn", "ip_hash"}:
        if directive.args:
            raise ProxyConfigError(directive.origin, f"{directive.name} has no arguments")
        if directive.name == "least_conn":
            return nginx.LeastConn(), "", None, True
        return nginx.IpHash(), NETWORK, None, True
    if directive.name == "random":
        two, *least = directive.args or ("two",)
        if two != "two" or least not in ([], ["least_conn"], ["least_time=header"], ["least_time=last_byte"]):
            raise ProxyConfigError(directive.origin, "random has no arguments, or two and perhaps least_conn")
        return nginx.Random(two=len(directive.args) > 0), "", None, False
    key, *rest = directive.args or ("",)
    if not key or rest not in ([], ["consistent"]):
        raise ProxyConfigError(directive.origin, "hash has a key, and perhaps consistent")
    return (nginx.ConsistentHash() if rest else nginx.Hash()), key, Template(key, variables), True


def read_server(
    directive: Directive, before: Counter[str], note: Callable[[Directive, str], None]
) -> PoolServer:
    """Return a server.

    Parameters
    ----------
    directive
        Its line.
    before
        How often each address has been written so far; counted here.
    note
        Lists a line as not modelled.

    Raises
    ------
    ProxyConfigError
        For an address or a parameter that nginx refuses.
    """
    if not directive.args:
        raise ProxyConfigError(directive.origin, "a server has an address")
    address, options = directive.args[0], {"weight": 1}
    problem = f"{address}: no variable is followed here" if "$" in address else port_problem(address)
    if problem:
        raise ProxyConfigError(directive.origin, problem)
    if _is_name(address):
        note(directive, "a name with several addresses stands for a server at each")
    flags: dict[str, Any] = {}
    for word in directive.args[1:]:
        name, equals, value = word.partition("=")
        if not equals and name in SERVER_FLAGS:
            flags[name] = True
            if name == "resolve":
                note(directive, "addresses that change at run time are not followed")
        elif equals and name in SERVER_NUMBERS:
            options[name] = _whole(directive, name, value, minimum=1 if name == "weight" else 0)
        elif equals and name == "fail_timeout":
            flags[name] = _seconds(directive, value)
        elif equals and name in {"slow_start", "route", "service"}:
            note(directive, f"{name} is not followed")
            flags[name] = value
        else:
            raise ProxyConfigError(directive.origin, f"server has no parameter {word!r}")
    before[address] += 1
    server = PoolServer(
        name=address if before[address] == 1 else f"{address}#{before[address]}",
        address=address,
        origin=directive.origin,
        weight=options.pop("weight"),
        backup=bool(flags.pop("backup", False)),
        down=bool(flags.pop("down", False)),
        options={**options, **flags},
    )
    try:
        upstream_server(server)
    except ConfigurationError as error:
        raise ProxyConfigError(directive.origin, str(error)) from None
    return server


def method_problem(method: Directive | None, servers: Iterable[PoolServer]) -> str:
    """Return why a method is not followed; empty if it is, or if there is none."""
    word = method.args[1] if method is not None and len(method.args) > 1 else ""
    if word.startswith("least_time="):
        return "it decides which server serves"
    points = POINTS * sum(server.weight for server in servers if not server.backup)
    return f"a ring of {points:,} points" if word == "consistent" and points > MAX_RING_POINTS else ""


def _is_name(address: str) -> bool:
    """Whether an address has a name of a host."""
    if address.startswith(("unix:", "[")):
        return False
    try:
        ipaddress.ip_address(address.partition(":")[0])
    except ValueError:
        return True
    return False


def _whole(directive: Directive, name: str, value: str, *, minimum: int) -> int:
    if not value.isdecimal() or not value.isascii() or not minimum <= int(value[:12]) <= 2**31:
        raise ProxyConfigError(directive.origin, f"{name}={value} is not a whole number >= {minimum}")
    return int(value[:12])


def _seconds(directive: Directive, value: str) -> float:
    found = TIME.fullmatch(value)
    if found is None or not value:
        raise ProxyConfigError(directive.origin, f"{value!r} is no time in seconds, as 10s or 1m30s")
    return float(sum([int(number or 0) * unit for number, unit in zip(found.groups(), UNITS_S, strict=True)]))
