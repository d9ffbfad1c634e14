"""Zone files: what they may say, and ``explain``, ``plan`` and ``gslb serve`` over them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from random import Random
from types import SimpleNamespace

import dns.message
import dns.query
import pytest

from balancekit.adapters._gslb import BalancerStandings
from balancekit.adapters.dnslib import GslbResolver
from balancekit.cli import main
from balancekit.cli._file_kinds import read_document
from balancekit.cli._gslb_serve import CheckedEndpoints, reload
from balancekit.cli._zone_file import read_zone
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Query, fixed_standings, zone_file
from balancekit.health import CheckResult

ZONE = """
[zone]
origin = "example.com"
primary = "ns1.example.com"
contact = "admin.example.com"
ttl = { minimum = 5, maximum = 60 }

[endpoints]
eu-1 = ["127.0.0.1", "2001:db8::1"]
us-1 = "127.0.0.2"

[maps.world]
default = ["eu", "us"]
networks = { "10.0.0.0/8" = ["us", "eu"] }

[names.www]
policy = "geo"
map = "world"
ttl = { minimum = 1, maximum = 30 }
[names.www.sites]
eu = { policy = "all-up", endpoints = ["eu-1"] }
us = { policy = "weighted-one", weights = { us-1 = 90 } }

[names."@"]
records = { NS = ["ns1.example.com."] }
"""


@pytest.fixture
def zone(tmp_path):
    """Return the path of a zone file."""
    path = tmp_path / "zone.toml"
    path.write_text(ZONE)
    return path


def test_explain_says_which_answer_and_why(zone, capsys):
    """``explain`` prints the steps, the records with their TTL, and the scope. JSON has the same."""
    assert main(["explain", str(zone), "www", "--subnet", "10.1.2.0/24", "--down", "us-1"]) == 0
    text = capsys.readouterr().out
    assert "10.1.2.0 gets us, eu (scope 8)" in text
    assert "us failed" in text
    assert "www.example.com. 30 IN A 127.0.0.1" in text
    assert "scope 8" in text
    assert main(["explain", str(zone), "www.example.com", "--kind", "aaaa", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["records"][0]["data"] == "2001:db8::1"
    assert data["steps"][0]["policy"] == "Geo"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["www", "--down", "mars"], "endpoints of the zone: eu-1, us-1"),
        (["www", "--subnet", "10.0.0.1/8"], "bits after its prefix"),
    ],
)
def test_explain_refuses_what_cannot_be(zone, words, says, capsys):
    """A wrong argument of ``explain`` is named, with exit status 2."""
    assert main(["explain", str(zone), *words]) == 2
    assert says in capsys.readouterr().err


def test_plan_says_who_gets_another_site(zone, tmp_path, capsys):
    """``plan`` prints addresses by map and move, the share of observed queries, and what changes at each name."""
    after = tmp_path / "after.toml"
    after.write_text(
        ZONE.replace('"10.0.0.0/8"', '"10.0.0.0/9"').replace('endpoints = ["eu-1"]', 'endpoints = ["us-1"]')
        + '[names.new]\npolicy = "rotation"\nendpoints = ["eu-1"]\n'
    )
    observed = tmp_path / "observed"
    observed.write_text("10.200.0.0/24 30\n10.1.0.0/24,60\n192.0.2.1 10\n")
    assert main(["plan", str(zone), str(after), "--observed", str(observed)]) == 0
    text = capsys.readouterr().out
    assert "map world: 0.1953% of IPv4 and 0.0000% of IPv6" in text
    assert "30.00% of the observed queries" in text
    assert "IPv4  us -> eu  8388608 addresses" in text
    assert "name www: -eu-1" in text
    assert "name new: added" in text
    assert main(["plan", str(zone), str(zone), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["maps"]["world"]["moves"] == []


SMALL = """
[zone]
origin = "example.com"
primary = "ns1.example.com"
contact = "admin.example.com"

[check]
port = 80

[endpoints]
eu-1 = "192.0.2.1"
us-1 = "192.0.2.2"

[names.www]
policy = "weighted-one"
weights = { eu-1 = 90, us-1 = 10 }

[names."@"]
records = { NS = ["ns1.example.com."] }
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("eu-1 = 90", "eu-1 = 50", "name www: other settings"),
        ("[names.www]", "[names.www]\nthreshold = 0.1", "name www: other settings"),
        ("[names.www]", "[names.www]\nttl = { minimum = 1, maximum = 2 }", "name www: other settings"),
        ("ns1.example.com.", "ns2.example.com.", "name @: other records"),
        ('us-1 = "192.0.2.2"', 'us-1 = "192.0.2.3"', "endpoint us-1: other addresses"),
        ("admin.", "root.", "[zone] changes"),
        ("port = 80", "port = 81", "[check] changes"),
    ],
)
def test_plan_names_what_changes(old, new, line, tmp_path, capsys):
    """Any change of a name, an endpoint or a table is named, and nothing else; an equal file changes nothing."""
    before, after = tmp_path / "before.toml", tmp_path / "after.toml"
    before.write_text(SMALL)
    after.write_text(SMALL.replace(old, new))
    assert main(["plan", str(before), str(before)]) == 0
    assert capsys.readouterr().out == "nothing changes\n"
    assert main(["plan", str(before), str(after)]) == 0
    assert capsys.readouterr().out == f"{line}\n"


def test_a_file_of_no_kind_is_named(tmp_path, capsys):
    """A file of no known kind is refused, with the tables that mark the kinds."""
    other = tmp_path / "other.toml"
    other.write_text("[something]\n")
    assert main(["explain", str(other), "www"]) == 2
    assert "'file=" not in capsys.readouterr().err
    other.write_text("not toml")
    assert main(["plan", str(other), str(other)]) == 2
    assert "TOML or JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        (('policy = "geo"', 'policy = "near"'), "names.www.policy"),
        (('map = "world"', 'map = "mars"'), "names.www.map"),
        (('map = "world"', 'map = "world"\nskipp = 1'), "names.www"),
        (("[maps.world]", '[maps.world]\ndatabase = "x.mmdb"'), "maps.world.database"),
        (('default = ["eu", "us"]', ""), "maps.world"),
        (("[endpoints]", "[endpoint]"), "the file"),
        (('origin = "example.com"', ""), "zone.origin"),
        (("127.0.0.2", "nonsense"), "endpoints"),
        (("ttl = { minimum = 1, maximum = 30 }", "ttl = 30"), "names.www.ttl"),
        (('endpoints = ["eu-1"]', "id = 1"), "names.www.sites.eu"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(change, parameter):
    """A mistake in a file is named with its place, and none is ignored."""
    with pytest.raises(ConfigurationError) as caught:
        zone_file(tomllib.loads(ZONE.replace(*change)))
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("table", "chosen"),
    [
        ({"policy": "rotation", "endpoints": ["a", "b"]}, {"a", "b"}),
        ({"policy": "primary-backup", "primary": "a", "backup": "b"}, {"a"}),
        ({"policy": "weighted-subset", "weights": {"a": 1, "b": 1}}, {"a", "b"}),
        ({"policy": "grouped-one", "groups": {"g": {"a": 1, "b": 1}}}, {"a", "b"}),
        ({"policy": "grouped-subset", "groups": {"g": {"a": 1}, "h": {"b": 1}}}, {"a", "b"}),
        ({"policy": "hashed-one", "endpoints": ["a"], "scheme": "maglev"}, {"a"}),
        (
            {
                "policy": "failover",
                "fail_back": {"hold_down": 60, "damping": {"half_life": 60.0}},
                "sites": {"x": {"policy": "all-up", "endpoints": ["a"], "exhausted": "next"}},
            },
            {"a"},
        ),
        (
            {
                "policy": "spill",
                "capacity": {"x": 10},
                "demand": {"x": 5},
                "sites": {"x": {"policy": "all-up", "endpoints": ["b"]}},
            },
            {"b"},
        ),
    ],
)
def test_every_policy_can_be_written(table, chosen):
    """Every policy can be written as one word, with the names of its parameters as keys."""
    read = zone_file(
        {
            "zone": {"origin": "example.com", "primary": "ns1.example.com", "contact": "admin.example.com"},
            "endpoints": {"a": "192.0.2.1", "b": "192.0.2.2"},
            "names": {"www": table},
        }
    )
    query = Query(name="www.example.com", client=Client(address="192.0.2.53"))
    answer = read.zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).answer
    assert set(answer.chosen) == chosen


SPILL = {
    "policy": "spill",
    "capacity": {"x": 10, "y": 10},
    "demand": {"x": 5, "y": 5},
    "sites": {name: {"policy": "all-up", "endpoints": ["b"]} for name in "xy"},
}


@pytest.mark.parametrize("key", ["demand", "capacity"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"x": float("nan"), "y": 1}, "number"),
        ({"x": float("inf"), "y": 1}, "number"),
        ({"x": -1, "y": 1}, "number"),
        ({"x": 10**400, "y": 1}, "number"),
        ({"x": "5", "y": 1}, "number"),
        ({"x": 5, "y": 1, "z": 1}, "x, y"),
    ],
    ids=["NaN", "infinity", "-1", "1e400", "a text", "an unknown site"],
)
def test_figures_of_sites_are_refused_when_the_file_is_read(key, given, says):
    """Figures that no query could use, and those of sites that are not there, are errors of the file."""
    with pytest.raises(ConfigurationError, match=rf"names\.www\.{key}.*{says}"):
        zone_file(
            {
                "zone": {
                    "origin": "example.com",
                    "primary": "ns1.example.com",
                    "contact": "admin.example.com",
                },
                "endpoints": {"b": "192.0.2.2"},
                "names": {"www": {**SPILL, key: given}},
            }
        )


DELEGATED = """
[zone]
origin = "www.example.com"
primary = "ns1.example.com"
contact = "admin.example.com"
[names."@"]
policy = "all-up"
endpoints = ["192.0.2.1"]
ttl = { maximum = 20 }
records = { NS = ["gslb1.example.com."] }
"""


def test_a_name_of_a_file_has_a_policy_and_records_beside_it(tmp_path, capsys):
    """A zone of one delegated name has both at its origin; another NS is a change in a plan."""
    read = zone_file(tomllib.loads(DELEGATED))
    for kind, data, ttl in (("A", "192.0.2.1", 20), ("NS", "gslb1.example.com.", 300)):
        query = Query(name="www.example.com", kind=kind, client=Client(address="192.0.2.53"))
        (record,) = read.zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).records
        assert (record.data, record.ttl) == (data, ttl)
    files = [tmp_path / name for name in ("old.toml", "new.toml")]
    files[0].write_text(DELEGATED)
    files[1].write_text(DELEGATED.replace("gslb1", "gslb2"))
    assert main(["plan", *map(str, files)]) == 0
    assert "other records" in capsys.readouterr().out
    assert main(["plan", str(files[0]), str(files[0])]) == 0
    assert "other records" not in capsys.readouterr().out


def test_simulate_says_when_the_last_request_fails(zone, tmp_path, capsys):
    """Shares and failures per step, and the bound beside the last failure; wrong words are named."""
    words = [
        "gslb",
        "simulate",
        str(zone),
        "www",
        "--down",
        "us-1@60",
        "--seconds",
        "150",
        "--resolvers",
        "50",
        "--json",
    ]
    assert main(words) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["detection_and_ttl"] == 3 * 5.0 + 30
    assert 60.0 < data["last_failure"] <= 60.0 + data["detection_and_ttl"]
    assert data["steps"][0]["failed"] == 0.0
    assert set(data["steps"][0]["shares"]) == {"us-1"}
    assert set(data["steps"][-1]["shares"]) == {"eu-1"}
    clients = tmp_path / "clients"
    clients.write_text("203.0.113.0/24\n198.51.100.0/24\n")
    assert main([*words, "--clients", str(clients)]) == 0
    assert json.loads(capsys.readouterr().out)["last_failure"] is None
    assert main(words[:-1]) == 0
    assert (
        "if another endpoint is up, requests fail for at most 45 s after one dies" in capsys.readouterr().out
    )
    for change, says in ((["--up", "eu-1"], "ids, @ and seconds"), (["--down", "mars@5"], "eu-1, us-1")):
        assert main(["gslb", "simulate", str(zone), "www", *change]) == 2
        assert says in capsys.readouterr().err
    assert main(["gslb", "simulate", str(zone), "@"]) == 2


def becomes(answer, expected):
    """Ask until the answer is the expected one, at most fifteen seconds."""
    until = time.monotonic() + 15.0
    while time.monotonic() < until:
        if answer() == expected:
            return True
    return False


def free_port():
    """Return a port that is free for UDP and for TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with suppress(OSError):
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]


@pytest.mark.skipif(shutil.which("env") is None, reason="needs a POSIX system for signals")
def test_serve_answers_follows_checks_reloads_and_ends(zone, tmp_path):
    """A dead endpoint leaves the answers; SIGHUP reads the file again; SIGTERM ends with status 0."""
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        port = dead.getsockname()[1]  # nothing listens: every check is refused
    zone.write_text(f'{ZONE}\n[check]\nkind = "tcp"\nport = {port}\ninterval = 0.2\n')
    listening = socket.create_server(("127.0.0.2", port))
    at = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "balancekit", "gslb", "serve", str(zone), "--port", str(at)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert "example.com on 127.0.0.1" in server.stdout.readline()

        def answer():
            reply = dns.query.udp(
                dns.message.make_query("www.example.com", "A"), "127.0.0.1", timeout=5, port=at
            )
            return [rdata.to_text() for rrset in reply.answer for rdata in rrset]

        assert becomes(answer, ["127.0.0.2"])
        zone.write_text(
            zone.read_text().replace("[names.www]", "[names.web]").replace("names.www.", "names.web.")
        )
        server.send_signal(signal.SIGHUP)
        assert becomes(answer, [])
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):  # as supervisors that send several do
            server.send_signal(number)
        said = server.communicate(timeout=10)[1]
        assert server.returncode == 0
        assert "balancekit gslb serve: eu-1 ejected" in said
        assert "Traceback" not in said
    finally:
        listening.close()
        server.kill()
        server.wait(10)
        server.stdout.close()


SERVED = """
[zone]
origin = "example.com"
primary = "ns1.example.com"
contact = "admin.example.com"
[endpoints]
{endpoints}
[names.www]
policy = "all-up"
endpoints = {ids}
[check]
{check}
"""


def served(path, *ids, check="port = 8080"):
    """Write a zone with these endpoints, at addresses 192.0.2.1 and so on; return its zone and table."""
    endpoints = "\n".join(f'{id} = "192.0.2.{number}"' for number, id in enumerate(ids, 1))
    path.write_text(SERVED.format(endpoints=endpoints, ids=json.dumps(ids), check=check))
    return read_zone(path, read_document(path))


def test_a_reload_takes_new_endpoints_into_the_checks(tmp_path, capsys):
    """After SIGHUP an endpoint that is new is answered and checked, one that stays keeps its state, one that left is gone."""
    path = tmp_path / "zone.toml"
    checked = CheckedEndpoints(served(path, "a", "b"))
    checked.balancer.drain("a")
    resolver = SimpleNamespace(zone=None)
    served(path, "a", "c")
    reload(path, resolver, checked)
    assert [each.id for each in checked.balancer.endpoints] == ["a", "c"]
    assert checked.balancer.stats()["a"].state == "draining"
    assert resolver.zone.members() == {"a", "c"}
    assert capsys.readouterr().err == ""


def test_a_reload_answers_with_new_endpoints_at_once(tmp_path):
    """The reading of a moment before, which knows none of them, does not count them as down; nor the old ones too soon."""
    path = tmp_path / "zone.toml"
    checked = CheckedEndpoints(served(path, "a", "b"))
    clock = lambda: 100.0  # noqa: E731 - stands still
    resolver = GslbResolver(read_zone(path, read_document(path)).zone, checked.balancer, clock=clock)

    def answer():
        query = Query(name="www.example.com", client=Client(address="192.0.2.53"))
        return resolver.zone.answer(query, resolver.standings, now=0.0, rng=Random(1)).answer

    assert not answer().failed
    seen = []
    read = served(path, "c", "d")

    def switch():
        seen.append({each.id for each in checked.balancer.endpoints})
        resolver.zone = read.zone

    checked.update(read, switch)
    assert seen == [{"a", "b", "c", "d"}]
    assert [each.id for each in checked.balancer.endpoints] == ["c", "d"]
    assert (sorted(answer().chosen), answer().failed) == (["c", "d"], False)


def test_endpoints_that_are_all_dead_are_all_down(tmp_path):
    """None of them counts as up, so that the zone's policies say what is answered; the first that is back is up."""
    checked = CheckedEndpoints(served(tmp_path / "zone.toml", "eu-1", "us-1"))
    standings = BalancerStandings(checked.balancer, max_age=0.0)
    for _ in range(3):
        for id in ("eu-1", "us-1"):
            checked.balancer.report_check(id, CheckResult(passed=False))
    assert not standings("eu-1").up
    assert not standings("us-1").up
    for _ in range(2):
        checked.balancer.report_check("us-1", CheckResult(passed=True))
    assert not standings("eu-1").up
    assert standings("us-1").up


def test_a_reload_says_what_it_does_not_change(tmp_path, capsys):
    """Another check takes effect at the next start; a file that cannot be read changes nothing. Each is one line."""
    path = tmp_path / "zone.toml"
    checked = CheckedEndpoints(served(path, "a"))
    resolver = SimpleNamespace(zone=None)
    served(path, "b", check='kind = "tcp"')
    reload(path, resolver, checked)
    assert [each.target for each in checked.balancer.endpoints] == ["http://192.0.2.1:8080"]
    assert "the changed [check] table takes effect at the next start" in capsys.readouterr().err
    before = resolver.zone
    for broken in ("zone = [", path.read_text() + '[names.mail]\nrecords = { MX = ["mail"] }\n'):
        path.write_text(broken.replace('"192.0.2.1"', '"192.0.2.2"'))
        reload(path, resolver, checked)
        assert resolver.zone is before
        assert [each.id for each in checked.balancer.endpoints] == ["b"]
        assert [each.target for each in checked.balancer.endpoints] == ["http://192.0.2.1:8080"]
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("check", "named"),
    [
        ("port = 65536", "check.port=65536"),
        ('port = "http"', "check.port='http'"),
        ('interval = "soon"', "check.interval='soon'"),
        ("timeout = nan", "check.timeout=nan"),
        ("timeout = 0", "check.timeout=0"),
        (
            "interval = 0.5\ntimeout = 2",
            "check.timeout=2 is not allowed: expected a finite number of seconds > 0 and <= 0.5",
        ),
        ('kind = "icmp"', "check.kind='icmp'"),
        (
            "ports = 80",
            "check='ports' is not allowed: expected one of kind, path, port, interval, timeout; did you mean 'port'?",
        ),
        ('path = "healthz"', "check.path='healthz'"),
        ("path = 5", "check.path=5"),
    ],
)
def test_a_check_that_cannot_be_is_one_line(check, named, tmp_path, capsys):
    """``gslb serve`` refuses a ``[check]`` table with a wrong word or value: status 2 and its place. A reload keeps the zone and says the same."""
    path = tmp_path / "zone.toml"
    served(path, "a", check=check)
    assert main(["gslb", "serve", str(path), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1
    checked = CheckedEndpoints(served(tmp_path / "before.toml", "b"))
    resolver = SimpleNamespace(zone=None)
    reload(path, resolver, checked)  # as after SIGHUP
    assert resolver.zone is None
    assert [each.id for each in checked.balancer.endpoints] == ["b"]
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1


def test_a_database_that_is_none_is_one_line(tmp_path, capsys):
    """A map whose database is missing, or is no MaxMind DB, is refused by its name."""
    path = tmp_path / "zone.toml"
    served(path, "a")
    path.write_text(
        path.read_text()
        + '\n[maps.world]\ndefault = ["a"]\ndatabase = "c.mmdb"\nlocations = { EU = ["a"] }\n'
    )
    for content in (None, b"no database"):
        if content is not None:
            (tmp_path / "c.mmdb").write_bytes(content)
        assert main(["explain", str(path), "www"]) == 2
        error = capsys.readouterr().err
        assert "database=" in error
        assert "c.mmdb" in error
        assert error.count("\n") == 1
