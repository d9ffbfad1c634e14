"""Interrupts at every place where CPython delivers a signal.

The interpreter runs signal handlers at the entry of a Python function (and of a generator that is resumed), at a
backward jump, and after the return of a callable written in C that was called by a call (so right after a lock was
acquired by ``lock.acquire()``, and after, not before, the exit of a ``with`` block has run; entering a ``with`` block is
no call). Since 3.12 ``sys.monitoring`` reports all of them: with classes and other callables that are no functions
among those written in C, and with the jumps of code that was entered before, which ``sys.settrace`` by opcodes omits
there. On 3.11 a profile function sees entries and returns, and a trace function by opcodes the jumps.
"""

from __future__ import annotations

import dis
import gc
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Any, Final, Self

TOOL_ID: Final = 4
"""Of the six that ``sys.monitoring`` has; debuggers, coverage, profilers and optimisers use 0, 1, 2 and 5."""


class Interrupt(KeyboardInterrupt):
    """The one that is injected, told apart from a real one."""


@cache
def backward_jumps(code: Any) -> frozenset[int]:
    """Return the offsets of the backward jumps of a code object at which signals are delivered.

    A far jump begins with ``EXTENDED_ARG``. ``sys.settrace`` reports only that one, and ``sys.monitoring`` only the jump.
    """
    offsets: set[int] = set()
    begins: list[int] = []
    for instruction in dis.get_instructions(code):
        begins.append(instruction.offset)
        if instruction.opname == "EXTENDED_ARG":
            continue
        if "JUMP_BACKWARD" in instruction.opname and "NO_INTERRUPT" not in instruction.opname:
            offsets.update(begins)
        begins = []
    return frozenset(offsets)


class _Injector(ABC):
    """Raises at the k-th place of the thread that made it, while active; counts the places.

    Garbage is not collected meanwhile: callbacks of the collector are no places of what is tested, and what is raised
    there is lost.

    Parameters
    ----------
    place
        Which, from 1.
    jumps
        Whether places are backward jumps; if not, they are entries of functions and returns from C.
    handler
        Called there instead, as a signal handler that does not raise.
    """

    def __init__(self, place: int, *, jumps: bool, handler: Callable[[], object] | None = None) -> None:
        self.place = place
        self.jumps = jumps
        self._handler = handler
        self.where = ""
        self._seen = 0
        self._thread = threading.get_ident()
        self._collects = gc.isenabled()

    def __enter__(self) -> Self:
        gc.disable()
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread = 0  # what follows is no place
        self._stop()
        if self._collects:
            gc.enable()

    def _hit(self, code: Any, line: int, event: str) -> None:
        if code is _Injector.__exit__.__code__ or threading.get_ident() != self._thread:
            return
        self._seen += 1
        if self._seen == self.place:
            self.where = f"{code.co_filename}:{line} {code.co_qualname} ({event})"
            self._stop()
            if self._handler is None:
                raise Interrupt
            self._handler()

    @abstractmethod
    def _start(self) -> None:
        """Begin to see the places."""

    @abstractmethod
    def _stop(self) -> None:
        """See no more of them."""


if sys.version_info >= (3, 12):

    class Injector(_Injector):
        """An injector by ``sys.monitoring``."""

        def _start(self) -> None:
            monitoring, events = sys.monitoring, sys.monitoring.events
            monitoring.use_tool_id(TOOL_ID, "interrupts")
            if self.jumps:
                monitoring.register_callback(TOOL_ID, events.JUMP, self._jump)
                monitoring.set_events(TOOL_ID, events.JUMP)
            else:
                monitoring.register_callback(TOOL_ID, events.PY_START, self._entry)
                monitoring.register_callback(TOOL_ID, events.PY_RESUME, self._entry)
                monitoring.register_callback(TOOL_ID, events.C_RETURN, self._return)
                # The events C_RETURN and C_RAISE are reported if CALL is.
                monitoring.set_events(TOOL_ID, events.PY_START | events.PY_RESUME | events.CALL)

        def _stop(self) -> None:
            if sys.monitoring.get_tool(TOOL_ID) is not None:
                sys.monitoring.set_events(TOOL_ID, 0)
                sys.monitoring.free_tool_id(TOOL_ID)

        def _entry(self, code: Any, offset: int) -> None:
            self._hit(code, code.co_firstlineno, "entry")

        def _return(self, code: Any, offset: int, function: object, argument: object) -> None:
            self._hit(code, sys._getframe(1).f_lineno, f"return of {getattr(function, '__name__', function)}")

        def _jump(self, code: Any, offset: int, destination: int) -> None:
            if offset in backward_jumps(code):
                self._hit(code, sys._getframe(1).f_lineno, "jump")

else:

    class Injector(_Injector):
        """An injector by a profile function and a trace function."""

        def _start(self) -> None:
            self._installed = (
                self._trace if self.jumps else self._profile
            )  # outlives its removal, which it does itself
            if self.jumps:
                sys.settrace(self._installed)
            else:
                sys.setprofile(self._installed)

        def _stop(self) -> None:
            sys.setprofile(None)
            sys.settrace(None)

        def _profile(self, frame: Any, event: str, argument: object) -> None:
            if event in {"call", "c_return"}:
                self._hit(frame.f_code, frame.f_lineno, event)

        def _trace(self, frame: Any, event: str, argument: object) -> Any:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return self._opcode

        def _opcode(self, frame: Any, event: str, argument: object) -> Any:
            if event == "opcode" and frame.f_lasti in backward_jumps(frame.f_code):
                self._hit(frame.f_code, frame.f_lineno, "jump")
            return self._opcode


def at_every_place(*, jumps: bool) -> Iterator[Injector]:
    """Yield an injector for one place after the other, the last one for a place that does not come.

    Do what is tested with each of them. ``place`` of the last one says how many places there were, plus one.
    """
    for place in count(1):
        injector = Injector(place, jumps=jumps)
        yield injector
        if not injector.where:
            return
