"""Mutants: copies of a module with one changed operator, constant, condition or statement."""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

__all__ = ["ROOT", "SOURCES", "Mutant", "change", "compiled", "mutants", "source_line", "statement"]

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ROOT / "src" / "balancekit"

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
    """One mutant: the place and the kind of its change."""

    part: str
    """The package below ``src/balancekit``."""
    file: str
    """The path of the module below ``src/balancekit``."""
    index: int
    """The place of the changed node in the order of ``ast.walk``."""
    kind: str
    """The kind of change, such as the operator that is replaced."""
    line: int

    @property
    def name(self) -> str:
        """The name that is printed, and that ``--only`` selects."""
        return f"{self.file}:{self.line}:{self.kind}:{self.index}"


def mutants(part: str) -> list[Mutant]:
    """Return every mutant of a part."""
    found = []
    for path in sorted((SOURCES / part).glob("*.py")):
        if path.name == "__main__.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        unchanged = {id(node) for skipped in _never_mutated(tree) for node in ast.walk(skipped)}
        for index, node in enumerate(ast.walk(tree)):
            if id(node) not in unchanged:
                name = path.relative_to(SOURCES).as_posix()
                found += [
                    Mutant(part, name, index, kind, getattr(node, "lineno", 0)) for kind in _kinds(node)
                ]
    return found


def source_line(mutant: Mutant) -> str:
    """Return the changed line of the source."""
    lines = (SOURCES / mutant.file).read_text(encoding="utf-8").splitlines()
    return lines[mutant.line - 1].strip()


def statement(mutant: Mutant) -> range:
    """Return the lines of the innermost statement that contains a mutant, without the statement's body."""
    around = [
        node
        for node in _nodes(mutant.file)
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or 0)
    ]
    inner = max(around, key=lambda node: node.lineno)
    body: list[ast.stmt] = getattr(inner, "body", [])
    end = body[0].lineno if body and body[0].lineno > mutant.line else (inner.end_lineno or 0) + 1
    return range(inner.lineno, end)


def _never_mutated(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that are not mutated: texts, annotations, names of slots, errors and log calls."""
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
    """Return the code that a mutant changes, before and after."""
    node = _nodes(mutant.file)[mutant.index]
    before = ast.unparse(_headline(node))
    return f"{before}  ->  {ast.unparse(_headline(_changed(copy.copy(node), mutant.kind)))}"


def compiled(mutant: Mutant) -> CodeType:
    """Return the compiled code of the changed module."""
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
