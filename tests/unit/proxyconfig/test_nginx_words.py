"""What nginx makes of its directives: names without case, maps in any order, slashes, schemes, sockets, answers."""

from __future__ import annotations

import pytest

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, read_nginx


@pytest.fixture
def written(tmp_path):
    """Return what writes the inside of an ``http`` block from line 2 on, and reads it."""

    def write(text):
        path = tmp_path / "nginx.conf"
        path.write_text(f"http {{\n{text}\n}}\n")
        return read_nginx(str(path))

    return write


UPSTREAMS = "upstream Alpha { server 10.0.0.1:80; } upstream beta { server 10.0.0.2:80; }\n"


@pytest.mark.parametrize(
    ("inside", "path"),
    [
        ("root /srv;", "/x"),
        ("return 204;", "/x"),
        ("proxy_pass http://beta;", None),
        ("fastcgi_pass beta;", None),
        ("memcached_pass beta;", None),
        ("return 204; proxy_pass http://beta;", None),
    ],
)
@pytest.mark.parametrize("modifier", ["", "= ", "^~ "])
def test_only_a_location_that_proxies_redirects_to_its_slash(written, modifier, inside, path):
    """``/dir`` is redirected to ``/dir/`` if that location has a ``*_pass``; otherwise it is an ordinary path."""
    config = written(
        UPSTREAMS
        + f"server {{ location / {{ proxy_pass http://alpha; }} location {modifier}/dir/ {{ {inside} }} }}"
    )
    found = config.route(ProxyRequest("/dir"))
    assert (found.pool, found.status) == (("Alpha", None) if path else (None, 301))


@pytest.mark.parametrize(
    "url", ["http://alpha", "http://ALPHA/x", "HTTP://Alpha?q=1", "http://$NAME", "http://$name/x"]
)
def test_names_of_upstreams_and_variables_have_no_case(written, url):
    """Hosts of proxy_pass, schemes and names of variables are compared without case."""
    config = written(
        UPSTREAMS
        + f"map $arg_none $Name {{ default aLPHA; }}\nserver {{ location / {{ proxy_pass {url}; }} }}"
    )
    assert config.explain(ProxyRequest()).server.address == "10.0.0.1:80"
    assert set(config.pools) == {"Alpha", "beta"}


def test_maps_may_stand_in_any_order(written):
    """A map may use one that is written later."""
    config = written(
        UPSTREAMS + "map $second $first { default alpha; yes beta; }\nmap $arg_q $second { 1 yes; }\n"
        "server { location / { proxy_pass http://$first; } }"
    )
    assert config.route(ProxyRequest("/?q=1")).pool == "beta"
    assert config.route(ProxyRequest("/")).pool == "Alpha"
    assert config.not_modelled == ()


def test_maps_that_use_themselves_are_not_known(written):
    """A circle of maps has no value: the location is listed, and nothing recurses."""
    config = written(
        "map $b $a { default x; }\nmap $a $b { default $a; }\nserver { location / { proxy_pass http://$a; } }"
    )
    assert config.route(ProxyRequest()).pool is None


@pytest.mark.parametrize("step", [1, -1])
def test_maps_behind_each_other_without_end_are_refused(written, step):
    """More than 100 maps that use each other are an error with a line, in whichever order they are written."""
    lines = [f"map $m{number} $m{number + 1} {{ default 1; }}" for number in range(400)][::step]
    with pytest.raises(ProxyConfigError, match="more than 100 maps"):
        written("map $arg_x $m0 { default 1; }\n" + "\n".join(lines))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("map $arg_x $y {\na 1;\nA 2;\n}", 4),
        ("map $arg_x $y {\ndefault 1;\n default 2;\n}", 4),
        ("upstream a { server 10.0.0.1; }\nupstream A { server 10.0.0.1; }", 3),
        ("upstream a { server 10.0.0.1; } server {\nlocation / { proxy_pass http://A:80; } }", 3),
        ("server { listen 80 default_server; }\nserver { listen 80 default_server; }", 3),
        ("upstream a { server 10.0.0.1;\nleast_conn x; }", 3),
        ("upstream a { server 10.0.0.1;\nip_hash x; }", 3),
        ("upstream a { server 10.0.0.1;\nrandom three; }", 3),
        ("upstream a { server 10.0.0.1;\nrandom two fair; }", 3),
        ("upstream a { server 10.0.0.1;\nserver 10.0.0.1:0; }", 3),
        ("upstream a { server 10.0.0.1;\nserver 10.0.0.1:65536; }", 3),
        ("upstream a { server 10.0.0.1;\nserver 10.0.0.1:80x; }", 3),
        ("upstream a { server 10.0.0.1;\nserver [::1]:99999; }", 3),
        ("upstream a { server 10.0.0.1;\nserver unix:; }", 3),
        ("server { location / {\nproxy_pass http://10.0.0.1:0; } }", 3),
        ("server { location / { proxy_pass http://10.0.0.1;\nproxy_pass http://10.0.0.2; } }", 3),
        ("server { location /a {\nlocation /b { } } }", 3),
        ("server { location ~ ^/a {\nlocation /a { } } }", 3),
        ("server { location = /a {\nlocation /a { } } }", 3),
        ("server { location @a {\nlocation /a { } } }", 3),
        ("server { location /a {\nlocation @a { } } }", 3),
        ("server { location / {\nreturn 1000; } }", 3),
        ("server { location / {\nreturn abc; } }", 3),
        ("server { location / {\nreturn http://a b; } }", 3),
        ("server {\nserver_name *; }", 3),
        ("server {\nserver_name *a.test; }", 3),
        ("server {\ninclude a b; }", 3),
        ("}\nhttp { ", 3),
        ("server { location / {\nreturn; } }", 3),
    ],
)
def test_what_nginx_refuses_is_refused_with_its_line(written, text, line):
    """The reader refuses with its line what nginx refuses.

    Examples are names written twice, and a port behind an upstream's name.
    """
    with pytest.raises(ProxyConfigError) as caught:
        written(text)
    assert caught.value.origin.line == line


def test_sockets_of_the_file_system_are_told_apart(written):
    """``http://unix:/a.sock:/uri`` is a server by its path; no port is added."""
    config = written(
        "server { location /a { proxy_pass http://unix:/run/a.sock; } location /b { proxy_pass http://unix:/run/b.sock:/x/; }\n"
        "location /c { grpc_pass grpcs://[::1]; } location /d { proxy_pass http://[::1]:81; } }"
    )
    served = [config.explain(ProxyRequest(path)).server.address for path in ("/a", "/b", "/c", "/d")]
    assert served == ["unix:/run/a.sock", "unix:/run/b.sock", "[::1]:443", "[::1]:81"]


def test_the_default_server_says_whether_slashes_are_merged(written):
    """merge_slashes of the port's default server counts, not that of http nor of the server that is found."""
    servers = "server {{ {}; merge_slashes {}; server_name {}; location / {{ return 201; }} location /a/b {{ return 202; }} }}"
    config = written(
        servers.format("listen 80", "off", "one")
        + servers.format("listen 80", "on", "two")
        + "merge_slashes on;"
    )
    assert config.route(ProxyRequest("/a//b", host="one")).status == 201
    assert config.route(ProxyRequest("/a//b", host="two")).status == 201


@pytest.mark.parametrize("line", ["deny all;", "auth_basic staff;"])
def test_what_may_refuse_a_request_is_listed(written, line):
    """Access by address and by password is not followed, and listed as what may matter."""
    config = written(UPSTREAMS + f"server {{ location / {{\n{line}\nproxy_pass http://beta; }} }}")
    assert [one.origin.line for one in config.explain(ProxyRequest()).not_modelled] == [4]


def test_what_is_off_refuses_nothing(written):
    """``auth_basic off`` is not listed."""
    assert written("server { location / { auth_basic off; return 204; } }").not_modelled == ()


def test_paths_that_are_not_ascii_are_compared_by_their_bytes(written):
    """A location in UTF-8 is found by its escapes and by its bytes, as a prefix and as an expression."""
    config = written(
        "server { location /é { return 201; } location ~ ^/ü+/ { return 202; } location / { return 203; } }"
    )
    statuses = {
        path: config.route(ProxyRequest(path)).status for path in ("/%c3%a9x", "/é", "/ü/", "/%c3%bc/", "/e")
    }
    assert list(statuses.values()) == [201, 201, 202, 202, 203]


@pytest.mark.parametrize(
    ("port", "location"),
    [(80, "http://shop.test/a?b=1"), (443, "https://shop.test/a?b=1"), (None, "http://shop.test/a?b=1")],
)
def test_answers_are_shown_with_their_variables(written, port, location):
    """The URL of a return is that of the request: scheme by the port's ``ssl``, host in lower case without port and last dot."""
    config = written("server { listen 80; listen 443 ssl; return 301 $scheme://$host$request_uri; }")
    assert config.route(ProxyRequest("/a?b=1", host="Shop.test.:80", port=port)).location == location


def test_an_if_knows_whether_a_port_speaks_tls(written):
    """``if ($scheme = http)`` answers at the plain port only."""
    config = written(
        UPSTREAMS + "server { listen 80; listen 443 ssl;\n"
        "location / { if ($scheme = http) { return 301 https://$host/; } proxy_pass http://beta; } }"
    )
    assert config.route(ProxyRequest(port=80)).status == 301
    assert config.route(ProxyRequest(port=443)).pool == "beta"


def test_a_url_with_variables_that_is_none_is_an_error_of_the_proxy(written):
    """proxy_pass of a value without a scheme is answered with 500, as nginx does; nothing is raised."""
    config = written("map $arg_x $y { default nothing; }\nserver { location / { proxy_pass $y; } }")
    assert config.route(ProxyRequest()).status == 500


def test_servers_of_one_port_at_several_addresses_are_listed(written):
    """Which address a request arrives at is not known: the second address of a port is listed; wildcards are one address."""
    config = written(
        "server { listen 80; listen [::]:80; listen *:81; return 204; }\nserver {\nlisten 10.0.0.9:80; return 204; }"
    )
    assert [one.origin.line for one in config.not_modelled] == [4]


def test_blocks_beside_each_other_in_one_line_are_not_deep(written):
    """A generated file of one line may have any number of blocks; only those within each other are counted."""
    blocks = " ".join([f"location /{number} {{ return 201; }}" for number in range(150)])
    assert written(f"server {{ {blocks} }}").route(ProxyRequest("/149")).status == 201
    with pytest.raises(ProxyConfigError, match="levels deep"):
        written("location / { " * 150 + "} " * 150)


@pytest.mark.parametrize(
    "line",
    ["server 10.0.0.1:65535;", "server [::1]:80;", "server [::1];", "server unix:/a:b;"],
)
def test_addresses_that_nginx_takes_are_taken(written, line):
    """Ports up to 65535, IPv6 with and without one, and sockets with a colon in their path are accepted."""
    config = written(f"upstream a {{ {line} }}")
    assert config.not_modelled == ()
    assert len(config.pools["a"].servers) == 1


@pytest.mark.parametrize("address", ["app.internal", "app.internal:80"])
def test_names_that_may_have_several_addresses_are_listed(written, address):
    """Nginx makes a server of each address of a name, and how many there are is not known here."""
    (found,) = written(f"upstream a {{\nserver {address};\nserver 10.0.0.1; }}").not_modelled
    assert found.origin.line == 3
    assert "several addresses" in found.why


@pytest.mark.parametrize("measure", ["header", "last_byte"])
def test_two_of_least_time_are_not_modelled(written, measure):
    """``random two least_time`` of the commercial nginx is not modelled, and names no server."""
    config = written(
        UPSTREAMS + f"upstream a {{ random two least_time={measure}; server 10.0.0.1; server 10.0.0.2; }}\n"
        "server { location / { proxy_pass http://a; } }"
    )
    assert config.explain(ProxyRequest()).server is None
    assert [one.text for one in config.not_modelled] == [f"random two least_time={measure}"]


@pytest.mark.parametrize(
    ("written_as", "path"),
    [
        (r"/a\tb", "/a%09b"),
        (r"'/a\nb'", "/a%0ab"),
        (r'"/a\"b"', "/a%22b"),
        (r"/a\\b", "/a%5cb"),
        (r"'/a\qb'", "/a%5cqb"),
    ],
)
def test_escapes_of_words_are_resolved(written, written_as, path):
    """A tab, a newline, quotes and a backslash may be escaped in every word; other backslashes stay."""
    config = written(
        UPSTREAMS
        + f"server {{ location = {written_as} {{ proxy_pass http://beta; }} location / {{ return 204; }} }}"
    )
    assert config.route(ProxyRequest(path)).pool == "beta"


def test_a_port_out_of_a_variable_that_is_none_is_answered_with_500(written):
    """Nginx finds out when the request is there, and so does the route."""
    config = written("server { location / { proxy_pass http://$arg_to; } }")
    assert config.route(ProxyRequest("/?to=10.0.0.1:80")).pool == "10.0.0.1:80"
    assert config.route(ProxyRequest("/?to=10.0.0.1:99999")).status == 500


NAME = "upstream Alpha { server 10.0.0.1:80; }\n"


@pytest.mark.parametrize("blank", ["\v", "\f", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000"])
def test_only_four_signs_are_blanks(tmp_path, blank):
    """Nginx takes a space that was pasted from a page for a letter: words are not ended by it."""
    path = tmp_path / "nginx.conf"
    text = f"upstream a {{ server 10.0.0.1:80; }}\nserver {{{blank}listen 81; limit_req zone=x{blank}y; location / {{ proxy_pass http://a; }} }}"
    path.write_text(f"http {{\n{text}\n}}\n", encoding="utf-8", newline="")
    config = read_nginx(str(path))
    assert [one.text for one in config.not_modelled] == [f"{blank}listen 81", f"limit_req zone=x{blank}y"]
    assert config.explain(ProxyRequest("/", port=80)).server.address == "10.0.0.1:80"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server { ; }", 3),
        ("server { listen 81;; }", 3),
        ("server { location / { { } } }", 3),
        ("server { include /dev/null { } }", 3),
        ("server { listen 81 defalt_server; }", 3),
        ("server { listen 81 backlog; }", 3),
        ("upstream u { server ::1; }", 3),
        ("upstream u { server 10.0.0.1/x; }", 3),
        ("upstream u { server $host; }", 3),
        ("server { location / { proxy_pass http://[::1; } }", 3),
        ("server { location / { proxy_pass http://::1; } }", 3),
        ("server { location ~ /x { proxy_pass http://alpha/y; } }", 3),
        ("server { location ~* /x { proxy_pass http://alpha?q=1; } }", 3),
        ("server { location ~/x { proxy_pass http://10.0.0.1:8080/; } }", 3),
        ("server { location @x { proxy_pass http://alpha/; } }", 3),
        ("server { location /x {\n if ($host) {\n proxy_pass http://alpha/y; } } }", 5),
        ("server { location /x { limit_except GET { proxy_pass http://alpha/y; } } }", 3),
        ("server { location ~ /x { proxy_pass http://unix:/s:/y; } }", 3),
    ],
)
def test_lines_that_nginx_does_not_start_with_are_refused(written, text, line):
    """What ``nginx -t`` refuses about a line that decides is refused with that line."""
    with pytest.raises(ProxyConfigError) as caught:
        written(NAME + text)
    assert caught.value.origin.line == line


@pytest.mark.parametrize(
    "text",
    [
        "server { listen 81 default_server ssl http2 backlog=5 so_keepalive=on; listen [::]:81 ipv6only=on; }",
        "upstream u { server [::1]; server [::1]:80; server unix:/a/b; }",
        "server { location ~ /x { proxy_pass http://alpha; } location @x { proxy_pass http://alpha; } }",
        "server { location ~ /x { proxy_pass http://alpha$uri; } location = /x { proxy_pass http://alpha/y; } }",
        "server { location ~ /x { proxy_pass http://unix:/s; } location ^~ /y { proxy_pass http://unix:/s:/y; } }",
        "server { location /x { if ($host) { proxy_pass http://alpha; } } }",
        "server { location / { proxy_pass http://[::1]:80/x; } }",
    ],
)
def test_lines_that_nginx_starts_with_are_read(written, text):
    """What ``nginx -t`` takes is taken."""
    assert written(NAME + text).kind == "nginx"


FAMILIES = ["proxy", "fastcgi", "grpc", "memcached", "scgi", "uwsgi"]


@pytest.mark.parametrize("family", FAMILIES)
def test_directives_of_a_family_mean_what_those_of_proxy_mean(written, family):
    """Timeouts and buffers decide nothing; retries and caches are listed, for each module that passes requests on."""
    config = written(
        f"server {{ location / {{ {family}_read_timeout 5s; {family}_bind 10.0.0.9; {family}_next_upstream error;"
        f" {family}_cache c; return 204; }} }}"
    )
    assert [note.text for note in config.not_modelled] == [
        f"{family}_next_upstream error",
        f"{family}_cache c",
    ]
    assert all(note.why for note in config.not_modelled)


@pytest.mark.parametrize(
    "line",
    [
        "limit_req_zone $binary_remote_addr zone=a:1m rate=1r/s",
        "proxy_cache_path /tmp/c keys_zone=c:1m",
        "fastcgi_intercept_errors on",
        "more_set_headers 'A: b'",
        "brotli on",
        "http2_max_concurrent_streams 64",
        "auth_request_set $user $upstream_http_x_user",
    ],
)
def test_directives_that_decide_nothing_are_not_listed(written, line):
    """They change responses, buffers and variables, and no choice of a server."""
    assert written(f"{line}; server {{ location / {{ return 204; }} }}").not_modelled == ()


def test_lines_of_a_server_that_decide_nothing_are_not_listed(written):
    """They stand in a server and not around it."""
    line = "valid_referers none blocked; set $a $invalid_referer;"
    assert written(f"server {{ {line} location / {{ return 204; }} }}").not_modelled == ()


def test_an_upstream_may_have_a_resolver_of_its_own(written):
    """From nginx 1.27.3 on it may stand there, beside servers that are resolved again."""
    config = written(
        "upstream u { zone u 64k; resolver 10.0.0.2 valid=5s; resolver_timeout 2s; server 10.0.0.1:80; }"
        " server { location / { proxy_pass http://u; } }"
    )
    assert config.not_modelled == ()
    assert config.explain(ProxyRequest()).server.address == "10.0.0.1:80"


def test_servers_of_a_state_file_leave_the_choice_open(written):
    """An ``upstream`` with ``state`` has no servers here: it is listed, and no server is named."""
    config = written(
        "upstream u { zone u 64k; state /var/lib/u; } server { location / { proxy_pass http://u; } }"
    )
    assert [note.text for note in config.not_modelled] == ["state /var/lib/u"]
    assert config.explain(ProxyRequest()).server is None
    assert config.route(ProxyRequest()).pool == "u"


SETS = [
    ("set $up http://u; location / { proxy_pass $up; }", "u"),
    ("location / { set $app u; set $proto http; proxy_pass $proto://$app; }", "u"),
    ("location / { proxy_pass http://$app; set $app u; }", "u"),
    ("set $app v; location / { set $app u; proxy_pass http://$app; }", "u"),
    ("set $app u; set $url http://$app; location / { set $app v; proxy_pass $url; }", "u"),
    ("location / { set $app u; proxy_pass http://$APP$request_uri; }", "u"),
    ("location / { if ($args) { return 204; } set $app u; proxy_pass http://$app; }", "u"),
    ("location / { if ($args) { set $app v; } set $app u; proxy_pass http://$app; }", "u"),
    ("location / { set $app $arg_pool; proxy_pass http://$app; }", "u"),
    ("location / { location /x { set $app u; proxy_pass http://$app; } return 204; }", "u"),
]
UNKNOWN_SETS = [
    "location / { set $app u; if ($args) { set $app v; } proxy_pass http://$app; }",
    "location / { if ($args) { break; } set $app u; proxy_pass http://$app; }",
    "rewrite ^/a /b break; set $app u; location / { proxy_pass http://$app; }",
    "location / { set $app u; auth_request_set $app $upstream_http_x; proxy_pass http://$app; }",
    "location / { set $app $1; proxy_pass http://$app; }",
    "location / { set $app u; location /x { proxy_pass http://$app; } }",
    "location /other { set $app u; } location / { proxy_pass http://$app; }",
]


@pytest.mark.parametrize(("inside", "pool"), SETS, ids=[row[0] for row in SETS])
def test_variables_that_are_set_are_followed(written, inside, pool):
    """Lines of the server run before those of the location, in order, and a location inherits none."""
    config = written(
        f"upstream u {{ server 10.0.0.1:80; }} upstream v {{ server 10.0.0.2:80; }} server {{ {inside} }}"
    )
    assert config.route(ProxyRequest("/x?pool=u")).pool == pool
    assert not any("set" in note.text.split() for note in config.not_modelled)


@pytest.mark.parametrize("inside", UNKNOWN_SETS, ids=str)
def test_variables_that_may_be_set_otherwise_are_not_known(written, inside):
    """A value that depends on a condition or on a capture names no pool, and the line that uses it is listed."""
    config = written(
        f"upstream u {{ server 10.0.0.1:80; }} upstream v {{ server 10.0.0.2:80; }} server {{ {inside} }}"
    )
    assert config.route(ProxyRequest("/x")).pool is None
    assert any("proxy_pass" in note.text and "not known here" in note.why for note in config.not_modelled)


def test_an_address_out_of_a_variable_is_a_pool_from_the_start(written):
    """An address that is the same for all requests is among the pools before a request is routed."""
    config = written("server { location / { set $up http://10.0.0.7:81; proxy_pass $up; } }")
    assert list(config.pools) == ["10.0.0.7:81"]


def test_a_variable_of_nginx_that_is_set_is_listed(written):
    """``set $args`` changes what other lines read."""
    config = written("server { location / { set $args a=b; return 204; } }")
    assert [note.text for note in config.not_modelled] == ["set $args a=b"]


@pytest.mark.parametrize("line", ["set $a;", "set a b;", "set $a b c;"])
def test_a_set_without_a_variable_and_a_value_is_refused(written, line):
    """The error names the line."""
    with pytest.raises(ProxyConfigError, match=r":\d+: set has a \$variable and a value"):
        written(f"server {{ location / {{ {line} return 204; }} }}")


@pytest.mark.parametrize(
    ("line", "target", "key"),
    [
        ('"~^/u/([^/]+)" $1;', "/u/anna/x", "anna"),
        ('"~^/u/(?P<name>[^/]+)/(\\d+)" "$2-${name}";', "/u/anna/7", "7-anna"),
        ('"~^/u(/x)?" "[$1]";', "/u", "[]"),
        ('"~*^/U/(.)" $1$1;', "/u/b", "bb"),
        ('"~^/u/(.)" "$1_pool";', "/u/b", "b_pool"),
        ('"~^/u/(.)" "$12";', "/u/b", "b2"),
    ],
)
def test_maps_may_use_the_groups_of_their_expressions(written, line, target, key):
    """A group that took no part is empty."""
    config = written(
        f"map $request_uri $k {{ {line} }} upstream u {{ hash $k; server 10.0.0.1:80; server 10.0.0.2:80; }}"
        " server { location / { proxy_pass http://u; } }"
    )
    assert config.not_modelled == ()
    assert config.explain(ProxyRequest(target)).key == key


def test_a_group_that_no_expression_has_is_not_known(written):
    """``$2`` of an expression with one group is the value of another expression."""
    config = written(
        'map $request_uri $k { "~^/(.)" $2; } upstream u { hash $k; server 10.0.0.1:80; }'
        " server { location / { proxy_pass http://u; } }"
    )
    assert any("not known here" in note.why for note in config.not_modelled)
