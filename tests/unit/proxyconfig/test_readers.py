"""Readers of nginx's and HAProxy's configurations: what is followed, what is listed, what is refused with its line."""

from __future__ import annotations

import math
import pickle

import pytest

from balancekit.cli import main
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig import (
    Origin,
    ProxyConfigError,
    ProxyRequest,
    kind_of_text,
    read_config,
    read_haproxy,
    read_nginx,
)


@pytest.fixture
def written(tmp_path):
    """Return what writes files and returns the path of the last."""

    def write(text, name="proxy.conf"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


NGINX = """\
http {
    upstream shop { server 10.0.0.1:80 weight=2; server 10.0.0.2:80; least_time header; }
    upstream plain { server 10.0.0.1:80 weight=2; server 10.0.0.2:80; server 10.0.0.2:80; }
    server {
        listen 8080;
        location / { proxy_pass http://plain; }
        location /shop/ { proxy_pass http://shop; rewrite ^ /x; }
        location /gone { return 410; }
        location /old { return 301 /new; }
        location /files { root /srv; }
        location /one { proxy_pass http://10.0.0.9; }
        location /by { proxy_pass http://$unheard; }
        fancy_module on;
    }
}
"""


def test_nginx_answers_with_the_reason_and_the_line(written):
    """Nginx's answer has route, pool and server, each with where it is written."""
    config = read_nginx(written(NGINX))
    found = config.explain(ProxyRequest("/a"))
    assert (found.pool.name, found.server.address) == ("plain", "10.0.0.1:80")
    assert found.shares == {"10.0.0.1:80": 0.5, "10.0.0.2:80": 0.25, "10.0.0.2:80#2": 0.25}
    assert found.why[0].startswith("location / (")
    assert found.server.origin.line == 3


def test_what_nginx_answers_by_itself_has_no_server(written):
    """A status, a redirect and a file are answered by nginx itself, without a server."""
    config = read_nginx(written(NGINX))
    assert config.route(ProxyRequest("/gone")).status == 410
    assert config.route(ProxyRequest("/old"))[2:4] == (301, "/new")
    assert "by itself" in config.route(ProxyRequest("/files")).rule
    assert config.explain(ProxyRequest("/one")).server.address == "10.0.0.9:80"
    assert "nothing listens" in config.route(ProxyRequest("/", port=81)).rule


def test_what_is_not_modelled_is_listed_with_its_line(written):
    """A method, a rewrite, a variable and a directive that are not modelled are listed with their line."""
    config = read_nginx(written(NGINX))
    listed = {one.text.split()[0]: one.origin.line for one in config.not_modelled}
    assert listed == {"least_time": 2, "rewrite": 7, "proxy_pass": 12, "fancy_module": 13}
    assert config.explain(ProxyRequest("/shop/")).server is None
    assert "10.0.0" not in str(config.explain(ProxyRequest("/by")).server)


HAPROXY = """\
defaults
    mode http
    balance source
frontend web
    bind :8080,:8081
    acl api path_beg /api
    acl old path_beg /v1
    acl old path_beg /v0
    acl odd src 10.0.0.0/8
    use_backend old if old
    use_backend odd if odd
    use_backend api unless !api
    use_backend %[req.hdr(host),lower,map(hosts.map,plain)] if METH_POST
    default_backend plain
backend old
    server a 10.0.0.1:80
backend odd
    server a 10.0.0.2:80
backend api
    balance roundrobin
    cookie SRV insert indirect
    stick on src
    server a 10.0.0.3:80 cookie A
    server b 10.0.0.4:80 cookie B weight 3
backend plain
    balance hdr(X-User)
    hash-type consistent sdbm avalanche
    server a 10.0.0.5:80
    server b 10.0.0.6:80 disabled
"""


def test_haproxy_follows_rules_maps_cookies_and_defaults(written):
    """HAProxy's rules are followed.

    This covers acls of several lines, negations, maps, cookies and inherited methods.
    """
    written("shop.test old\n# comment\n", "hosts.map")
    config = read_haproxy(written(HAPROXY))
    assert config.route(ProxyRequest("/v0/x")).pool == "old"
    assert config.route(ProxyRequest("/v1/x", port=8081)).pool == "old"
    assert config.route(ProxyRequest("/api")).pool == "api"
    assert config.route(ProxyRequest("/", method="POST", host="SHOP.test")).pool == "old"
    assert config.route(ProxyRequest("/", method="POST", host="x")).pool == "plain"
    assert config.route(ProxyRequest("/")).pool == "plain"
    assert config.pools["old"].method == "source"
    bound = ProxyRequest("/api", headers=(("Cookie", "x=1; SRV=A"),))
    assert {name for _, name in config.follow([bound] * 5)} == {"a"}
    assert config.explain(ProxyRequest("/", headers=(("X-User", "u"),))).server.name == "a"
    assert {one.origin.line for one in config.not_modelled} == {9, 11, 22}


def test_words_of_haproxy_may_be_quoted(written):
    """Words of HAProxy may have double quotes, single quotes, backslashes and comments."""
    config = read_haproxy(
        written(
            "frontend f\n bind :1\n use_backend b if { path \"/a b\" '/c#d' /e\\ f } # ha\nbackend b\n server s 1.1.1.1:1\n"
        )
    )
    patterns = config.facts.frontends[0].rules[0]["if"][0][0]["patterns"]
    assert patterns == ["/a b", "/c#d", "/e f"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("http {\n upstream u {\n server 10.0.0.1;\n", 3),
        ("http {\n}\n}\n", 3),
        ("http {\n upstream u { }\n}", 2),
        ("http {\n upstream u { server 10.0.0.1 weight=0; }\n}", 2),
        ("http {\n upstream u {\n ip_hash;\n server 10.0.0.1;\n server 10.0.0.2 backup; }\n}", 5),
        ("http {\n upstream u { server 10.0.0.1 wieght=2; }\n}", 2),
        ("http {\n\n include nowhere.conf;\n}", 3),
        ("http {\n include proxy.conf;\n}", 2),
        ("http {\n server {\n location ~ ( { proxy_pass http://a; }\n }\n}", 3),
        ("http {\n up\0stream u { }\n}", 2),
        ("a {\n" * 5_000 + "}" * 5_000, 101),
        ('http {\n "' + "x" * 10_000, 1),
        ("http { upstream u {\n" + "server 10.0.0.1;\n" * 6_000 + "}}", 5002),
    ],
    ids=range(13),
)
def test_a_broken_file_of_nginx_is_refused_with_its_line(written, text, line):
    """A broken file of nginx is refused with its line. Examples are unbalanced braces, empty pools, loops and NUL."""
    path = written(text)
    with pytest.raises(ProxyConfigError) as caught:
        read_nginx(path)
    assert caught.value.origin == Origin(path, line)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("server a 1.1.1.1\n", 1),
        ("backend b\n server a\n", 2),
        ("backend b\n server a 1.1.1.1\n server a 1.1.1.2\n", 3),
        ("backend b\n server a 1.1.1.1 weight 257\n", 2),
        ("backend b\n balance hdr(\n", 2),
        ("backend b\n server a 1.1.1.1\nbackend b\n", 3),
        ("frontend f\n bind :1\n use_backend nowhere\n", 3),
        ("frontend f\n bind :1\n use_backend f if nothing\n", 3),
        ("frontend f\n acl a path_beg '/x\n", 2),
        ("frontend f\n acl a url_param(n) -m int ge x\n", 2),
        ("frontend f\n acl a path -f nowhere.lst\n", 2),
        ("backend b from none\n", 1),
        ("backend\n", 1),
        ("backend b\n server a 1.1.1.1 weight \0\n", 2),
        ("backend b\n" + " " + "x" * 100_000, 2),
    ],
    ids=range(15),
)
def test_a_broken_file_of_haproxy_is_refused_with_its_line(written, text, line):
    """A broken file of HAProxy is refused with its line.

    Examples are lines in no section, missing words, and names twice.
    """
    path = written(text)
    with pytest.raises(ProxyConfigError) as caught:
        read_haproxy(path)
    assert caught.value.origin == Origin(path, line)


def test_a_condition_that_multiplies_out_too_far_is_refused(written):
    """Twelve names of two lines each in one AND are 4,096 alternatives: an error with the line, at once."""
    names = [f"a{number}" for number in range(12)]
    acls = "".join(f" acl {name} path /{name}\n acl {name} path /{name}x\n" for name in names)
    path = written(f"frontend f\n{acls} use_backend b if {' '.join(names)}\nbackend b\n server s 1.1.1.1:1\n")
    with pytest.raises(ProxyConfigError, match="alternatives") as caught:
        read_haproxy(path)
    assert caught.value.origin.line == 26


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    """A file of 100 MB is refused with its first line before anything is parsed."""
    path = tmp_path / "huge.conf"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    for read in (read_nginx, read_haproxy, read_config):
        with pytest.raises(ProxyConfigError, match="bytes") as caught:
            read(str(path))
        assert caught.value.origin == Origin(str(path), 1)


def test_ten_thousand_includes_are_refused_with_the_line(tmp_path):
    """A file with ten thousand includes is refused with the line of the first that is too many."""
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "one.conf").write_text("upstream u { server 10.0.0.1; }\n")
    for number in range(1_100):
        (tmp_path / "part" / f"{number}.conf").write_text("# nothing\n")
    path = tmp_path / "nginx.conf"
    path.write_text("http {\n" + "include part/0.conf;\n" * 10_000 + "}")
    with pytest.raises(ProxyConfigError, match="files") as caught:
        read_nginx(str(path))
    assert caught.value.origin == Origin(str(path), 1_001)
    path.write_text("http {\n include part/*.conf;\n}")
    with pytest.raises(ProxyConfigError, match="files") as caught:
        read_nginx(str(path))
    assert caught.value.origin == Origin(str(path), 2)


def test_kinds_are_told_by_the_text(written):
    """The kind of a file is told by its text, and an unknown kind is refused by name."""
    assert kind_of_text(NGINX) == "nginx"
    assert kind_of_text(HAPROXY) == "haproxy"
    with pytest.raises(ConfigurationError, match="apache"):
        read_config(written(NGINX), kind="apache")
    with pytest.raises(ConfigurationError, match="client"):
        ProxyRequest("/", client="somewhere")


def test_the_command_explains_a_request(written, capsys):
    """The command prints reasons and the server on standard output.

    A broken file ends it with status 2 and its line.
    """
    path = written(NGINX)
    words = ["explain", path, "--request", "GET /api?x=1", "--host", "shop", "--client", "203.0.113.7"]
    assert main(words) == 0
    assert "-> 10.0.0.1:80" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert '"pool": "plain"' in capsys.readouterr().out
    assert main(["explain", path, "--request", "/files"]) == 1
    capsys.readouterr()
    assert main(["explain", written("http { ")]) == 2
    assert "proxy.conf:1:" in capsys.readouterr().err
    assert main(["explain", path, "--header", "nothing"]) == 2


@pytest.mark.parametrize("bad", ["\ufeff", "# nothing but a comment\n", "", "\n\n"])
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_a_file_without_a_directive_or_with_a_byte_order_mark_is_refused(written, kind, bad):
    """The error says so: to read it as a configuration without pools would hide a wrong file name."""
    text = {"nginx": NGINX, "haproxy": HAPROXY}[kind]
    with pytest.raises(ProxyConfigError, match=":1: "):
        read_config(written(bad + text if bad == "\ufeff" else bad), kind=kind)


@pytest.mark.parametrize(
    "text", ["server 10.0.0.1 }", "server 10.0.0.1; zone a 64k }", 'server "10.0.0.1" }']
)
def test_a_directive_of_nginx_ends_with_a_semicolon(written, text):
    """A closing brace before the semicolon is refused with its line, as by nginx."""
    with pytest.raises(ProxyConfigError, match=r":2: .*semicolon"):
        read_nginx(written(f"http {{\nupstream a {{ {text}\n}}"))


def test_comments_and_quotes_of_nginx_need_no_semicolon(written):
    """A comment before a brace, and braces and semicolons in quotes, end nothing."""
    text = 'http { upstream a { server 10.0.0.1; # }\n } server { location "/a;{b}" { proxy_pass http://a; } # last\n } }'
    config = read_nginx(written(text))
    assert config.explain(ProxyRequest("/a;{b}")).server.address == "10.0.0.1"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("10s", 10),
        ("1m30s", 90),
        ("1h 1m", 3660),
        ("1w1d", 691_200),
        ("1M", 2_592_000),
        ("1y", 31_536_000),
    ],
)
def test_times_of_nginx_have_several_units(written, text, seconds):
    """A time of nginx may have several units, which are added up, in the order of nginx."""
    config = read_nginx(written(f'upstream a {{ server 10.0.0.1 "fail_timeout={text}"; }}'))
    assert config.pools["a"].servers[0].options["fail_timeout"] == seconds


@pytest.mark.parametrize("text", ["", "s", "30s1m", "500ms", "1m1m", "-1", "1.5s"])
def test_times_that_nginx_refuses_are_refused(written, text):
    """A time with a unit twice or out of order, or in milliseconds, is refused as by ``nginx -t``."""
    with pytest.raises(ProxyConfigError, match="no time"):
        read_nginx(written(f"upstream a {{ server 10.0.0.1 fail_timeout={text}; }}"))


@pytest.mark.parametrize(
    ("listen", "ports", "others"),
    [
        ("1100-1102", (1100, 1101, 1102), (1099, 1103, 80)),
        ("127.0.0.1:1100-1101", (1100, 1101), (80,)),
        ("[::1]:1100", (1100,), (80,)),
        ("[::1]", (80,), (1,)),
        ("localhost", (80,), (81,)),
    ],
)
def test_nginx_listens_on_ranges_of_ports(written, listen, ports, others):
    """Nginx listens on every port of a range, and on no other."""
    config = read_nginx(written(f"server {{ listen {listen}; return 200; }}"))
    for port in ports:
        assert config.route(ProxyRequest("/", port=port)).status == 200
    for port in others:
        assert config.route(ProxyRequest("/", port=port)).status is None


@pytest.mark.parametrize("listen", ["", "0", "99999", "2-1", "1-99999"])
def test_nginx_listens_on_no_other_ports(written, listen):
    """A range is not empty, a port is 1 to 65535, and a ``listen`` has one."""
    with pytest.raises(ProxyConfigError, match=":1: "):
        read_nginx(written(f"server {{ listen {listen}; }}"))


@pytest.mark.parametrize(
    ("host", "pool"),
    [
        ("shop.test", "below"),
        ("a.b.shop.test", "below"),
        ("x.eu.shop.test", "eu"),
        ("eu.shop.test", "below"),
        ("exact.shop.test", "exact"),
        ("EXACT.shop.test.", "exact"),
        ("www.shop.example", "www"),
        ("r7.example", "expression"),
        ("shop.test.example", "other"),
    ],
)
def test_a_map_of_nginx_knows_names_of_hosts(written, host, pool):
    """A map with ``hostnames`` finds exact names first.

    Next come the longest wildcard in front, then at the end, expressions, the default.
    """
    names = ("below", "eu", "exact", "www", "expression", "other")
    pools = "".join([f"upstream {name} {{ server {name}.test; }}" for name in names])
    text = f"""
    map $http_x_host $pool {{
        hostnames;
        default other;
        .shop.test below;
        *.eu.shop.test eu;
        exact.shop.test exact;
        www.* www;
        ~^r[0-9] expression;
    }}
    {pools}
    server {{ location / {{ proxy_pass http://$pool; }} }}
    """
    found = read_nginx(written(text)).explain(ProxyRequest("/", headers=(("X-Host", host),)))
    assert found.pool is not None
    assert found.pool.name == pool


@pytest.mark.parametrize("around", ["stream", "mail", "unheard"])
def test_upstreams_of_other_blocks_are_neither_read_nor_linted(written, around, capsys):
    """Only ``http`` balances requests; ``lint`` ends without a finding and without a traceback."""
    path = written(
        f"{around} {{ upstream a {{ server 10.0.0.1:53; }} server {{ listen 53; proxy_pass a; }} }}"
    )
    config = read_nginx(path)
    assert not config.pools
    assert config.not_modelled
    assert main(["lint", path]) == 0
    assert capsys.readouterr().out == ""


HEAD = "defaults\n mode http\nfrontend f\n bind :80\n default_backend b\nbackend b\n"


def haproxy(written, text, **given_values):
    """Return the configuration of a text of HAProxy."""
    return read_haproxy(written(text, "haproxy.cfg"), **given_values)


@pytest.mark.parametrize("quote", ['"', ""])
@pytest.mark.parametrize(
    ("before", "address", "found", "unknown"),
    [
        ("", "${HOST}:80", ":80", True),
        ("", "$HOST:80", ":80", True),
        ("", "${HOST-10.0.0.9}:80", "10.0.0.9:80", False),
        ("setenv HOST 10.0.0.7", "${HOST}:80", "10.0.0.7:80", False),
        ("setenv HOST 10.0.0.7\n presetenv HOST 10.0.0.8", "$HOST:80", "10.0.0.7:80", False),
        ("presetenv HOST 10.0.0.8", "${HOST}:80", "10.0.0.8:80", False),
        ("setenv HOST 10.0.0.7\n unsetenv HOST", "${HOST}:80", ":80", True),
        ("setenv HOST 10.0.0.7\n setenv X 1\n resetenv HOST", "${HOST}:80", "10.0.0.7:80", False),
        ("setenv HOST 10.0.0.7\n setenv X 1\n resetenv X", "${HOST}:80", ":80", True),
    ],
)
def test_variables_of_the_environment_are_followed_or_listed(written, before, address, found, unknown, quote):
    """Variables that ``global`` sets have their values, and others their defaults.

    What is not known is listed with its line.
    """
    text = f"global\n {before}\n{HEAD} server s {quote}{address}{quote}\n"
    config = haproxy(written, text)
    assert config.pools["b"].servers[0].address == found
    listed = [one for one in config.not_modelled if "HOST" in one.why]
    assert bool(listed) is unknown
    assert all(one.origin == config.pools["b"].servers[0].origin for one in listed)
    decision = config.explain(ProxyRequest("/"))
    assert bool(decision.not_modelled) is unknown
    if not before:
        given_config = haproxy(written, text, environment={"HOST": "10.0.0.5"})
        assert given_config.pools["b"].servers[0].address == "10.0.0.5:80"
        assert not given_config.not_modelled


def test_single_quotes_keep_variables_of_words_as_they_are(written):
    """A word in single quotes is no address and has no variables."""
    config = haproxy(written, HEAD + " balance hdr(x)\n server s 10.0.0.1 cookie '$HOST'\n")
    assert config.pools["b"].servers[0].options["cookie"] == "$HOST"
    assert not config.not_modelled


@pytest.mark.parametrize(
    ("line", "listed", "matters"),
    [
        ("maxconn 1000", False, False),
        ("tune.bufsize 16384", False, False),
        ("nbthread 4", False, False),
        ("stats socket /run/haproxy.sock", False, False),
        ("ssl-default-bind-options ssl-min-ver TLSv1.2", False, False),
        ("lua-load /etc/haproxy/a.lua", True, True),
        ("default-path origin /etc", True, True),
        ("server-state-file global", True, True),
        ("fancy_module on", True, False),
    ],
)
def test_lines_of_global_are_neutral_or_listed(written, line, listed, matters):
    """What may change a decision is listed with the reason, what is not known without."""
    config = haproxy(written, f"global\n {line}\n{HEAD} server s 10.0.0.1\n")
    assert [str(one.origin).rpartition(":")[2] for one in config.not_modelled] == ["2"] * listed
    assert bool(config.explain(ProxyRequest("/")).not_modelled) is matters


def test_conditions_of_haproxy_on_what_is_not_known_are_listed(written):
    """A variable that is not known is taken to be undefined, wherever the condition stands, and that is listed."""
    text = f".if defined(X)\nglobal\n maxconn 1\n.endif\n{HEAD}.if defined(Y)\n server s 10.0.0.1\n.else\n server t 10.0.0.2\n.endif\n"
    config = haproxy(written, text)
    assert [server.name for server in config.pools["b"].servers] == ["t"]
    assert [one.text for one in config.not_modelled] == [".if defined(X)", ".if defined(Y)"]
    assert all("undefined" in one.why for one in config.not_modelled)
    assert config.explain(ProxyRequest("/")).not_modelled
    known = haproxy(written, text, environment={"X": "1", "Y": ""})
    assert [server.name for server in known.pools["b"].servers] == ["s"]
    assert not known.not_modelled


def test_what_a_condition_leaves_out_is_not_read(written):
    """Lines of a branch that is not taken may repeat servers, use other variables, and be nothing at all."""
    left_out = ' server s "$OTHER:80"\n server s 10.0.0.2\n .if x y\n .elseif\n .endif\n no such words\n'
    text = (
        f"global\n setenv SITE s\n.if 0\nno section\n.endif\n{HEAD}"
        f'.if streq("$SITE",s)\n server s 10.0.0.1\n.else\n{left_out}.endif\n'
    )
    config = haproxy(written, text)
    assert [one.name for one in config.pools["b"].servers] == ["s"]
    assert not config.not_modelled


CONDITIONS = {
    "": False,
    "0": False,
    "1": True,
    "01": True,
    "00": False,
    "-1": True,
    "0x1": True,
    "!!0": False,
    "! 0": True,
    "defined(X)": True,
    "defined(EMPTY)": True,
    "defined( X )": False,
    "defined(NO)||defined(X)": True,
    "!defined(NO) && defined(X)": True,
    "1 || 0 && 0": True,
    "!(0 || 0) && 1": True,
    "!(!1)": True,
    'streq("$X",abc)': True,
    "streq($X,abc)": False,
    'streq("a b",a b)': True,
    "streq(,)": True,
    "strneq(a,b)": True,
    "strstr(abc,b)": True,
    "version_atleast(2.4)": True,
    "version_before(2.4)": False,
    "version_atleast(3.0-dev1)": False,
    "feature(NOSUCH)": False,
    "1 # note": True,
}


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS.items())
def test_conditions_are_those_of_haproxy(written, condition, holds):
    """A branch is read if HAProxy 2.6 reads it; ``.elif`` counts where no branch before it was taken."""
    for first, rest in ((".if", ""), (".if 0\n.elif", ""), (".if 1\n.elif", "1")):
        text = f"{HEAD}{first} {condition}\n server s 10.0.0.1\n.else\n server t 10.0.0.2\n.endif\n server u 10.0.0.3\n"
        config = haproxy(written, text, environment={"X": "abc", "EMPTY": ""})
        expected = [] if rest else ["s"] if holds else ["t"]
        assert [one.name for one in config.pools["b"].servers] == [*expected, "u"]


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (".if x\n.endif", 7),
        (".if 1 2\n.endif", 7),
        (".if (1\n.endif", 7),
        (".if 1 &&\n.endif", 7),
        (".if nosuch(x)\n.endif", 7),
        (".if streq(a)\n.endif", 7),
        (".if version_atleast(x)\n.endif", 7),
        (".if " + "(" * 5000 + "1" + ")" * 5000 + "\n.endif", 7),
        (".if 1\n" * 40 + ".endif\n" * 40, 39),
        (".elif 1\n.endif", 7),
        (".else", 7),
        (".endif", 7),
        (".if 1\n.else\n.elif 1\n.endif", 9),
        (".if 1\n.else\n.else\n.endif", 9),
        (".if 1\n.else x\n.endif", 8),
        (".if 1\n.endif x", 8),
        (".if 1\n.elseif 1\n.endif", 8),
        ('.if 0\n"open\n.endif', 8),
        (".if 1", 7),
        (".if 1\n.if 0\n.endif", 7),
    ],
)
def test_conditions_that_haproxy_refuses_are_errors(written, lines, line):
    """A condition that is none or stands out of place is refused with its line."""
    with pytest.raises(ProxyConfigError) as caught:
        haproxy(written, f"{HEAD}{lines}\n")
    assert caught.value.origin.line == line


def test_defaults_inherit_from_defaults(written):
    """A named section of defaults hands on what it has taken from another one."""
    text = (
        "defaults one\n balance source\n hash-type consistent\ndefaults two from one\n hash-type map-based\n"
    )
    config = haproxy(
        written, text + "backend b from two\n server s 10.0.0.1\nbackend c from one\n server s 10.0.0.1\n"
    )
    assert config.pools["b"].method == "source hash-type map-based"
    assert config.pools["c"].method == "source hash-type consistent"


@pytest.mark.parametrize("section", ["defaults two from nope", "backend b from nope", "frontend f from nope"])
def test_a_section_of_defaults_that_is_named_exists(written, section):
    """A named section of defaults that is absent is an error with the line of the section that names it."""
    with pytest.raises(ProxyConfigError, match=r":1: there is no defaults section 'nope'"):
        haproxy(written, section + "\n mode http\n")


def test_only_the_last_default_backend_has_to_exist(written):
    """A default of the defaults that a frontend replaces is not looked for; HAProxy does not either."""
    text = "defaults\n mode http\n default_backend nope\n"
    front = "frontend f\n bind :80\n"
    assert haproxy(written, f"{text}{front} default_backend b\nbackend b\n server s 10.0.0.1\n").pools
    with pytest.raises(ProxyConfigError, match=r":3: there is no backend 'nope'"):
        haproxy(written, f"{text}{front}backend b\n server s 10.0.0.1\n")


@pytest.mark.parametrize(("word", "share"), [("no", 0.0), ("default", 0.0), ("", 0.5)])
def test_options_can_be_taken_back(written, word, share):
    """``no option allbackups`` of a backend undoes that of the defaults; the first backup then serves alone."""
    text = HEAD.replace("mode http", "option allbackups")
    servers = " server s 10.0.0.1 backup\n server t 10.0.0.2 backup\n"
    line = f" {word} option allbackups\n" if word else ""
    config = haproxy(written, text + line + servers)
    assert config.explain(ProxyRequest("/")).shares["t"] == share
    assert not config.not_modelled


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (" server s 10.0.0.1 id 0\n", 7),
        (" server s 10.0.0.1 id 7\n server t 10.0.0.2 id 7\n", 8),
        (" cookie\n server s 10.0.0.1\n", 7),
        (" hash-type\n server s 10.0.0.1\n", 7),
        (" hash-balance-factor\n server s 10.0.0.1\n", 7),
    ],
)
def test_numbers_of_servers_and_missing_values_are_refused_with_their_line(written, lines, line):
    """Wrong server ids and missing values are refused with their line, as by ``haproxy -c``.

    An id is positive and unique.
    """
    with pytest.raises(ProxyConfigError, match=rf":{line}: "):
        haproxy(written, HEAD + lines)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("headers", value)
            for value in (3, None, "ab", {"X-User": "7"}, (("a",),), (("a", 3),), ((3, "a"),), ("ab",))
        ],
        *[("host", value) for value in (3, b"shop", True)],
        *[("client", value) for value in (3, True, None, "", "nope")],
        *[("method", value) for value in (3, "", None)],
        *[("port", value) for value in (0, True, "80", 65_536)],
    ],
)
def test_a_request_that_is_none_is_refused_at_once(name, value):
    """The error names the argument; headers are pairs, as a mapping cannot say one twice."""
    with pytest.raises(ConfigurationError, match=name):
        ProxyRequest("/", **{name: value})


def test_headers_may_be_lists_of_pairs():
    """Headers that are lists of pairs are kept as tuples, so that a request can be a key of a dictionary."""
    request = ProxyRequest("/", headers=[["X-User", "7"]])
    assert request.headers == (("X-User", "7"),)
    assert hash(request) == hash(ProxyRequest("/", headers=(("X-User", "7"),)))


@pytest.mark.parametrize("seed", [math.nan, "x", None, True, -1, 1.0])
def test_a_seed_is_a_whole_number(written, seed):
    """A seed that is no whole number >= 0 is refused, for one decision and for many."""
    config = read_nginx(written(NGINX))
    with pytest.raises(ConfigurationError, match="seed"):
        config.explain(ProxyRequest("/"), seed=seed)
    with pytest.raises(ConfigurationError, match="seed"):
        config.follow([ProxyRequest("/")], seed=seed)


@pytest.mark.parametrize("method", ["ip_hash", "hash $uri", "random"])
def test_backups_beside_a_method_that_has_none(written, method):
    """After the method they are refused, as by nginx; before it, nginx takes them, and the pool is listed as not followed."""
    with pytest.raises(ProxyConfigError, match="does not support backup"):
        read_nginx(written(f"upstream a {{ {method}; server 10.0.0.1; server 10.0.0.2 backup; }}"))
    text = f"upstream a {{ server 10.0.0.1; server 10.0.0.2 backup; {method}; }} server {{ location / {{ proxy_pass http://a; }} }}"
    found = read_nginx(written(text)).explain(ProxyRequest("/"))
    assert found.server is None
    assert [one.text for one in found.not_modelled] == [method]


@pytest.mark.parametrize(
    ("inside", "refused"),
    [
        ("location / { return 200; } location / { return 201; }", True),
        ("location / { return 200; } location ^~ / { return 201; }", True),
        ("location = / { return 200; } location =/ { return 201; }", True),
        ("location /a { location /a/b { return 200; } location /a/b { return 201; } }", True),
        ("location / { return 200; } location = / { return 201; }", False),
        ("location ~ a { return 200; } location ~ a { return 201; }", False),
        ("location /a { location /a/b { return 200; } } location /a/b { return 201; }", False),
        ("location / { return 200; } location /A { return 201; } location /a { return 202; }", False),
    ],
)
def test_a_location_of_nginx_is_written_once(written, inside, refused):
    """At one level, a prefix with and without ``^~`` is the same; an exact one, an expression and another level are not."""
    path = written(f"server {{ {inside} }}")
    if not refused:
        assert read_nginx(path).pools == {}
        return
    with pytest.raises(ProxyConfigError, match="a second location"):
        read_nginx(path)


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        ("nginx", "http {\n server { location ~ 80;\n { proxy_pass http://a; }\n }\n}\n}\n", 3),
        ("nginx", "http {\n upstream u { server 10.0.0.1; }\n", 2),
        ("nginx", b"http { upstream u {\n server 10.0.0.1;\n server \xff; } }", 3),
        ("haproxy", b"backend b\n server a 10.0.0.1:80\n server \xff 10.0.0.2:80\n", 3),
        ("haproxy", b"backend b\n server a 10.0.0.1:80 cookie \xff\n", 2),
    ],
)
def test_what_no_machine_can_have_is_refused_when_it_is_read(written, kind, text, line):
    """Braces that do not fit and bytes that are no text are errors of the file, with their lines, not of a later request."""
    with pytest.raises(ProxyConfigError) as caught:
        read_config(written(text), kind=kind)
    assert caught.value.origin.line == line


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_location_has_the_bytes_that_the_file_has(written, encoding):
    """Paths are compared as bytes, whatever text the file takes them for."""
    text = "http { server { location /ä { return 204; } location / { return 403; } } }"
    config = read_nginx(written(text.encode(encoding)))
    escaped = "".join(f"%{byte:02x}" for byte in "ä".encode(encoding))
    assert config.route(ProxyRequest(f"/{escaped}")).status == 204
    assert config.route(ProxyRequest("/%3f")).status == 403


def test_a_constant_has_the_bytes_that_the_file_has(written):
    """What is hashed keeps bytes of the file that are not UTF-8."""
    text = (
        b"http { upstream u { hash \xe4; server 10.0.0.1; } server { location / { proxy_pass http://u; } } }"
    )
    assert read_nginx(written(text)).explain(ProxyRequest()).key == "\\xe4"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("line", ["ä one;", "~^ä$ one;", "Ä two; ä one;"])
def test_lines_of_a_map_and_conditions_have_the_bytes_that_the_file_has(written, encoding, line):
    """A request's bytes are compared with those of the file, without the case of ASCII letters only."""
    text = (
        f"http {{ map $arg_x $y {{ {line} default none; }} upstream u {{ hash $y; server 10.0.0.1; }} server {{ "
        "location / { proxy_pass http://u; } location /if { if ($arg_x = ä) { return 403; } proxy_pass http://u; } } }"
    )
    config = read_nginx(written(text.encode(encoding)))
    assert config.explain(ProxyRequest("/?x=ä")).key == ("one" if encoding == "utf-8" else "none")
    assert config.route(ProxyRequest("/if?x=ä")).status == (403 if encoding == "utf-8" else None)
    assert config.explain(ProxyRequest("/?x=a")).key == "none"
