"""Interrupts at every place where CPython delivers a signal.

The interpreter runs signal handlers at the entry of a Python function, at a backward jump, and after the return of a
function written in C that was called by a call (so right after a lock was acquired by ``lock.acquire()``, and after,
not before, the exit of a ``with`` block has run; entering a ``with`` block is no call). A profile function sees the
first and the last of these, a trace function by opcodes the second.
"""

from __future__ import annotations

import dis
import sys
from functools import cache
from typing import Any, Self


class Interrupt(KeyboardInterrupt):
    """The one that is injected, told apart from a real one."""


@cache
def backward_jumps(code: Any) -> frozenset[int]:
    """Return the offsets of the backward jumps of a code object."""
    return frozenset(
        instruction.offset
        for instruction in dis.get_instructions(code)
        if "JUMP_BACKWARD" in instruction.opname
    )


class Injector:
    """Raises at the k-th place while active; counts the places.

    Parameters
    ----------
    place
        Which, from 1.
    jumps
        Whether places are backward jumps; if not, they are entries of functions and returns from C.
    """

    def __init__(self, place: int, *, jumps: bool) -> None:
        self.place = place
        self.jumps = jumps
        self.where = ""
        self._seen = 0

    def __enter__(self) -> Self:
        if self.jumps:
            sys.settrace(self._trace)
        else:
            sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        sys.settrace(None)

    def _profile(self, frame: Any, event: str, argument: object) -> None:
        if frame.f_code is type(self).__exit__.__code__:
            return
        if event in {"call", "c_return"}:
            self._hit(frame, event)

    def _trace(self, frame: Any, event: str, argument: object) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._opcode

    def _opcode(self, frame: Any, event: str, argument: object) -> Any:
        if event == "opcode" and frame.f_lasti in backward_jumps(frame.f_code):
            self._hit(frame, event)
        return self._opcode

    def _hit(self, frame: Any, event: str) -> None:
        self._seen += 1
        if self._seen == self.place:
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name} ({event})"
            sys.setprofile(None)
            sys.settrace(None)
            raise Interrupt
