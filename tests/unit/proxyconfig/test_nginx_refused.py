"""Files that nginx does not start with are refused, with the line; expressions that only PCRE has are noted."""

from __future__ import annotations

import pytest
from tests.unit.proxyconfig._refused_nginx import NOTED, REFUSED, TAKEN, config

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


@pytest.mark.parametrize(("place", "line"), TAKEN, ids=[row[1][:40] for row in TAKEN])
def test_what_nginx_takes_is_read(read, place, line):
    """Reading raises nothing and notes nothing."""
    assert read(place, line).not_modelled == ()


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
