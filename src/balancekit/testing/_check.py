"""Check of a selector against all laws, in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection

from balancekit._support import validation as valid
from balancekit._support.functions import has_methods
from balancekit.errors import ConfigurationError
from balancekit.protocols import LoadPolicy, Selector
from balancekit.testing._broken import LawBroken
from balancekit.testing.laws import ALL, Law, Subject

__all__ = ["check_selector"]


def check_selector(
    make: Callable[[], Selector],
    laws: Collection[Law] = ALL,
    *,
    load: LoadPolicy | None = None,
    held: int = 0,
    examples: int = 50,
) -> None:
    """Check a selector against laws. The first broken law raises.

    Parameters
    ----------
    make
        Function that returns a new selector: its class, or ``lambda: MyAlgorithm(...)``.
    laws
        The laws to check, from ``balancekit.testing.laws``. Pass ``ALL - {WEIGHTED}`` for an algorithm that ignores
        weights.
    load
        Load policy of the nodes. If left out, the selector's ``default_load``, or ``InFlight()`` if it has none.
    held
        Number of requests kept in flight per unit of weight while shares are counted, >= 0. Use a positive number for
        least-loaded algorithms: they follow weights only under load.
    examples
        Number of examples that a law with random examples tries, >= 1.

    Raises
    ------
    LawBroken
        If a law is broken, or the selector raises. The error names the law and the observation. Equal calls give equal
        results.
    ConfigurationError
        If ``make`` does not return a new selector at each call, ``laws`` is empty or holds something that is not callable,
        or a number is outside its bounds.

    Example
    -------
    >>> from balancekit import SmoothWeightedRoundRobin
    >>> check_selector(SmoothWeightedRoundRobin, examples=5)
    """
    if not callable(make) or not has_methods(first := _made(make), "select"):
        raise ConfigurationError("make", make, "a function that makes a selector: an object with select()")
    if make() is first:
        raise ConfigurationError("make", make, "a function that makes a fresh selector at each call")
    if not isinstance(laws, Collection) or not laws or not all(callable(law) for law in laws):
        raise ConfigurationError("laws", laws, "functions from balancekit.testing.laws, at least one")
    subject = Subject(
        make,
        load=load,
        held=valid.integer("held", held, minimum=0),
        examples=valid.integer("examples", examples, minimum=1),
    )
    for law in sorted(laws, key=_number):
        try:
            law(subject)
        except LawBroken:
            raise
        except Exception as error:  # raised by the selector: a pick must not raise
            name = getattr(law, "__name__", "law")
            raise LawBroken(
                f"{_number(law)}, {name}", f"it raised {type(error).__name__}: {error}"
            ) from error


def _made(make: Callable[[], Selector]) -> Selector:
    """Return the first selector; refuse a class whose constructor needs arguments."""
    try:
        return make()
    except TypeError as error:
        if not isinstance(make, type):
            raise
        wanted = f"a function without parameters: `lambda: {make.__name__}(...)` ({error})"
        raise ConfigurationError("make", make, wanted) from None


def _number(law: Law) -> int:
    """Return the number in a law's docstring ("Law 3. ..."). A law without a number is checked last."""
    words = (law.__doc__ or "").split()
    number = words[1].rstrip(".") if len(words) > 1 else ""
    return int(number) if number.isdigit() else 1_000
