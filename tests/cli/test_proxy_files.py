"""Commands over configurations of proxies: mistakes in names, lines and bytes end with status 2 and one line."""

from __future__ import annotations

import pytest

from balancekit.cli import main

NGINX = """http { upstream a { server 10.0.0.1; server 10.0.0.2; }
server { listen 80; location / { proxy_pass http://a; } } }"""
MARK = b"\xef\xbb\xbf"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder in which commands run, with files of several kinds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.conf").write_text(NGINX)
    (tmp_path / "README.md").write_text("# Hello\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["lint", "README.md"], "README.md:1"),
        (["explain", "README.md"], "README.md:1"),
        (["explain", "ok.conf", "--request", "GET"], "--request"),
        (["explain", "ok.conf", "--request", ""], "--request"),
        (["explain", "ok.conf", "--header", "X"], "--header"),
        (["explain", "ok.conf", "--host", "a", "--header", "Host: b"], "one Host header"),
        (["explain", "nope.conf"], "cannot read 'nope.conf': No such file"),
        (["lint", "nope.toml"], "nope.toml:1: TOML"),
        (["lint", "."], "no regular file"),
        (["plan", "ok.conf", "nope.conf"], "nope.conf"),
        (["plan", "nope.cfg", "ok.conf"], "nope.cfg"),
        (["plan", "old.yaml", "new.yaml"], "old.yaml"),
        (["plan", "ok.conf", "10.0.0.1"], "10.0.0.1"),
        (["plan", "ok.conf", "ok.conf", "--observed", "bytes.txt"], "bytes.txt"),
        (["plan", "ok.conf", "ok.conf", "--log", "README.md", "--hours", "nan"], "--hours"),
        (["plan", "ok.conf", "pool.toml"], "pool.toml:1: TOML, which is no configuration"),
        (["plan", "ok.conf", "ok.conf", "--hours", "2"], "--hours=2.0"),
        (["plan", "ok.conf", "ok.conf", "--host", "shop.test"], "--host='shop.test'"),
        (["plan", "ok.conf", "ok.conf", "--log", "README.md"], "none of 1 lines is one"),
        (["plan", "@bytes.txt", "a"], "bytes.txt"),
        (["simulate", "two-servers", "--pool", "a"], "--proxy"),
        (["simulate", "two-servers", "--proxy", "README.md"], "README.md:1"),
        (["simulate", "two-servers", "--proxy", "ok.conf", "--pool", "b"], "one of a"),
        (["export", "bytes.txt", "--to", "nginx"], "bytes.txt"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("folder")
def test_mistakes_are_one_line_that_names_them(words, named, capsys):
    """The status is 2, nothing is printed on standard output, and there is no traceback."""
    assert main(words) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert named in written.err


def test_endpoints_that_are_no_files_are_planned_as_before(folder, capsys):
    """Ids with dots are endpoints, even if a file is called as one of them."""
    (folder / "a").write_text(NGINX)
    assert main(["plan", "a,b.shop.test", "a,b.shop.test,c", "--json"]) == 0
    assert '"moved"' in capsys.readouterr().out
    assert main(["plan", "a", "a,b", "--json"]) == 0
    assert '"vnodes"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--key=None"),
        (["--key", "user"], "--key='user'"),
        (["--key", "client", "--listen", "8080"], "--listen='8080'"),
        (["--key", "client", "--routes", "routes.toml"], "--routes='web'"),
        (["routes.toml"], "write --routes"),
    ],
    ids=["missing key", "key", "listen", "routes", "routes as a balancer"],
)
def test_mistakes_of_an_export_name_the_option(folder, capsys, words, named):
    """What an option of an export says wrong is named by the option."""
    (folder / "ring.toml").write_text('endpoints = ["10.0.0.1:80"]\nbalancer = { selector = "RingHash" }\n')
    (folder / "routes.toml").write_text('[[route]]\nname = "site"\nto = "web"\n')
    pools = [] if words == ["routes.toml"] else ["ring.toml"]
    assert main(["export", *pools, *words, "--to", "nginx"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert named in written.err


def test_lists_of_other_programs_are_read(folder, capsys):
    """A byte order mark at the head of a list is left out, and so are comments among requests."""
    (folder / "ids.txt").write_bytes(MARK + b"a\r\nb\r\n")
    assert main(["plan", "@ids.txt", "a,b,c", "--json"]) == 0
    assert "\\ufeff" not in capsys.readouterr().out
    (folder / "requests.txt").write_bytes(MARK + b"# requests\r\nGET /a\r\n/b\r\n\r\n")
    assert main(["plan", "ok.conf", "ok.conf", "--observed", "requests.txt", "--json"]) == 0
    assert '"requests": 2' in capsys.readouterr().out
    (folder / "orders.toml").write_bytes(MARK + b'endpoints = ["10.0.0.1:80"]\n')
    assert main(["explain", "orders.toml"]) == 0
    assert main(["export", "orders.toml", "--to", "nginx"]) == 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", [["--host", "shop.test"], ["--header", "host: shop.test"]], ids=" ".join)
def test_the_host_may_be_given_as_a_header(words, capsys):
    """A header ``Host`` is the host of the request, as the option is, not a second one."""
    assert main(["explain", "ok.conf", *words]) == 0
    assert "Host: shop.test from" in capsys.readouterr().out
