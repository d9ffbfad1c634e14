"""What is an immutable value made of? Annotated fields, and nothing that costs time to import.

The standard library's dataclasses would do, but importing them takes 20 ms on the machine where importing
this whole library may take 40, and each frozen class with slots another 0.7 ms, for their methods are
compiled when the class is made. Here they are written once, and type checkers see the same thing
(PEP 681). See ``docs/decisions``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

__all__ = ["Record"]

R = TypeVar("R", bound="Record")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """A frozen value: fields by annotation, defaults by assignment, all by keyword.

    Compared and hashed by its fields, printed as it is written, picklable. A subclass may override
    ``_check`` to refuse values.

    Example
    -------
    >>> class Point(Record):
    ...     x: float
    ...     y: float = 0.0
    >>> Point(x=1.0)
    Point(x=1.0, y=0.0)
    >>> Point(x=1.0) == Point(x=1.0, y=0.0)
    True
    >>> Point(x=1.0).replace(y=2.0)
    Point(x=1.0, y=2.0)
    """

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [
            name
            for name, kind in cls.__dict__.get("__annotations__", {}).items()  # noqa: RUF063 - inspect costs 7 ms
            if not name.startswith("_") and not str(kind).startswith("ClassVar")
        ]
        cls._fields = (*cls._fields, *[name for name in own if name not in cls._fields])

    def __init__(self, **values: Any) -> None:
        kind = type(self)
        unknown = [name for name in values if name not in kind._fields]
        missing = [name for name in kind._fields if name not in values and not hasattr(kind, name)]
        if unknown or missing:
            what = f"got an unexpected argument {unknown[0]!r}" if unknown else f"needs {missing[0]!r}"
            raise TypeError(f"{kind.__name__}() {what}")
        self.__dict__.update(values)
        self._check()

    def _check(self) -> None:
        """Refuse what is not allowed."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked like a new one."""
        return type(self)(**{name: getattr(self, name) for name in self._fields} | changes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __hash__(self) -> int:
        return hash(tuple([getattr(self, name) for name in self._fields]))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"
