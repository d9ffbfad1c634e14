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

OWN = r"is a variable of nginx, which cannot be defined again"
MISSING = r"nothing defines the variable \$nope"
NO_NAME = r"the name of a variable is expected behind a \$"
DEFINES = r"defines a \$variable"
PLACE = r"directive is not allowed here"
COUNT = r"invalid number of arguments"
CONDITION = r"a condition is a \$variable alone"

NAMES = [
    *[
        ("server", f"set ${name} x;", OWN)
        for name in (
            "uri",
            "host",
            "HOST",
            "remote_addr",
            "is_args",
            "upstream_addr",
            "document_root",
            "http_host",
        )
    ],
    *[
        ("http", line, OWN)
        for line in (
            "map $args $uri { default a; }",
            "geo $uri { default a; }",
            "split_clients $args $uri { * a; }",
            'map $uri $x { "~(?<host>a)" b; }',
        )
    ],
    *[
        ("server", line, OWN)
        for line in (
            "auth_request_set $uri $upstream_status;",
            'server_name "~(?<host>a)";',
            'location ~ "(?<host>a)" { }',
            'rewrite "(?<host>a)" /;',
            'if ($args ~ "(?<host>a)") { return 204; }',
        )
    ],
    *[
        ("http", line, MISSING)
        for line in (
            "map $nope $x { default a; }",
            "map $uri $x { default $nope; }",
            "map $uri $x { ~a ${nope}; }",
            "split_clients $nope $x { * a; }",
            "geo $nope $x { default a; }",
            "limit_req_zone $nope zone=a:1m rate=1r/s;",
            'log_format a "$nope";',
        )
    ],
    *[
        ("server", line, MISSING)
        for line in (
            "set $a $nope;",
            "return 200 a$nope;",
            "rewrite ^ /$nope;",
            "root /a/$nope;",
            "error_page 404 $nope;",
            "if ($nope) { return 204; }",
            "if ($args = $nope) { return 204; }",
            "if (-f /tmp/$nope) { return 204; }",
            "location /x { proxy_pass http://$nope; }",
            "location /x { try_files $nope /b; }",
        )
    ],
    ("upstream", "hash $nope;", MISSING),
    ("location", "proxy_set_header X $nope;", MISSING),
    ("location", "add_header X $nope;", MISSING),
    ("http", "map $uri $x { default ${1}; }", r"nothing defines the variable \$1"),
    ("http", "map $uri $x { ~(a) ${1}; }", r"nothing defines the variable \$1"),
    ("server", "return 200 $0;", r"nothing defines the variable \$0"),
    ("http", "map $uri $x { default $; }", NO_NAME),
    ("http", 'map $uri $x { default "${}"; }', NO_NAME),
    ("server", 'return 200 "a$";', NO_NAME),
    ("upstream", 'hash "a$";', NO_NAME),
    ("location", 'proxy_set_header X "a$";', NO_NAME),
    ("server", "set $ x;", DEFINES),
    ("http", "map $uri $ { default a; }", DEFINES),
    ("http", "geo x { default a; }", DEFINES),
    ("http", "split_clients $uri x { * a; }", DEFINES),
]
"""Variables that nginx computes, and variables that nothing defines."""

GRAMMAR = [
    ("server", "location /a { server_name a; }", PLACE),
    ("server", "location /a { listen 80; }", PLACE),
    ("server", "location /a { upstream v { server 127.0.0.1; } }", PLACE),
    ("server", "location /a { map $args $b { } }", PLACE),
    ("server", "if ($args) { proxy_pass http://u; }", PLACE),
    ("server", "if ($args) { location / { } }", PLACE),
    ("server", "worker_processes 2;", PLACE),
    ("server", "break a;", COUNT),
    ("server", "rewrite ^;", COUNT),
    ("server", "error_page 404;", COUNT),
    ("server", "deny;", COUNT),
    ("server", "location /a { try_files $uri; }", COUNT),
    ("location", "proxy_set_header X;", COUNT),
    ("location", "proxy_set_header X a b;", COUNT),
    ("location", "add_header X;", COUNT),
    ("http", "log_format a;", COUNT),
    ("http", "proxy_next_upstream;", COUNT),
    *[
        ("server", f"if ({condition}) {{ return 204; }}", CONDITION)
        for condition in (
            "$args == a",
            "args",
            "$args ~ a b",
            "$args =",
            "!$args",
            "-f",
            "-z /tmp",
            "$args > a",
            "$args=a",
            '"a" = a',
            "$args$uri",
        )
    ],
    ("server", 'if ($args ~ "(") { return 204; }', "a regular expression"),
    ("server", 'rewrite "(" /a;', "a regular expression"),
    ("server", "rewrite ^ /a nolast;", "rewrite has no flag 'nolast'"),
    ("server", 'rewrite ^ "";', "which is empty here"),
    *[
        ("server", f"error_page {code} /a;", "300 to 599")
        for code in ("200", "299", "600", "499", "abc", "=")
    ],
    ("server", "error_page 404 =x /a;", "a status is expected behind the ="),
    ("server", "location /a { try_files $uri =abc; }", "a status is expected behind the ="),
    ("server", "location /a { try_files $uri =1000; }", "a status is expected behind the ="),
    *[
        ("server", f"{name} {address};", f"{name} has an address, a network")
        for name, address in (
            ("deny", "foo"),
            ("allow", "10.0.0.0/99"),
            ("allow", "10.0.0"),
            ("allow", "10.0.0.1/255.0.0.0"),
            ("deny", "2001:db8::/129"),
            ("deny", "10.0.0.0/"),
            ("deny", "[::1]"),
        )
    ],
    ("http", "split_clients $uri $v { 50% a; 60% b; }", "more than 100 %"),
    ("http", "split_clients $uri $v { * b; 10% c; }", "more than 100 %"),
    ("http", "split_clients $uri $v { 50.123% a; }", "a share is a percentage"),
    ("http", "split_clients $uri $v { 50 a; }", "a share is a percentage"),
    ("http", "split_clients $uri $v { 0% a; }", "a share is a percentage"),
    ("http", "geo $g { 10.0.0.0/40 1; }", "a network is expected"),
    ("http", "geo $g { foo 1; }", "a network is expected"),
    ("http", "geo $g { proxy x; }", "a network is expected"),
    ("http", "geo $g { 10.0.0.1-10.0.0.2 1; }", "a network is expected"),
    ("http", "geo $g { ranges; 10.0.0.9-10.0.0.1 1; }", "a range of IPv4 addresses is expected"),
    ("http", "geo $g { ranges; 10.0.0.0/8 1; }", "a range of IPv4 addresses is expected"),
    ("http", "geo $g { 10.0.0.0/8 1 2; }", "a line of geo is a network and a value"),
    ("location", "satisfy some;", "satisfy: 'some' is none of all, any"),
    ("location", "add_header X a sometimes;", "'sometimes' is none of always"),
    ("location", "proxy_http_version 1.2;", "'1.2' is none of 1.0, 1.1"),
    ("http", "server_tokens maybe;", "'maybe' is none of build, off, on"),
    ("server", "location /x { limit_except FOO { deny all; } }", "'FOO' is none of COPY"),
    ("location", "client_max_body_size 10mm;", "client_max_body_size has a size"),
    ("location", "proxy_buffer_size x;", "proxy_buffer_size has a size"),
    *[
        ("server", f"listen 18082; listen {again};", "the server listens on")
        for again in ("18082", "*:18082", "0.0.0.0:18082", "18081-18083")
    ],
    ("server", "listen [::]:18082; listen [::]:18082;", "the server listens on"),
    *[
        ("server", f"listen [::]:18082 {parameter};", "is no value of")
        for parameter in (
            "ipv6only=maybe",
            "backlog=x",
            "backlog=0",
            "rcvbuf=a",
            "sndbuf=1g",
            "so_keepalive=x",
            "so_keepalive=::",
            "fastopen=x",
        )
    ],
    *[
        ("http", f"map $uri $x {{ hostnames; {name} b; }}", "stands before a name")
        for name in ("a.*.b", "*a", "a*", "*", "*.", "a..b", "*.a.*", "*.*.a")
    ],
    *[
        ("http", f"map $uri $x {{ hostnames; {first} b; {second} c; }}", "a second line for")
        for first, second in (
            (".a", "a"),
            ("a", ".a"),
            (".a", "*.a"),
            ("*.a", ".a"),
            ("*.a", "*.a"),
            ("a.*", "a.*"),
        )
    ],
]
"""Places, numbers and forms of arguments."""

REFUSED += NAMES + GRAMMAR

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
    ("server", "set $zz x; set $limit_rate 1k;"),
    ("http", "map $uri $http_zz { default a; }"),
    ("http", "map $uri $args { default a; }"),
    ("http", "map $uri $x { ~(a) $1; }"),
    ("http", 'map $uri $x { "~(?<n>a)" $n; }'),
    ("http", "map $uri $x { hostnames; . a; .* b; }"),
    ("http", "map $uri $x { hostnames; *.a b; a c; a.* d; }"),
    ("server", "return 200 $upstream_http_x$ssl_cipher$arg_$http_$10;"),
    ("server", 'location ~ "(?<nn>a)" { return 200 $nn; }'),
    ("server", "set $x ${host}; return 200 $X;"),
    ("server", "auth_request_set $zz $upstream_status; return 200 $zz;"),
    ("server", "allow 10.0.0.1/8; allow 2001:db8::/32; allow unix:; allow all; allow 010.0.0.1;"),
    *[
        ("server", f"listen [::]:18082 {parameter};")
        for parameter in (
            "backlog=005",
            "rcvbuf=1m",
            "so_keepalive=30m",
            "so_keepalive=1m30s:2:3",
            "so_keepalive=:2:",
        )
    ],
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
