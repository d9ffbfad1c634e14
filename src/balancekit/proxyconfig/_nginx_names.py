"""Names of nginx's variables: those that it has, those that a configuration defines, and those that nothing defines.

nginx does not start if a configuration defines a variable that nginx computes, or uses one that nothing defines. A module
that is not part of nginx may define more: where a file has a directive of one, or loads one, no use is refused.

Source: nginx 1.22, ``ngx_http_variables.c``; ``nginx -t`` for what is refused.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from balancekit._support.extras import extra
from balancekit.proxyconfig._model import ProxyConfigError
from balancekit.proxyconfig._nginx_files import Directive

with extra("proxyconfig"):
    from crossplane.analyzer import DIRECTIVES

__all__ = ["check_names"]

COMPUTED: Final = frozenset(
    """
    binary_remote_addr body_bytes_sent bytes_sent connection connection_requests connection_time connections_active
    connections_reading connections_waiting connections_writing content_length content_type date_gmt date_local
    document_root document_uri fastcgi_path_info fastcgi_script_name gzip_ratio host hostname http2 http_cookie http_host
    http_referer http_user_agent http_via http_x_forwarded_for https is_args limit_conn_status limit_req_status msec
    nginx_version pid pipe proxy_add_x_forwarded_for proxy_protocol_addr proxy_protocol_port proxy_protocol_server_addr
    proxy_protocol_server_port query_string realip_remote_addr realip_remote_port realpath_root remote_addr remote_port
    remote_user request request_body request_body_file request_completion request_filename request_id request_length
    request_method request_time request_uri scheme secure_link secure_link_expires sent_http_cache_control
    sent_http_connection sent_http_content_length sent_http_content_type sent_http_keep_alive sent_http_last_modified
    sent_http_link sent_http_location sent_http_transfer_encoding server_addr server_name server_port server_protocol
    slice_range status tcpinfo_rcv_space tcpinfo_rtt tcpinfo_rttvar tcpinfo_snd_cwnd time_iso8601 time_local uid_got uid_set
    upstream_addr upstream_bytes_received upstream_bytes_sent upstream_cache_status upstream_connect_time
    upstream_header_time upstream_response_length upstream_response_time upstream_status uri
    """.split()
)
"""Variables that nginx computes and no configuration may define."""
OTHERS: Final = frozenset(
    """
    ancient_browser args bytes_received http3 invalid_referer is_request_port limit_rate modern_browser msie protocol quic
    request_port spdy
    """.split()
)
"""Variables that nginx has, some of them in later versions, and that a configuration may define."""
PREFIXES: Final = tuple(
    """arg_ cookie_ geoip_ http_ jwt_ proxy_ sent_http_ sent_trailer_ session_ spdy_ ssl_ tcpinfo_ trailer_ uid_
    upstream_""".split()
)
"""Beginnings of further variables of nginx and of its modules."""
DEFINING: Final[Mapping[str, int]] = {
    "set": 0,
    "map": 1,
    "geo": -1,
    "split_clients": 1,
    "auth_request_set": 0,
    "perl_set": 0,
    "js_set": 0,
    "js_var": 0,
    "keyval": 1,
}
"""Directives that define a variable, and which argument names it."""
USING: Final[Mapping[str, slice]] = {
    "set": slice(1, 2),
    "map": slice(0, 1),
    "split_clients": slice(0, 1),
    "return": slice(0, 2),
    "rewrite": slice(1, 2),
    "hash": slice(0, 1),
    "root": slice(0, 1),
    "alias": slice(0, 1),
    "try_files": slice(0, None),
    "add_header": slice(1, 2),
    "add_trailer": slice(1, 2),
    "auth_request_set": slice(1, 2),
    "limit_req_zone": slice(0, 1),
    "limit_conn_zone": slice(0, 1),
    "log_format": slice(1, None),
    "error_page": slice(-1, None),
    **dict.fromkeys(["proxy_set_header", "fastcgi_param", "uwsgi_param", "scgi_param"], slice(1, 2)),
    **dict.fromkeys(["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"], slice(0, 1)),
    **dict.fromkeys(["proxy_cache_key", "fastcgi_cache_key", "limit_rate", "charset"], slice(0, 1)),
}
"""Directives whose arguments are texts with variables, and which of them are."""
TABLES: Final = frozenset({"map", "split_clients", "geo", "types"})
"""Blocks with lines of a table in place of directives."""
NAME: Final = re.compile(r"\$[^\s]+")
DOLLAR: Final = re.compile(r"\$(?:(?P<group>[1-9])|(?P<plain>\w+)|\{(?P<braced>\w+)\}|)", re.ASCII)
GROUP: Final = re.compile(r"\(\?P?[<'](\w+)[>']", re.ASCII)
"""A named group of an expression, which is a variable as well."""


def check_names(directives: Iterable[Directive]) -> None:
    """Refuse variables that a configuration must not define, and those that it uses and nothing defines.

    Raises
    ------
    ProxyConfigError
        With the line of the first.
    """
    every = [one for one in _walk(directives) if one.name not in {"stream", "mail"}]
    defined = {name for one in every for name in _defined(one)}
    foreign = any(one.name not in DIRECTIVES or one.name == "load_module" for one in every)

    def known(name: str) -> bool:
        lower = name.lower()
        return foreign or lower in defined | COMPUTED | OTHERS or lower.startswith(PREFIXES)

    for one in every:
        for text in _texts(one):
            _check_text(one, text, known)


def _walk(directives: Iterable[Directive]) -> Iterator[Directive]:
    for one in directives:
        yield one
        if one.name not in TABLES and one.name not in {"stream", "mail"}:
            yield from _walk(one.block or ())


def _defined(one: Directive) -> Iterator[str]:
    """Yield the names of the variables that a directive defines, in lower case."""
    place = DEFINING.get(one.name)
    if place is not None and one.args[place:][:1]:
        name = one.args[place]
        if NAME.fullmatch(name) is None:
            raise ProxyConfigError(one.origin, f"{one.name} defines a $variable, not {name!r}")
        yield _new(one, name[1:])
    entries = [entry.name for entry in one.block or ()] if one.name == "map" else []
    for text in (*one.args, *entries):
        if one.name in {"server_name", "location", "rewrite", "if", "map"}:
            for group in GROUP.finditer(text):
                yield _new(one, group[1])


def _new(one: Directive, name: str) -> str:
    lower = name.lower()
    if lower in COMPUTED:
        raise ProxyConfigError(one.origin, f"${name} is a variable of nginx, which cannot be defined again")
    return lower


def _texts(one: Directive) -> Iterator[str]:
    """Yield the texts of a directive that may have variables."""
    yield from one.args[USING.get(one.name, slice(0))]
    if one.name == "geo":
        yield from one.args[:-1]
    if one.name == "map":
        for entry in one.block or ():
            yield from entry.args[:1]
    if one.name == "if":
        yield from one.args[:1] if "~" in "".join(one.args[1:2]) else one.args


def _check_text(one: Directive, text: str, known: Callable[[str], bool]) -> None:
    for found in DOLLAR.finditer(text):
        name = found["plain"] or found["braced"]
        if name is None and found["group"] is None:
            raise ProxyConfigError(one.origin, f"{text}: the name of a variable is expected behind a $")
        if name is not None and not known(name):
            raise ProxyConfigError(one.origin, f"{text}: nothing defines the variable ${name}")
