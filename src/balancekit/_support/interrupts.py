"""Exceptions of signal handlers, distinguished from those of the callback that they interrupted.

A signal handler may raise an ordinary ``Exception``: alarms that limit the time of a call do, and so does Celery's soft
time limit. It is raised wherever the main thread is, so possibly inside a ``try`` that contains the errors of a
callback; containing it there would hide it from the program that installed the handler.

How to recognise it: the interpreter calls a handler with the number of the signal and the frame that it interrupts. So
the traceback passes through a frame one of whose arguments is the frame it was called from. Walking it costs a few
microseconds, and only when something was raised.

Not seen: a handler that assigns to its own parameters or is written in C, and an exception that a thread is given by
``PyThreadState_SetAsyncExc``. The latter has no frame of its own, as the error of a callback written in C has none.
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
    """Return whether the traceback of an exception, as far as it has been unwound, passes through a signal handler."""
    step = error.__traceback__
    while step is not None:
        if _handles_signal(step.tb_frame):
            return True
        step = step.tb_next
    return False


def raise_interrupt() -> None:
    """Raise the exception that is being handled again if a signal handler raised it."""
    error = sys.exception()
    if error is not None and raised_by_signal(error):
        raise error


def _handles_signal(frame: FrameType) -> bool:
    """Return whether a frame was called with the frame that it was called from, behind the number of a signal."""
    code, caller = frame.f_code, frame.f_back
    if caller is None:
        return False
    local = frame.f_locals
    arguments = [local.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & _VARARGS:
        arguments += local.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount], ())
    return any(one.__class__ is int and other is caller for one, other in pairwise(arguments))
