"""Mutation sample: random small faults in the library, and how many of them its tests find.

    uv run python tools/mutation_sample.py                        300 mutants, one after the other
    uv run python tools/mutation_sample.py --parts health loads   mutants of some parts only
    uv run python tools/mutation_sample.py --only health/_rate.py:41:Lt
    uv run python tools/mutation_sample.py --again FILE           the mutants that survived an earlier run

A mutant is one changed operator, constant, condition or statement. A forked child process compiles each mutant, runs the
tests of its part, and stops at the first failure. A child that takes four times as long as the unchanged code counts as
killed too. The source files are not changed. Messages, annotations, ``__slots__`` and log calls are not mutated, because
tests need not check their words.

The tests of a part run once without a mutant, under coverage, to record the lines that each test reaches. A mutant then only
runs with the tests that reach the changed statement, or with all tests of the part if an import reaches it. Other tests
cannot find the mutant, so the result is the same as with all tests. The test file with the name of the changed module runs
first. The other files follow from the quickest to the slowest.

A seed draws the sample from all mutants of the parts, so a run can be repeated and continued. ``mutation_equivalents.toml``
lists survivors whose change is not visible to a caller, with a reason each. They are counted separately.
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
"""The tests of each part, from the quickest to the slowest."""

EQUIVALENTS: Final = Path(__file__).with_name("mutation_equivalents.toml")
"""The survivors with a reason: file, changed line, change as printed, and why no test can or should find it."""

SLACK: Final = 4.0
"""The most time that a mutant may take, as a multiple of the time of the unchanged code."""

TEST_TIMEOUT_S: Final = 600
"""Seconds after which a test of a mutant counts as endless. The value is large, because tests are slow on a busy machine."""

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
"""The options of every run of pytest."""


NOTHING_FAILED: Final = frozenset({0, 5})
"""The exit codes of pytest if every test passes, or no test is selected."""


class Reach(NamedTuple):
    """The lines that the tests of a part reach without a mutant."""

    seconds: Mapping[str, float]
    """The processor time of each test, in the order in which they ran."""
    failed: Sequence[str]
    """The failed tests, each with the last line of its report."""
    lines: Mapping[str, Mapping[str, Sequence[str]]]
    """The names of tests by file and line. The empty name stands for imports."""

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that can find a mutant."""
        by_line = self.lines.get(mutant.file, {})
        found = {test for line in statement(mutant) for test in by_line.get(str(line), ())}
        return [test for test in self.seconds if test in found or "" in found]


def reach(part: str, path: Path) -> Reach:
    """Return the lines that the tests of a part reach: read from a file, or else measured and written to it."""
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
    """Run the tests of a mutant in a child. Return "killed", "survived" or "timeout", and its processor time."""
    tests = reached.of(mutant)
    if not tests:
        return "survived", 0.0
    code = compiled(mutant)
    limit_s = SLACK * sum(reached.seconds[test] for test in tests) + 10.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = _in_child(lambda: _run_tests(mutant, code, tests, reached), limit_s)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if os.WIFSIGNALED(ended):
        return "timeout", spent
    return ("survived" if os.WEXITSTATUS(ended) in NOTHING_FAILED else "killed"), spent


def _run_tests(mutant: Mutant, code: CodeType, tests: Sequence[str], reached: Reach) -> int:
    import pytest  # noqa: PLC0415 - loaded in the parent already

    path, loader = str(SOURCES / mutant.file), importlib.machinery.SourceFileLoader
    get_code = loader.get_code

    def changed(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
        return code if self.path == path else get_code(self, fullname)

    loader.get_code = changed  # only in this child
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
    """Run a task in a child without output. Return the wait status of the child."""
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


def listed(left: Sequence[Mutant]) -> int:
    """Return how many of the mutants that survived are listed with a reason."""
    rows = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))["mutant"]
    reasons = {(row["file"], row["line"], row["change"]) for row in rows if row["reason"]}
    return sum((mutant.file, source_line(mutant), change(mutant)) in reasons for mutant in left)


def survivors(path: Path, everything: Sequence[Mutant]) -> list[Mutant]:
    """Return the mutants that survived an earlier run. They are found by file and change, so lines may have moved."""
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
    parser.add_argument("--only", help="run the mutants whose names begin with this text")
    parser.add_argument("--again", type=Path, help="an earlier output, whose survivors are run again")
    parser.add_argument(
        "--output",
        type=Path,
        help="a file of JSON lines for results; results in it, and the lines reached in files beside it, are reused",
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        return _run_sample(options, options.output or Path(directory) / "output.jsonl")


def _run_sample(options: argparse.Namespace, output: Path) -> int:
    import hypothesis  # noqa: F401, PLC0415 - loaded here once, instead of in every child
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
                print("these tests fail without a mutant:", *found.failed, sep="\n", file=sys.stderr)
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
    equal = listed(left)
    print(
        f"{len(sample) - len(left)} of {len(sample)} killed, {equal} listed as equivalent, {len(left) - equal} survived; "
        f"{len(everything)} mutants in all"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
