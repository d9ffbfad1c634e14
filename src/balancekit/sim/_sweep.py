"""How does the outcome depend on the parameters? Many simulations, on as many processors as there are.

Each case is a function call with its own arguments, seed included, so its result does not depend on where or in
which order it runs. Any ``concurrent.futures.Executor`` will do: processes, or the executor of a dask cluster
(``distributed.Client(...).get_executor()``) for many machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any, TypeVar

from balancekit.errors import ConfigurationError

__all__ = ["sweep"]

R = TypeVar("R")


def sweep(
    run: Callable[..., R],
    cases: Iterable[Mapping[str, Any]],
    *,
    executor: Executor | None = None,
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

    Raises
    ------
    ConfigurationError
        If ``run`` cannot be called.
    """
    if not callable(run):
        raise ConfigurationError("run", run, "a function")
    listed = [dict(case) for case in cases]
    if executor is not None:
        return [future.result() for future in [executor.submit(run, **case) for case in listed]]
    with ProcessPoolExecutor() as processes:
        return [future.result() for future in [processes.submit(run, **case) for case in listed]]
