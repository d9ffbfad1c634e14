"""Exit statuses of decisions without an answer, and of commands whose packages are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.cli._zone import ZONE

from balancekit.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a file of each kind, and work beside them."""
    (tmp_path / "zone.toml").write_text(ZONE)
    (tmp_path / "routes.toml").write_text('[[route]]\nname = "site"\nexact = "/a"\nto = "web"\n')
    (tmp_path / "pool.toml").write_text('endpoints = ["a:1", "b:1"]\n')
    (tmp_path / "nginx.conf").write_text("http { server { location /a { proxy_pass http://10.0.0.1; } } }\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["zone.toml", "www"], 0),
        (["zone.toml", "@", "--kind", "SOA"], 0),
        (["zone.toml", "absent"], 1),
        (["zone.toml", "www", "--kind", "AAAA"], 1),
        (["pool.toml"], 0),
        (["pool.toml", "--exclude", "a:1"], 0),
        (["pool.toml", "--exclude", "a:1,b:1"], 1),
        (["pool.toml", "--drain", "a:1,b:1"], 1),
        (["routes.toml", "/a"], 0),
        (["routes.toml", "/b"], 1),
        (["nginx.conf", "--request", "GET /a"], 0),
        (["nginx.conf", "--request", "GET /b"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.usefixtures("folder")
def test_a_decision_without_an_answer_has_status_1(words, status, as_json, capsys):
    """``explain`` prints its reasons, and its status is 1 if there is no record, endpoint, route or server."""
    assert main(["explain", *words, *(["--json"] if as_json else [])]) == status
    printed = capsys.readouterr()
    assert printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("aiohttp", ["balancekit.testing.server", "--count", "1"], "testing"),
        ("dnslib", ["balancekit", "gslb", "serve", "zone.toml"], "dnslib"),
        ("rich", ["balancekit", "simulate"], "cli"),
        ("matplotlib", ["balancekit", "bench", "cards"], "plots"),
        ("crossplane", ["balancekit", "explain", "nginx.conf"], "proxyconfig"),
    ],
    ids=["testing.server", "gslb serve", "simulate", "bench", "explain"],
)
@pytest.mark.usefixtures("folder")
def test_a_command_without_its_packages_prints_what_to_install(package, words, extra):
    """The error is one line with the command that installs the extra, in one wording; the status is 2."""
    code = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {package!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.argv = {words!r}\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"No module named '{package}': pip install 'balancekit[{extra}]'")
