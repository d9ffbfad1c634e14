"""Lint: planted mistakes are found at their lines, files without mistakes have no findings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from balancekit.cli import main
from balancekit.proxyconfig import lint_config, read_config

ROOT = Path(__file__).parent / "lint"
PLANTED = sorted(path.name for path in (ROOT / "planted").iterdir())
GOOD = sorted(path.name for path in (ROOT / "good").iterdir())


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_at_its_line(name):
    """The findings are exactly those that the first comments name, each with what happens and what to write."""
    path = ROOT / "planted" / name
    wanted = [
        (int(line), rule)
        for line, rule in re.findall(r"^# ([0-9]+) ([a-z-]+)$", path.read_text(), re.MULTILINE)
    ]
    assert wanted
    found = lint_config(read_config(str(path)))
    assert [(one.origin.line, one.rule) for one in found] == wanted, [str(one) for one in found]
    assert all(one.origin.file == str(path) and one.text and one.advice for one in found)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_has_no_finding(name):
    """A file that does what it says has no finding."""
    found = lint_config(read_config(str(ROOT / "good" / name)))
    assert [str(one) for one in found] == []


def test_there_are_enough_files():
    """There are at least 15 planted mistakes and 20 good files, of every kind of proxy."""
    assert len(PLANTED) >= 15
    assert len(GOOD) >= 20
    for names in (PLANTED, GOOD):
        assert {Path(name).suffix for name in names} == {".conf", ".cfg", ".yaml"}


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
@pytest.mark.parametrize("name", [name for name in GOOD if name.endswith(".cfg")])
def test_haproxy_accepts_the_good_files(name):
    """HAProxy accepts the good files."""
    found = subprocess.run(
        ["haproxy", "-c", "-f", str(ROOT / "good" / name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert found.returncode == 0, found.stderr


def test_the_command_prints_findings(capsys):
    """The command prints a line for each finding, or data with --json.

    The status is 1 if there is one, 0 if none, 2 without a file.
    """
    bad = str(ROOT / "planted" / "01-weight-zero.cfg")
    assert main(["lint", bad]) == 1
    assert f"{bad}:9: never-serves: weight 0" in capsys.readouterr().out
    assert main(["lint", bad, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["advice"] == "Write a weight of 1 to 256, or disabled"
    assert main(["lint", str(ROOT / "good" / GOOD[0])]) == 0
    assert capsys.readouterr().out == ""
    assert main(["lint", "nowhere.conf"]) == 2
    assert "nowhere.conf:1" in capsys.readouterr().err


def nginx_of(count):
    """Write upstreams that hash addresses, each with its location."""
    pools = "".join(
        [f"upstream u{one} {{ ip_hash; server 10.0.0.1:80; server 10.0.0.2:80; }}\n" for one in range(count)]
    )
    routes = "".join([f"location /l{one}/ {{ proxy_pass http://u{one}; }}\n" for one in range(count)])
    return f"http {{\n{pools}server {{\n{routes}}}\n}}\n"


def haproxy_of(count):
    """Write backends, each with its test and its rule."""
    rules = "".join(
        [f" acl a{one} path_beg /l{one}/\n use_backend u{one} if a{one}\n" for one in range(count)]
    )
    pools = "".join([f"backend u{one}\n server a 10.0.0.1:80 check\n" for one in range(count)])
    return f"frontend f\n bind :80\n{rules}{pools}"


def envoy_of(count):
    """Write clusters, each with its route."""
    routes = [{"match": {"path": f"/l{one}"}, "route": {"cluster": f"u{one}"}} for one in range(count)]
    manager = {
        "@type": "x/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "address": {"socket_address": {"address": "10.0.0.9", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}],
    }
    clusters = [{"name": f"u{one}"} for one in range(count)]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}, indent=1)


@pytest.mark.parametrize("write", [nginx_of, haproxy_of, envoy_of])
def test_the_cost_of_lint_grows_with_the_file(tmp_path, write):
    """Four times the pools and routes take at most six times the calls: nothing is compared with everything."""

    def calls(count):
        path = tmp_path / "proxy.conf"
        path.write_text(write(count))
        config = read_config(str(path))
        made = Counter()
        sys.setprofile(lambda _, event, __: made.update([event]))
        try:
            lint_config(config)
        finally:
            sys.setprofile(None)
        return made["call"] + made["c_call"]

    calls(10)
    assert calls(400) <= 6 * calls(100)


@pytest.mark.parametrize(
    ("before", "location", "found"),
    [
        ("^~ /img", "~ ^/img/x", True),
        ("^~ /img", "~^/img/x", True),
        ("^~/img", "~ ^/img/x", True),
        ("^~ /img", "~ ^/img?x", False),
        ("^~ /img", "~ ^/img*", False),
        ("^~ /img", '~ "^/img{0,1}x"', False),
        ("^~ /img", "~ ^/img+", True),
        ("^~ /img", r"~ ^/img\.?x", True),
        ("^~ /img", r"~ ^/img|\.css$", False),
        ("^~ /img", r"~ ^/img/(a|b)$", True),
        ("^~ /img", r"~ ^/img/[|]\|$", True),
        ("^~ /img", "~* ^/img/x", False),
        ("^~ /12/", "~* ^/12/x", True),
    ],
)
def test_an_expression_below_a_prefix_is_found_only_if_all_its_paths_are_there(
    tmp_path, before, location, found
):
    """An expression is unreachable below a ``^~`` prefix only if each path that it matches begins with the prefix."""
    path = tmp_path / "nginx.conf"
    path.write_text(
        "http { upstream u { server 10.0.0.1; } server { listen 80; "
        f"location {before} {{ proxy_pass http://u; }} location {location} {{ proxy_pass http://u; }} }} }}"
    )
    rules = [one.rule for one in lint_config(read_config(str(path)))]
    assert rules == ["unreachable-route"] * found


@pytest.mark.parametrize("balance", ["", "balance", 'balance ""', "balance roundrobin"])
def test_balance_without_a_method_is_round_robin(tmp_path, balance):
    """A ``balance`` without a method, and none at all, are round robin to the reader and to all findings."""
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        "defaults\n mode http\nfrontend f\n bind :80\n default_backend b\n"
        f"backend b\n {balance}\n server a 10.0.0.1:80 check slowstart 10s\n"
    )
    config = read_config(str(path))
    assert config.pools["b"].method == "roundrobin"
    assert lint_config(config) == ()
