"""Every recorded trace, by its rule, through the runner that any caller can use; and the runner can fail."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
DATA = HERE / "data"
SPEC = importlib.util.spec_from_file_location("replay", HERE / "replay.py")
replay = importlib.util.module_from_spec(SPEC)
sys.modules["replay"] = replay
SPEC.loader.exec_module(replay)

AGREEMENT = importlib.import_module("agreement")
EVERY = sorted(DATA.glob("*.json"))
TOGETHER = [path for path in EVERY if json.loads(path.read_text(encoding="utf-8"))["kind"] in AGREEMENT.KINDS]
TRACES = [path for path in EVERY if path not in TOGETHER]
QUEUED = [path for path in TRACES if "dequeued" in json.loads(path.read_text(encoding="utf-8"))]


def load(path):
    """Read a trace."""
    return json.loads(path.read_text(encoding="utf-8"))


def of_rule(start):
    """Return the first trace of picks whose match rule starts so."""
    return next(
        trace
        for trace in map(load, TRACES)
        if trace["match"].startswith(start)
        and "servers" in trace["config"]
        and "nobody_and_no_rates" not in str(trace["outputs"])
    )


@pytest.fixture(scope="session")
def verdict_of(make_once):
    """Return a function that replays a trace once for all test processes, and returns its verdict."""

    def once(path):
        def write(folder):
            verdict = replay.replay({"id": path.stem, **load(path)})
            (folder / "verdict.json").write_text(json.dumps(asdict(verdict)))

        kept = make_once(f"replay-{path.stem}", write) / "verdict.json"
        return replay.Verdict(**json.loads(kept.read_text()))

    return once


@pytest.fixture(scope="session")
def every_verdict(verdict_of):
    """Return the verdicts that the runner would give for every trace."""
    found = []
    for path in TRACES:
        found.append(verdict_of(path))
        if path in QUEUED:
            found.append(replay.replay_queue(load(path)))
    return [*found, *replay.all_verdicts(TOGETHER)]


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_we_choose_as_the_proxy_did(path, verdict_of):
    """For each recording the choices equal those of the proxy, by the rule that its file states."""
    verdict = verdict_of(path)
    assert verdict.passed, verdict.difference
    assert verdict.equal == verdict.total > 0


@pytest.mark.parametrize("path", QUEUED, ids=lambda path: path.stem)
def test_our_queue_hands_slots_over_as_the_proxy_did(path):
    """With requests waiting in a WaitingQueue, each release lets the request go that the proxy let go, to the same server."""
    trace = load(path)
    verdict = replay.replay_queue(trace)
    assert verdict.passed, verdict.difference
    assert verdict.equal == verdict.total == len(trace["outputs"]) + len(trace["dequeued"])


def test_the_judge_of_queues_notices_one_wrong_handover():
    """A recording with two requests in the other order is found to differ."""
    trace = load(QUEUED[0])
    first, second = trace["dequeued"][:2]
    first["id"], second["id"] = second["id"], first["id"]
    assert not replay.replay_queue(trace).passed


def of_group(group):
    """Return the traces of a group that is judged together."""
    return [trace for trace in map(load, TOGETHER) if AGREEMENT.group_of(trace) == group]


@pytest.mark.parametrize("group", ["client-hello-basic", "proxy-protocol-basic", "proxy-protocol-random"])
def test_strict_parsers_agree_wherever_servers_do(group):
    """No header is taken that all three servers refuse; what all take is read with the same addresses and names."""
    traces = of_group(group)
    verdict = replay.agree(traces)
    assert verdict.passed, verdict.difference
    assert verdict.equal == verdict.total >= 20


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("proxy-protocol", {"accepted": False}),
        ("proxy-protocol", {"src_port": "1", "accepted": True}),
        ("client-hello", {"sni": "www.example.com"}),
    ],
)
def test_the_judge_of_parsers_notices_one_wrong_case(kind, spoil):
    """Recordings that agree on something else in one case are a difference."""
    traces = of_group(f"{kind}-basic")
    for trace in traces:
        trace["outputs"][0] |= (
            {"pool": "wild-example"} if trace["server"] == "envoy" and "sni" in spoil else spoil
        )
    assert not replay.agree(traces).passed


def test_a_trace_that_is_judged_together_needs_the_others():
    """Without the recordings of all three servers there is nothing to agree on: a failure that names them."""
    [lone] = [load(path) for path in TOGETHER if path.stem == "nginx-client-hello-basic"]
    assert "no trace of haproxy and envoy" in replay.agree([lone]).difference


@pytest.mark.parametrize("name", ["nginx-client-hello-basic", "envoy-proxy-protocol-optional-random"])
def test_a_trace_that_is_judged_together_finds_the_others_beside_it(name):
    """One file of a group is judged with the others that are in its folder, and named twice counts once."""
    [verdict] = replay.all_verdicts([DATA / f"{name}.json"] * 2)
    assert verdict.passed, verdict.difference
    assert verdict.total >= 20


WRITTEN_OTHERWISE = (
    "dynamo-kv-cost-1",
    "envoy-adaptive-fixed-minrtt",
    "envoy-filter-chains-400",
    "envoy-random-ring-5001-00",
    "gdnsd-health-a-up3-ok2-down2",
    "gdnsd-weighted-cname",
    "grpc-wrr-basic",
    "haproxy-cookie-insert",
    "haproxy-random-held-5001-01",
    "haproxy-slowstart-10s",
    "ipvs-mh-basic",
    "katran-ring-basic",
    "keepalived-kill-adv1",
    "knot-weighted-10-30",
    "linux-resilient-five-64",
    "nginx-backup",
    "nsd-round-robin-no-4",
    "pdns-all-3-1",
)


def decimal(value):
    """Return data with each whole number as a decimal one."""
    if isinstance(value, dict):
        return {name: decimal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [*map(decimal, value)]
    return float(value) if type(value) is int and abs(value) < 2**53 else value


def nothing_set(value):
    """Return data whose servers have each option, null where nothing was set."""
    if not isinstance(value, dict) or "servers" not in value:
        return value
    names = {"address", "backup", "check", "cookie", "down", "fail_timeout", "health", "hostname", "id"}
    names |= {"max_conns", "max_fails", "maxconn", "priority", "weight"}
    return value | {"servers": [dict.fromkeys(names) | server for server in value["servers"]]}


def defaults_left_out(value):
    """Return data whose servers have no weight of 1, and no state of UP."""
    if not isinstance(value, dict) or "servers" not in value:
        return value
    usual = {("weight", 1), ("state", "UP")}
    return value | {
        "servers": [
            {
                name: one
                for name, one in server.items()
                if isinstance(one, list | dict) or (name, one) not in usual
            }
            for server in value["servers"]
        ]
    }


@pytest.mark.parametrize(
    "name", ["haproxy-cookie-insert", "haproxy-random-hdr-5001-03", "haproxy-roundrobin-drain"]
)
def test_disable_and_enable_are_maint_and_ready(name):
    """Run-time commands of either spelling change a server of HAProxy alike."""
    trace = load(DATA / f"{name}.json")
    respelt = json.dumps(trace["inputs"])
    for state, word in (("maint", "disable"), ("ready", "enable")):
        respelt = re.sub(rf"set server (be/\w+) state {state}", rf"{word} server \1", respelt)
    assert respelt != json.dumps(trace["inputs"])
    assert replay.replay({**trace, "inputs": json.loads(respelt)}).passed


@pytest.mark.parametrize("name", WRITTEN_OTHERWISE)
@pytest.mark.parametrize("rewrite", [decimal, nothing_set, defaults_left_out])
def test_a_trace_in_another_spelling_of_the_same_values_is_judged_alike(name, rewrite):
    """Whole numbers with a decimal point, options that are null, and defaults that are left out change no verdict."""
    trace = load(DATA / f"{name}.json")
    rewritten = trace | {"config": rewrite(trace["config"]), "inputs": rewrite(trace["inputs"])}
    verdict = replay.replay({"id": name, **rewritten})
    assert verdict.passed, verdict.difference
    assert verdict.equal == verdict.total > 0


def test_the_judge_notices_a_next_hop_outside_its_region():
    """One flow of a group that is recorded at another next hop is a difference, unless a bound cuts its region."""
    trace = load(DATA / "linux-ecmp-threshold-5.json")
    ours = trace["outputs"][2][0]
    trace["outputs"][2][0] = ours % 5 + 1
    assert not replay.replay(trace).passed


def test_the_question_says_nothing_of_the_answer():
    """A driver sees neither what was recorded nor the trace's name."""
    for path in TRACES:
        asked = replay.question(load(path))
        assert set(asked) <= set(replay.QUESTION)
        assert not {"id", "outputs", "statuses", "dequeued"} & set(asked)


def spoil_exact(trace):
    """Another server in one place."""
    names = [server["name"] for server in trace["config"]["servers"]]
    place = len(trace["outputs"]) // 2
    was = trace["outputs"][place]
    if isinstance(was, list):
        trace["outputs"][place] = [*was, names[0]]
    else:
        trace["outputs"][place] = next(name for name in names if name != was)


def spoil_fewest(trace):
    """One server gets everything."""
    trace["outputs"] = [trace["outputs"][0]] * len(trace["outputs"])


def spoil_counts(trace):
    """Give a fifth of one server's picks belong to another."""
    counts = trace["outputs"]["counts"]
    most = max(counts, key=counts.get)
    least = min((name for name in counts if name != most), key=counts.get, default="x")
    moved = counts[most] // 5
    counts[most] -= moved
    counts[least] = counts.get(least, 0) + moved


def spoil_windows(trace):
    """Two servers change places."""
    for window in trace["outputs"]:
        counts = window["counts"]
        first, *_, last = sorted(counts, key=counts.get)
        counts[first], counts[last] = counts[last], counts[first]


def spoil_order(trace):
    """One event happened to another endpoint."""
    place = next(k for k, event in enumerate(trace["outputs"]) if "picked" in event or "state" in event)
    event = trace["outputs"][place]
    if "picked" in event:
        names = [server["name"] for server in trace["config"]["servers"]]
        event["picked"] = next(name for name in names if name != event["picked"])
    else:
        del trace["outputs"][place]


def spoil_step(trace):
    """Raise one step by one."""
    trace["outputs"][3]["weight"] += 1


def spoil_weight(trace):
    """One of the last weights is one higher."""
    weights = next(row["weights"] for row in reversed(trace["outputs"]) if "weights" in row)
    weights[min(weights)] += 1


def spoil_state(trace):
    """Make a router active that was not."""
    next(row for row in trace["outputs"] if row.get("state") == "BACKUP")["state"] = "MASTER"


def spoil_packet(trace):
    """One bit of one packet is another."""
    row = next(row for row in trace["outputs"] if "advert" in row)
    row["hex"] = row["hex"][:-1] + "f"


def spoil_time(trace):
    """Delay a change by an interval and a second."""
    row = next(row for row in reversed(trace["outputs"]) if row.get("state") == "MASTER")
    row["t"] += 2.1


def spoil_rate(trace):
    """One success rate is another in the fifth digit."""
    server = next(one for one in trace["outputs"][0]["servers"].values() if one["success_rate"])
    server["success_rate"] += 1e-5


def spoil_ejection(trace):
    """Another host is out."""
    servers = trace["outputs"][0]["servers"]
    first = min(servers)
    servers[first]["ejected"] = not servers[first]["ejected"]


def spoil_admission(trace):
    """Refuse the first request."""
    trace["outputs"][0]["allowed"] = False


def spoil_set(trace):
    """Let the first request reach another server too."""
    trace["outputs"][0]["e"] = 1


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        ("exact", spoil_exact),
        ("who is ejected exact", spoil_rate),
        ("who is ejected exact", spoil_ejection),
        ("allowed or not", spoil_admission),
        ("the set of servers is exact", spoil_set),
        ("shares follow the locality", spoil_counts),
        ("exact up to the starting phase", spoil_exact),
        ("each pick has the fewest", spoil_fewest),
        ("ordering exact", spoil_order),
        ("ordering;", spoil_order),
        ("steps exact", spoil_step),
        ("the last weights exact", spoil_weight),
        ("shares within 3 picks", spoil_counts),
        ("states in order", spoil_state),
        ("states in order", spoil_packet),
        ("states in order", spoil_time),
    ],
)
def test_the_judge_notices_one_wrong_entry(rule, spoil):
    """For every rule, a recording that is changed in a single place is not equal any more."""
    trace = of_rule(rule)
    spoil(trace)
    verdict = replay.replay(trace)
    assert not verdict.passed


@pytest.mark.parametrize(("kind", "spoil"), [("distribution", spoil_counts), ("timeline", spoil_windows)])
def test_the_judge_notices_wrong_shares(kind, spoil):
    """Wrong shares are found, those of counts and of counts per window."""
    counted = [t for t in map(load, TRACES) if t["match"] == "statistical" and t["kind"] == kind]
    trace = next(t for t in counted if t["inputs"].get("requests", 4000) >= 4000)  # a fifth is 5 deviations
    spoil(trace)
    assert not replay.replay(trace).passed


@pytest.mark.parametrize(
    ("trace", "spoiled"),
    [
        ("gdnsd-geoip-static", {"answers": ["192.0.2.9"]}),
        ("gdnsd-geoip-static", {"ttl": 299}),
        ("gdnsd-geoip-static", {"scope": 7}),
        ("pdns-pickclosest-2-s", {"one_of": ["192.0.2.8", "192.0.2.9"]}),
        ("pdns-view-s", {"scope": 31}),
        ("knot-ecs-option-s", {"ecs_hex": "00011819c63364"}),
        ("unbound-ecs-cache-s", {"asked_authority": 0}),
    ],
)
def test_the_judge_notices_one_wrong_member_of_a_dns_answer(trace, spoiled):
    """An answer, a TTL, a scope, an option or a cache hit that is not the recorded one fails the file."""
    whole = load(DATA / f"{trace}.json")
    row = next(row for row in whole["outputs"] if set(spoiled) <= set(row))
    row.update(spoiled)
    assert not replay.replay(whole).passed


LINE = (
    {"t": 0.0, "picked": "a", "status": 200},
    {"t": 0.5, "set": "b", "status": 500},
    {"t": 0.51, "picked": "b", "status": 500},
    {"t": 0.52, "ejected": "b"},
    {"t": 1.0, "picked": "a", "status": 200},
    {"t": 2.0, "returned": "b"},
)


@pytest.mark.parametrize(
    ("place", "change", "when"),
    [
        (2, {}, math.inf),
        (1, {"t": 0.53}, math.inf),
        (2, {"picked": "a"}, 0.51),
        (4, {"status": 500}, 1.0),
        (3, {"ejected": "a"}, 0.52 + replay.SLACK_S),
        (5, {"returned": "a"}, 2.0 + replay.SLACK_S),
    ],
)
def test_time_lines_part_where_something_else_happens(place, change, when):
    """Time lines part at the first other pick, or about when the first other event came; when a server was set tells nothing."""
    ours = [*LINE]
    ours[place] = ours[place] | change
    assert replay.parted([*LINE], ours) == pytest.approx(when)
    equal, total, difference = replay.in_order({"outputs": [*LINE]}, {"outputs": ours})
    assert (equal == total, not difference) == (when == math.inf, when == math.inf)


def test_what_a_tick_does_to_several_hosts_has_no_order():
    """Hosts that return, or are ejected, at one tick may be seen in any order; not those of two ticks, nor of two requests."""
    for kind, gap in (("returned", 0.004), ("ejected", 0.004), ("returned", 0.5), ("ejected", 0.03)):
        one = [{"t": 1.0, kind: "a"}, {"t": 1.0 + gap, kind: "b"}]
        other = [{"t": 1.0, kind: "b"}, {"t": 1.0 + gap, kind: "a"}]
        assert (replay.parted(one, other) == math.inf) == (gap < 0.01), (kind, gap)


def test_a_time_line_that_ends_early_parts_there():
    """Where one time line has nothing more, they part at the time of what the other has."""
    assert replay.parted([*LINE], [*LINE[:-2]]) == pytest.approx(1.0)
    assert replay.parted([*LINE[:-1]], [*LINE]) == pytest.approx(2.0 + replay.SLACK_S)


def test_what_cannot_be_replayed_is_a_failure(tmp_path):
    """An unknown directive or rule, and a file that is none, are named, and the exit status reports a failure."""
    known = load(DATA / "nginx-swrr-5-1-1.json")
    for name, change in (
        ("rule", {"match": "roughly"}),
        ("directive", {"config": {**known["config"], "directives": ["fair"]}}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({**known, **change}))
    (tmp_path / "broken.json").write_text("{")
    done = subprocess.run(
        [sys.executable, str(HERE / "replay.py"), "--json", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert [verdict["passed"] for verdict in json.loads(done.stdout)] == [False] * 3


UNKNOWN_KINDS = (
    "gdnsd-multifo-0.5-uud", "pdns-view-s", "knot-geoip-sub-s", "bind-rrset-order-cyclic-4", "nsd-round-robin-yes-4",
    "unbound-ecs-cache-s", "linux-resilient-create",
)  # fmt: skip
"""A trace of each driver that answers several kinds, or one alone."""


@pytest.mark.parametrize("name", UNKNOWN_KINDS)
def test_a_kind_that_a_driver_does_not_have_is_a_failure_that_names_it(name):
    """No driver takes a trace for one of another kind."""
    verdict = replay.replay({**load(DATA / f"{name}.json"), "kind": "weather"})
    assert not verdict.passed
    assert "a kind we do not have: weather" in verdict.difference


def with_directive(trace):
    """Give an instance of keepalived a directive that decides."""
    trace["config"]["servers"][0]["instances"][0]["extra"] = ["higher_prio_send_advert"]


def with_order(trace):
    """Give a name server a directive beside the known one."""
    trace["config"]["directives"]["sortlist"] = "on"


def with_temperature(trace):
    """Let a router of prompts pick at random by cost."""
    trace["config"]["policy"]["router_temperature"] = 0.5


def with_decay(trace):
    """Give a router of prompts an option beside the known ones."""
    trace["config"]["policy"]["overlap_decay"] = 0.5


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("dynamo-kv-cost-1", with_temperature, "router_temperature"),
        ("dynamo-kv-cost-1", with_decay, "overlap_decay"),
        ("keepalived-kill-adv0.1", with_directive, "higher_prio_send_advert"),
        ("bind-rrset-order-cyclic-4", with_order, "sortlist"),
        ("nsd-round-robin-yes-4", with_order, "sortlist"),
    ],
)
def test_a_directive_that_a_driver_does_not_have_is_a_failure_that_names_it(name, change, named):
    """No driver passes over a directive that changes what the server does."""
    trace = load(DATA / f"{name}.json")
    change(trace)
    verdict = replay.replay(trace)
    assert not verdict.passed
    assert named in verdict.difference


@pytest.mark.parametrize(
    ("name", "nothing"),
    [
        ("envoy-adaptive-fixed-minrtt", {"outputs": []}),
        ("gdnsd-multifo-0.5-uud", {"outputs": [], "inputs": {"queries": []}}),
        ("gdnsd-weighted-cname", {"outputs": {"counts": {}}, "inputs": {"requests": 0}}),
    ],
)
def test_a_trace_in_which_nothing_is_compared_is_a_failure(name, nothing):
    """Without a single recorded entry that the rule compares, a file does not pass."""
    verdict = replay.replay({**load(DATA / f"{name}.json"), **nothing})
    assert not verdict.passed
    assert not verdict.equal


def test_the_judge_notices_a_wrong_ttl_of_drawn_answers():
    """A wrong TTL of drawn answers fails a recording although its counts agree."""
    trace = load(DATA / "gdnsd-weighted-cname.json")
    assert replay.replay(trace).passed
    trace["outputs"]["ttl"] = [seconds + 1 for seconds in trace["outputs"]["ttl"]]
    assert replay.replay(trace).difference.startswith("ttl: ")


def test_the_judge_notices_a_server_that_only_we_picked():
    """A share that is recorded for no server counts as a share of 0."""
    trace = load(DATA / "grpc-wrr-basic.json")
    trace["outputs"]["counts"].pop("a")
    assert replay.replay(trace).difference.startswith("a: recorded 0")


@pytest.mark.timeout(600)
def test_families_without_a_driver_are_counted_and_fail_nothing(tmp_path, every_verdict):
    """A server or a deciding field that no driver reads: a line with the family and its files, and exit status 0."""
    known, cluster = load(DATA / "nginx-swrr-5-1-1.json"), {"lb_policy": "ROUND_ROBIN"}
    envoy = load(DATA / "envoy-rr-3-2-1.json")
    for name, trace in (
        ("known", known),
        ("one", {**known, "server": "traefik", "algorithm": "wrr"}),
        ("two", {**known, "server": "traefik", "algorithm": "wrr"}),
        (
            "field",
            {
                **envoy,
                "config": {**envoy["config"], "cluster": {**cluster, "gradient_controller_config": {"a": 1}}},
            },
        ),
        (
            "off",
            {**envoy, "config": {**envoy["config"], "cluster": {**cluster, "gradient_controller_config": 0}}},
        ),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(trace))
    done = subprocess.run(
        [sys.executable, str(HERE / "replay.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    counted = [line for line in done.stdout.splitlines() if line.startswith("no driver: ")]
    assert counted == [
        f"no driver: envoy, {envoy['algorithm']}, 1 files",
        "no driver: traefik, wrr, 2 files",
    ]
    assert done.stdout.count("1/1") == 2
    assert all(not verdict.no_driver for verdict in every_verdict)


@pytest.mark.parametrize(
    ("servers", "options", "status"),
    [
        (("nginx", "traefik"), (), 0),
        (("nginx", "traefik"), ("--strict",), 1),
        (("traefik", "traefik"), (), 1),
        (("nginx",), ("--strict",), 0),
    ],
)
def test_a_run_in_which_nothing_was_judged_fails(tmp_path, capsys, servers, options, status):
    """The status is 1 if no file has a driver, and with ``--strict`` if one has none; 0 says that something agrees."""
    known = load(DATA / "nginx-swrr-5-1-1.json")
    for number, server in enumerate(servers):
        (tmp_path / f"{number}.json").write_text(json.dumps({**known, "server": server}))
    assert replay.main([str(tmp_path), *options]) == status
    printed = capsys.readouterr()
    assert ("nothing was judged" in printed.err) == ("nginx" not in servers)
    assert ("no driver: traefik" in printed.out) == ("traefik" in servers)


@pytest.mark.timeout(600)
def test_the_table_in_the_documents_is_what_the_runner_prints(every_verdict):
    """``docs/reference/fidelity.md`` ends with the output of ``--table``."""
    page = (HERE.parents[1] / "docs" / "reference" / "fidelity.md").read_text(encoding="utf-8")
    assert page.endswith("\n".join(replay.table(every_verdict)) + "\n")
