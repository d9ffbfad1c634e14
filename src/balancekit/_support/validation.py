"""Validation of arguments.

Every function returns the value converted to a plain type. It raises :class:`~balancekit.errors.ConfigurationError` if
the value is not allowed. The error names the parameter, the value and what is allowed. A ``bool``, also one of numpy,
is never accepted as a number: ``weight=True`` is a mistake.
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

from balancekit._support.functions import has_methods
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.plain import is_truth
from balancekit._support.text import encodable, plain
from balancekit.errors import ConfigurationError, brief

__all__ = [
    "MAX_CLOCK_S",
    "clock",
    "exclusions",
    "flag",
    "ids",
    "instance",
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
"""Seconds above which a timeout or an interval was probably meant in milliseconds."""
LONG_TIMEOUT_S: Final = 1000.0
"""The same for the timeout of a single request. 1000 is one second in milliseconds, but a quarter of an hour in seconds."""
MAX_WAIT_S: Final = 4e6
"""The longest single wait in seconds. Systems refuse longer ones, so a longer time is waited for in several."""
MAX_ITEMS: Final = 1_000_000
"""The largest number of items that an iterable, for example of endpoints, may have."""
_CLOCK: Final = "a callable that returns seconds, such as time.monotonic"
_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_IDS: Final = "a collection of endpoint ids (strings)"
MAX_COST: Final = 1e12
"""The largest cost of a request. In a sum with a larger one, the costs of others would be lost."""
MAX_CLOCK_S: Final = 1e12
"""The largest reading of a clock in seconds. Larger ones are nanoseconds or damage, and a float that large has coarse steps."""
MAX_WEIGHT: Final = 1e100
"""The largest weight. Sums of larger weights could overflow a float."""


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
    """Return a finite number in ``[minimum, maximum]`` that is greater than ``above``, as a float. Zero has no sign.

    Parameters
    ----------
    parameter
        The name of the parameter, for the error.
    value
        The value.
    minimum, maximum
        The bounds, inclusive.
    above
        A lower bound, exclusive.
    infinite
        Whether infinity is allowed.
    unit
        The unit, for the error.
    hint
        The end of the error message. If at most 1 is allowed and the value looks like a percentage, the message has the
        corresponding fraction instead.
    """
    if value.__class__ is float and minimum <= value <= maximum and above is None:  # NaN is in no range
        result: float = value
        if -math.inf < result < math.inf or (infinite and result > 0.0):
            return result + 0.0
    result = math.nan
    if (hasattr(value, "__float__") or hasattr(value, "__index__")) and not is_truth(value):
        try:
            result = float.__float__(value) if isinstance(value, float) else float(value)
        except Exception:
            raise_interrupt()
            result = math.nan
        finite = math.isfinite(result) or (infinite and result == math.inf)
        if finite and minimum <= result <= maximum and (above is None or result > above):
            return result + 0.0  # not -0.0, which is printed, and of which the sign is copied
    if maximum == 1.0 and 1.0 < result <= 100.0:
        hint = f"; for {result:g} % write {result / 100.0:g}"
    range_ = _range(minimum, maximum, above) + (" or infinity" if infinite else "")
    raise ConfigurationError(parameter, value, f"a finite number{unit and ' of '}{unit}{range_}{hint}")


def seconds(
    parameter: str, value: Any, *, minimum: float = 0.0, above: float | None = None, long: float = LONG_S
) -> float:
    """Return a number of seconds. Emit a ``UserWarning`` if it is above ``long``: milliseconds were probably meant."""
    result = number(parameter, value, minimum=minimum, above=above, unit="seconds")
    if result > long:
        text = f"{parameter}={result:g} is more than {_words(long)}; it counts seconds: write {result / 1000.0:g} for {result:g} ms"
        warnings.warn(text, UserWarning, stacklevel=4)
    return result


def _words(seconds: float) -> str:
    return "an hour" if seconds == LONG_S else f"{seconds / 60.0:.0f} minutes"


def integer(parameter: str, value: Any, *, minimum: int, maximum: float = math.inf) -> int:
    """Return an integer in ``[minimum, maximum]``. A float is refused, even if it is integral."""
    if value.__class__ is int and minimum <= value <= maximum:
        whole: int = value
        return whole
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
    """Return a plain string. It must not be empty unless ``empty``, and must have no lone surrogate unless ``any_text``."""
    if isinstance(value, str) and ((found := plain(value)) or empty):
        if any_text or encodable(found):
            return found
        raise ConfigurationError(parameter, found, "text that UTF-8 can encode, without lone surrogates")
    raise ConfigurationError(parameter, value, "a string" if empty else "a non-empty string")


def path(parameter: str, value: Any, *, allowed: str = "the path of a file") -> str:
    """Return a path as a string.

    A number is refused, because ``open`` would use it as a file descriptor and close that file.
    """
    if isinstance(value, str | os.PathLike):
        found = os.fspath(value)
        if isinstance(found, str) and (found := plain(found)) and _names_a_file(found):
            return found
    raise ConfigurationError(parameter, value, allowed)


def _names_a_file(path_: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path_)
    except UnicodeEncodeError:  # a lone surrogate that `surrogateescape` cannot encode
        return False


def items(parameter: str, value: Iterable[T], *, limit: int = MAX_ITEMS) -> list[T]:
    """Return the items of an iterable as a list.

    An iterable with more than ``limit`` items is refused after that many. A string is refused, and so is an object that
    raises ``TypeError`` when it is iterated, such as an array without dimensions.
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
    """Return at most a million numbers, each as :func:`number` returns it. A million take a tenth of a second."""
    if isinstance(value, str | bytes | bytearray):
        raise ConfigurationError(parameter, value, "a list of numbers")
    found = items(parameter, value)
    with suppress(OverflowError):  # an integer that no float can hold is refused below
        if {*map(type, found)} <= {float, int} and all(map(math.isfinite, found)):
            least = min(found, default=minimum)
            if least >= minimum and (above is None or not found or least > above):
                return [one + 0.0 for one in found]
    return [number(parameter, one, minimum=minimum, above=above) for one in found]


def labels(parameter: str, value: object) -> Mapping[str, str]:
    """Return a read-only copy of a mapping from strings to strings. All empty mappings share one copy."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        if not pairs:
            return NO_LABELS
        if all(isinstance(k, str) and isinstance(v, str) for k, v in pairs):
            copy = {text(parameter, k, empty=True): text(parameter, v, empty=True) for k, v in pairs}
            return MappingProxyType(copy)
    raise ConfigurationError(parameter, value, "a mapping from strings to strings")


def ids(parameter: str, value: object) -> frozenset[str]:
    """Return a set of endpoint ids. A single string is refused, because it would be read as a list of letters."""
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        try:
            members = items(parameter, value)
        except ConfigurationError:
            raise
        except Exception as error:  # from a method of the value's class
            raise_interrupt()
            raise ConfigurationError(parameter, value, _IDS) from error
        if all(isinstance(member, str) for member in members):
            return frozenset(map(plain, members))
    raise ConfigurationError(parameter, value, _IDS)


def exclusions(value: Any) -> Collection[str]:
    """Return the ids of endpoints that a request excludes.

    ``None`` and other false scalars exclude nothing, because the fast path tests only the truth value.
    """
    return () if value.__class__ in _SCALARS and not value else ids("exclude", value)


def key(value: object) -> None:
    """Raise ``ConfigurationError`` if a key is not a string, bytes or an integer."""
    if not isinstance(value, str | bytes | int) or isinstance(value, bool):
        raise ConfigurationError("key", value, "a str, bytes or int")


def request(key_: object, cost: object, attributes: object) -> None:
    """Raise ``ConfigurationError`` if the key, the cost or the attributes of a request are not allowed."""
    if key_ is not None:
        key(key_)
    number("cost", cost, above=0.0, maximum=MAX_COST)
    if attributes is not None and not isinstance(attributes, Mapping):
        raise ConfigurationError("attributes", attributes, "a mapping")


def instance(parameter: str, value: T, *methods: str, allowed: str) -> T:
    """Return an object that has these methods; a class, which was to be called, is refused."""
    if not has_methods(value, *methods):
        raise ConfigurationError(parameter, value, allowed)
    return value


def clock(parameter: str, value: Any) -> None:
    """Call a clock once. Raise ``ConfigurationError`` if it raises, or returns no finite number."""
    try:
        now = float(value() + 0.0)
    except Exception as error:
        raise_interrupt()
        raise ConfigurationError(parameter, value, _CLOCK) from error
    if not -MAX_CLOCK_S <= now <= MAX_CLOCK_S:
        raise ConfigurationError(parameter, value, _CLOCK)


def weight(parameter: str, value: Any, *, above: float | None = None) -> float:
    """Return a weight: a number >= 0, or greater than ``above``, and at most :data:`MAX_WEIGHT`."""
    result = number(parameter, value, minimum=0.0 if above is None else -math.inf, above=above)
    if result > MAX_WEIGHT:
        raise ConfigurationError(parameter, value, f"a number up to {MAX_WEIGHT:g}")
    return result


def members(kind: type[enum.Enum]) -> str:
    """Return the text with which an error lists the members of an enumeration.

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
    """Return a member of an enumeration. If the members are strings, the value may be one of those strings."""
    if isinstance(value, kind) or (isinstance(value, str) and issubclass(kind, str)):
        with suppress(ValueError):
            return kind(value)
    raise ConfigurationError(parameter, value, members(kind))


def flag(parameter: str, value: object) -> bool:
    """Return a ``bool``. Other values with a truth value are refused."""
    if isinstance(value, bool):
        return value
    raise ConfigurationError(parameter, value, "True or False")


def _bound(value: float) -> str:
    """Return the text of a bound: all digits of an integer, six significant digits of a float."""
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
