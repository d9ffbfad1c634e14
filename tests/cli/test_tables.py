"""Tables of figures in terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from balancekit.cli._tables import figure_tables
from balancekit.cli._tiers_report import Phase, TiersReport, print_tiers

HEADS = ("balancer", "mean", "p50", "p95", "p99", "errors", "attempts", "most")
ROWS = [
    [
        "round robin, one attempt, no health",
        "136.4 ms",
        "52.2 ms",
        "594.8 ms",
        "1.21 s",
        "0.21%",
        "1.033",
        "13.1% new-5",
    ],
    ["[b]default[/b]", "61.9 ms", "39.0 ms", "191.5 ms", "361.3 ms", "0.01%", "1.002", "19.7% new-3"],
]


def printed(width, **options):
    """Print the tables at a width; return how many there are, and the text."""
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    tables = list(figure_tables([(head, head != "balancer") for head in HEADS], ROWS, width=width, **options))
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return len(tables), console.file.getvalue()


@pytest.mark.parametrize("width", [32, 40, 60, 80, 100, 120, 150, 300])
@pytest.mark.parametrize("options", [{"title": "a title"}, {"box": None}], ids=["box", "plain"])
def test_every_figure_is_shown_whole_at_every_width(width, options):
    """No line is wider than the terminal, and no cell is cut off: a narrow terminal gets more tables, each with the names."""
    count, text = printed(width, **options)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for cell in (*HEADS, *[cell for row in ROWS for cell in row[1:]]):
        assert cell in text
    assert text.count("round") == count
    assert text.replace("\n", "").count("[b]def") == count
    assert (count == 1) == (width >= 120)


@pytest.mark.parametrize("width", [40, 80])
def test_the_report_of_the_tiers_fits_a_terminal(width):
    """Every figure of the report of a run can be read in 80 and in 40 columns."""
    phase = Phase("site us", ("us-l4-1", "us-l4-2"), 10.0, detection_bound=2.5, failure_bound=4.5)
    phase.record(began=13.0, ended=14.5, retries=2, cause="refused")
    phase.record(began=13.0, ended=13.25, retries=0, cause=None)
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    print_tiers(console, TiersReport(20.0, vrrp=True, why_not=None, phases=[phase], notes=[], dns_queries=3))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    for figure in ("site us (2)", "2.5 s", "4.5 s", "250.0 ms"):
        assert figure in text
