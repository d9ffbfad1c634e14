"""Readers of nginx's and HAProxy's configurations: what is followed, what is listed, what is refused with its line."""

from __future__ import annotations

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
    """Route, pool and server, each with where it is written."""
    config = read_nginx(written(NGINX))
    found = config.explain(ProxyRequest("/a"))
    assert (found.pool.name, found.server.address) == ("plain", "10.0.0.1:80")
    assert found.shares == {"10.0.0.1:80": 0.5, "10.0.0.2:80": 0.25, "10.0.0.2:80#2": 0.25}
    assert found.why[0].startswith("location / (")
    assert found.server.origin.line == 3


def test_what_nginx_answers_by_itself_has_no_server(written):
    """A status, a redirect, a file."""
    config = read_nginx(written(NGINX))
    assert config.route(ProxyRequest("/gone")).status == 410
    assert config.route(ProxyRequest("/old"))[2:4] == (301, "/new")
    assert "by itself" in config.route(ProxyRequest("/files")).rule
    assert config.explain(ProxyRequest("/one")).server.address == "10.0.0.9:80"
    assert "nothing listens" in config.route(ProxyRequest("/", port=81)).rule


def test_what_is_not_modelled_is_listed_with_its_line(written):
    """A method, a rewrite, an unknown variable and an unknown directive; none is skipped in silence."""
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
    """Several lines of one acl, a negation, a map, a cookie, and a method that a section inherits."""
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
    """Double quotes, single quotes, a backslash, a comment."""
    config = read_haproxy(
        written(
            "frontend f\n bind :1\n use_backend b if { path \"/a b\" '/c#d' /e\\ f } # ha\nbackend b\n server s 1.1.1.1:1\n"
        )
    )
    patterns = config.facts["rules"][0]["condition"][0][0]["patterns"]
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
    """Unbalanced braces, empty pools, wrong values, missing files, loops, NUL, depth, quotes, too many servers."""
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
    """Lines in no section, missing words, names twice, unknown names, quotes, missing files, NUL, long lines."""
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
    """100 MB: its first line is named, and nothing is parsed."""
    path = tmp_path / "huge.conf"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    for read in (read_nginx, read_haproxy, read_config):
        with pytest.raises(ProxyConfigError, match="bytes") as caught:
            read(str(path))
        assert caught.value.origin == Origin(str(path), 1)


def test_ten_thousand_includes_are_refused_with_the_line(tmp_path):
    """The include that is one too many is named."""
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
    """Sections are HAProxy's; an unknown kind is refused by name."""
    assert kind_of_text(NGINX) == "nginx"
    assert kind_of_text(HAPROXY) == "haproxy"
    with pytest.raises(ConfigurationError, match="apache"):
        read_config(written(NGINX), kind="apache")
    with pytest.raises(ConfigurationError, match="client"):
        ProxyRequest("/", client="somewhere")


def test_the_command_explains_a_request(written, capsys):
    """Reasons and the server on standard output; a broken file is status 2 with its line."""
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
