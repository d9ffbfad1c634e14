"""Messages of an Envoy configuration: fields by name and type, and a list of those that were not read.

A field that is read is followed. A field that is stated to be neutral decides nothing about balancing. Every other field
is listed as not modelled, with its line.

Values have the forms that Envoy takes: names ``as_here`` or ``asHere``, enums in any case or as numbers, ``3.0`` for a whole
number, quotes around a text that would be a number or a truth value, one value for a list of one, ``{value: 3}`` for an
optional number or flag, ``{seconds: 3, nanos: 0}`` for a duration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, final

from balancekit.proxyconfig._envoy_yaml import Value
from balancekit.proxyconfig._model import NotModelled, Origin, ProxyConfigError

__all__ = ["Message", "Notes"]

CAPITAL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?")
DURATION: Final = re.compile(r"([0-9]{1,9})(\.[0-9]{1,9})?s")
MAX_DURATION_S: Final = 315_576_000_000
"""The longest ``google.protobuf.Duration``."""
UNKNOWN: Final = "not understood"
TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
FALSE: Final = frozenset({"false", "f", "no", "n", "0"})
"""Texts that are truth values, in any case."""


@final
class Notes:
    """The path and the form of a file, and what of it is not modelled.

    Parameters
    ----------
    path
        The file.
    json
        Whether it is JSON.
    limited
        Whether Envoy's own limit holds for the size of regular expressions.
    """

    def __init__(self, path: str, *, json: bool, limited: bool = True) -> None:
        self.path: str = path
        self.json: bool = json
        self.limited: bool = limited
        self.owners: dict[Origin, str] = {}
        self._messages: list[Message] = []
        self._not_modelled: dict[tuple[int, str], NotModelled] = {}

    def origin(self, line: int) -> Origin:
        """Return where a line is."""
        return Origin(self.path, line)

    def error(self, line: int, problem: str) -> ProxyConfigError:
        """Return an error at a line."""
        return ProxyConfigError(self.origin(line), problem)

    def note(self, line: int, text: str, why: str, owner: str | None = None) -> None:
        """List something as not modelled."""
        one = NotModelled(origin=self.origin(line), text=text, why=why)
        self._not_modelled.setdefault((line, text), one)
        if owner is not None:
            self.owners[one.origin] = owner

    def register(self, message: Message) -> None:
        """Remember a message, to list what is not read of it."""
        self._messages.append(message)

    def listed(self) -> tuple[NotModelled, ...]:
        """Return all that is not modelled, in the order of the file."""
        for message in self._messages:
            for name, line in message.unread():
                self.note(line, name, UNKNOWN, message.owner)
        return tuple([self._not_modelled[place] for place in sorted(self._not_modelled)])


@final
class Message:
    """A message: its fields are read once, by type.

    Parameters
    ----------
    value
        A mapping.
    notes
        Of the file.
    neutral
        Fields that decide nothing about balancing.
    ignored
        Why fields that are not followed may matter, by name.
    owner
        The pool that it belongs to.

    Raises
    ------
    ProxyConfigError
        If the value is no mapping, or has a field twice.
    """

    def __init__(
        self,
        value: Value,
        notes: Notes,
        *,
        neutral: Collection[str] = (),
        ignored: Mapping[str, str] | None = None,
        owner: str | None = None,
    ) -> None:
        self.line: int = value.line
        self.notes: Notes = notes
        self.owner: str | None = owner
        if value.is_null:
            value = Value({}, value.line)
        if not isinstance(value.data, dict):
            raise notes.error(value.line, "fields are expected here")
        self._fields: dict[str, Value] = {}
        for key, inner in value.data.items():
            name = key if key.startswith("@") else CAPITAL.sub(lambda found: "_" + found[1].lower(), key)
            if name in self._fields:
                raise notes.error(inner.line, f"{name!r} twice")
            self._fields[name] = inner
        self._read: set[str] = {"@type"}
        self._messages: dict[str, Message] = {}
        self.know(neutral, ignored)
        notes.register(self)

    def know(self, neutral: Collection[str] = (), ignored: Mapping[str, str] | None = None) -> None:
        """Mark fields that decide nothing, and list others that may matter, with the reason."""
        self._read.update(neutral)
        for name, why in (ignored or {}).items():
            if name in self._fields and not self._off(name):
                self.notes.note(self._fields[name].line, name, why, self.owner)
            self._read.add(name)

    def skip(self) -> None:
        """Mark all fields as listed, or as without effect."""
        self._read.update(self._fields)

    def _off(self, name: str) -> bool:
        value = _unwrapped(self._fields[name])
        return value.truth is False or value.is_null or value.data == []

    def __contains__(self, name: str) -> bool:
        return name in self._fields and not self._fields[name].is_null

    @property
    def origin(self) -> Origin:
        """Where it begins."""
        return self.notes.origin(self.line)

    @property
    def type(self) -> str:
        """The last word of ``@type``, with its package before: ``http_connection_manager.v3.HttpConnectionManager``."""
        found = self._fields.get("@type")
        return found.data.rpartition("/")[2] if found is not None and isinstance(found.data, str) else ""

    def unread(self) -> Iterator[tuple[str, int]]:
        """Return the fields that were not read, with their lines."""
        for name, value in self._fields.items():
            if name not in self._read and not value.is_null:
                yield name, value.line

    def line_of(self, name: str) -> int:
        """Return the line of a field, of the message if it is not there."""
        return self._fields[name].line if name in self._fields else self.line

    def fail(self, name: str, problem: str) -> ProxyConfigError:
        """Return an error at a field."""
        return self.notes.error(self.line_of(name), f"{name}: {problem}")

    def note(self, name: str, why: str) -> None:
        """List a field as not modelled."""
        self._read.add(name)
        if name in self:
            self.notes.note(self.line_of(name), name, why, self.owner)

    def value(self, name: str) -> Value | None:
        """Return a field's value."""
        self._read.add(name)
        return self._fields[name] if name in self else None

    def _scalar(self, name: str) -> Value | None:
        value = self.value(name)
        return None if value is None else _unwrapped(value)

    def text(self, name: str, default: str = "") -> str:
        """Return a field that is a text."""
        value = self.value(name)
        if value is None:
            return default
        return self._text(name, value)

    def _text(self, name: str, value: Value) -> str:
        if not isinstance(value.data, str):
            raise self.notes.error(value.line, f"{name}: a text is expected")
        if not isinstance(value.bare(json=self.notes.json), str):
            raise self.notes.error(
                value.line, f"{name}: a text is expected, {value.data} is one within quotes: {value.data!r}"
            )
        return value.data

    def one_of(self, *names: str) -> None:
        """Refuse more than one of these fields, of which a message has one at most."""
        found = [name for name in names if name in self]
        if len(found) > 1:
            raise self.fail(found[1], f"only one of {', '.join(found)} is expected")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a field that is a truth value; ``"true"`` and other words for it may be quoted."""
        value = self._scalar(name)
        if value is None:
            return default
        found = value.bare(json=self.notes.json)
        if isinstance(found, str) and found.lower() in TRUE | FALSE:
            return found.lower() in TRUE
        if not isinstance(found, bool):
            raise self.fail(name, "true or false is expected")
        return found

    def whole(self, name: str, default: int, *, minimum: int = 0, maximum: int = 2**32 - 1) -> int:
        """Return a field that is a whole number."""
        value = self._scalar(name)
        if value is None:
            return default
        found = _whole(value)
        if found is None or not minimum <= found <= maximum:
            raise self.fail(name, f"a whole number from {minimum} to {maximum} is expected")
        return found

    def number(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        """Return a field that is a number."""
        value = self._scalar(name)
        if value is None:
            return default
        try:
            found = float(value.data) if isinstance(value.data, str) else math.nan
        except ValueError:
            found = math.nan
        if not minimum <= found <= maximum:
            raise self.fail(name, f"a number from {minimum:g} to {maximum:g} is expected")
        return found

    def seconds(self, name: str) -> float | None:
        """Return a field that is a duration."""
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value.data, dict):
            parts = self.message(name)
            assert parts is not None, "the field is there"
            limit = MAX_DURATION_S
            return parts.whole("seconds", 0, maximum=limit) + parts.whole("nanos", 0, maximum=10**9 - 1) / 1e9
        if not isinstance(value.data, str) or not DURATION.fullmatch(value.data):
            raise self.fail(name, "seconds are expected, as 0.25s")
        return float(value.data[:-1])

    def choice(
        self, name: str, allowed: Collection[str], default: str, *, numbers: Sequence[str] = ()
    ) -> str:
        """Return a field that is one of some words, in capitals.

        Parameters
        ----------
        numbers
            The word of each number that may stand for it, empty for a number of none. By default, all words in order.
        """
        value = self.value(name)
        number = None if value is None else value.whole
        if number is not None:
            words = numbers or tuple(allowed)
            found = words[number] if 0 <= number < len(words) and words[number] else str(number)
        else:
            found = default if value is None else str(value.data).upper()
        if found not in allowed:
            raise self.fail(name, f"{found!r} is none of {', '.join(allowed)}")
        return found

    def message(
        self,
        name: str,
        *,
        neutral: Collection[str] = (),
        ignored: Mapping[str, str] | None = None,
    ) -> Message | None:
        """Return a field that is a message, ``None`` if it is not there."""
        self._read.add(name)
        value = self._fields.get(name)
        if value is None or value.is_null:
            return None
        found = self._messages.get(name)
        if found is None:
            found = self._messages[name] = Message(value, self.notes, owner=self.owner)
        found.know(neutral, ignored)
        return found

    def messages(
        self,
        name: str,
        *,
        neutral: Collection[str] = (),
        ignored: Mapping[str, str] | None = None,
    ) -> list[Message]:
        """Return a field that is a list of messages."""
        return [
            Message(value, self.notes, neutral=neutral, ignored=ignored, owner=self.owner)
            for value in self.list(name)
        ]

    def list(self, name: str) -> list[Value]:
        """Return a field that is a list; one value is a list of one."""
        value = self.value(name)
        if value is None:
            return []
        return value.data if isinstance(value.data, list) else [value]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that is a list of texts."""
        return tuple([self._text(name, value) for value in self.list(name)])

    def struct(self, name: str) -> dict[str, Any]:
        """Return a field that holds any values by name."""
        value = self.value(name)
        if value is None:
            return {}
        found = value.bare(json=self.notes.json)
        if not isinstance(found, dict):
            raise self.fail(name, "values by name are expected")
        return found

    def lb_metadata(self, name: str) -> dict[str, Any]:
        """Return the values of ``envoy.lb`` in a field that is a ``Metadata``."""
        metadata = self.message(name)
        found = metadata.struct("filter_metadata").get("envoy.lb") if metadata is not None else None
        return found if isinstance(found, dict) else {}


def _unwrapped(value: Value) -> Value:
    """Return the value in ``{value: …}``, and any other value as it is."""
    data = value.data
    return data["value"] if isinstance(data, dict) and data.keys() == {"value"} else value


def _whole(value: Value) -> int | None:
    """Return the whole number of a value, ``None`` if it has none; ``3.0`` and ``3e0`` are 3."""
    if value.whole is not None or not isinstance(value.data, str) or not DECIMAL.fullmatch(value.data):
        return value.whole
    found = float(value.data)
    return int(found) if found.is_integer() else None
