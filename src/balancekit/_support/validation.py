"""Validation of arguments: one place for the rules, one wording for the errors.

Every function returns the value in the type that the rest of the library relies on, or raises
:class:`~balancekit.errors.ConfigurationError` naming the parameter, the value and what is allowed.
``bool``, numpy's too, is never a number here: ``weight=True`` is a mistake, not a weight of one.
"""

from __future__ import annotations

import enum
import math
import operator
import os
import warnings
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, TypeVar

from balancekit._support.interrupts import raise_interrupt
from balancekit._support.plain import is_truth
from balancekit._support.text import encodable, plain
from balancekit.errors import ConfigurationError, brief

__all__ = [
    "clock",
    "exclusions",
    "flag",
    "ids",
    "integer",
    "items",
    "key",
    "labels",
    "member",
    "members",
    "number",
    "numbers",
    "path",
    "request",
    "seconds",
    "text",
    "weight",
]

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})
LONG_S: Final = 3600.0
"""Seconds above which a time-out or an interval is probably in milliseconds."""
LONG_TIMEOUT_S: Final = 1000.0
"""The same of a single request: 1000 is a second in milliseconds, and a quarter of an hour in seconds."""
MAX_ITEMS: Final = 1_000_000
"""Items of an iterable that are read at most: endpoints, nodes, listeners."""
_CLOCK: Final = "a callable that returns seconds, such as time.monotonic"
_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_IDS: Final = "a collection of endpoint ids (strings)"
MAX_WEIGHT: Final = 1e100
"""Greater weights would add up to more than a float can hold."""


def number(
    parameter: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float | None = None,
    infinite: bool = False,
    unit: str = "",
    hint: str = "",
) -> float:
    """Return a finite real number in ``[minimum, maximum]``, and greater than ``above`` if that is given.

    With ``infinite``, infinity is allowed, too. The error names the unit, and ends with ``hint``; where at most 1 is allowed,
    a percentage gets the share that was probably meant.
    """
    result = math.nan
    if (hasattr(value, "__float__") or hasattr(value, "__index__")) and not is_truth(value):
        try:
            result = float.__float__(value) if isinstance(value, float) else float(value)
        except Exception:
            raise_interrupt()
            result = math.nan
        finite = math.isfinite(result) or (infinite and result == math.inf)
        if finite and minimum <= result <= maximum and (above is None or result > above):
            return result
    if maximum == 1.0 and 1.0 < result <= 100.0:
        hint = f"; for {result:g} % write {result / 100.0:g}"
    range_ = _range(minimum, maximum, above) + (" or infinity" if infinite else "")
    raise ConfigurationError(parameter, value, f"a finite number{unit and ' of '}{unit}{range_}{hint}")


def seconds(
    parameter: str, value: Any, *, minimum: float = 0.0, above: float | None = None, long: float = LONG_S
) -> float:
    """Return a number of seconds, and warn of one above ``long``, where seconds are short: milliseconds were meant."""
    result = number(parameter, value, minimum=minimum, above=above, unit="seconds")
    if result > long:
        text = f"{parameter}={result:g} is more than {_words(long)}; it counts seconds: write {result / 1000.0:g} for {result:g} ms"
        warnings.warn(text, UserWarning, stacklevel=4)
    return result


def _words(seconds: float) -> str:
    return "an hour" if seconds == LONG_S else f"{seconds / 60.0:.0f} minutes"


def integer(parameter: str, value: Any, *, minimum: int, maximum: float = math.inf) -> int:
    """Return a whole number in ``[minimum, maximum]``; a float is refused even when it is whole."""
    if hasattr(value, "__index__") and not is_truth(value):
        try:
            result = operator.index(value)
        except Exception:
            raise_interrupt()
            raise ConfigurationError(
                parameter, value, f"a whole number{_range(minimum, maximum, None)}"
            ) from None
        if minimum <= result <= maximum:
            return result
    raise ConfigurationError(parameter, value, f"a whole number{_range(minimum, maximum, None)}")


def text(parameter: str, value: object, *, empty: bool = False, any_text: bool = False) -> str:
    """Return a plain string, non-empty unless ``empty``.

    Lone surrogates, which cannot be sent, are refused unless ``any_text``.
    """
    if isinstance(value, str) and ((found := plain(value)) or empty):
        if any_text or encodable(found):
            return found
        raise ConfigurationError(parameter, found, "text that UTF-8 can encode, without lone surrogates")
    raise ConfigurationError(parameter, value, "a string" if empty else "a non-empty string")


def path(parameter: str, value: Any, *, allowed: str = "the path of a file") -> str:
    """Return a path as text.

    A number is refused: ``open`` would take it for the descriptor of an open file, and close that.
    """
    if isinstance(value, str | os.PathLike):
        found = os.fspath(value)
        if isinstance(found, str) and (found := plain(found)) and _names_a_file(found):
            return found
    raise ConfigurationError(parameter, value, allowed)


def _names_a_file(path_: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path_)
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return False


def items(parameter: str, value: Iterable[T], *, limit: int = MAX_ITEMS) -> list[T]:
    """Return what an iterable yields, up to a limit.

    One that never ends is refused, and not read for ever; so are a text, and what cannot be iterated although its class
    says so: an array without dimensions.
    """
    if isinstance(value, str):
        raise ConfigurationError(parameter, value, f"several values, such as [{brief(value)}]")
    try:
        iterator = iter(value)
    except TypeError as error:
        raise ConfigurationError(parameter, value, "several values, such as a list") from error
    found = list(islice(iterator, limit + 1))
    if len(found) > limit:
        raise ConfigurationError(parameter, value, f"at most {limit:,} items")
    return found


def numbers(
    parameter: str, value: Iterable[Any], *, minimum: float, above: float | None = None
) -> list[float]:
    """Return finite numbers, at most a million, each as :func:`number` wants it; a million take a tenth of a second."""
    if isinstance(value, str | bytes | bytearray):
        raise ConfigurationError(parameter, value, "a list of numbers")
    found = items(parameter, value)
    with suppress(OverflowError):  # an integer that no float can hold is refused below
        if {*map(type, found)} <= {float, int} and all(map(math.isfinite, found)):
            least = min(found, default=minimum)
            if least >= minimum and (above is None or not found or least > above):
                return list(map(float, found))
    return [number(parameter, one, minimum=minimum, above=above) for one in found]


def labels(parameter: str, value: object) -> Mapping[str, str]:
    """Return a read-only copy of a mapping from strings to strings; the same one for all that are empty."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        if not pairs:
            return NO_LABELS
        if all(isinstance(k, str) and isinstance(v, str) for k, v in pairs):
            copy = {text(parameter, k, empty=True): text(parameter, v, empty=True) for k, v in pairs}
            return MappingProxyType(copy)
    raise ConfigurationError(parameter, value, "a mapping from strings to strings")


def ids(parameter: str, value: object) -> frozenset[str]:
    """Return a collection of endpoint ids; a bare string is refused, it would be read letter by letter."""
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        try:
            members = items(parameter, value)
        except ConfigurationError:
            raise
        except Exception as error:  # of the value's own class
            raise_interrupt()
            raise ConfigurationError(parameter, value, _IDS) from error
        if all(isinstance(member, str) for member in members):
            return frozenset(map(plain, members))
    raise ConfigurationError(parameter, value, _IDS)


def exclusions(value: Any) -> Collection[str]:
    """Return the ids of endpoints that a request is not to be sent to.

    What is empty, ``None`` too, excludes nothing: a plain request looks at no more than its truth.
    """
    return () if value.__class__ in _SCALARS and not value else ids("exclude", value)


def key(value: object) -> None:
    """Refuse what no request can be hashed by."""
    if not isinstance(value, str | bytes | int) or isinstance(value, bool):
        raise ConfigurationError("key", value, "a str, bytes or int")


def request(key_: object, cost: object, attributes: object) -> None:
    """Refuse a key, a cost or attributes that no request can have."""
    if key_ is not None:
        key(key_)
    number("cost", cost, above=0.0)
    if attributes is not None and not isinstance(attributes, Mapping):
        raise ConfigurationError("attributes", attributes, "a mapping")


def clock(parameter: str, value: Any) -> None:
    """Refuse what returns no seconds when it is called. It is called once."""
    try:
        now = float(value() + 0.0)
    except Exception as error:
        raise_interrupt()
        raise ConfigurationError(parameter, value, _CLOCK) from error
    if not math.isfinite(now):
        raise ConfigurationError(parameter, value, _CLOCK)


def weight(parameter: str, value: Any, *, above: float | None = None) -> float:
    """Return a weight: a finite number >= 0, or greater than ``above``, that can be added to others."""
    result = number(parameter, value, minimum=0.0 if above is None else -math.inf, above=above)
    if result > MAX_WEIGHT:
        raise ConfigurationError(parameter, value, f"a number up to {MAX_WEIGHT:g}")
    return result


def members(kind: type[enum.Enum]) -> str:
    """Return what an error text says of an enumeration: all that is allowed, as it is to be written.

    Example
    -------
    >>> class Side(enum.StrEnum):
    ...     LEFT = "left"
    ...     RIGHT = "right"
    >>> members(Side)
    "a member of Side: 'left', 'right'"
    """
    written = [
        repr(one.value) if isinstance(one.value, str) and isinstance(one, str) else str(one) for one in kind
    ]
    return f"a member of {kind.__name__}: {', '.join(written)}"


def member(parameter: str, value: object, kind: type[E]) -> E:
    """Return the member of an enumeration that a value is or, if its members are texts, names."""
    if isinstance(value, kind) or (isinstance(value, str) and issubclass(kind, str)):
        with suppress(ValueError):
            return kind(value)
    raise ConfigurationError(parameter, value, members(kind))


def flag(parameter: str, value: object) -> bool:
    """Return ``True`` or ``False``; values that merely count as one are refused."""
    if isinstance(value, bool):
        return value
    raise ConfigurationError(parameter, value, "True or False")


def _bound(value: float) -> str:
    """Return a bound in full, if it is a whole number that was written as one."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def _range(minimum: float, maximum: float, above: float | None) -> str:
    parts = []
    if above is not None:
        parts.append(f"> {_bound(above)}")
    if minimum != -math.inf and (above is None or minimum > above):
        parts.append(f">= {_bound(minimum)}")
    if maximum != math.inf:
        parts.append(f"<= {_bound(maximum)}")
    return " " + " and ".join(parts) if parts else ""
