"""Parameter sweeps: many simulations, on all processors.

Each case is a function call with its own arguments, seed included, so its result does not depend on where, when or with
whichever process runs it. Any ``concurrent.futures.Executor`` will do: processes, or the executor of a dask cluster
(``distributed.Client(...).get_executor()``) for many machines.

Cost: about a millisecond a chunk besides the cases, and the start of the processes: half a second.
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
    """Call ``run(**case)`` for every case; return the results in the order of the cases.

    Parameters
    ----------
    run
        A function at the top of a module, so that other processes can import it.
    cases
        Keyword arguments, picklable.
    executor
        Where to run; processes on this machine if left out.
    chunk
        How many cases are sent at once, >= 1. More than one pays if a case takes less than about 10 ms.

    Raises
    ------
    ConfigurationError
        If ``run`` cannot be called, or a case is no mapping.
    Exception
        What the first of the cases that failed raised, with a note that names the case. Those that have not begun are
        given up.

    Example
    -------
    >>> from concurrent.futures import ThreadPoolExecutor
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
    """Run some cases one after the other, wherever we are."""
    results = []
    for number, case in enumerate(cases, start):
        try:
            results.append(run(**case))
        except Exception as error:
            error.add_note(f"case {number}: {dict(case)!r}")
            raise
    return results


def _start_method() -> str:
    """Return how to start processes: forking a program that has threads can hang, so not that."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
