"""Worker processes that end with their parent, however it ends.

A pool of processes ends its workers when the parent closes it. A parent that is killed (SIGTERM, SIGKILL) closes nothing, and
its workers would wait for work for ever. Cost: one thread a worker, which sleeps.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading

__all__ = ["begin_worker"]


def begin_worker(*, ignore_interrupts: bool = False) -> None:
    """Make this process end with its parent. Called in a worker, as the initializer of a pool.

    Parameters
    ----------
    ignore_interrupts
        Leave Ctrl-C, which the terminal sends to all processes, to the parent.
    """
    if ignore_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="balancekit-worker", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)
