"""Misspelt directives of nginx: one slip away from a known one."""

from __future__ import annotations

import pytest
from crossplane.analyzer import DIRECTIVES

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, read_nginx
from balancekit.proxyconfig._nginx_misspelt import meant_by

MISSPELT = {
    "proxy_pas": "proxy_pass",
    "proxy_passs": "proxy_pass",
    "proxy-pass": "proxy_pass",
    "locaton": "location",
    "loaction": "location",
    "sever_name": "server_name",
    "lisen": "listen",
    "retrun": "return",
    "inculde": "include",
    "Server": "server",
    "upstreams": "upstream",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_one_slip_names_what_was_meant(name):
    """A character that is more, less or another, or two that changed places: the known directive is named."""
    assert meant_by(name) == MISSPELT[name]


def test_known_and_other_names_are_left_alone():
    """A directive of nginx, one of a widespread module, a short name and one with two slips mean nothing else."""
    for name in (
        *DIRECTIVES,
        "more_set_headers",
        "lua_package_path",
        "gep",
        "mpa",
        "prxy_pas",
        "",
        "sticky_route",
    ):
        assert meant_by(name) is None


def test_an_explanation_names_a_misspelt_directive(tmp_path):
    """A directive that is misspelt is listed as not modelled, with what was meant, for any request that it may concern."""
    path = tmp_path / "nginx.conf"
    path.write_text(
        "http { upstream a { hsah $uri; server 10.0.0.1:80; server 10.0.0.2:80; }\n"
        "server { location / { proxy_pass http://a; } location /b { proxy_pas http://a; } } }\n"
    )
    config = read_nginx(str(path))
    for target in ("/", "/b"):
        told = str(config.explain(ProxyRequest(target)))
        assert "1: hsah $uri (nginx has no such directive without a module; hash was probably meant)" in told
    assert "2: proxy_pas http://a (nginx has no such directive" in told


def test_a_misspelt_block_is_named(tmp_path):
    """A server inside a misspelt upstream is refused with the block that was meant."""
    path = tmp_path / "nginx.conf"
    path.write_text("http { upsteam a { server 10.0.0.1:80; } }\n")
    with pytest.raises(ProxyConfigError, match="upstream was probably meant by the upsteam around it"):
        read_nginx(str(path))
