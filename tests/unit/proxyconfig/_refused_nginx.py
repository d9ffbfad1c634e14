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
    ("server", "listen 18083 quic; listen 18083 quic;", "the server listens on"),
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

LATER = [
    ("server", "return 200 $request_port$is_request_port;"),
    ("server", "listen 18083 ssl; listen 18083 quic reuseport; listen [::]:18083 quic;"),
]
"""Block and line, as versions after 1.22 take them."""

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

TYPICAL = [
    ("http", "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"),
    (
        "http",
        'map $request_method $limit { default ""; POST $binary_remote_addr; } limit_req_zone $limit zone=one:10m rate=5r/m;',
    ),
    (
        "http",
        'log_format main \'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" rt=$request_time uct="$upstream_connect_time" uht="$upstream_header_time" urt="$upstream_response_time" cs=$upstream_cache_status pipe=$pipe id=$request_id\';',
    ),
    (
        "http",
        'gzip on; gzip_vary on; gzip_min_length 1024; gzip_types text/plain application/json; gzip_proxied expired no-cache no-store private auth; gzip_disable "msie6";',
    ),
    (
        "http",
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on; ssl_session_cache shared:SSL:10m; ssl_session_timeout 10m; ssl_session_tickets off;",
    ),
    (
        "http",
        "client_max_body_size 20m; client_body_buffer_size 128k; large_client_header_buffers 4 16k; server_names_hash_bucket_size 64; types_hash_max_size 2048; open_file_cache max=1000 inactive=20s;",
    ),
    ("http", "set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; real_ip_recursive on;"),
    ("http", "resolver 127.0.0.1 valid=30s ipv6=off; resolver_timeout 5s;"),
    (
        "http",
        "upstream w { zone w 64k; least_conn; server 10.0.0.1:80 weight=5 max_fails=3 fail_timeout=30s; server 10.0.0.2:80 backup; keepalive 32; keepalive_requests 1000; keepalive_timeout 60s; }",
    ),
    ("http", "server { listen 18090 default_server; server_name _; return 444; }"),
    (
        "http",
        "server { listen 18091; server_name www.example.com; return 301 $scheme://example.com$request_uri; }",
    ),
    (
        "http",
        "server { listen 18091; server_name ~^(?<sub>.+)\\.example\\.com$; root /var/www/$sub; location / { try_files $uri $uri/ /index.html; } }",
    ),
    ("http", 'split_clients "${remote_addr}AAA" $variant { 0.5% .one; 2.0% .two; * ""; }'),
    (
        "http",
        "limit_conn_zone $binary_remote_addr zone=addr:10m; limit_conn addr 10; limit_conn_status 429; limit_req_status 429;",
    ),
    (
        "http",
        "map $host $backend { hostnames; default u; .example.com u; *.example.org u; www.example.* u; }",
    ),
    ("http", 'map $cookie_ab $ab { "~^(?P<v>[ab])" $v; default a; volatile; }'),
    (
        "server",
        'location /ws { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; proxy_read_timeout 1d; }',
    ),
    (
        "server",
        "location /api { if ($request_method = OPTIONS) { add_header Access-Control-Allow-Origin * always; add_header Content-Length 0; return 204; } proxy_pass http://u; }",
    ),
    (
        "server",
        "if ($http_user_agent ~* (bot|crawl)) { return 403; } if ($host != 'a.b') { rewrite ^/(.*)$ http://a.b/$1 permanent; }",
    ),
    ("server", "if ($request_uri ~ ^/x/(.*)$) { set $y $1; } location /y { return 200 $y; }"),
    (
        "server",
        "error_page 500 502 503 504 /50x.html; error_page 404 = @fallback; location @fallback { proxy_pass http://u; } location = /50x.html { root /usr/share/nginx/html; internal; }",
    ),
    (
        "server",
        'auth_request /auth; auth_request_set $user $upstream_http_x_user; location = /auth { internal; proxy_pass http://u; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header X-Original-URI $request_uri; }',
    ),
    (
        "server",
        "rewrite ^/users/(\\d+)/?$ /u?id=$1 last; rewrite ^/a$ /b break; rewrite ^/c http://x/d redirect;",
    ),
    (
        "server",
        'location /dl/ { alias /data/; autoindex on; autoindex_exact_size off; limit_rate 100k; limit_rate_after 10m; expires 30d; add_header Cache-Control "public, no-transform"; }',
    ),
    (
        "server",
        "location /img { valid_referers none blocked server_names *.example.com; if ($invalid_referer) { return 403; } }",
    ),
    (
        "server",
        'location /s { secure_link $arg_md5,$arg_expires; secure_link_md5 "$secure_link_expires$uri$remote_addr secret"; if ($secure_link = "") { return 403; } if ($secure_link = "0") { return 410; } }',
    ),
    (
        "server",
        'location /p { set $up http://u; proxy_pass $up; proxy_redirect off; proxy_cookie_path / "/; secure; HttpOnly"; proxy_ssl_server_name on; proxy_ssl_name $host; }',
    ),
    (
        "server",
        'location /c { proxy_pass http://u; proxy_cache off; proxy_cache_key "$scheme$request_method$host$request_uri"; proxy_cache_valid 200 302 10m; proxy_cache_bypass $http_pragma $cookie_nocache; proxy_no_cache $http_pragma; proxy_next_upstream error timeout http_502 non_idempotent; proxy_next_upstream_tries 3; proxy_buffers 8 16k; proxy_buffer_size 8k; proxy_busy_buffers_size 32k; }',
    ),
    ("server", "location /g { grpc_pass grpc://u; grpc_set_header X $host; }"),
    (
        "server",
        "location /m { mirror /mirror; mirror_request_body off; proxy_pass http://u; } location = /mirror { internal; proxy_pass http://u$request_uri; }",
    ),
    ("server", "location /st { stub_status; access_log off; allow 127.0.0.1; deny all; }"),
    (
        "server",
        "location ~* ^/(?<app>[a-z]+)/(.*)$ { proxy_pass http://u/$2?app=$app&$args; proxy_set_header Host $proxy_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Port $server_port; }",
    ),
    (
        "server",
        "listen [::]:18081 ipv6only=on; listen 127.0.0.1:18099 http2 proxy_protocol; set_real_ip_from 0.0.0.0/0; real_ip_header proxy_protocol;",
    ),
    ("server", "location /a/ { location ~ \\.png$ { expires max; } location /a/b { deny all; } }"),
    (
        "server",
        'location /me { set $memcached_key "$uri?$args"; memcached_pass 127.0.0.1:11211; error_page 404 502 504 = @fb; } location @fb { proxy_pass http://u; }',
    ),
    ("server", "location /rl { limit_except GET POST { deny all; } proxy_pass http://u; }"),
    (
        "server",
        'location /b { break; return 200 "$request_completion $msec $pid $hostname $nginx_version $tcpinfo_rtt $connection $bytes_sent $content_type $realpath_root $limit_rate $server_protocol $sent_http_x $sent_trailer_y $ssl_protocol $http2 $https $time_iso8601"; }',
    ),
    (
        "server",
        "userid on; userid_name uid; add_header X $uid_got; location /ub { return 200 $uid_set$ancient_browser$modern_browser$msie$gzip_ratio; }",
    ),
    (
        "server",
        "large_client_header_buffers 4 8k; keepalive_timeout 65 60; send_timeout 30; lingering_close on; reset_timedout_connection on; client_header_timeout 60; sendfile_max_chunk 1m; directio 4m; output_buffers 2 32k; postpone_output 1460;",
    ),
]
"""Block and lines of usual files."""
