"""Mutation sample: small faults put into the library at random, and how many of them its tests find.

    uv run python tools/mutation_sample.py                        300 mutants, one after the other
    uv run python tools/mutation_sample.py --parts health loads   of some parts only
    uv run python tools/mutation_sample.py --only health/_rate.py:41:<
    uv run python tools/mutation_sample.py --again FILE           those that survived before, by what they change

A mutant is one changed operator, constant, condition or statement. Each is compiled in a forked child, which runs the
tests of that part and stops at the first that fails; a child that takes four times as long as the unchanged code counts
as killed, too. Nothing is written to the sources. Messages, annotations, ``__slots__`` and calls of the log are left as
they are, for no test has to know their words.

The tests of a part run once without a mutant, under coverage, which notes what each of them reaches. A mutant is then
shown to the tests that reach the changed statement, and to all of the part if an import reaches it. No other test can
find it, so nothing is counted as killed that would not be by all. The test file that has the name of the changed module
runs first, then the quickest.

The sample is drawn by a seed from all mutants of the parts, so that a run can be repeated and continued.
``mutation_equivalents.toml`` lists survivors that change nothing a caller could see, each with its reason; they are
counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.machinery
import json
import os
import random
import resource
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

from mutants import ROOT, SOURCES, Mutant, change, compiled, mutants, source_line, statement

TESTS: Final = {
    "engine": ["unit/engine", "unit/pool", "unit/test_balancer.py", "concurrency/test_hooks.py"],
    "health": ["unit/health", "properties/test_health_machine.py", "unit/pool"],
    "_selection": ["unit/selectors", "unit/routing"],
    "selectors": ["unit/selectors", "properties/test_cyclic_orders.py", "unit/pool/test_thinning.py"],
    "loads": ["unit/loads", "unit/selectors", "conformance/test_policies.py"],
    "scheduling": ["unit/scheduling", "properties/test_cyclic_orders.py", "unit/selectors"],
    "hashing": ["unit/hashing", "properties/test_hash_disruption.py", "unit/selectors"],
}
"""The tests of each part, the quickest first."""

EQUIVALENTS: Final = Path(__file__).with_name("mutation_equivalents.toml")
"""Survivors that are argued: a file, the changed line, a change as it is printed, and why no test can or should see it."""

SLACK: Final = 4.0
"""How many times the time of the unchanged code a mutant may take."""

TEST_TIMEOUT_S: Final = 600
"""Seconds after which a test of a mutant is taken to wait for ever; on a busy machine it takes long for other reasons."""

ARGUMENTS: Final = (
    "-x",
    "-q",
    "--assert=plain",
    "--no-header",
    "--hypothesis-seed=10",
    *("-p", "no:cacheprovider"),
    *("-p", "no:randomly"),
    *("-p", "no:xdist"),
    *("-p", "no:cov"),
)
"""Of pytest."""


NOTHING_FAILED: Final = frozenset({0, 5})
"""What pytest returns if every test passes, or none is left."""


class Reach(NamedTuple):
    """What the tests of a part reach without a mutant."""

    seconds: Mapping[str, float]
    """Processor time by test, in the order in which they ran."""
    failed: Sequence[str]
    """The tests that failed, and where."""
    lines: Mapping[str, Mapping[str, Sequence[str]]]
    """The tests by file and line; the test without a name stands for imports."""

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that can find a mutant."""
        by_line = self.lines.get(mutant.file, {})
        found = {test for line in statement(mutant) for test in by_line.get(str(line), ())}
        return [test for test in self.seconds if test in found or "" in found]


def reach(part: str, path: Path) -> Reach:
    """Run the tests of a part in a child, without a mutant, and keep what they reach in a file; or read that."""
    if not path.exists():
        _in_child(lambda: path.write_text(json.dumps(_reached(part)), encoding="utf-8") and 0, 3600.0)
    found = Reach(*json.loads(path.read_text(encoding="utf-8")))
    if found.failed:
        path.unlink()
    return found


def _reached(part: str) -> Reach:
    import coverage  # noqa: PLC0415 - for this child alone
    import pytest  # noqa: PLC0415 - loaded in the parent already

    measured = coverage.Coverage(data_file=None, config_file=False, include=[f"{SOURCES / part}/*"])
    seconds: dict[str, float] = {}
    failed: list[str] = []

    class Contexts:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
            measured.switch_context(item.nodeid)
            began = time.process_time()
            result = yield
            seconds[item.nodeid] = time.process_time() - began
            measured.switch_context("")
            return result

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1]}")

    measured.start()
    pytest.main([*ARGUMENTS, "--timeout=0", *(f"tests/{name}" for name in TESTS[part])], [Contexts()])
    measured.stop()
    data = measured.get_data()
    lines = {
        Path(file).relative_to(SOURCES).as_posix(): data.contexts_by_lineno(file)
        for file in data.measured_files()
    }
    return Reach(seconds, failed, lines)


def run(mutant: Mutant, reached: Reach) -> tuple[str, float]:
    """Show a mutant to the tests in a child; return "killed", "survived" or "timeout", and its processor time."""
    tests = reached.of(mutant)
    if not tests:
        return "survived", 0.0
    code = compiled(mutant)
    limit_s = SLACK * sum(reached.seconds[test] for test in tests) + 10.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = _in_child(lambda: _shown(mutant, code, tests, reached), limit_s)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if os.WIFSIGNALED(ended):
        return "timeout", spent
    return ("survived" if os.WEXITSTATUS(ended) in NOTHING_FAILED else "killed"), spent


def _shown(mutant: Mutant, code: CodeType, tests: Sequence[str], reached: Reach) -> int:
    import pytest  # noqa: PLC0415 - loaded in the parent already

    path, loader = str(SOURCES / mutant.file), importlib.machinery.SourceFileLoader
    get_code = loader.get_code

    def changed(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return code if self.path == path else get_code(self, fullname)

    loader.get_code = changed  # in this child alone
    wanted = frozenset(tests)

    class Selection:
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            items[:] = [item for item in items if item.nodeid in wanted]

    seconds: defaultdict[str, float] = defaultdict(float)
    for test in tests:
        seconds[test.partition("::")[0]] += reached.seconds[test]
    own = f"tests/unit/{mutant.part}/test_{Path(mutant.file).stem.lstrip('_')}.py"
    files = sorted(seconds, key=lambda file: (file != own, seconds[file]))
    return int(pytest.main([*ARGUMENTS, f"--timeout={TEST_TIMEOUT_S}", *files], [Selection()]))


def _in_child(task: Callable[[], int], limit_s: float) -> int:
    """Carry out a task in a child without output; return how the child ended."""
    child = os.fork()
    if child == 0:
        status = 3
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s) + 1, int(limit_s) + 2))
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.chdir(ROOT)
            status = task()
        os._exit(status)
    return os.waitpid(child, 0)[1]


def argued(left: Sequence[Mutant]) -> int:
    """Return how many of the mutants that survived are listed with a reason."""
    rows = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))["mutant"]
    reasons = {(row["file"], row["line"], row["change"]) for row in rows if row["reason"]}
    return sum((mutant.file, source_line(mutant), change(mutant)) in reasons for mutant in left)


def survivors(path: Path, everything: Sequence[Mutant]) -> list[Mutant]:
    """Return the mutants that survived an earlier run, found again by file and change, wherever they have moved to."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = {
        (row["mutant"].split(":")[0], row["line"], row["change"])
        for row in rows
        if row["result"] == "survived"
    }
    files = {file for file, _, _ in wanted}
    return [
        one for one in everything if one.file in files and (one.file, source_line(one), change(one)) in wanted
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=sorted(TESTS), default=sorted(TESTS))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--only", help="the beginning of the name of the mutants to run")
    parser.add_argument("--again", type=Path, help="an earlier output: run those again that survived")
    parser.add_argument(
        "--output",
        type=Path,
        help="a file of JSON lines; what is in there, or beside it of what tests reach, is not run again",
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        return _run_sample(options, options.output or Path(directory) / "output.jsonl")


def _run_sample(options: argparse.Namespace, output: Path) -> int:
    import hypothesis  # noqa: F401, PLC0415 - so that children need not load it
    import numpy as np  # noqa: F401, PLC0415 - the same
    import pytest  # noqa: F401, PLC0415 - the same

    everything = [mutant for part in options.parts for mutant in mutants(part)]
    sample = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
    if options.only:
        sample = [mutant for mutant in everything if mutant.name.startswith(options.only)]
    if options.again:
        sample = survivors(options.again, everything)
    results: dict[str, str] = {}
    if output.exists():
        lines = output.read_text(encoding="utf-8").splitlines()
        results = {row["mutant"]: row["result"] for row in map(json.loads, lines)}
    reached: dict[str, Reach] = {}
    for mutant in sample:
        if mutant.name in results:
            continue
        if mutant.part not in reached:
            found = reached[mutant.part] = reach(mutant.part, output.with_suffix(f".{mutant.part}.json"))
            if found.failed:
                print("fail without a mutant:", *found.failed, sep="\n", file=sys.stderr)
                return 2
        began = time.monotonic()
        result, seconds = run(mutant, reached[mutant.part])
        results[mutant.name] = result
        row = {
            "mutant": mutant.name,
            "result": result,
            "line": source_line(mutant),
            "change": change(mutant),
            "seconds": round(seconds, 1),
        }
        print(f"{result:8} {time.monotonic() - began:5.0f} s  {mutant.name}  {row['change']}", flush=True)
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    left = [mutant for mutant in sample if results[mutant.name] == "survived"]
    equal = argued(left)
    print(
        f"{len(sample) - len(left)} of {len(sample)} killed, {equal} argued, {len(left) - equal} survived; "
        f"{len(everything)} mutants in all"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
