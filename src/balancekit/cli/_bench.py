"""The command ``balancekit bench``: measurements of the algorithms on this machine."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Grid

from balancekit._support.files import write_files
from balancekit._support.workers import begin_worker
from balancekit.bench import CARDS, TITLES, Claim, Findings, Results, Table, card, measure, write
from balancekit.cli._bench_options import CARDS_OF_ALL, DEFAULT_WORKERS
from balancekit.cli._console import output
from balancekit.cli._out_folder import out_folder
from balancekit.cli._status import EXIT_FAILED, complain, remark
from balancekit.cli._tables import figure_tables
from balancekit.errors import ConfigurationError

__all__ = ["run_bench"]

VERDICTS = {"holds": "green", "fails": "red", "not judged": "yellow"}
WIDE = 130
"""Width of tables in columns if standard output is no terminal."""
MAX_PRINTED_ROWS = 80
"""Maximum number of rows of a table that is printed. Longer tables are in the report only."""


def run_bench(options: argparse.Namespace) -> int:
    """Measure the topics, print the results, and write the report; return 1 if a claim does not hold."""
    if options.topic == CARDS_OF_ALL:
        for name, given in (("--quick", options.quick or None), ("--workers", options.workers)):
            if given is not None:
                raise ConfigurationError(name, given, "a topic that is measured, not cards")
    draws = options.out is not None or options.topic == CARDS_OF_ALL
    if draws and find_spec("matplotlib") is None:  # checked before a minute of measurements
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    if options.topic == CARDS_OF_ALL:
        return _cards(options, out_folder("cards" if options.out is None else options.out))
    try:
        return _measure(options, None if options.out is None else out_folder(options.out))
    except BrokenExecutor:
        why = "a worker process was killed, perhaps for lack of memory; free memory, or use --workers 1"
        return complain("balancekit bench", why, EXIT_FAILED)


def _measure(options: argparse.Namespace, folder: Path | None) -> int:
    topics = list(TITLES) if options.topic is None else [options.topic]
    began = time.monotonic()
    with (
        _executor(options.workers or DEFAULT_WORKERS) as executor,
        _ended_with_an_error(),
        _progress(quiet=options.json) as bar,
    ):
        task = bar.add_task("", total=None)

        def update(label: str, done: int, total: int) -> None:
            bar.update(task, description=label, completed=done, total=total)

        results = measure(topics, seed=options.seed, quick=options.quick, executor=executor, progress=update)
        files = []
        if folder is not None:
            bar.update(task, description="drawing")
            files = write(results, folder)
    if options.json:
        json.dump(results.data(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        _print(results, time.monotonic() - began)
    if files:
        written = f"{len(files)} files in {folder}, begin with {files[-1]}"
        if options.json:
            remark(written)
        else:
            sys.stdout.write(f"{written}\n")
    return 0 if results.holds else 1


def _executor(workers: int) -> Executor:
    """Return the executor of simulations: one thread for one worker, else spawned processes.

    Processes are not forked, because this one has a thread for the progress bar. They ignore Ctrl-C, because this process
    ends them itself.
    """
    if workers == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=partial(begin_worker, ignore_interrupts=True),
    )


@contextmanager
def _ended_with_an_error() -> Iterator[None]:
    """Terminate the worker processes if the block raises, also by Ctrl-C. The executor would wait for their current work."""
    try:
        yield
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise


def _progress(*, quiet: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def _cards(options: argparse.Namespace, folder: Path) -> int:
    """Draw the cards of all algorithms."""
    with _progress(quiet=options.json) as bar:
        task = bar.add_task("", total=len(CARDS))
        contents: dict[str, bytes] = {}
        for name in CARDS:
            bar.update(task, description=name)
            contents[f"{name}.svg"] = card(name, seed=options.seed).encode()
            bar.advance(task)
        files = write_files(folder, contents)
    if options.json:
        sys.stdout.write(json.dumps([str(file) for file in files], indent=1) + "\n")
    else:
        sys.stdout.write(f"{len(files)} cards in {folder}\n")
    return 0


def _print(results: Results, seconds: float) -> None:
    console = output(WIDE)
    for topic, findings in results.topics.items():
        console.rule(f"[bold]{TITLES[topic]}[/bold]", align="left")
        _print_topic(console, topic, findings, whole=len(results.topics) == 1)
    facts = {**results.machine, **results.versions, "seed": results.seed}
    console.print(f"\n[dim]{_listed(facts)}[/dim]", highlight=False)
    claims = [claim for findings in results.topics.values() for claim in findings.claims]
    _print_verdict(console, claims, seconds)


def _print_topic(console: Console, topic: str, findings: Findings, *, whole: bool) -> None:
    """Print tables and claims: all claims if ``whole`` is set, otherwise the number of those that hold."""
    for table in findings.tables:
        if len(table.rows) <= MAX_PRINTED_ROWS:
            console.print(f"\n[bold]{table.title}[/bold]", highlight=False)
            for grid in _grids(table, console.width):
                console.print(grid)
    if whole:
        console.print("\n[bold]Claims[/bold]")
        console.print(_claims(findings))
        return
    judged = [claim for claim in findings.claims if claim.judged]
    held = sum(claim.holds for claim in judged)
    more = f"balancekit bench {topic} prints all of them"
    busy = "" if len(judged) == len(findings.claims) else " (machine busy: the others are not judged)"
    console.print(f"\n{held} of {len(judged)} claims hold{busy}; {more}", highlight=False)


def _print_verdict(console: Console, claims: Sequence[Claim], seconds: float) -> None:
    """Print the claims that do not hold, and the number of those that do."""
    wrong = [claim for claim in claims if not claim.holds]
    judged = [claim for claim in claims if claim.judged]
    for claim in wrong:
        text = f"{claim.text}: {claim.measured:{claim.form}}, allowed {claim.allowed}"
        console.print(f"[red]does not hold:[/red] {text}", highlight=False)
    if len(judged) < len(claims):
        text = f"machine busy: {len(claims) - len(judged)} claims about speed are measured, but not judged"
        console.print(f"[yellow]{text}[/yellow]", highlight=False)
    verdict = "[red]not all claims hold[/red]" if wrong else "[green]all claims hold[/green]"
    if not judged:
        verdict = "[yellow]no claim was judged[/yellow]"
    console.print(f"{verdict}: {len(judged) - len(wrong)} of {len(judged)}, {seconds:.0f} s", highlight=False)


def _listed(facts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _grids(table: Table, width: int) -> Iterator[Grid]:
    columns = [(column.name, bool(column.form)) for column in table.columns]
    rows = [
        [column.text(cell) for column, cell in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    return figure_tables(columns, rows, width=width, box=None)


def _claims(findings: Findings) -> Grid:
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("", no_wrap=True)
    grid.add_column("claim")
    for column in ("measured", "right", "allowed"):
        grid.add_column(column, justify="right", overflow="fold")
    for claim in findings.claims:
        grid.add_row(
            f"[{VERDICTS[claim.verdict]}]{claim.verdict}[/]",
            claim.text,
            f"{claim.measured:{claim.form}}",
            "" if claim.right is None else f"{claim.right:{claim.form}}",
            claim.allowed,
        )
    return grid
