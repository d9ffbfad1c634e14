"""Immutable records with annotated fields, without the import cost of dataclasses.

The import of ``dataclasses`` takes 20 ms, half of the import budget of this library. Each frozen dataclass with slots
takes another 0.7 ms, because its methods are compiled when the class is created. Here, all classes share the same
methods. Type checkers treat a record like a dataclass (PEP 681). See decisions 3 and 130.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, NoReturn, Self, TypeVar, dataclass_transform

from balancekit._support.containers import TextCheck, text_check
from balancekit._support.display import call, same, shown
from balancekit._support.plain import PLAIN, Converter, converter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["Policy", "Record", "derived", "field"]

R = TypeVar("R", bound="Record")

REQUIRED: Final[Any] = object()
_ITERABLES: Final = ("Iterable", "Sequence", "Collection", "tuple", "frozenset", "AbstractSet", "Set")
"""Beginnings of the annotations of fields for which an iterator is read into a list."""


class _Positional:
    """The mark of a positional field in a class body, until the class is created."""

    __slots__ = ("default",)

    def __init__(self, default: object) -> None:
        self.default = default


def field(*, default: Any = REQUIRED, kw_only: bool = True) -> Any:
    """Declare a field that may be passed by position: ``path: str = field(default="/", kw_only=False)``.

    Parameters
    ----------
    default
        The default of the field. Without it, the field is required.
    kw_only
        ``False`` for a field that may be passed by position. Such fields come before all others.
    """
    return default if kw_only else _Positional(default)


class _LazySignature:
    """The signature of a record class, computed when it is read, because the import of ``inspect`` costs 7 ms."""

    def __get__(self, instance: object, kind: type[Record]) -> Signature | None:
        if instance is not None:
            raise AttributeError("__signature__")
        if kind.__init__ is not Record.__init__:
            return None
        from inspect import Parameter, Signature, get_annotations  # noqa: PLC0415 - see above

        types: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            types |= get_annotations(base)
        by_position = kind._positional
        found = [
            Parameter(
                name,
                Parameter.POSITIONAL_OR_KEYWORD if name in by_position else Parameter.KEYWORD_ONLY,
                default=getattr(kind, name, Parameter.empty),
                annotation=types[name],
            )
            for name in (*by_position, *[name for name in kind._fields if name not in by_position])
        ]
        return Signature(found)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Record:
    """The base class of immutable values with annotated fields.

    An annotation in the class body declares a field; an assignment gives its default. Fields are passed by keyword
    unless they are declared with :func:`field`. Instances are compared and hashed by their fields and can be pickled.

    Numbers of other types (``Decimal``, ``Fraction``, those of numpy) are stored as ``float`` or ``int``, and strings
    of other classes as ``str``, according to the annotation. A string is refused for a container. A subclass may
    override ``_check`` to refuse values. ``inspect.signature`` shows the fields.

    Raises
    ------
    ConfigurationError
        If a value does not match the annotation of its field, or ``_check`` refuses it.
    TypeError
        If a required field is missing, or a parameter is unknown or passed twice.

    Example
    -------
    >>> class Point(Record):
    ...     x: float = field(kw_only=False)
    ...     y: float = 0.0
    >>> Point(1.0)
    Point(x=1.0, y=0.0)
    >>> Point(x=1.0) == Point(x=1.0, y=0.0)
    True
    >>> Point(1.0).replace(y=2.0)
    Point(x=1.0, y=2.0)
    >>> import inspect
    >>> list(inspect.signature(Point).parameters)
    ['x', 'y']
    """

    __signature__: ClassVar[Any] = _LazySignature()
    _fields: ClassVar[tuple[str, ...]] = ()
    _positional: ClassVar[tuple[str, ...]] = ()
    _conversions: ClassVar[tuple[tuple[str, Converter], ...]] = ()
    _iterables: ClassVar[tuple[str, ...]] = ()
    _text_checks: ClassVar[tuple[tuple[str, TextCheck], ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [
            name
            for name, kind in cls.__dict__.get("__annotations__", {}).items()  # noqa: RUF063 - inspect costs 7 ms
            if not name.startswith("_") and not str(kind).startswith("ClassVar")
        ]
        cls._fields = (*cls._fields, *[name for name in own if name not in cls._fields])
        kinds = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 - the same
        found = {name: convert for name in own if (convert := converter(kinds[name])) is not None}
        cls._conversions = tuple({**dict(cls._conversions), **found}.items())
        cls._iterables = (*cls._iterables, *[name for name in own if str(kinds[name]).startswith(_ITERABLES)])
        checks = {name: check for name in own if (check := text_check(kinds[name])) is not None}
        cls._text_checks = tuple({**dict(cls._text_checks), **checks}.items())
        for name in own:
            declared = cls.__dict__.get(name)
            if isinstance(declared, _Positional):
                cls._positional = (*cls._positional, name)
                if declared.default is REQUIRED:
                    delattr(cls, name)
                else:
                    setattr(cls, name, declared.default)

    def __init__(self, *first: Any, **values: Any) -> None:
        kind = type(self)
        if len(first) > len(kind._positional):
            _refuse_positions(kind)
        for name, value in zip(kind._positional, first, strict=False):
            if name in values:
                raise TypeError(f"{kind.__name__}() got two values for {name!r}")
            values[name] = value
        unknown = [name for name in values if name not in kind._fields]
        missing = [name for name in kind._fields if name not in values and not hasattr(kind, name)]
        if unknown:
            from balancekit._support.calls import meant  # noqa: PLC0415 - imports inspect

            hint = meant(unknown[0], kind._fields)
            raise TypeError(f"{kind.__name__}() has no parameter {unknown[0]!r}; {_parameters(kind)}{hint}")
        if missing:
            raise TypeError(f"{kind.__name__}() needs {missing[0]!r}")
        for name in kind._iterables:
            if hasattr(values.get(name), "__next__"):
                values[name] = _read(name, values[name])
        for name, refuse_text in kind._text_checks:
            if name in values:
                refuse_text(name, values[name])
        try:
            for name, convert in kind._conversions:
                value = values.get(name)
                if value.__class__ not in PLAIN:
                    values[name] = convert(value)
            _store(self, values)
            self._check()
        except Exception as error:
            _blame(self, values, error)
            raise

    def _check(self) -> None:
        """Raise ``ConfigurationError`` if a value is not allowed. Subclasses override this."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed. The values are checked as in the constructor."""
        return type(self)(**{name: getattr(self, name) for name in self._fields} | changes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce__(self) -> tuple[object, ...]:
        views = tuple([name for name, value in self.__dict__.items() if isinstance(value, MappingProxyType)])
        plain = {name: dict(value) if name in views else value for name, value in self.__dict__.items()}
        return _restore, (type(self), plain, views)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __hash__(self) -> int:
        return hash(tuple([_hashable(getattr(self, name)) for name in self._fields]))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={shown(getattr(self, name))}" for name in self._fields)
        return f"{type(self).__name__}({fields})"


class Policy(Record):
    """The base class of records that configure something. They print as the constructor call, without default values.

    Example
    -------
    >>> class Retry(Policy):
    ...     limit: int = 3
    ...     backoff: float = 0.1
    >>> Retry(limit=3, backoff=0.5)
    Retry(backoff=0.5)
    """

    def __repr__(self) -> str:
        kind, positional, named = type(self), [], {}
        for name in (*kind._positional, *[name for name in kind._fields if name not in kind._positional]):
            value = getattr(self, name)
            if not hasattr(kind, name) and name in kind._positional:
                positional.append(value)
            elif not hasattr(kind, name) or not same(value, getattr(kind, name)):
                named[name] = value
        return call(kind.__name__, positional, named)


def _hashable(value: Any) -> Any:
    """Return a hashable form of a value. Equal values have equal forms; mappings and lists are converted."""
    if isinstance(value, Mapping):
        return frozenset([(key, _hashable(one)) for key, one in value.items()])
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _restore(kind: type[R], values: dict[str, Any], views: tuple[str, ...]) -> R:
    """Return a record from its pickled values, without checking them again."""
    record = kind.__new__(kind)
    record.__dict__.update(values)
    record.__dict__.update({name: MappingProxyType(values[name]) for name in views})
    return record


def derived(record: R, **changes: Any) -> R:
    """Return a copy with some fields changed, without checks. The caller must have checked them. A tenth of ``replace``."""
    copy = type(record).__new__(type(record))
    _store(copy, {name: getattr(record, name) for name in record._fields} | changes)
    return copy


def _store(record: Record, values: Mapping[str, Any]) -> None:
    """Set the fields one by one.

    Reading ``__dict__`` of the record would create a separate dictionary, which the garbage collector must visit.
    """
    for name, value in values.items():
        object.__setattr__(record, name, value)


def _read(name: str, value: Any) -> list[Any]:
    from balancekit._support import validation  # noqa: PLC0415 - validation knows records

    return validation.items(name, value)


def _blame(record: Record, values: dict[str, Any], error: Exception) -> None:
    """Raise an error that names the first field whose value does not match its annotation; return if all match."""
    from inspect import get_annotations  # noqa: PLC0415 - takes 7 ms

    from balancekit._support.arguments import blame  # noqa: PLC0415 - imports inspect
    from balancekit.errors import BalancekitError, ConfigurationError  # noqa: PLC0415 - the same

    if isinstance(error, ConfigurationError):
        _name_default(record, values, error)
    if isinstance(error, BalancekitError):
        return
    given = [
        (name, values[name], kind, vars(sys.modules[base.__module__]))
        for base in reversed(type(record).__mro__)
        for name, kind in get_annotations(base).items()
        if name in values
    ]
    blame(given, error)


def _name_default(record: Record, values: dict[str, Any], error: Any) -> None:
    """Add to an error that the refused value is the default of a field that was not passed."""
    name = error.parameter
    if values and name in record._fields and name not in values and same(getattr(record, name), error.value):
        error.allowed = f"{error.allowed}; this is its default: give {name} too"
        error.args = (name, error.value, error.allowed)


def _refuse_positions(kind: type[Record]) -> NoReturn:
    """Raise the error of too many arguments by position."""
    takes = (
        f"only {', '.join(kind._positional)} by position" if kind._positional else "keyword arguments only"
    )
    raise TypeError(f"{kind.__name__}() takes {takes}; {_parameters(kind)}")


def _parameters(kind: type[Record]) -> str:
    from balancekit._support.calls import listed_parameters  # noqa: PLC0415 - imports inspect

    return listed_parameters(kind._fields)
