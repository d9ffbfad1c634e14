"""Lines of nginx that it does not start with, and odd ones that it takes, each in a file that is right otherwise."""

from __future__ import annotations

CONFIG = """\
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    {http}
    upstream u {{
        {upstream}
        server 127.0.0.1:9001;
    }}
    server {{
        listen 127.0.0.1:18081;
        {server}
        location / {{ {location}
            proxy_pass http://u;
        }}
    }}
}}
"""


def config(folder: object, place: str, line: str) -> str:
    """Return a file with a line in a block."""
    texts = dict.fromkeys(("http", "upstream", "server", "location"), "")
    return CONFIG.format(folder=folder, **{**texts, place: line})


def with_expression(expression: str) -> str:
    """Return a location for an expression."""
    return f'location ~ "{expression}" {{ return 200; }}'


REFUSED = [
    ("http", "sendfile on", r"sendfile has no block: a ; is missing behind it"),
    ("http", "sendfile maybe;", r"sendfile is on or off"),
    ("http", "gzip;", r"gzip is on or off"),
    ("http", "keepalive_timeout x;", r"keepalive_timeout has a time"),
    ("http", "proxy_read_timeout 5x;", r"proxy_read_timeout has a time"),
    ("http", "location / { }", r"location is not allowed in a http block"),
    ("http", "events { }", r"events is not allowed in a http block"),
    ("http", "if ($args) { return 204; }", r"if is not allowed in a http block"),
    ("http", "return 204;", r"return is not allowed in a http block"),
    ("http", "set $a b;", r"set is not allowed in a http block"),
    ("http", "proxy_pass http://u;", r"proxy_pass is not allowed in a http block"),
    ("server", "proxy_pass http://u;", r"proxy_pass is not allowed in a server block"),
    ("server", "limit_except GET { deny all; }", r"limit_except is not allowed in a server block"),
    ("http", "client_body_timeout x;", r"client_body_timeout has a time"),
    ("http", "uwsgi_read_timeout x;", r"uwsgi_read_timeout has a time"),
    ("upstream", "uwsgi_read_timeout 5s;", r"uwsgi_read_timeout is not allowed in an upstream block"),
    ("upstream", "keepalive 0;", r"keepalive has a number of connections >= 1"),
    ("upstream", "keepalive;", r"keepalive has a number of connections >= 1"),
    ("upstream", "keepalive many;", r"keepalive has a number of connections >= 1"),
    ("upstream", "zone;", r"zone has a name"),
    ("upstream", "zone u large;", r"zone has a name, and a size"),
    ("upstream", "listen 80;", r"listen is not allowed in an upstream block"),
    ("upstream", "least_conn", r"upstream 'u' has no server"),
    ("server", "merge_slashes maybe;", r"merge_slashes is on or off"),
    ("server", "server_name;", r"server_name has a name"),
    ("server", "server { }", r"server is not allowed in a server block"),
    ("server", "upstream v { server 127.0.0.1:1; }", r"upstream is not allowed in a server block"),
    ("server", "location /a;", r"location has a block"),
    ("location", "proxy_connect_timeout;", r"proxy_connect_timeout has a time"),
    ("location", "proxy_buffering maybe;", r"proxy_buffering is on or off"),
    *[
        ("server", with_expression(expression), "a regular expression")
        for expression in ("(a", "a)", "[a", "[z-a]", "a**", "*a", r"\\y", r"\\1", "(?i)(a")
    ],
]
"""Block, line, and a pattern in the error."""

NOTED = [
    with_expression(expression)
    for expression in (
        r"a\\Kb",
        r"\\p{L}",
        r"\\X",
        "a(?i)b",
        "(?|a(b)|c(d))",
        "(a)(?1)",
        "(?R)?",
        "(?<=a|bc)d",
        "(?<n>a)(?&n)",
        "(?<n>a)(?P>n)",
        "(?J)(?<n>a)(?<n>b)",
        "(?U)a+",
        "(?-i)a",
        "(*UTF8)a",
        "a(*SKIP)b",
        r"\\cA",
        r"\\C",
        r"\\o{101}",
        r"(a)\\g{-1}",
        "[[:^alpha:]]",
    )
] + [r'server_name "~^\\p{L}+\\.test$";']
"""Lines of a server with expressions of PCRE that Python does not have."""

TAKEN = [
    ("http", "keepalive_timeout 75s 60s;"),
    ("http", "proxy_read_timeout 1m30s;"),
    ("http", "proxy_read_timeout 500ms;"),
    ("http", 'proxy_read_timeout "1m 30s";'),
    ("upstream", "zone u 64k; keepalive 05; keepalive_timeout 5s;"),
    *[
        ("server", with_expression(expression))
        for expression in (
            r"\\N+",
            r"\\V\\v",
            r"\\Ga",
            "(?'name'a)",
            r"(?<n>a)\\k<n>\\k{n}",
            r"(a)\\g1\\g{1}",
            "a++(?>b)",
            "[[:alpha:]]",
        )
    ],
]
"""Block and line."""
