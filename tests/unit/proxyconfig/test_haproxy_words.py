"""What HAProxy makes of its lines: escapes, maps, names that it brings along, sections that are off."""

from __future__ import annotations

from pathlib import Path

import pytest

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, lint_config, read_haproxy

BACKENDS = "backend a\n server s 10.0.0.1:80\nbackend b\n server s 10.0.0.2:80\n"


@pytest.fixture
def written(tmp_path):
    """Return what writes the rules of a frontend, and other files, and returns the path."""

    def write(rules, files=None):
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)
        path = tmp_path / "haproxy.cfg"
        path.write_text(
            f"defaults\n mode http\nfrontend f\n bind :80\n{rules}\n default_backend a\n{BACKENDS}"
        )
        return str(path)

    return write


ESCAPES = {
    r"^/a\.b$": ("/a.b", "/axb"),
    r'"^/a\.b\$"': ("/a.b", "/axb"),
    r"'^/a\.b$'": ("/a.b", "/axb"),
    r"^/\w\d$": ("/q7", "/wd"),
    r"^/\x41$": ("/A", "/x41"),
    r'"^/\x41"': ("/A", "/x41"),
    r"^/\\.$": ("/.", "/x"),
    r"^/a\$": ("/a$", "/a"),
    r"^/a\#?b": ("/ab", "/a"),
    r"^/a\'b\"c": ("/a'b\"c", "/abc"),
    "'^/x41\\b'": ("/x41", "/x41b"),
}


@pytest.mark.parametrize("expression", ESCAPES)
def test_a_backslash_stays_before_what_it_does_not_escape(written, expression):
    r"""Words are those that HAProxy 2.6 reports: ``\.`` stays two letters, ``\x41`` is A, ``\$`` is an escape in quotes only."""
    config = read_haproxy(written(f" use_backend b if {{ path_reg {expression} }}"))
    match, other = ESCAPES[expression]
    assert config.route(ProxyRequest(match)).pool == "b"
    assert config.route(ProxyRequest(other)).pool == "a"


@pytest.mark.parametrize("line", ["shop.test\tb", "shop.test   b  ", "  shop.test b", "\tshop.test\t b\r"])
def test_keys_of_maps_end_at_blanks_or_tabs(written, line):
    """A line of a map is a key and a value, with any blanks and tabs around them; a comment begins the line."""
    config = read_haproxy(
        written(" use_backend %[req.hdr(host),lower,map(m.map)]", {"m.map": f"# other.test b\n\n{line}\n"})
    )
    assert config.route(ProxyRequest(host="shop.test")).pool == "b"
    assert config.route(ProxyRequest(host="other.test")).pool == "a"


def test_a_map_that_names_no_backend_leads_to_the_default_one(written):
    """HAProxy does not check the names in a map: one that is no backend leaves the request to default_backend."""
    config = read_haproxy(written(" use_backend %[path,map(m.map)]", {"m.map": "/x nosuch\n/y b\n"}))
    assert config.explain(ProxyRequest("/x")).server.address == "10.0.0.1:80"
    assert "nosuch, which is no backend" in config.route(ProxyRequest("/x")).rule
    assert config.route(ProxyRequest("/y")).pool == "b"


@pytest.mark.parametrize(("default", "found"), [("", False), (",b", True)])
def test_a_map_without_a_default_leaves_requests_to_default_backend(written, default, found):
    """default_backend behind an unconditional map is unreachable only if the map has a default of its own."""
    config = read_haproxy(written(f" use_backend %[path,map(m.map{default})]", {"m.map": "/y b\n"}))
    assert ("unreachable-route" in [one.rule for one in lint_config(config)]) is found


@pytest.mark.parametrize(
    ("condition", "pool", "listed"),
    [
        ("FALSE", "a", False),
        ("!FALSE", "b", False),
        ("TRUE !FALSE", "b", False),
        ("FALSE or TRUE", "b", False),
        ("LOCALHOST", "a", True),
        ("HTTP_1.1", "a", True),
        ("METH_TRACE", "a", False),
    ],
)
def test_names_that_haproxy_brings_along_are_known(written, condition, pool, listed):
    """A predefined name is followed, or listed with its line; it is no error."""
    config = read_haproxy(written(f" use_backend b if {condition}"))
    assert config.route(ProxyRequest()).pool == pool
    assert [one.origin.line for one in config.not_modelled] == [5] * listed


def test_messages_are_no_lines_of_a_section(written):
    """.notice, .warning, .diag and .alert decide nothing, in a section and before the first."""
    path = Path(written(' .diag "x"'))
    path.write_text(f'.notice "begin"\n{path.read_text()}')
    assert read_haproxy(str(path)).not_modelled == ()


def test_a_section_that_is_disabled_serves_nothing(written):
    """A disabled frontend is bound to nothing; no server of a disabled backend may take a request."""
    config = read_haproxy(
        written(
            " disabled\nfrontend g\n bind :81\n use_backend off if { path /off }\n default_backend a\n"
            "backend off\n disabled\n server s 10.0.0.3:80\nfrontend h\n bind :82"
        )
    )
    assert config.not_modelled == ()
    assert config.route(ProxyRequest(port=80)).pool is None
    assert config.explain(ProxyRequest("/")).server.address == "10.0.0.1:80"
    found = config.explain(ProxyRequest("/off"))
    assert (found.pool.name, found.server) == ("off", None)


def test_requests_for_the_monitored_target_reach_no_server(written):
    """monitor-uri answers its target with 200, and nothing else; a page of statistics is listed."""
    config = read_haproxy(written(" monitor-uri /up\n stats uri /st"))
    assert config.route(ProxyRequest("/up")).status == 200
    assert config.route(ProxyRequest("/up?x")).pool == "a"
    assert [str(one.text) for one in config.not_modelled] == ["stats uri /st"]
    assert config.explain(ProxyRequest("/st")).not_modelled


def test_a_header_that_the_proxy_adds_is_listed_where_it_is_hashed(written):
    """With option forwardfor, requests without X-Forwarded-For are hashed by the one that is added."""
    lines = "backend h\n balance hdr(X-Forwarded-For)\n option forwardfor\n server s 10.0.0.1:80\nfrontend g\n bind :81"
    assert [one.origin.line for one in read_haproxy(written(lines)).not_modelled] == [6]


def test_ports_that_several_frontends_bind_are_listed(written):
    """Frontends at one port of several addresses are not distinguished; the second is listed with its line."""
    config = read_haproxy(written("frontend g\n bind 10.0.0.9:80\n bind :81"))
    assert [(one.origin.line, one.text) for one in config.not_modelled] == [(6, "bind 10.0.0.9:80")]


@pytest.mark.parametrize("address", [":$PORT", ":${PORT}", '":$PORT"', "10.0.0.1:${NONE-81}"])
def test_ports_of_bind_may_be_variables(written, address):
    """Addresses are read with the environment, in quotes and outside of them."""
    config = read_haproxy(written(f" bind {address}"), environment={"PORT": "81"})
    assert config.route(ProxyRequest(port=81)).pool == "a"


@pytest.mark.parametrize("line", ["hash-type fancy", "hash-balance-factor x"])
def test_an_error_names_the_line_that_has_the_value(written, line):
    """An error about hash-type or hash-balance-factor names the line of the value."""
    with pytest.raises(ProxyConfigError) as caught:
        read_haproxy(written(f"backend h\n balance source\n server s 10.0.0.1:80\n {line}\nfrontend g"))
    assert caught.value.origin.line == 8


def test_a_template_with_an_address_is_its_servers(tmp_path):
    """A template with an address makes as many servers as it says.

    Each has its options and those of default-server.
    """
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "backend a\n default-server weight 5\n server-template web 2 10.0.0.1:80 check\n server x 10.0.0.2:80\n"
        " server-template api 3-4 [::1]:80 weight 2\n"
    )
    config = read_haproxy(str(path))
    found = [(server.name, server.address, server.weight) for server in config.pools["a"].servers]
    assert found == [
        ("web1", "10.0.0.1:80", 5),
        ("web2", "10.0.0.1:80", 5),
        ("x", "10.0.0.2:80", 5),
        ("api3", "[::1]:80", 2),
        ("api4", "[::1]:80", 2),
    ]
    assert not config.not_modelled


@pytest.mark.parametrize(
    "line", ["server-template web 3", "server-template web x 10.0.0.1:80", "server-template w 9-2 a:1"]
)
def test_a_template_that_haproxy_refuses_is_an_error(tmp_path, line):
    """A template without an address, or with a range that ends before it begins, is an error with its line."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(f"backend a\n {line}\n")
    with pytest.raises(ProxyConfigError, match=":2: "):
        read_haproxy(str(path))


def test_servers_that_the_resolver_finds_leave_the_choice_open(tmp_path):
    """A pool with a template of a name is listed, and no server is named, for the others are not all that there are."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "frontend f\n bind :80\n default_backend a\nbackend a\n server-template web 3 shop.test:80\n server x 10.0.0.2:80\n"
    )
    config = read_haproxy(str(path))
    assert config.explain(ProxyRequest()).server is None
    assert [one.origin.line for one in config.not_modelled] == [5]


@pytest.mark.parametrize("words", ["fall 0", "rise 0", "error-limit 0", "error-limit x", "fall -1"])
def test_counts_of_checks_that_haproxy_refuses_are_errors(tmp_path, words):
    """A count of checks or errors is at least 1, on a server and in default-server; with its line."""
    path = tmp_path / "haproxy.cfg"
    for line in (f"server x 10.0.0.1:80 check {words}", f"default-server {words}"):
        path.write_text(f"backend a\n {line}\n")
        with pytest.raises(ProxyConfigError, match=":2: "):
            read_haproxy(str(path))


def test_defaults_start_from_the_defaults_that_they_name(tmp_path):
    """``defaults from NAME`` has no name of its own, and takes over the lines of NAME."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "defaults base\n mode http\n balance leastconn\ndefaults other\n balance source\n"
        "defaults from base\n retries 2\n" + BACKENDS
    )
    pool = read_haproxy(str(path)).pools["a"]
    assert (pool.method, pool.settings["mode"], pool.settings["retries"]) == ("leastconn", "http", "2")


@pytest.mark.parametrize(
    ("words", "listed"),
    [
        ("agent-send backup check", []),
        ("socks4 10.0.0.9:1080 check-via-socks4", []),
        ("proxy-v2-options ssl,cert-cn send-proxy-v2-ssl", []),
        ("source 10.0.0.8 usesrc clientip interface eth0", []),
        ("set-proxy-v2-tlv-fmt(0x20) %[src]", []),
        ("hash-key addr", ["hash-key addr"]),
        ("init-state down", ["init-state down"]),
    ],
)
def test_values_of_server_words_are_no_words_of_their_own(tmp_path, words, listed):
    """A value is read with its word: ``agent-send backup`` makes no backup; a word that moves requests is listed once."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(f"backend a\n server s 10.0.0.1:80 {words}\n")
    config = read_haproxy(str(path))
    assert not config.pools["a"].servers[0].backup
    assert [note.text for note in config.not_modelled] == listed


@pytest.mark.parametrize(
    ("line", "listed"),
    [
        ("option prefer-last-server", True),
        ("load-server-state-from-file local", True),
        ("load-server-state-from-file none", False),
        ("mode http\n cookie S insert indirect dynamic\n dynamic-cookie-key k", True),
        ("option httpslog", False),
        ("tcp-response inspect-delay 5s", False),
        ("http-error status 404 content-type text/plain string x", False),
    ],
)
def test_lines_that_may_move_a_request_are_listed_with_a_reason(tmp_path, line, listed):
    """Lines that decide nothing are not listed."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(f"backend a\n {line}\n server s 10.0.0.1:80\n")
    notes = read_haproxy(str(path)).not_modelled
    assert [bool(note.why) for note in notes] == [True] * listed


def test_sections_without_servers_are_not_listed(tmp_path):
    """A cache, a ring, a list of users and the like begin a section wherever they stand, and move no request."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        " backend a\n  server s 10.0.0.1:80\n cache c\n  total-max-size 4\n ring r\n  size 32768\n"
        " userlist u\n  user x insecure-password y\n resolvers d\n  nameserver n 10.0.0.1:53\n"
        " peers p\n  peer me 127.0.0.1:1024\n backend b\n  server s 10.0.0.2:80\n"
    )
    config = read_haproxy(str(path))
    assert list(config.pools) == ["a", "b"]
    assert config.not_modelled == ()


def test_an_acl_that_is_not_modelled_is_listed_with_its_fetch(written):
    """The reason names the fetch."""
    config = read_haproxy(written(" acl x ssl_c_verify 0"))
    assert [note.why for note in config.not_modelled] == ["'ssl_c_verify' is not modelled"]
