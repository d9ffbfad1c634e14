"""Loops under locks: an interrupt at any of their jumps leaves the lock free.

Since CPython 3.13 a signal is delivered before a backward jump, and some of these jumps (of ``while``, of ``continue``, of a
comprehension with a condition) lie outside the exception table of the block around them: neither ``with`` nor ``finally`` is run.
"""

from __future__ import annotations

import ast
import dis
import re
import sys
from pathlib import Path
from types import CodeType

import pytest

import balancekit

ROOT = Path(balancekit.__file__).parent
GUARD = re.compile(r"lock|writer|serial|listeners", re.IGNORECASE)
OWN_THREADS = re.compile(r"(Thread|Async)\w*\.|\._follow$")
"""Classes whose loops run in a thread of their own, or as a task: signal handlers raise in neither."""


def guarded(tree: ast.AST) -> list[tuple[int, int]]:
    """Return the lines of the blocks that a lock, a ``finally`` or an ``except BaseException`` is around."""
    return [
        (node.body[0].lineno, node.body[-1].end_lineno or 0)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Try) and (node.finalbody or any(map(catches_all, node.handlers))))
        or (isinstance(node, ast.With) and any(GUARD.search(ast.unparse(one)) for one in node.items))
    ]


def catches_all(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler catches interrupts too."""
    return handler.type is None or "BaseException" in ast.unparse(handler.type)


def codes(code: CodeType) -> list[CodeType]:
    """Return a code object and those inside it."""
    return [code, *[one for const in code.co_consts if isinstance(const, CodeType) for one in codes(const)]]


def unguarded(code: CodeType) -> list[tuple[int, int]]:
    """Return from which line to which the backward jumps of a code object go that no exception table has."""
    table, every = dis._parse_exception_table(code), list(dis.get_instructions(code))
    lines = {one.offset: one.positions.lineno or 0 for one in every}
    return [
        (lines[one.offset], lines[one.argval])
        for one in every
        if one.opname == "JUMP_BACKWARD" and not any(entry.start <= one.offset < entry.end for entry in table)
    ]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="signals are delivered after the jump, in the block")
def test_no_jump_in_a_guarded_block_is_outside_its_table():
    """In no block that a lock or a ``finally`` is around does a loop jump where neither is run; a loop in a call is guarded."""
    found, seen = [], 0
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        blocks = guarded(ast.parse(text))
        seen += len(blocks)
        for code in codes(compile(text, str(path), "exec")):
            if code.co_name.startswith("<") or OWN_THREADS.search(code.co_qualname):
                continue
            first = code.co_firstlineno
            found += [
                f"{path.relative_to(ROOT)}:{line} {code.co_qualname}"
                for line, target in unguarded(code)
                if any(first <= low <= min(line, target) <= max(line, target) <= high for low, high in blocks)
            ]
    assert seen > 100
    assert found == []
