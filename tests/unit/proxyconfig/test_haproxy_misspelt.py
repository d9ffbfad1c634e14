"""Misspelt words of HAProxy: one slip away from a known one."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from balancekit.proxyconfig import ProxyRequest, read_haproxy
from balancekit.proxyconfig._haproxy_misspelt import KNOWN, meant_by
from balancekit.proxyconfig._haproxy_words import OPTIONS

TEXT = """
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend fe
  bind 127.0.0.1:8099
  acl api path_beg /api
  use_backend api if api
  default_backend web
backend api
  balance roundrobin
  option httpchk GET /healthz
  server a 10.0.0.1:80 weight 3 check
  server b 10.0.0.2:80 check
backend web
  balance uri
  server c 10.0.0.3:80
"""
SLIPS = {
    "keyword": ("balance uri", "blance uri", "balance"),
    "server": ("server b", "sever b", "server"),
    "word of a server": ("weight 3", "wieght 3", "weight"),
    "option": ("option httpchk", "option httpchek", "option httpchk"),
    "rule": ("use_backend api", "use_backed api", "use_backend"),
    "address": ("bind", "bnid", "bind"),
    "section": ("backend web\n  b", "bakend web\n  b", "backend"),
}


@pytest.fixture
def written(tmp_path):
    """Return what writes the text with a slip, and returns the path."""

    def write(right, wrong):
        assert right in TEXT
        path = tmp_path / "haproxy.cfg"
        path.write_text(TEXT.replace(right, wrong, 1).replace("default_backend web", "default_backend api"))
        return str(path)

    return write


@pytest.mark.parametrize("slip", SLIPS)
def test_one_slip_names_what_was_meant(written, slip):
    """A misspelt word is listed as not modelled with the known one; the right text lists nothing."""
    right, wrong, meant = SLIPS[slip]
    assert not read_haproxy(written(right, right)).not_modelled
    found, *_ = read_haproxy(written(right, wrong)).not_modelled  # the value of a word is listed, too
    assert found.why == f"HAProxy does not know it; {meant} was probably meant"
    assert wrong.split()[0] in str(found)


def test_an_explanation_names_a_misspelt_word(written):
    """A misspelt word of the pool that serves is in the explanation of the request."""
    config = read_haproxy(written("server b", "sever b"))
    assert "server was probably meant" in str(config.explain(ProxyRequest("/api/x")))


def test_known_and_other_words_are_left_alone():
    """A known keyword, an option and words that are not close mean nothing else."""
    for words in (*([word] for word in KNOWN), *(["option", name] for name in OPTIONS), ["fancy"], ["acll"]):
        assert meant_by(words) is None
    assert meant_by(["option"]) is None


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
@pytest.mark.parametrize("slip", SLIPS)
def test_haproxy_does_not_start_with_it(written, slip):
    """HAProxy starts with the right text, and not with a slip."""
    right, wrong, _ = SLIPS[slip]
    for text, starts in ((right, True), (wrong, False)):
        command = ["haproxy", "-c", "-f", written(right, text)]
        run = subprocess.run(command, capture_output=True, check=False)
        assert (run.returncode == 0) is starts
