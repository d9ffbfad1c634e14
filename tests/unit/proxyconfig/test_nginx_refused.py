"""Files that nginx does not start with are refused, with the line; expressions that only PCRE has are noted."""

from __future__ import annotations

import pytest
from tests.unit.proxyconfig._refused_nginx import LATER, NOTED, REFUSED, TAKEN, TYPICAL, config

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, read_nginx


@pytest.fixture
def read(tmp_path):
    """Return a reader of a file with one more line."""

    def read(place, line):
        path = tmp_path / "nginx.conf"
        path.write_text(config(tmp_path, place, line), encoding="utf-8")
        return read_nginx(str(path))

    return read


@pytest.mark.parametrize(("place", "line", "said"), REFUSED, ids=[row[1][:40] for row in REFUSED])
def test_what_nginx_refuses_is_refused(read, tmp_path, place, line, said):
    """The error names the file and the line, and says what is wrong with it."""
    with pytest.raises(ProxyConfigError, match=said) as caught:
        read(place, line)
    assert str(caught.value).startswith(f"{tmp_path / 'nginx.conf'}:")


@pytest.mark.parametrize(("place", "line"), TAKEN + LATER, ids=[row[1][:40] for row in TAKEN + LATER])
def test_what_nginx_takes_is_read(read, place, line):
    """Reading raises nothing and notes nothing."""
    assert read(place, line).not_modelled == ()


@pytest.mark.parametrize(("place", "line"), TYPICAL, ids=[row[1][:40] for row in TYPICAL])
def test_usual_lines_are_read(read, place, line):
    """What nginx takes is read, and what is not followed is listed with its reason."""
    assert all(note.why for note in read(place, line).not_modelled)


@pytest.mark.parametrize("line", NOTED, ids=[line[:40] for line in NOTED])
def test_expressions_that_only_pcre_has_are_noted(read, line):
    """The file is read, the line is listed, and its rule is taken not to match."""
    found = read("server", line)
    assert [note.why for note in found.not_modelled] == [
        "its expression has what Python's have not: it is taken not to match"
    ]
    assert found.route(ProxyRequest("/a")).pool == "u"


def test_a_map_with_an_expression_that_only_pcre_has_is_doubtful(read):
    """Its variable is not known: an upstream that hashes it has no choices, and is listed."""
    found = read(
        "http",
        r'map $uri $part { "~^/\\K." a; default b; } upstream v { hash $part; server 127.0.0.1:1; }'
        " server { listen 18082; location / { proxy_pass http://v; } }",
    )
    assert [note.why for note in found.not_modelled] == ["the value of $part is not known here"]
    assert found.pools["v"].start is None


@pytest.mark.parametrize("foreign", ["load_module modules/x.so;", "fancy on;"])
def test_a_variable_may_come_from_a_module_that_is_not_part_of_nginx(tmp_path, foreign):
    """A file that loads a module, or has a directive of one, may use variables that are not known."""
    path = tmp_path / "nginx.conf"
    text = config(tmp_path, "location", "add_header X $fancy_name;")
    path.write_text(f"{foreign}\n{text}", encoding="utf-8")
    assert read_nginx(str(path)).route(ProxyRequest("/")).pool == "u"


@pytest.mark.parametrize("name", ["http_zz", "arg_zz", "cookie_zz", "args"])
def test_a_map_that_defines_a_variable_of_requests_decides_its_value(read, name):
    """A map comes before what the request has."""
    found = read(
        "http",
        f"map $uri ${name} {{ default mapped; }} upstream v {{ hash ${name}; server 127.0.0.1:1; }}"
        " server { listen 18082; location / { proxy_pass http://v; } }",
    )
    request = ProxyRequest("/?zz=a", port=18082, headers=[("zz", "a"), ("Cookie", "zz=a")])
    assert found.pools["v"].key_of(request, found.route(request)) == "mapped"
