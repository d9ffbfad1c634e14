"""Conversion of numbers and strings of other classes to plain ones, by the annotation of a field or a parameter.

Other classes are for example ``Decimal``, those of numpy, and subclasses of ``str`` or ``float``. Their objects may
compare, hash, add and print in other ways than plain ones. So each is converted once, when it is passed in. A value
that cannot be converted is returned unchanged; the validation of the field or parameter then refuses it.

Cost: one look-up of a class for a plain value; one per item of a container.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final, TypeAlias

from balancekit._support.interrupts import raise_interrupt

__all__ = ["PLAIN", "Converter", "converter", "is_truth"]

Converter: TypeAlias = Callable[[Any], Any]

PLAIN: Final = frozenset({int, float, bool, str, bytes, type(None)})
"""Classes whose values are never converted. ``True`` does not become a number, and no string is parsed as a number."""


def is_truth(value: object) -> bool:
    """Return whether a value is a ``bool`` or numpy's boolean, which is recognised by the name of its class."""
    kind = type(value)
    return kind is bool or (kind.__name__ in _TRUTHS and kind.__module__ == "numpy")


_TRUTHS: Final = frozenset({"bool", "bool_"})
"""Names of numpy's class of booleans, since version 2 and before it."""


def _real(value: Any) -> Any:
    if value.__class__ in PLAIN or is_truth(value):
        return value
    if not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        return value
    try:
        return float.__float__(value) if isinstance(value, float) else float(value)
    except Exception:
        raise_interrupt()
        return value


def _whole(value: Any) -> Any:
    if value.__class__ in PLAIN or not hasattr(value, "__index__") or is_truth(value):
        return value
    try:
        return int.__index__(value) if isinstance(value, int) else operator.index(value)
    except Exception:
        raise_interrupt()
        return value


def _text(value: Any) -> Any:
    return str.__str__(value) if value.__class__ is not str and isinstance(value, str) else value


def _octets(value: Any) -> Any:
    return bytes.__bytes__(value) if value.__class__ is not bytes and isinstance(value, bytes) else value


def _items(convert: Converter) -> Converter:
    def convert_items(value: Any) -> Any:
        """Convert the items of a list, a tuple or a set. A copy is made only if an item must be converted."""
        for kind in (list, tuple, frozenset, set):
            if isinstance(value, kind):
                return value if {*map(type, value)} <= PLAIN else kind(map(convert, value))
        return value

    return convert_items


def _pairs(convert_key: Converter, convert: Converter) -> Converter:
    def convert_pairs(value: Any) -> Any:
        """Convert the keys and values of a mapping. A copy is made only if one must be converted."""
        if not isinstance(value, Mapping):
            return value
        pairs = list(value.items())
        if {*map(type, chain.from_iterable(pairs))} <= PLAIN:
            return value
        return {convert_key(key): convert(one) for key, one in pairs}

    return convert_pairs


_SCALARS: Final[Mapping[str, Converter]] = {"float": _real, "int": _whole, "str": _text, "bytes": _octets}
_CONTAINERS: Final = (
    "Iterable",
    "Sequence",
    "Collection",
    "tuple",
    "list",
    "frozenset",
    "AbstractSet",
    "Set",
)


def _known() -> dict[str, Converter]:
    found: dict[str, Converter] = dict(_SCALARS)
    for name, convert in _SCALARS.items():
        found |= {
            f"{kind}[{name}{', ...' if kind == 'tuple' else ''}]": _items(convert) for kind in _CONTAINERS
        }
        found[f"Mapping[str, {name}]"] = _pairs(_text, convert)
    found |= {
        f"str | {other}": _text for other in ("HashFunction", "Path", "os.PathLike[str]", "tuple[str, ...]")
    }
    found["str | bytes"] = found["bytes | str"] = lambda value: _octets(_text(value))
    return found | {f"{annotation} | None": convert for annotation, convert in found.items()}


_CONVERTERS: Final = _known()


def converter(annotation: object) -> Converter | None:
    """Return the function that converts values for an annotation; ``None`` if they are not converted.

    Annotations are compared as text.

    Example
    -------
    >>> from fractions import Fraction
    >>> converter("float")(Fraction(1, 2)), converter("Mapping[str, float]")({"a": Fraction(1, 2)}), converter("Any")
    (0.5, {'a': 0.5}, None)
    """
    return _CONVERTERS.get(str(annotation))
