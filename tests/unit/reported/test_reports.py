"""Load reports: reading them, what they become, and who is asked with them."""

from __future__ import annotations

import base64
import json
import math
import statistics
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

from balancekit import ConfigurationError, LoadBalancer, Outcome
from balancekit.compat import envoy, grpc
from balancekit.outcome import LoadReport
from balancekit.reported import (
    HeaderReports,
    InvalidLoadReportError,
    MissingWeight,
    ReportedRoundRobin,
    ReportedWeights,
    format_orca,
    parse_orca,
    utilization,
)
from balancekit.testing import ManualClock, check_selector
from balancekit.testing.laws import ALL, EVEN, WEIGHTED

FIGURES = st.floats(0.0, 1e6).map(lambda value: float(f"{value:.6g}"))
REPORTS = st.builds(
    LoadReport,
    cpu_utilization=FIGURES,
    memory_utilization=FIGURES,
    application_utilization=FIGURES,
    rps=FIGURES,
    eps=FIGURES,
    named_metrics=st.dictionaries(st.from_regex(r"[a-z_.]{1,12}", fullmatch=True), FIGURES, max_size=4),
)


def binary(report):
    """Return the message of a report."""
    return OrcaLoadReport(
        cpu_utilization=report.cpu_utilization,
        mem_utilization=report.memory_utilization,
        application_utilization=report.application_utilization,
        rps_fractional=report.rps,
        eps=report.eps,
        named_metrics=dict(report.named_metrics),
    ).SerializeToString()


# ---------------------------------------------------------------------- forms


@given(report=REPORTS)
def test_a_report_survives_each_of_its_forms(report):
    """Text, base64 in a header and the bytes of a trailer each give the same report again."""
    message = binary(report)
    assert parse_orca(format_orca(report)) == report
    assert parse_orca(message) == report
    assert parse_orca(f"BIN {base64.b64encode(message).decode()}") == report


def test_json_and_the_old_integer_rate():
    """``rps`` of a message counts where ``rps_fractional`` is not set; JSON has the names of the message, or camelCase."""
    found = LoadReport(cpu_utilization=0.5, rps=7.0, named_metrics={"kvCache": 0.2}, request_cost={"q": 2.0})
    text = '{"cpu_utilization": 0.5, "rps_fractional": 7, "named_metrics": {"kvCache": 0.2}, "request_cost": {"q": 2}, "rps": 3}'
    assert parse_orca(f"JSON {text}") == found
    text = '{"cpuUtilization": 0.5, "rpsFractional": "7", "namedMetrics": {"kvCache": 0.2}, "requestCost": {"q": 2}}'
    assert parse_orca(f"JSON {text}") == found
    assert parse_orca(OrcaLoadReport(rps=7).SerializeToString()).rps == 7.0


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("10", 10.0),
        ("+10", 10.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e2", 100.0),
        ("1.5E-1", 0.15),
        ("-0", 0.0),
        ("0x10", 16.0),
        ("0XaF", 175.0),
        ("+0x1.8p1", 3.0),
        ("0x.8", 0.5),
        ("0x1p-1", 0.5),
        ("\t7 ", 7.0),
    ],
)
def test_a_number_in_text_is_read_as_envoy_reads_it(number, value):
    """A number in text is read as Envoy reads it.

    It may be decimal or hexadecimal, have blanks around it, and be quoted in JSON.
    """
    assert parse_orca(f"TEXT eps=1,rps_fractional={number}") == LoadReport(eps=1.0, rps=value)
    quoted = json.dumps({"eps": 1, "rps_fractional": number})
    assert parse_orca(f"JSON {quoted}") == LoadReport(eps=1.0, rps=value)


def test_null_in_json_leaves_a_field_out():
    """Null in JSON leaves out a figure or a group of figures, as protobuf's JSON has it."""
    text = json.dumps({"eps": 1, **dict.fromkeys(("cpu_utilization", "rps", "named_metrics", "utilization"))})
    assert parse_orca(f"JSON {text}") == LoadReport(eps=1.0)


def test_text_has_an_equals_sign_or_a_colon_and_two_kinds_of_named_figures():
    """Text is read as Envoy reads it.

    It has an equals sign or a colon, blanks around the commas, and two kinds of named figures.
    """
    text = "TEXT eps:1, rps_fractional=5,utilization.disk=0.7,named_metrics.disk=0.1,"
    assert parse_orca(text) == LoadReport(
        eps=1.0, rps=5.0, utilization={"disk": 0.7}, named_metrics={"disk": 0.1}
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "TEXT",
        "TEXT rps_fractional=5,later=1",
        "TEXT rps_fractional=5,rps=5",
        "TEXT rps_fractional=5,request_cost.q=1",
        "TEXT rps_fractional=5,rps_fractional=6",
        "TEXT named_metrics.kv=1,named_metrics.kv=2",
        "TEXT named_metrics.=1",
        "TEXT named_metrics.kv=-1",
        'JSON {"rps_fractional": 5, "later": 1}',
        'JSON {"rps_fractional": true}',
        "XML <a/>",
        "TEXT cpu_utilization",
        "TEXT cpu_utilization=fast",
        "TEXT cpu_utilization=nan",
        "TEXT cpu_utilization=inf",
        "TEXT cpu_utilization=-1",
        *[
            f"TEXT rps_fractional={number}"
            for number in (
                "1_0",
                "\u0661",
                "1e",
                ".",
                "e5",
                "+-1",
                "--1",
                "0x",
                "0x.",
                "0x1p",
                "0xg",
                "1 0",
                "\xa01",
                "-0x1",
                "",
            )
        ],
        "TEXT rps_fractional=1e308",
        "TEXT named_metrics.kv=nan",
        "JSON {",
        "JSON []",
        "JSON 1",
        'JSON {"named_metrics": {"kv": null}}',
        "JSON {'cpu_utilization': 0.5}",
        "JSON {cpu_utilization: 0.5}",
        'JSON {"cpu_utilization": 0.5,}',
        'JSON {"cpu_utilization": 0x1}',
        'JSON {"cpu_utilization": "1_0"}',
        'JSON {"cpu_utilization": "x"}',
        'JSON {"named_metrics": 3}',
        'JSON {"cpu_utilization": 0.1, "cpu_utilization": 0.9}',
        'JSON {"cpuUtilization": 0.1, "cpu_utilization": 0.9}',
        'JSON {"named_metrics": {"kv": 0.1, "kv": 0.9}}',
        "JSON " + "[" * 10_000,
        "BIN !!!",
        "BIN AAAA",
        b"\xff\xff\xff",
        "TEXT cpu_utilization=0.5," + "x" * 1_000_000,
    ],
)
def test_a_lying_or_broken_report_is_rejected_and_counted(value):
    """A report with NaN, a negative figure, 1e308 or a header of a megabyte raises one error.

    A reader returns none and counts it.
    """
    if value == "TEXT":
        assert parse_orca("TEXT ") == LoadReport()
        return
    with pytest.raises(InvalidLoadReportError):
        parse_orca(value)
    if isinstance(value, str):
        reader = HeaderReports()
        assert reader.read({"endpoint-load-metrics": value}) is None
        assert reader.rejected == 1
        assert reader.read({}) is None
        assert reader.rejected == 1


@given(
    value=st.one_of(st.text(), st.binary(), st.text().map("TEXT {}".format), st.text().map("JSON {}".format))
)
def test_whatever_a_server_sends_raises_nothing_else(value):
    """Any text and any bytes are a report or an ``InvalidLoadReportError``."""
    try:
        found = parse_orca(value)
    except InvalidLoadReportError:
        return
    assert math.isfinite(found.rps)


def test_a_rejected_report_is_logged_once(caplog):
    """The first rejected report is logged, and later ones are only counted."""
    reader = HeaderReports()
    for _ in range(3):
        reader.read({"endpoint-load-metrics": "TEXT cpu_utilization=-1"})
    assert reader.rejected == 3
    assert caplog.text.count("a load report was rejected") == 1


# ---------------------------------------------------------------------- weights


@given(
    reports=st.lists(st.tuples(st.sampled_from("abcde"), FIGURES, FIGURES, FIGURES), max_size=12),
    missing=st.sampled_from(list(MissingWeight)),
    whole=st.booleans(),
)
def test_weights_agree_with_the_formula(reports, missing, whole):
    """A weight is ``rps / (utilization + penalty * eps / rps)`` of the last report that counts.

    Endpoints without one have the mean or the median.
    """
    config = ReportedWeights(blackout=0.0, missing=missing, whole=whole, error_penalty=0.7)
    machine, last = config(), {}
    for now, (name, used, rps, eps) in enumerate(reports):
        machine.record(name, LoadReport(application_utilization=used, rps=rps, eps=eps), now=float(now))
        if used > 0.0 and rps > 0.0:
            weight = rps / (used + 0.7 * eps / rps)
            assume(math.isfinite(weight))
            if weight > 0.0:  # one that is not is too small for a float
                last[name] = float(min(int(weight), 2**32 - 1)) if whole else weight
    found = machine.weights(list("abcde"), now=float(len(reports)))
    if len(last) < 2:
        assert found == dict.fromkeys("abcde", 1.0)
        return
    other = (
        statistics.fmean(last.values()) if missing is MissingWeight.MEAN else statistics.median(last.values())
    )
    mean = statistics.fmean(last.values())
    kept = {name: min(max(weight, 0.01 * mean), 10.0 * mean) for name, weight in last.items()}
    if whole:
        assert found == {name: max(1.0, float(int(kept.get(name, other)))) for name in "abcde"}
    else:
        assert found == {name: pytest.approx(kept.get(name, other)) for name in "abcde"}


def test_errors_alone_give_a_weight_only_if_asked_for():
    """Errors alone give a weight only if asked for.

    Envoy adds the penalty before it looks for a utilization, and gRPC after.
    """
    failing, idle = LoadReport(rps=100.0, eps=50.0), LoadReport(rps=100.0)
    assert ReportedWeights().weight(failing) == 0.0
    assert ReportedWeights(errors_alone=True).weight(failing) == 200.0
    assert ReportedWeights(errors_alone=True).weight(idle) == 0.0
    assert ReportedWeights(errors_alone=True, error_penalty=0.0).weight(failing) == 0.0


def test_a_weight_is_kept_within_bounds_of_the_mean():
    """A weight counts for a hundredth of the mean at least, and for ten means at most; both bounds can be taken off."""
    reports = {"a": 1e-4, "b": 1.0, **{f"c{n}": 0.9 for n in range(14)}}

    def weights(names, **options):
        machine = ReportedWeights(blackout=0.0, **options)()
        for name in names:
            machine.record(name, LoadReport(application_utilization=reports[name], rps=100.0), now=0.0)
        return machine.weights(list(names), now=1.0)

    assert weights("ab") == {"a": 1e6, "b": pytest.approx(0.01 * 500_050.0)}
    found = weights(reports)
    mean = (1e6 + 100.0 + 14 * 100.0 / 0.9) / 16
    assert found == dict.fromkeys(found, pytest.approx(0.01 * mean)) | {"a": pytest.approx(10.0 * mean)}
    assert weights("ab", min_ratio=0.0, max_ratio=None) == {"a": 1e6, "b": 100.0}
    assert weights("ab", min_ratio=1.0, max_ratio=1.0) == dict.fromkeys("ab", 500_050.0)


def test_envoys_weights_have_no_bounds_but_those_of_whole_numbers():
    """Envoy keeps weights as they are, however far apart."""
    selector = envoy.client_side_weighted_round_robin(blackout_period=0.0)
    clock = ManualClock()
    lb = LoadBalancer(["a", "b"], selector=selector, clock=clock)
    used = {"a": 1e-4, "b": 1.0}
    for _ in range(40):
        with lb.acquire() as lease:
            lease.report_load(LoadReport(application_utilization=used[lease.target], rps=100.0))
        clock.advance(0.1)
    assert selector.weights == {"a": 1e6, "b": 100.0}


def test_whole_weights_are_one_to_two_to_the_32nd():
    """A whole weight is from 1 to 2 ** 32. One that is truncated to 0 becomes 1, and is 0 in the median."""
    config = ReportedWeights(
        blackout=0.0, missing=MissingWeight.MEDIAN, min_reports=1, min_ratio=0.0, max_ratio=None, whole=True
    )
    machine = config()
    for endpoint, rps in (("a", 0.4), ("b", 401.0), ("c", 5e9)):
        machine.record(endpoint, LoadReport(application_utilization=1.0, rps=rps), now=0.0)
    assert machine.weights(list("abd"), now=1.0) == {"a": 1.0, "b": 401.0, "d": 200.0}
    assert machine.weights(list("c"), now=1.0) == {"c": 4_294_967_295.0}
    assert machine.weights(list("ad"), now=1.0) == {"a": 1.0, "d": 1.0}


def test_a_weight_begins_after_the_blackout_and_ends_with_silence():
    """A weight counts from ``blackout`` seconds after the first report until ``expiry`` seconds after the last.

    It then starts over.
    """
    machine = ReportedWeights(blackout=10.0, expiry=30.0, min_reports=1)()
    report = LoadReport(cpu_utilization=0.5, rps=50.0)
    machine.record("a", report, now=0.0)
    machine.record("a", report, now=9.0)
    assert machine.weights(list("a"), now=9.9) == {"a": 1.0}
    assert machine.weights(list("a"), now=10.0) == {"a": 100.0}
    assert machine.weights(list("a"), now=38.9) == {"a": 100.0}
    assert machine.weights(list("a"), now=39.0) == {"a": 1.0}
    machine.record("a", report, now=39.0)
    assert machine.weights(list("a"), now=48.9) == {"a": 1.0}
    assert machine.weights(list("a"), now=49.0) == {"a": 100.0}
    machine.keep(["b"])
    assert machine.weights(list("a"), now=49.0) == {"a": 1.0}


def test_the_largest_named_figure_comes_first():
    """The largest named figure is taken first, then the application's, then the CPU's."""
    report = LoadReport(
        cpu_utilization=0.9, application_utilization=0.6, named_metrics={"gpu": 0.3, "kv": 0.4}
    )
    assert utilization(report, ["named_metrics.gpu", "named_metrics.kv"]) == 0.4
    assert utilization(report, ["cpu_utilization", "named_metrics.kv"]) == 0.9
    assert utilization(report, ["named_metrics.none"]) == 0.6
    assert utilization(report, ["named_metrics.*"]) == 0.4
    assert utilization(report, ["named_metrics", "named_metrics.", "gpu", "*", "replace", ""]) == 0.6


def test_every_figure_of_a_message_can_be_named():
    """Every figure of a message can be named as it is there or here.

    Those of a map can be named one by one or all together.
    """
    report = LoadReport(
        application_utilization=0.5, memory_utilization=0.3, rps=100.0, eps=20.0,
        utilization={"disk": 0.7, "net": 0.8}, request_cost={"q": 0.25, "low": -1.0},
    )  # fmt: skip
    named = {
        "mem_utilization": 0.3, "memory_utilization": 0.3, "rps_fractional": 100.0, "eps": 20.0,
        "utilization.disk": 0.7, "utilization.*": 0.8, "request_cost.q": 0.25, "request_cost.low": 0.5,
    }  # fmt: skip
    assert {name: utilization(report, [name]) for name in named} == named
    assert utilization(LoadReport(cpu_utilization=0.2)) == 0.2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blackout", -1.0),
        ("expiry", 0.0),
        ("error_penalty", -0.1),
        ("metrics", "gpu"),
        ("missing", "mode"),
        ("min_reports", 0),
        ("min_ratio", -0.1),
        ("min_ratio", 1.1),
        ("max_ratio", 0.9),
        ("errors_alone", 1),
        ("whole", 1),
    ],
)
def test_wrong_options_are_refused_by_name(name, value):
    """A wrong option raises ``ConfigurationError``, which names the option."""
    with pytest.raises(ConfigurationError, match=name):
        ReportedWeights(**{name: value})
    with pytest.raises(ConfigurationError, match="period"):
        ReportedRoundRobin(period=0.0)


# ---------------------------------------------------------------------- the selector


def test_the_selector_keeps_the_laws_of_selectors():
    """The selector keeps all numbered laws of ``balancekit.testing``."""
    check_selector(ReportedRoundRobin, ALL - {WEIGHTED} | {EVEN})


@pytest.mark.parametrize("make", [grpc.weighted_round_robin, envoy.client_side_weighted_round_robin])
def test_shares_follow_reports_and_end_with_them(make):
    """With reported speeds 1 to 3, shares are a quarter and three quarters within a turn.

    They are equal again once reports have expired.
    """
    clock = ManualClock()
    lb = LoadBalancer(
        ["slow", "fast"], selector=make(weight_expiration_period=60.0), clock=clock, rng=Random(1)
    )

    def send(*, reporting):
        with lb.acquire() as lease:
            if reporting:
                used = 0.75 if lease.target == "slow" else 0.25
                lease.report_load(LoadReport(application_utilization=used, rps=100.0))
            return lease.target

    for _ in range(300):
        send(reporting=True)
        clock.advance(0.1)
    assert abs([send(reporting=False) for _ in range(400)].count("fast") - 300) <= 2
    clock.advance(61.0)
    send(reporting=False)
    assert abs([send(reporting=False) for _ in range(400)].count("fast") - 200) <= 2


def test_excluded_endpoints_lose_their_turns():
    """When endpoints are excluded, the others keep their proportions.

    With all but one excluded, that one is picked.
    """
    clock = ManualClock()
    lb = LoadBalancer(["a", "b", "c"], selector=ReportedRoundRobin(), clock=clock, rng=Random(1))
    used = {"a": 0.1, "b": 0.2, "c": 0.4}
    for _ in range(300):
        with lb.acquire() as lease:
            lease.report_load(LoadReport(application_utilization=used[lease.target], rps=10.0))
        clock.advance(0.1)
    picks = []
    for _ in range(300):
        with lb.acquire(exclude={"a"}) as lease:
            picks.append(lease.target)
    assert abs(picks.count("b") - 200) <= 2
    with lb.acquire(exclude={"a", "b"}) as lease:
        assert lease.target == "c"


# ---------------------------------------------------------------------- leases


def test_a_report_reaches_loads_selectors_and_observers_with_the_completion():
    """A completion has the last report of its lease.

    A report after the end changes nothing, and what is no report is refused.
    """
    seen = []
    lb = LoadBalancer(["a"], clock=ManualClock())
    lb.on_completion(lambda endpoint, completion: seen.append(completion.load_report))
    report = LoadReport(cpu_utilization=0.5)
    with lb.acquire() as lease:
        lease.report_load(LoadReport())
        lease.report_load(report)
        with pytest.raises(ConfigurationError, match="report"):
            lease.report_load("TEXT cpu_utilization=0.5")
    lease.report_load(LoadReport())
    with lb.acquire():
        pass
    lease = lb.acquire()
    lease.report_load(report)
    lease.release(Outcome.FAILURE)
    assert seen == [report, None, report]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 1e308, "x", True])
@pytest.mark.parametrize(
    "name", ["cpu_utilization", "application_utilization", "rps", "eps", "named_metrics"]
)
def test_a_figure_that_cannot_be_is_refused(name, value):
    """A figure that cannot be raises ``ConfigurationError``, which names it. A named metric may be negative."""
    if name == "named_metrics":
        if value == -0.1:
            LoadReport(named_metrics={"x": value})
            return
        value = {"x": value}
    with pytest.raises(ConfigurationError, match=name):
        LoadReport(**{name: value})


@pytest.mark.parametrize("whole", [False, True])
def test_a_weight_that_would_be_infinite_is_none(whole):
    """A server that reports next to no utilization has no weight by that report, and the others keep theirs."""
    machine = ReportedWeights(blackout=0.0, whole=whole)()
    for endpoint, used in (("a", 0.5), ("b", 0.25), ("liar", 5e-324)):
        report = LoadReport(application_utilization=used, rps=1e9)
        machine.record(endpoint, report, now=0.0)
    assert machine.weights(["a", "b", "liar"], now=1.0) == {"a": 2e9, "b": 4e9, "liar": 3e9}
