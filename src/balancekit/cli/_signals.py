"""Signals that end a command like Ctrl-C: the cursor of the terminal is shown again, and child processes end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

__all__ = ["ended_by_signals"]

NAMES: Final = ("SIGTERM", "SIGHUP")
"""Names of the signals that request the end of a process. Windows has no SIGHUP."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` for signals that request the end of the process, while the block runs.

    A signal that is ignored (``nohup``) or handled already keeps its handler. A second signal ends the process at once.
    """
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in [getattr(signal, name) for name in NAMES if hasattr(signal, name)]:
                if signal.getsignal(number) is signal.SIG_DFL:
                    stack.callback(signal.signal, number, signal.signal(number, _end))
        yield


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
