"""Detection of exceptions that a signal handler has raised.

A signal handler may raise an ordinary ``Exception``. Alarms that limit the time of a call do so, and so does Celery's
soft time limit. The exception appears at the point that the main thread has reached. This may be inside a ``try`` that
logs the errors of a callback. Such an exception must not be logged there, but reach the program that installed the
handler.

Method: the interpreter calls a handler with the number of the signal and the frame that it interrupts. So a frame of the
traceback has its calling frame as an argument. The search costs a few microseconds, and only if an exception was raised.

Not detected: a handler that assigns to its own parameters, a handler written in C, and an exception set by
``PyThreadState_SetAsyncExc``. The last two have no frame.
"""

from __future__ import annotations

import sys
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["raise_interrupt", "raised_by_signal"]

_VARARGS = 0x04
"""``inspect.CO_VARARGS``: the function takes ``*arguments``."""


def raised_by_signal(error: BaseException) -> bool:
    """Return whether the traceback of an exception passes through a signal handler."""
    step = error.__traceback__
    while step is not None:
        if _handles_signal(step.tb_frame):
            return True
        step = step.tb_next
    return False


def raise_interrupt() -> None:
    """Raise the exception that is being handled again, if a signal handler has raised it."""
    error = sys.exception()
    if error is not None and raised_by_signal(error):
        raise error


def _handles_signal(frame: FrameType) -> bool:
    """Return whether a frame has an integer and its calling frame as two consecutive arguments."""
    code, caller = frame.f_code, frame.f_back
    if caller is None:
        return False
    local = frame.f_locals
    arguments = [local.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & _VARARGS:
        arguments += local.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return any(one.__class__ is int and other is caller for one, other in pairwise(arguments))
