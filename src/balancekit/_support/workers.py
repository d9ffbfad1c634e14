"""Worker processes that end when their parent process ends.

A process pool ends its workers when the parent closes the pool. A parent that is killed (SIGTERM, SIGKILL) does not
close it, and its workers would wait for work forever.

Cost: one sleeping thread per worker.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading

__all__ = ["begin_worker"]


def begin_worker(*, ignore_interrupts: bool = False) -> None:
    """Make this process end when its parent ends. Call it in a worker, as the initializer of a process pool.

    Parameters
    ----------
    ignore_interrupts
        Whether to ignore SIGINT. The terminal sends Ctrl-C to all processes; the parent then handles it alone.
    """
    if ignore_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="balancekit-worker", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)
