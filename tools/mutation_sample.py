"""Mutation sample: small faults put into the library at random, and how many of them its tests find.

    uv run python tools/mutation_sample.py                        300 mutants, one after the other
    uv run python tools/mutation_sample.py --parts health loads   of some parts only
    uv run python tools/mutation_sample.py --only health/_rate.py:41:<
    uv run python tools/mutation_sample.py --again FILE           those that survived before, by what they change

A mutant is one changed operator, constant, condition or statement. Each is compiled in a forked child, which runs the
tests of that part and stops at the first that fails; a child that takes four times as long as the unchanged code counts
as killed, too. Nothing is written to the sources. Messages, annotations, ``__slots__`` and calls of the log are left as
they are, for no test has to know their words.

The sample is drawn by a seed from all mutants of the parts, so that a run can be repeated and continued. The test file
that has the name of the changed module runs first. ``mutation_equivalents.toml`` lists survivors that change nothing a
caller could see, each with its reason; they are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import importlib.machinery
import json
import os
import random
import resource
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "src" / "balancekit"

TESTS: Final = {
    "engine": ["unit/engine", "unit/pool", "unit/test_balancer.py", "concurrency/test_hooks.py"],
    "health": ["unit/health", "properties/test_health_machine.py", "unit/pool"],
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

COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Pow: ast.Mult,
}
CALLS: Final = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}


class Mutant(NamedTuple):
    """One small fault: where, and what it changes."""

    part: str
    file: str
    """Below ``src/balancekit``."""
    index: int
    """Of the changed node in ``ast.walk`` order."""
    kind: str
    line: int

    @property
    def name(self) -> str:
        """The mutant, for people and for ``--only``."""
        return f"{self.file}:{self.line}:{self.kind}:{self.index}"


def mutants(part: str) -> list[Mutant]:
    """Return every mutant of a part."""
    found = []
    for path in sorted((SOURCES / part).glob("*.py")):
        if path.name == "__main__.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        left_alone = {id(node) for skipped in _left_alone(tree) for node in ast.walk(skipped)}
        for index, node in enumerate(ast.walk(tree)):
            if id(node) not in left_alone:
                name = path.relative_to(SOURCES).as_posix()
                found += [
                    Mutant(part, name, index, kind, getattr(node, "lineno", 0)) for kind in _kinds(node)
                ]
    return found


def _left_alone(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what is not mutated: texts, annotations, names of slots, errors and the log."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
                yield node
            case ast.Expr(value=ast.Constant()) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
                yield node
            case ast.Call(
                func=ast.Name(id="contain_error" | "log_error" | "log_change" | "TypeVar" | "cast" | "warn")
            ):
                yield node
            case ast.Raise() | ast.Import() | ast.ImportFrom() | ast.JoinedStr():
                yield node
            case ast.If(test=ast.Name(id="TYPE_CHECKING" | "FREE_THREADED")):
                yield node
            case ast.arg() | ast.AnnAssign() if node.annotation is not None:
                yield node.annotation
            case ast.FunctionDef(name="__repr__" | "__reduce__"):
                yield node
            case ast.FunctionDef(returns=ast.expr() as returns):
                yield returns


def _kinds(node: ast.AST) -> list[str]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            return [type(operator).__name__]
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in OPERATORS:
            return [type(operator).__name__]
        case ast.BoolOp(op=operator):
            return [type(operator).__name__]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return [type(node.op).__name__]
        case ast.Constant(value=bool()):
            return ["flag"]
        case ast.Constant(value=int() | float()):
            return ["number"]
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            return [name]
        case ast.If() | ast.IfExp():
            return ["always", "never"]
        case ast.Expr(value=ast.Call()) | ast.Delete():
            return ["dropped"]
        case ast.Break():
            return ["continue"]
        case _:
            return []


@functools.cache
def _nodes(file: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((SOURCES / file).read_text(encoding="utf-8"))))


def change(mutant: Mutant) -> str:
    """Return what a mutant changes, before and after."""
    node = _nodes(mutant.file)[mutant.index]
    before = ast.unparse(_headline(node))
    return f"{before}  ->  {ast.unparse(_headline(_changed(copy.copy(node), mutant.kind)))}"


def compiled(mutant: Mutant) -> CodeType:
    """Return the changed module."""
    path = SOURCES / mutant.file
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    node = nodes[mutant.index]
    new = _changed(copy.copy(node), mutant.kind)
    for parent in nodes:
        for field, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, field, new)
            elif isinstance(value, list) and any(item is node for item in value):
                setattr(parent, field, [new if item is node else item for item in value])
    ast.fix_missing_locations(tree)
    return compile(tree, str(path), "exec")


def _headline(node: ast.AST) -> ast.AST:
    return node.test if isinstance(node, ast.If | ast.IfExp) else node


def _changed(node: ast.AST, kind: str) -> ast.AST:
    match node:
        case ast.Compare():
            node.ops = [COMPARISONS[type(node.ops[0])]()]
        case ast.BinOp() | ast.AugAssign():
            node.op = OPERATORS[type(node.op)]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp():
            return node.operand
        case ast.Constant(value=bool() as value):
            return ast.copy_location(ast.Constant(not value), node)
        case ast.Constant(value=int() | float() as value):
            return ast.copy_location(ast.Constant(value + 1), node)
        case ast.Call(func=ast.Name(id=name)):
            node.func = ast.copy_location(ast.Name(CALLS[name], ast.Load()), node)
        case ast.If() | ast.IfExp():
            node.test = ast.copy_location(ast.Constant(kind == "always"), node)
        case ast.Break():
            return ast.copy_location(ast.Continue(), node)
        case ast.Expr() | ast.Delete():
            return ast.copy_location(ast.Pass(), node)
    return node


def run(part: str, mutant: Mutant | None, limit_s: float) -> tuple[str, float]:
    """Run the tests of a part in a child; return "killed", "survived" or "timeout", and its processor time."""
    code = None if mutant is None else compiled(mutant)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        status = 3
        with contextlib.suppress(BaseException):
            status = _in_child(part, mutant, code, limit_s)
        os._exit(status)
    _, ended = os.waitpid(child, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if os.WIFSIGNALED(ended):
        return "timeout", spent
    return ("survived" if os.WEXITSTATUS(ended) == 0 else "killed"), spent


def _in_child(part: str, mutant: Mutant | None, code: CodeType | None, limit_s: float) -> int:
    import pytest  # noqa: PLC0415 - loaded in the parent already

    resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s) + 1, int(limit_s) + 2))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    if mutant is not None:
        path, loader = str(SOURCES / mutant.file), importlib.machinery.SourceFileLoader
        get_code = loader.get_code

        def changed(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
            return code if self.path == path else get_code(self, fullname)

        loader.get_code = changed  # type: ignore[method-assign]  # in this child alone
    os.chdir(ROOT)
    arguments = [
        "-x",
        "-q",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-p",
        "no:xdist",
        "--no-header",
    ]
    return int(pytest.main([*arguments, *_tests(part, mutant)]))


def _tests(part: str, mutant: Mutant | None) -> list[str]:
    """Return the tests of a part, those of the changed module first."""
    found = [f"tests/{name}" for name in TESTS[part]]
    if mutant is not None:
        own = f"tests/unit/{part}/test{Path(mutant.file).stem}.py"
        found = [*[own for _ in range((ROOT / own).exists())], *found]
    return found


def argued(left: Sequence[Mutant]) -> int:
    """Return how many of the mutants that survived are listed with a reason."""
    rows = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))["mutant"]
    reasons = {(row["file"], row["line"], row["change"]) for row in rows if row["reason"]}
    return sum((mutant.file, _line(mutant), change(mutant)) in reasons for mutant in left)


def _line(mutant: Mutant) -> str:
    """Return the changed line of the source."""
    lines = (SOURCES / mutant.file).read_text(encoding="utf-8").splitlines()
    return lines[mutant.line - 1].strip()


def survivors(path: Path, everything: Sequence[Mutant]) -> list[Mutant]:
    """Return the mutants that survived an earlier run, found again by file and change, wherever they have moved to."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = {
        (row["mutant"].split(":")[0], row["line"], row["change"])
        for row in rows
        if row["result"] == "survived"
    }
    files = {file for file, _, _ in wanted}
    return [one for one in everything if one.file in files and (one.file, _line(one), change(one)) in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=sorted(TESTS), default=sorted(TESTS))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--only", help="the beginning of the name of the mutants to run")
    parser.add_argument("--again", type=Path, help="an earlier output: run those again that survived")
    parser.add_argument("--output", type=Path, help="a file of JSON lines; what is in there is not run again")
    options = parser.parse_args(arguments)
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
    if options.output is not None and options.output.exists():
        lines = options.output.read_text(encoding="utf-8").splitlines()
        results = {row["mutant"]: row["result"] for row in map(json.loads, lines)}
    limits: dict[str, float] = {}
    for mutant in sample:
        if mutant.name in results:
            continue
        if mutant.part not in limits:
            verdict, seconds = run(mutant.part, None, 600.0)
            if verdict != "survived":
                print(f"the tests of {mutant.part} fail without a mutant", file=sys.stderr)
                return 2
            limits[mutant.part] = SLACK * seconds + 5.0
        began = time.monotonic()
        result, seconds = run(mutant.part, mutant, limits[mutant.part])
        results[mutant.name] = result
        row = {
            "mutant": mutant.name,
            "result": result,
            "line": _line(mutant),
            "change": change(mutant),
            "seconds": round(seconds, 1),
        }
        print(f"{result:8} {time.monotonic() - began:5.0f} s  {mutant.name}  {row['change']}", flush=True)
        if options.output is not None:
            with options.output.open("a", encoding="utf-8") as file:
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
