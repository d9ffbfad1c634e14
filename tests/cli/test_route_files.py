"""``balancekit explain`` and ``balancekit plan`` over route files."""

from __future__ import annotations

import json

import pytest

from balancekit.cli import main
from balancekit.l7 import Request, Split

BEFORE = """
[[route]]
name = "beta"
to = "canary"
headers = [{ name = "x-beta", is = "1" }]

[[route]]
name = "orders"
to = { api = 9, new = 1 }
host = "*.shop.test"
prefix = "/orders"

[[route]]
name = "site"
to = "web"
"""
AFTER = BEFORE.replace('prefix = "/orders"', 'text_prefix = "/ord"').replace(
    'name = "beta"', 'name = "early"'
)


@pytest.fixture
def files(tmp_path):
    """Write both files and a sample; return a function of the arguments that returns status and output."""
    (tmp_path / "before.toml").write_text(BEFORE)
    (tmp_path / "after.toml").write_text(AFTER)
    (tmp_path / "sample").write_text(
        "# requests\nhttps://eu.shop.test/orders/1\nPOST https://eu.shop.test/ordinary\n\n/cart\n"
    )
    return tmp_path


def test_explain_names_every_failing_condition(files, capsys):
    """``explain`` prints the winner and why it won, what each loser lacks, the pool and what to forward."""
    path = str(files / "before.toml")
    assert main(["explain", path, "https://eu.shop.test/orders/7?x=1", "--key", "u"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "GET eu.shop.test/orders/7?x=1 -> orders, the first route that matches"
    assert lines[1].split() == ["beta", "no", "header", "x-beta", "is", "absent,", "not:", "'1'"]
    assert lines[-1].startswith("pool ")
    assert lines[-1].endswith(", forward /orders/7?x=1")
    assert main(["explain", path, "/cart", "-H", "X-Beta: 1", "-X", "PUT", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["route"] == "beta"
    assert main(["explain", path, "/a%2fb"]) == 1
    assert "rejected" in capsys.readouterr().out


def test_explain_without_a_url_checks(files, capsys):
    """``explain`` without a URL prints the problems of the table with status 1, or status 0 if there are none."""
    assert main(["explain", str(files / "before.toml")]) == 0
    assert capsys.readouterr().out == "no problems\n"
    assert main(["explain", str(files / "after.toml"), "--json"]) == 1
    assert [problem["kind"] for problem in json.loads(capsys.readouterr().out)] == ["loose-prefix"]


def test_plan_lists_what_changes(files, capsys):
    """``plan`` lists routes that differ, requests of the sample that move, and problems of the new table."""
    names = [str(files / name) for name in ("before.toml", "after.toml")]
    assert main(["plan", *names, "--observed", str(files / "sample")]) == 0
    out = capsys.readouterr().out
    assert "added: early" in out
    assert "removed: beta" in out
    assert "changed: orders" in out
    assert "1 of 3 requests take another route" in out
    assert "<Request POST eu.shop.test/ordinary>: site -> orders" in out
    assert "problem: orders: loose-prefix" in out
    assert main(["plan", *names, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sample"] == 0


ROUTES = """
[[route]]
name = "a"
to = { x = 1, y = 1 }
prefix = "/a"

[[route]]
name = "b"
to = "x"
prefix = "/b"
"""
TURNED = "[[route]]".join([part for part in ROUTES.split("[[route]]")[::-1] if part.strip()])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        *[
            (ROUTES.replace('"/a"', f'"/a"\n{word}'), "changed: a")
            for word in (
                "priority = 1",
                "timeout = 2.5",
                "attempts = 3",
                "retry_on = [503]",
                'rewrite = "/v2"',
                'method = "GET"',
                'host = "a.test"',
                'by = "cookie:u"',
                'salt = "2"',
                'headers = [{ name = "x", is = "1" }]',
            )
        ],
        (ROUTES.replace("x = 1", "x = 2"), "changed: a"),
        (ROUTES.replace('prefix = "/a"', 'exact = "/a"'), "changed: a"),
        (f"[[route]]{TURNED}", "reordered: b, a"),
        (f'[table]\norder = "specific"\n{ROUTES}', "table: order"),
        (f'[table]\nspelling = "RAW"\n{ROUTES}', "table: spelling"),
        (f'[table]\nno_match = "x"\n{ROUTES}', "table: no_match"),
    ],
)
def test_plan_names_what_changes(text, line, tmp_path, capsys):
    """Any change of a route, of their order or of the table is named; an equal file changes nothing."""
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    before.write_text(ROUTES)
    after.write_text(text)
    assert main(["plan", str(before), str(before)]) == 0
    assert capsys.readouterr().out == "no route changes\n"
    assert main(["plan", str(before), str(after)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == line


def test_plan_lists_requests_that_get_another_pool_for_no_match(tmp_path, capsys):
    """A request that no route takes moves if the pool for such requests changes."""
    before, after, sample = tmp_path / "before.toml", tmp_path / "after.toml", tmp_path / "sample"
    before.write_text(f'[table]\nno_match = "x"\n{ROUTES}')
    after.write_text(f'[table]\nno_match = "y"\n{ROUTES}')
    sample.write_text("/b\n/c\n")
    assert main(["plan", str(before), str(after), "--observed", str(sample)]) == 0
    assert "1 of 2 requests take another route, or may get another pool" in capsys.readouterr().out


SPLIT = """
[table]
order = "ORDER"

[[route]]
name = "site"
to = { stable = 95, canary = 5 }
by = "query:uid"
"""


@pytest.mark.parametrize("order", ["first", "specific"], ids=["of the same order", "of another order"])
def test_plan_lists_what_a_split_may_move(order, tmp_path, capsys):
    """Users of a split whose pool is certain and unchanged do not move; users of another pool and unknown users do."""
    before = tmp_path / "before.toml"
    after, sample = tmp_path / "after.toml", tmp_path / "sample"
    before.write_text(SPLIT.replace("ORDER", "first"))
    after.write_text(SPLIT.replace("ORDER", order).replace("95, canary = 5", "50, canary = 50"))
    users = [f"/?uid=user-{number}" for number in range(40)]
    sample.write_text("\n".join([*users, "/"]))
    assert main(["plan", str(before), str(after), "--observed", str(sample)]) == 0
    lines = capsys.readouterr().out.splitlines()
    old, new = [Split({"stable": 100 - part, "canary": part}, by="query:uid") for part in (5, 50)]
    moved = [user for user in users if old.owner(Request.from_url(user)) != new.owner(Request.from_url(user))]
    assert 10 < len(moved) < 30
    assert f"{len(moved) + 1} of 41 requests take another route, or may get another pool" in lines
    assert [line for line in lines if line.startswith("  ")] == [
        f"  <Request GET {user}>: site, whose pools change" for user in [*moved, "/"]
    ]


def test_mistakes_end_with_one_line(files, capsys):
    """A wrong header and a wrong file are named on standard error, with status 2."""
    assert main(["explain", str(files / "before.toml"), "/", "-H", "x"]) == 2
    assert "--header='x'" in capsys.readouterr().err
    (files / "bad.toml").write_text('[[route]]\nname = "r"\nto = 3\n')
    assert main(["explain", str(files / "bad.toml"), "/"]) == 2
    assert "in route 'r'" in capsys.readouterr().err
