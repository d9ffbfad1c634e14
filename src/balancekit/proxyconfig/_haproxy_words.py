"""Words of HAProxy by what they mean to a decision: read, without effect, or with an effect that is not modelled."""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = [
    "KEYWORDS",
    "OPTIONS",
    "SERVER_EFFECTS",
    "SERVER_FLAGS",
    "SERVER_NUMBERS",
    "SERVER_VALUES",
    "effect_of",
]

SERVER_FLAGS: Final = frozenset(
    """backup disabled enabled check no-check agent-check send-proxy send-proxy-v2 ssl check-ssl no-ssl non-stick allow-0rtt
    no-backup no-agent-check no-send-proxy no-send-proxy-v2 check-send-proxy tfo no-verifyhost force-sslv3 force-tlsv10
    force-tlsv11 force-tlsv12 force-tlsv13 no-sslv3 no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 no-ssl-reuse ssl-reuse
    no-tls-tickets tls-tickets stick no-tfo check-via-socks4 no-check-ssl no-check-send-proxy send-proxy-v2-ssl
    send-proxy-v2-ssl-cn no-send-proxy-v2-ssl no-send-proxy-v2-ssl-cn check-reuse-pool no-check-reuse-pool
    renegotiate no-renegotiate strict-maxconn sni-auto no-sni-auto check-sni-auto no-check-sni-auto""".split()
)
SERVER_VALUES: Final = frozenset(
    """weight maxconn minconn maxqueue id cookie inter fastinter downinter rise fall port addr slowstart observe on-error
    on-marked-down on-marked-up error-limit agent-port agent-inter agent-addr track verify ca-file crt sni alpn check-alpn
    check-sni proto check-proto pool-max-conn pool-low-conn pool-purge-delay max-reuse redir source init-addr resolvers
    resolve-prefer resolve-opts resolve-net tcp-ut verifyhost log-proto namespace ssl-min-ver ssl-max-ver ciphers
    ciphersuites shard ws crl-file agent-send socks4 proxy-v2-options npn usesrc interface curves sigalgs
    client-sigalgs pool-conn-name check-pool-conn-name idle-ping log-bufsize guid hash-key init-state""".split()
)
SERVER_NUMBERS: Final[Mapping[str, int]] = {
    "weight": 0,
    "maxconn": 0,
    "id": 0,
    "minconn": 0,
    "maxqueue": 0,
    "rise": 1,
    "fall": 1,
    "error-limit": 1,
}
"""Words of a server whose value is a whole number, and the least that HAProxy takes."""
SERVER_EFFECTS: Final[Mapping[str, str]] = {
    "hash-key": "the position of the server on the ring is that of its id",
    "init-state": "every server is taken to be up",
}
"""Words of a server that may change where a request goes, and are not followed."""

NEUTRAL: Final = frozenset(
    """
    acl balance bind default-server default_backend description errorfile errorloc errorloc302 errorloc303 errorfiles
    disabled filter fullconn hash-balance-factor hash-type id log log-format log-format-sd log-tag maxconn mode monitor-uri
    rate-limit retries server stats timeout unique-id-format unique-id-header use_backend http-after-response
    http-check tcp-check external-check email-alert server-state-file-name backlog max-keep-alive-queue http-reuse
    capture declare enabled cookie compression clitcpka-cnt clitcpka-idle clitcpka-intvl srvtcpka-cnt srvtcpka-idle
    srvtcpka-intvl guid http-response tcp-response http-error error-log-format use-fcgi-app source
    max-session-srv-conns stick-table dynamic-cookie-key http-send-name-header
    """.split()
) | frozenset(
    {
        "http-request normalize-uri",
        "http-request capture",
        "http-request set-log-level",
        "http-request set-nice",
        "load-server-state-from-file none",
    }
    | {
        f"option {name}"
        for name in """allbackups httplog tcplog dontlognull http-server-close httpclose forwardfor http-keep-alive
        httpchk log-health-checks log-separate-errors logasap socket-stats splice-auto splice-request splice-response
        tcpka clitcpka srvtcpka http-buffer-request http-no-delay http-pretend-keepalive contstats dontlog-normal
        abortonclose tcp-check mysql-check pgsql-check redis-check smtpchk ldap-check ssl-hello-chk external-check
        idle-close-on-response independent-streams accept-invalid-http-request accept-invalid-http-response nolinger
        tcp-smart-accept tcp-smart-connect originalto checkcache http-ignore-probes httpslog spop-check
        disable-h2-upgrade h1-case-adjust-bogus-client h1-case-adjust-bogus-server http-use-proxy-header""".split()
    }
)
"""They decide nothing about which server gets a request."""

ROUTING: Final[Mapping[str, str]] = {
    "use-server": "it may name the server",
    "stick": "clients may be bound to servers",
    "server-template": "servers that are found at run time are not followed",
    "force-persist": "clients may be bound to servers",
    "ignore-persist": "clients may be set free from servers",
    "appsession": "clients may be bound to servers",
    "redirect": "it may answer requests",
    "monitor fail": "",
    "stats enable": "requests for its page are answered by the proxy",
    "stats uri": "requests for its page are answered by the proxy",
    "http-request": "it may change or answer requests",
    "tcp-request": "it may refuse connections",
    "dispatch": "all requests go to one address",
    "option redispatch": "failures are not part of an explanation",
    "retry-on": "failures are not part of an explanation",
    "option transparent": "requests go where the client meant to go",
    "option http_proxy": "requests go where the client meant to go",
    "option persist": "failures are not part of an explanation",
    "option prefer-last-server": "later requests of a connection may stay with its server",
    "option http-restrict-req-hdr-names": "headers with other names are removed, or refused",
    "load-server-state-from-file": "weights and states of servers are read from a file that is not read here",
}
"""They may change where a request goes, and are not followed."""

GLOBAL_NEUTRAL: Final = frozenset(
    """
    busy-polling ca-base chroot cluster-secret cpu-map crt-base daemon description expose-experimental-directives
    external-check fd-hard-limit gid
    grace group h1-accept-payload-with-any-method h1-case-adjust h1-case-adjust-file hard-stop-after http-fail-codes insecure-fork-wanted insecure-setuid-wanted
    issuers-chain-path localpeer log log-send-hostname log-tag master-worker max-spread-checks maxcompcpuusage
    maxcomprate maxconn maxconnrate maxpipes maxsessrate maxsslconn maxsslrate maxzlibmem mworker-max-reloads nbthread
    no no-memory-trimming noepoll noevports nogetaddrinfo nokqueue nopoll noreuseport nosplice node numa-cpu-mapping pidfile pp2-never-send-local
    presetenv prealloc-fd resetenv set-dumpable set-var-fmt setcap setenv spread-checks ssl-default-bind-ciphers
    ssl-default-bind-ciphersuites ssl-default-bind-curves ssl-default-bind-options ssl-default-server-ciphers
    ssl-default-server-ciphersuites ssl-default-server-options ssl-dh-param-file ssl-engine ssl-load-extra-del-ext ssl-propquery
    ssl-provider ssl-provider-path close-spread-time lua-prepend-path
    ssl-load-extra-files ssl-mode-async ssl-server-verify ssl-skip-self-issued-ca stats strict-limits thread-group
    thread-groups uid ulimit-n unix-bind unsetenv user wurfl-cache-size zero-warning
    """.split()
)
"""Lines of the section ``global`` that decide nothing, besides those with one of the prefixes."""
NEUTRAL_PREFIXES: Final = ("tune.", "profiling.", "debug.", "httpclient.")

GLOBAL: Final[Mapping[str, str]] = {
    "default-path": "relative paths of maps and patterns begin there; here, they begin beside the file",
    "server-state-base": "weights and states of servers are read from a file that is not read here",
    "server-state-file": "weights and states of servers are read from a file that is not read here",
    "lua-load": "programs are not followed",
    "lua-load-per-thread": "programs are not followed",
    "set-var": "variables that are set are not followed",
}
"""Lines of the section ``global`` that may change where a request goes, and are not followed."""

KEYWORDS: Final = (
    frozenset({line.split()[0] for line in (*NEUTRAL, *ROUTING)}) | GLOBAL_NEUTRAL | GLOBAL.keys()
)
"""The first words of all lines that are known."""
OPTIONS: Final = tuple(
    sorted({line.split()[1] for line in (*NEUTRAL, *ROUTING) if line.startswith("option ")})
)
"""The options that are known."""


def effect_of(words: Sequence[str], *, in_global: bool = False) -> str | None:
    """Return what a line may change although it is not followed: ``None`` for nothing, empty if that is not known.

    Example
    -------
    >>> effect_of(["maxconn", "100"]), effect_of(["dispatch", "10.0.0.1:80"]), effect_of(["fancy"])
    (None, 'all requests go to one address', '')
    """
    if in_global:
        neutral = words[0] in GLOBAL_NEUTRAL or words[0].startswith(NEUTRAL_PREFIXES)
        return None if neutral else GLOBAL.get(words[0], "")
    words = words[words[0] in {"no", "default"} and words[1:2] == ("option",) :]
    first, two = words[0], " ".join(words[:2])
    if two in ROUTING or (first in ROUTING and two not in NEUTRAL):
        return ROUTING.get(two, ROUTING.get(first, ""))
    return None if first in NEUTRAL or two in NEUTRAL else ""
