"""The driver reads every spelling of Envoy's configuration, and its answers follow from nothing else."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
SPEC = importlib.util.spec_from_file_location("drive_envoy", Path(__file__).with_name("drive_envoy.py"))
drive_envoy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(drive_envoy)


def candidates(trace):
    """Yield the outputs of each answer."""
    return (answer["outputs"] for answer in drive_envoy.candidates(trace))


def trace(kind, cluster, inputs, *, match="exact", weights=(1, 1, 1), servers=(), **config):
    """Return a trace without outputs, in the format of the recorded ones."""
    listed = [
        {"name": name, "address": f"127.0.0.1:{18081 + number}", "weight": weight}
        for number, (name, weight) in enumerate(zip("abcdefgh", weights, strict=False))
    ]
    return {
        "kind": kind,
        "match": match,
        "config": {"servers": list(servers) or listed, "cluster": cluster, **config},
        "inputs": inputs,
    }


def extension(kind, **fields):
    """Return a policy spelt as an extension."""
    typed = {"@type": f"type.googleapis.com/envoy.extensions.load_balancing_policies.x.v3.{kind}", **fields}
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": {"typed_config": typed}}]}}


KEYS = [f"user-{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (
            {
                "lb_policy": "RING_HASH",
                "ring_hash_lb_config": {"minimum_ring_size": 9, "maximum_ring_size": 23},
            },
            extension("RingHash", minimum_ring_size={"value": 9}, maximum_ring_size="23"),
        ),
        (
            {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 251}},
            extension("Maglev", table_size={"value": "251"}),
        ),
        (
            {
                "lb_policy": "MAGLEV",
                "common_lb_config": {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}},
            },
            extension("Maglev", consistent_hashing_lb_config={"use_hostname_for_hashing": True}),
        ),
    ],
)
def test_both_spellings_of_a_policy_mean_the_same(short, long):
    """A policy means the same as fields of the cluster and as an extension."""
    answers = []
    servers = [{"name": n, "address": f"10.0.0.1:{ord(n)}", "hostname": f"{n}.example"} for n in "abc"]
    for cluster in (short, long):
        [found] = candidates(trace("keys", cluster, {"keys": KEYS}, servers=servers))
        answers.append(found)
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 3


@pytest.mark.parametrize(
    "policy",
    [
        {"header": {"header_name": "X-Key"}},
        {"query_parameter": {"name": "k"}},
        {"connection_properties": {"source_ip": True}},
    ],
)
def test_a_key_reaches_every_kind_of_hash_policy(policy):
    """The owner depends on the value, not on where it was found."""
    [found] = candidates(trace("keys", {"lb_policy": "RING_HASH"}, {"keys": KEYS}, hash_policy=[policy]))
    [plain] = candidates(trace("keys", {"lb_policy": "RING_HASH"}, {"keys": KEYS}))
    assert found == plain


def test_each_policy_gets_its_own_key():
    """Each policy gets its own key of a list per request, and a missing one is passed over."""
    two = [{"header": {"header_name": "x-a"}}, {"query_parameter": {"name": "b"}}]
    ring = {"lb_policy": "RING_HASH"}
    [found] = candidates(trace("keys", ring, {"keys": [[key, None] for key in KEYS]}, hash_policy=two))
    [plain] = candidates(trace("keys", ring, {"keys": KEYS}))
    assert found == plain
    [both] = candidates(trace("keys", ring, {"keys": [[key, key] for key in KEYS]}, hash_policy=two))
    assert both != plain


def test_every_starting_point_of_a_rotation_is_a_candidate():
    """The starting points of a rotation are all different.

    There are as many as the cycle is long, each a rotation of the first.
    """
    cluster = {"lb_policy": "ROUND_ROBIN"}
    found = list(
        candidates(
            trace(
                "sequence",
                cluster,
                {"requests": 14},
                match="exact up to the starting phase",
                weights=(4, 2, 1),
            )
        )
    )
    assert len(found) == 7
    assert len({"".join(one) for one in found}) == 7
    assert all("".join(one[:7]) in 2 * "".join(found[0][:7]) for one in found)


def test_held_requests_are_there_while_others_are_counted():
    """Held requests are there while others are counted.

    The idle host of three is drawn in five of nine cases of two draws.
    """
    inputs = {"requests": 4_500, "held_requests": {"a": 3, "b": 1}}
    [found] = candidates(trace("distribution", {"lb_policy": "LEAST_REQUEST"}, inputs, match="statistical"))
    assert abs(found["counts"]["c"] - 2_500) < 5 * (4_500 * 5 / 9 * 4 / 9) ** 0.5
    assert found["counts"]["a"] < found["counts"]["b"]


def test_none_healthy_without_panic_is_503():
    """Without panic, every policy answers 503 when no host is healthy."""
    servers = [{"name": n, "address": n, "health": "UNHEALTHY"} for n in "ab"]
    for policy in ("ROUND_ROBIN", "RANDOM", "MAGLEV"):
        cluster = {"lb_policy": policy, "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
        [found] = candidates(
            trace("distribution", cluster, {"requests": 7}, match="statistical", servers=servers)
        )
        assert found == {"counts": {"503": 7}}


def test_a_script_gets_holds_and_releases():
    """A hot key overflows its bound while its requests are held, and comes back when they end."""
    cluster = {
        "lb_policy": "RING_HASH",
        "common_lb_config": {"consistent_hashing_lb_config": {"hash_balance_factor": 100}},
    }
    events = [
        {"op": "hold", "id": 1, "key": "hot"},
        {"op": "hold", "id": 2, "key": "hot"},
        {"op": "get", "n": 2, "key": "hot"},
        {"op": "release", "id": 1},
        {"op": "release", "id": 2},
        {"op": "get", "key": "hot"},
    ]
    [found] = candidates(trace("script", cluster, {"events": events}))
    assert len(found) == 5
    assert found[1] == found[0]  # a load of one slot is not above one
    assert found[2] == found[3] != found[0]
    assert found[4] == found[0]


def test_an_ejection_time_line_has_requests_changes_and_ejections():
    """The requests, changes and ejections of a time line are in the order of time."""
    cluster = {
        "lb_policy": "ROUND_ROBIN",
        "outlier_detection": {
            "consecutive_5xx": {"value": 2},
            "interval": "1s",
            "base_ejection_time": "2s",
            "max_ejection_percent": 50,
            "enforcing_success_rate": 0,
        },
        "common_lb_config": {"update_merge_window": "0s"},
    }
    inputs = {"plan": [{"t": 0.4, "server": "b", "status": 500}], "seconds": 4.0, "requests_per_second": 10}
    first = next(
        iter(candidates(trace("timeline", cluster, inputs, match="ordering exact; times within tolerance")))
    )
    assert [one["t"] for one in first] == sorted(one["t"] for one in first)
    assert sum("picked" in one for one in first) == 40
    kinds = [next(kind for kind in ("picked", "set", "ejected", "returned") if kind in one) for one in first]
    assert Counter(kinds)["ejected"] >= 1
    out = kinds.index("ejected")
    back = kinds.index("returned")
    assert {one["picked"] for one in first[out + 1 : back]} == {"a", "c"}


def ejecting(servers=2, *, plan, window="0s", seconds=6.0, **settings):
    """Return a time line without outputs, of hosts that one failure ejects for a second."""
    fields = {"consecutive_5xx": 1, "interval": "1s", "base_ejection_time": "1s", "max_ejection_percent": 100}
    cluster = {
        "lb_policy": "ROUND_ROBIN",
        "outlier_detection": {**fields, "enforcing_success_rate": 0, **settings},
        "common_lb_config": {"update_merge_window": window, "healthy_panic_threshold": 0},
    }
    inputs = {
        "plan": [{"t": t, "server": server, "status": status} for t, server, status in plan],
        "seconds": seconds,
        "requests_per_second": 10,
    }
    return trace("timeline", cluster, inputs, match="ordering", weights=(1,) * servers)


def test_a_request_close_to_a_change_may_meet_either_answer():
    """The request at the moment of a change, or the one beside it, gets the answer from before or after; others do not."""
    question = ejecting(1, plan=[(0.5, "a", 404), (0.95, "a", 200)], seconds=1.5)
    found = {tuple(one["status"] for one in answer if "picked" in one) for answer in candidates(question)}
    assert {line[:4] for line in found} == {(200,) * 4}
    assert {line[5] for line in found} == {200, 404}
    assert {line[6:9] for line in found} == {(404,) * 3}
    assert {line[9] for line in found} == {200, 404}
    assert {line[11:] for line in found} == {(200,) * 4}


def test_the_first_tick_after_a_return_may_come_too_early_to_count():
    """A host that is ejected after one whole interval is out for as long as the first time, or for longer."""
    plan = [(0.25, "b", 500), (0.55, "b", 200), (2.75, "b", 500)]

    intervals = set()
    for outputs in candidates(ejecting(plan=plan, seconds=8.0)):
        ejected = [one["t"] for one in outputs if "ejected" in one]
        returned = [one["t"] for one in outputs if "returned" in one]
        if len(returned) > 1 and 1.0 < ejected[1] - returned[0] < 2.0:
            intervals.add(round(returned[1] - returned[0]))
    assert intervals == {3, 4}


def test_what_did_not_matter_yet_is_not_tried():
    """With a wrong pick before the first ejection only the starts are tried, however many ticks there may be."""
    question = ejecting(3, plan=[(5.0, "b", 500)])
    answers = drive_envoy.candidates(question)
    made = 0
    for answer in answers:
        made += 1
        answer["tell"](2.0)
    assert made == 6


def test_a_check_time_line_counts_what_is_silent_too():
    """A server that does not answer delays its next check and counts towards the threshold, in a cluster with requests."""
    cluster = {
        "lb_policy": "ROUND_ROBIN",
        "health_checks": [
            {
                "timeout": "0.5s",
                "interval": "1s",
                "unhealthy_threshold": {"value": 2},
                "healthy_threshold": 1,
                "http_health_check": {},
            }
        ],
    }
    inputs = {"plan": [{"t": 1.5, "server": "a", "set": None}], "seconds": 9.0}
    checked = trace("timeline", cluster, inputs, match="ordering", weights=(1,))
    requested, _ = drive_envoy.candidates(checked)
    lines = list(itertools.islice(requested["apart"]["a"], 3))
    assert len(lines) == 3
    for found in lines:
        checks = [one["t"] for one in found if one.get("check", 200) is None]
        [state] = [one for one in found if "state" in one]
        assert state["state"] == "UNHEALTHY"
        assert state["t"] == pytest.approx(checks[1] + 0.5)
        assert [round(after - before, 6) for before, after in itertools.pairwise(checks)] == [1.5] * (
            len(checks) - 1
        )


def test_what_is_not_known_is_said():
    """Hash policies and events that the driver does not know raise an error that names them."""
    with pytest.raises(ValueError, match="hash policy"):
        next(
            candidates(
                trace("keys", {"lb_policy": "MAGLEV"}, {"keys": []}, hash_policy=[{"cookie": {"name": "c"}}])
            )
        )
    with pytest.raises(ValueError, match="event"):
        next(
            candidates(
                trace("script", {"lb_policy": "RANDOM"}, {"events": [{"op": "refuse", "server": "a"}]})
            )
        )


def test_without_traffic_the_first_check_may_be_a_healthy_interval_away():
    """Where checks begin is looked for in the interval that applies while all is well and the cluster has had no request."""
    check = {
        "timeout": "1s", "interval": "1s", "no_traffic_interval": "1s", "no_traffic_healthy_interval": "4s",
        "unhealthy_threshold": 1, "healthy_threshold": 1,
    }  # fmt: skip
    inputs = {"plan": [], "seconds": 4.0}
    asked = trace("timeline", {"health_checks": [check]}, inputs, weights=(1,))
    first = [line[0]["t"] for answer in drive_envoy.candidates(asked) for line in answer["apart"]["a"]]
    assert max(first) > 3.9


@pytest.mark.parametrize("kind", ["STRICT_DNS", "LOGICAL_DNS"])
def test_a_host_that_was_looked_up_has_the_name_that_was_looked_up(kind):
    """With hashing by host name, a host without one of its own is placed by its address without the port."""
    cluster = {
        "lb_policy": "MAGLEV",
        "type": kind,
        "common_lb_config": {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}},
    }
    bare = [{"name": n, "address": f"127.0.0.{ord(n)}:80"} for n in "abc"]
    named = [{**server, "hostname": server["address"].removesuffix(":80")} for server in bare]
    [mine], [theirs] = (
        [*candidates(trace("keys", cluster, {"keys": KEYS}, servers=servers))] for servers in (bare, named)
    )
    assert mine == theirs
    assert len(set(mine)) == 3


def test_a_bucket_that_has_long_been_full_leaves_nothing_open():
    """Only a request that comes within 5 ms of a token may be refused or not; a full bucket gets no token."""
    bucket = {"max_tokens": 1, "tokens_per_fill": 3, "fill_interval": "0.05s"}
    for gaps, answers in (([0.0, 0.2, 0.007], 1), ([0.0, 0.018], 2)):
        found = {
            tuple(row["allowed"] for row in outputs)
            for outputs in candidates(trace("timeline", {"token_bucket": bucket}, {"gaps": gaps}))
        }
        assert len(found) == answers


def test_options_of_zones_mean_something_without_a_zone_of_the_proxy():
    """Without a zone of its own, a proxy routes by no zone, and yet fails requests in panic mode if the option says so."""
    for fails, counts in ((True, {"503": 50}), (False, {"a": 17, "b": 17, "c": 16})):
        cluster = {
            "lb_policy": "ROUND_ROBIN",
            "common_lb_config": {"zone_aware_lb_config": {"fail_traffic_on_panic": fails}},
        }
        asked = trace("distribution", cluster, {"requests": 50})
        for server in asked["config"]["servers"][:2]:
            server["health"] = "UNHEALTHY"
        [found] = candidates(asked)
        assert sorted(found["counts"].values()) == sorted(counts.values())
        assert set(found["counts"]) == set(counts)


def test_a_schedule_of_other_hosts_begins_where_the_first_one_allows():
    """All schedules begin after one number of picks: the rests modulo 6 and modulo 4 have the same parity."""
    begun = {("a", "b", "c"): (3, 6)}
    found = set()
    choices = drive_envoy.Choices()
    while True:
        schedules = drive_envoy._Schedules(choices, dict(begun), lambda: 1.0)
        found.add(schedules._begin(("a", "c"), 4))
        if not choices.advance():
            break
    assert found == {1, 3}
