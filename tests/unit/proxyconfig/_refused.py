"""Lines of HAProxy that it does not start with, each in a file that is right otherwise, and what the reader says."""

from __future__ import annotations

CONFIG = """\
{glob}
{defaults}
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
{frontend}
    bind 127.0.0.1:18080
    default_backend b
{backend}
    server s1 10.0.0.1:80
backend c
    server s1 10.0.0.1:80
{more}
"""

HEADS = {
    "glob": "global",
    "defaults": "defaults",
    "frontend": "frontend f",
    "backend": "backend b",
    "more": "",
}


def config(place: str, line: str) -> str:
    """Return a file with a line in a section, or behind all."""
    texts = {name: f"{head}\n    {line}" if name == place and head else head for name, head in HEADS.items()}
    return CONFIG.format(**texts if place != "more" else {**HEADS, "more": line})


REFUSED = [
    ("backend", "balance leastcon", r"balance has no method 'leastcon'"),
    ("backend", "balance uri deepth 2", r"balance uri has no parameter 'deepth'"),
    ("backend", "balance url_param id post", r"balance url_param has a name, and perhaps check_post"),
    ("backend", "use-server s1", r"use-server has a server, if or unless, and a condition"),
    ("backend", "use-server s1 when TRUE", r"use-server has a server, if or unless, and a condition"),
    ("backend", "use-server s9 if TRUE", r"use-server names 's9', which is no server here"),
    ("backend", "stick-table", r"a stick-table has a type and a size"),
    ("backend", "stick-table type ip", r"a stick-table has a type and a size"),
    ("backend", "stick-table type foo size 1m", r"type 'foo' of a stick-table is none of binary"),
    ("backend", "mode htp", r"mode 'htp' is none of"),
    ("backend", "mode", r"mode has 1 argument$"),
    ("backend", "mode http tcp", r"mode has 1 argument$"),
    ("backend", "mode tcp", r"backend 'b' is not in mode http, as frontend 'f' is"),
    ("backend", "timeout sever 5s", r"timeout 'sever' is none of"),
    ("backend", "timeout server", r"timeout server has one time"),
    ("backend", "timeout server 5 s", r"timeout server has one time"),
    ("backend", "timeout server 5x", r"'5x' is no time, such as 500, 5s or 2m"),
    ("backend", "timeout server 1.5s", r"'1.5s' is no time"),
    ("backend", "timeout server 25d", r"more than 2147483647 ms"),
    ("defaults", "timeout queue", r"timeout queue has one time"),
    ("backend", "retries", r"retries has 1 argument"),
    ("backend", "disabled now", r"disabled has no arguments"),
    ("backend", "errorfile 503", r"errorfile has 2 arguments"),
    ("backend", "http-reuse sometimes", r"http-reuse 'sometimes' is none of"),
    ("backend", "hash-type consistant", r"is not map-based or consistent"),
    ("backend", "hash-type consistent sdmb", r"hash-type has a function"),
    ("backend", "id 0", r"id 0 is not a number > 0"),
    ("backend", "cookie S insert prefix", r"a cookie is not insert and prefix"),
    ("backend", "cookie S rewrite indirect", r"a cookie is not rewrite and indirect"),
    ("backend", "cookie S insert domain", r"domain needs a value"),
    ("backend", "cookie S insert maxlife 1x", r"maxlife '1x' is no time"),
    ("backend", "cookie S insert no-cache", r"'no-cache' is no word of a cookie"),
    ("backend", "acl a/b path /x", r"'a/b' is no name of an acl"),
    ("backend", "acl or path /x", r"'or' is no name of an acl"),
    ("backend", "acl x path -m begin /x", r"-m begin is none of"),
    ("backend", "acl x path -I /x", r"-I is no flag; write --"),
    ("backend", "acl x hdr(host x", r"has no \) at its end"),
    ("backend", "acl x hdr(host)x x", r"has no \) at its end"),
    ("backend", "server s/2 10.0.0.2:80", r"'s/2' is no name of a server"),
    ("backend", "server s2 10.0.0.256:80", r"'10.0.0.256' is no address"),
    ("backend", "server s2 10.0.0.256", r"'10.0.0.256' is no address"),
    ("backend", "server s2 ipv6@10.0.0.2:80", r"'10.0.0.2' is no address of ipv6"),
    ("backend", "server s2 [::1", r"'\[::1' is no address"),
    ("backend", "server s2 udp@10.0.0.2:80", r"a server has no udp@"),
    ("backend", "server s2 10.0.0.2:80 check inter 5x", r"inter '5x' is no time"),
    ("backend", "server s2 10.0.0.2:80 check inter 0", r"inter 0 is not a time > 0"),
    ("backend", "server s2 10.0.0.2:80 slowstart 1x", r"slowstart '1x' is no time"),
    ("backend", "server s2 10.0.0.2:80 observe layer5", r"observe 'layer5' is none of"),
    ("backend", "server s2 10.0.0.2:80 check observe layer7 on-error down", r"on-error 'down' is none of"),
    ("backend", "server s2 10.0.0.2:80 track d/s1", r"track 'd/s1': there is no such server"),
    ("backend", "server s2 10.0.0.2:80 track c/s9", r"track 'c/s9': there is no such server"),
    ("backend", "server s2 10.0.0.2:80 track c/s1", r"that server has no check"),
    ("backend", "server s2 10.0.0.2:80 resolvers dns", r"no section of resolvers 'dns'"),
    ("backend", "default-server on-marked-down stop", r"on-marked-down 'stop' is none of"),
    ("frontend", "bind 81", r"'81' has no port: write :81"),
    ("frontend", "bind :", r"':' has no port from 1 to 65535"),
    ("frontend", "bind :http", r"':http' has no port from 1 to 65535"),
    ("frontend", "bind :70000", r"has no port from 1 to 65535"),
    ("frontend", "bind :85-81", r"has no port from 1 to 65535, or range"),
    ("frontend", "bind ::81", r"'::81' has no host: write \[::\] for any"),
    ("frontend", "bind 10.0.0.300:81", r"'10.0.0.300' is no address"),
    ("frontend", "bind foo@:81", r"foo@ is no family of addresses"),
    ("frontend", "bind :81, :82", r"a blank before ':82'"),
    ("frontend", "default_backend b c", r"default_backend has 1 argument"),
    ("frontend", "monitor-uri", r"monitor-uri has 1 argument"),
    ("frontend", "server s 10.0.0.1:80", r"server is not allowed in a frontend section"),
    ("defaults", "bind :81", r"bind is not allowed in a defaults section"),
    ("defaults", "use_backend c", r"use_backend is not allowed in a defaults section"),
    ("more", "frontend f\n    bind :81\n    default_backend b", r"a second frontend 'f'"),
    ("more", "listen f\n    bind :81\n    server s 10.0.0.1:80", r"a second frontend 'f'"),
    ("more", "frontend g :81\n    default_backend b", r"':81' behind a name: addresses go into bind"),
    ("more", "backend x/y", r"'x/y' is no name of a backend"),
    ("more", "backend x\n    description " + "x " * 100, r"more than 64 words"),
    ("more", ".alert not-this-version", r"\.alert: not-this-version"),
    ("more", "global now", r"global has no arguments: 'now'"),
    ("frontend", r"reqrep ^(.*) \1", r"has no reqrep: write http-request replace-path"),
    ("frontend", r"rspadd X-A:\ b", r"has no rspadd: write http-response add-header"),
    ("frontend", "block if TRUE", r"has no block: write http-request deny"),
    ("frontend", "clitimeout 5000", r"has no clitimeout: write timeout client"),
    ("frontend", "option forceclose", r"has no option forceclose: write option httpclose"),
    ("frontend", "grace 100", r"has no grace"),
    ("backend", "srvtimeout 5000", r"has no srvtimeout"),
    ("backend", "redispatch", r"has no redispatch: write option redispatch"),
    ("backend", "appsession JSESSIONID len 52 timeout 3h", r"has no appsession: write stick on"),
    ("defaults", "contimeout 5000", r"has no contimeout"),
    ("glob", "nbproc 2", r"has no nbproc: write nbthread"),
    ("defaults", "http-request deny if TRUE", r"not allowed in a defaults section without a name"),
    ("defaults", "acl a path /", r"not allowed in a defaults section without a name"),
    ("defaults", "tcp-request connection accept", r"not allowed in a defaults section without a name"),
    ("defaults", "redirect prefix /a", r"redirect is not allowed in a defaults section"),
    ("defaults", "stick on src", r"stick is not allowed in a defaults section"),
    ("defaults", "dispatch 10.0.0.1:80", r"dispatch is not allowed in a defaults section"),
    ("defaults", "capture request header Host len 5", r"capture is not allowed in a defaults section"),
]
"""Section, line, and a pattern in the error."""

TAKEN = [
    ("backend", "balance uri whole len 5"),
    ("backend", "balance url_param id check_post"),
    ("backend", "balance rdp-cookie(mstshash)"),
    ("backend", "use-server s1 if TRUE"),
    ("backend", "use-server %[path] unless { path /x }"),
    ("backend", "stick-table size 1m type ip"),
    ("backend", "stick-table type string len 32 size 1m expire 5m store gpc0"),
    ("glob", "grace 10s"),
    ("backend", "balance hash req.cook(x)"),
    ("backend", "balance uri\n    hash-type map-based sdbm avalanche foo"),
    ("backend", "timeout server 500us"),
    ("backend", "timeout server 5sec"),
    ("backend", "timeout server 24d"),
    ("backend", "retries 0"),
    ("backend", "cookie S insert indirect nocache maxidle 30m domain .a.test"),
    ("backend", "cookie S prefix indirect"),
    ("backend", "acl x.y:z_-1 path -i -m beg -- -x"),
    ("backend", "acl x hdr(host),lower -m str a"),
    ("backend", "server s2 10.0.0:80"),
    ("backend", "server s2 ::1:80"),
    ("backend", "server s2 [::1]:80"),
    ("backend", "server s2 ipv4@10.0.0.2:80 check inter 5s slowstart 0"),
    ("backend", "server s2 /run/x.sock"),
    ("backend", "server s2 10.0.0.2:80 check observe layer4 on-error mark-down"),
    ("backend", 'balance ""'),
    ("frontend", "bind *:81,[::]:82,:::83,127.0.0.1:84-85 name x"),
    ("frontend", "bind /tmp/balancekit-haproxy.sock"),
    ("frontend", "bind unix@/tmp/balancekit-haproxy.sock"),
    ("more", "backend d\n    server s 10.0.0.1:80 check\nbackend e\n    server s 10.0.0.1:80 track d/s"),
    (
        "more",
        "resolvers dns\n    nameserver a 10.0.0.1:53\nbackend d\n    server s 10.0.0.1:80 resolvers dns",
    ),
    ("more", "backend b2\n    mode tcp\nfrontend g\n    mode tcp\n    bind :81\n    default_backend b2"),
    ("more", "frontend g\n    mode tcp\n    bind :81\n    default_backend b"),
    ("more", "frontend b\n    bind :81\n    default_backend c"),
    ("more", "defaults d\n    mode http\n    acl a path /\n    http-request deny if a"),
    ("more", "defaults d\n    mode http\ndefaults from d\n    retries 2"),
    ("more", "    cache c\n        total-max-size 4\n    ring r\n        size 32768"),
]
"""Lines that look odd, and that HAProxy starts with."""
