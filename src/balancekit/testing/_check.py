"""Check of a selector against the laws, in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection

from balancekit._support import validation as valid
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
    """Try a selector on every law; raise at the first that it breaks.

    Parameters
    ----------
    make
        Makes a fresh selector: its class, or ``lambda: MyAlgorithm(...)``.
    laws
        Which laws, of ``balancekit.testing.laws``. ``ALL - {WEIGHTED}`` for algorithms that ignore weights.
    load
        The loads of the nodes it sees; its ``default_load`` if left out, else ``InFlight()``.
    held
        Requests kept in flight per unit of weight while shares are counted, >= 0. Algorithms that look
        for the least loaded are in proportion only under load.
    examples
        How many cases each searching law tries, >= 1.

    Raises
    ------
    LawBroken
        Naming the law and what was seen, or what the selector raised. Always the same for the same selector.
    ConfigurationError
        If ``make`` makes no selector, or ``laws`` are no laws.

    Example
    -------
    >>> from balancekit import SmoothWeightedRoundRobin
    >>> check_selector(SmoothWeightedRoundRobin, examples=5)
    """
    if not callable(make) or not callable(getattr(first := _made(make), "select", None)):
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
        except Exception as error:  # the selector's own: a pick raises nothing
            name = getattr(law, "__name__", "law")
            raise LawBroken(
                f"{_number(law)}, {name}", f"it raised {type(error).__name__}: {error}"
            ) from error


def _made(make: Callable[[], Selector]) -> Selector:
    """Make the first; a class whose constructor takes arguments is none that can be called without any."""
    try:
        return make()
    except TypeError as error:
        if not isinstance(make, type):
            raise
        wanted = f"a function without parameters: `lambda: {make.__name__}(...)` ({error})"
        raise ConfigurationError("make", make, wanted) from None


def _number(law: Law) -> int:
    """Return the number in a law's docstring ("Law 3. ..."); laws of the user come last."""
    words = (law.__doc__ or "").split()
    number = words[1].rstrip(".") if len(words) > 1 else ""
    return int(number) if number.isdigit() else 1_000
