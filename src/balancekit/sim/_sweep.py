"""Parameter sweeps: many simulations on all processors.

Each case is a function call with its own arguments, including the seed. So its result does not depend on when and in
which process it runs. Any ``concurrent.futures.Executor`` can run the cases, such as the executor of a dask cluster
(``distributed.Client(...).get_executor()``) for many machines.

Cost: besides the cases, about 1 ms per chunk, and half a second to start the processes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, TypeVar

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.workers import begin_worker
from balancekit.errors import ConfigurationError

__all__ = ["sweep"]

R = TypeVar("R")


@checked_arguments
def sweep(
    run: Callable[..., R],
    cases: Iterable[Mapping[str, Any]],
    *,
    executor: Executor | None = None,
    chunk: int = 1,
) -> list[R]:
    """Call ``run(**case)`` for each case; return the results in the order of the cases.

    Parameters
    ----------
    run
        A function at module level, so that other processes can import it.
    cases
        Keyword arguments of each call. Arguments and results must be picklable if processes run them.
    executor
        Executor that runs the cases. If left out, one process per processor of this machine runs them.
    chunk
        Number of cases that are sent to a process at once, >= 1. Use more than one if a case takes less than about
        10 ms.

    Raises
    ------
    ConfigurationError
        If ``run`` is not callable, a case is no mapping, or ``chunk`` is not a whole number >= 1.
    Exception
        The exception of the first case that failed, with a note that names the case. Cases that have not begun are
        cancelled.

    Example
    -------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from balancekit.sim import sweep
    >>> with ThreadPoolExecutor() as threads:
    ...     sweep(pow, [{"base": 2, "exp": n} for n in range(5)], executor=threads, chunk=2)
    [1, 2, 4, 8, 16]
    """
    if not callable(run):
        raise ConfigurationError("run", run, "a function")
    listed = list(cases)
    for case in listed:
        if not isinstance(case, Mapping):
            raise ConfigurationError("cases", case, "mappings from names of arguments to values")
    size = valid.integer("chunk", chunk, minimum=1)
    if executor is not None:
        return _sweep(run, listed, executor, size)
    context = multiprocessing.get_context(_start_method())
    with ProcessPoolExecutor(mp_context=context, initializer=begin_worker) as processes:
        return _sweep(run, listed, processes, size)


def _sweep(
    run: Callable[..., R], cases: Sequence[Mapping[str, Any]], executor: Executor, size: int
) -> list[R]:
    starts = range(0, len(cases), size)
    futures: list[Future[list[R]]] = [
        executor.submit(_run_chunk, run, start, [dict(case) for case in cases[start : start + size]])
        for start in starts
    ]
    try:
        return [result for future in futures for result in future.result()]
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _run_chunk(run: Callable[..., R], start: int, cases: Sequence[Mapping[str, Any]]) -> list[R]:
    """Run cases one after the other in the current process or thread."""
    results = []
    for number, case in enumerate(cases, start):
        try:
            results.append(run(**case))
        except Exception as error:
            error.add_note(f"case {number}: {dict(case)!r}")
            raise
    return results


def _start_method() -> str:
    """Return the start method for processes. It is never ``fork``: forking a process that has threads can deadlock."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
