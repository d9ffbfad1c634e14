"""Check of a selector against all laws, in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection

from balancekit._support import validation as valid
from balancekit._support.extras import extra
from balancekit._support.functions import has_methods

with extra("testing"):
    from hypothesis.errors import Flaky

from balancekit.balancer import LoadBalancer
from balancekit.errors import ConfigurationError
from balancekit.protocols import LoadPolicy, Selector
from balancekit.testing._broken import LawBroken
from balancekit.testing._made import made
from balancekit.testing.laws import ALL, Law, Subject

__all__ = ["check_selector"]

SELECTOR = "a selector: an object with select()"


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
        If ``make`` does not return a new selector at each call, a balancer refuses the selector or the load,
        ``laws`` is empty or holds something that is not callable,
        or a number is outside its bounds.

    Example
    -------
    >>> from balancekit import SmoothWeightedRoundRobin
    >>> from balancekit.testing import check_selector
    >>> check_selector(SmoothWeightedRoundRobin, examples=5)
    """
    first = made(make, SELECTOR, example="lambda: {}(...)")
    if not has_methods(first, "select"):
        raise ConfigurationError("make", make, f"a function without parameters that makes {SELECTOR}")
    if make() is first:
        raise ConfigurationError("make", make, "a function that makes a fresh selector at each call")
    if not isinstance(laws, Collection) or not laws or not all(callable(law) for law in laws):
        raise ConfigurationError("laws", laws, "functions from balancekit.testing.laws, at least one")
    _refuse(first, load)
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
            raise _broken(law, error) from error


def _refuse(selector: Selector, load: LoadPolicy | None) -> None:
    """Raise the errors with which a balancer refuses a selector or a load. If a hook raises, a law reports it."""
    try:
        LoadBalancer(["a"], selector=selector, load=load)
    except ConfigurationError:
        raise
    except Exception:
        return


def _broken(law: Law, error: Exception) -> LawBroken:
    """Return the error for a selector that raised, with the example that Hypothesis noted."""
    first, when = error, ""
    if isinstance(error, Flaky):  # a group of the errors of several runs
        first = getattr(error, "exceptions", (error,))[0]
        when = " once, but not again with the same arguments: it keeps state outside itself"
    if isinstance(first, LawBroken):
        broken = LawBroken(first.law, f"{first.args[1]};{when}")
    else:
        name = f"{_number(law)}, {getattr(law, '__name__', 'law')}"
        broken = LawBroken(name, f"it raised {type(first).__name__}{when}: {first}")
    for note in dict.fromkeys([*getattr(first, "__notes__", ()), *getattr(error, "__notes__", ())]):
        if "reproduce" not in note:  # the traceback of another run
            broken.add_note(note)
    return broken


def _number(law: Law) -> int:
    """Return the number in a law's docstring ("Law 3. ..."). A law without a number is checked last."""
    words = (law.__doc__ or "").split()
    number = words[1].rstrip(".") if len(words) > 1 else ""
    return int(number) if number.isdigit() else 1_000
