"""YAML and JSON with the line of every value, within limits.

The events of PyYAML become values; aliases share them, and a value counts as often as it is named, so files that
multiply themselves are refused when they pass the limit. Nothing is built of tags.

Cost: O(size of the file). Source: PyYAML; Envoy 1.40 for what plain words mean.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias, final

import yaml

from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["MAX_DEPTH", "MAX_VALUES", "Value", "read_values"]

MAX_DEPTH: Final = 64
"""Levels of mappings and lists within each other."""
MAX_VALUES: Final = 400_000
"""Values of a file, each counted as often as aliases name it."""
MAX_DIGITS: Final = 20
"""The largest number of digits of a whole number."""
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where it is there; its events are the same."""
PAIR: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
"""Two escapes of JSON that are one character, which YAML writes as one escape."""
SURROGATE: Final = re.compile("[\ud800-\udfff]")
INTEGER: Final = re.compile(r"[+-]?[0-9]+|0[xX][0-9a-fA-F]+")
TRUE: Final = frozenset({"y", "yes", "true", "on"})
FALSE: Final = frozenset({"n", "no", "false", "off"})
NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})

Entries: TypeAlias = "dict[str, Value]"


@final
class Value:
    """A mapping, a list or a scalar, with the line where it begins; of a mapping's values, the line of the key.

    Parameters
    ----------
    data
        Values by key, a list of values, or the text of a scalar.
    line
        From 1.
    plain
        Whether a scalar is written without quotes.
    size
        Values in it, itself included, aliases followed.
    """

    __slots__ = ("data", "line", "plain", "size")

    def __init__(self, data: Entries | list[Value] | str, line: int, *, plain: bool = False) -> None:
        self.data: Entries | list[Value] | str = data
        self.line: int = line
        self.plain: bool = plain
        self.size: int = 1

    @property
    def is_null(self) -> bool:
        """Whether nothing is written."""
        return isinstance(self.data, str) and self.plain and self.data in NULL

    @property
    def truth(self) -> bool | None:
        """The truth value that a plain word means, ``None`` for other words."""
        text = self.data
        if (
            not isinstance(text, str)
            or not self.plain
            or text not in {text.lower(), text.upper(), text.title()}
        ):
            return None
        word = text.lower()
        return True if word in TRUE else False if word in FALSE else None

    @property
    def whole(self) -> int | None:
        """The whole number that it means, quoted or not, ``None`` if it means none."""
        text = self.data
        if not isinstance(text, str) or len(text) > MAX_DIGITS or not INTEGER.fullmatch(text):
            return None
        return int(text, 16) if text[:2] in {"0x", "0X"} else int(text)

    def bare(self, *, json: bool) -> Any:
        """Return it without lines, as a ``Struct`` holds it: numbers of YAML that are not whole stay text."""
        if isinstance(self.data, dict):
            return {key: value.bare(json=json) for key, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.bare(json=json) for value in self.data]
        if self.is_null:
            return None
        if not self.plain:
            return self.data
        if self.truth is not None:
            return self.truth
        if self.whole is not None and -(2**31) <= self.whole < 2**31:
            return float(self.whole)
        if json:
            try:
                return float(self.data)
            except ValueError:
                pass
        return self.data


def _json_as_yaml(text: str, path: str) -> str:
    """Return JSON as the YAML of the same values and lines.

    Raises
    ------
    ProxyConfigError
        If it is not JSON: YAML takes much that Envoy refuses in a file whose name ends with ``.json``.
    """
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise ProxyConfigError(Origin(path, error.lineno), f"no JSON ({error.msg})") from None
    except (RecursionError, ValueError):
        pass  # too deep, or a number of too many digits: the limits of read_values name the line
    return PAIR.sub(_one_escape, text)


def _one_escape(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return f"{found[1]}\\U{0x10000 + ((high - 0xD800) << 10) + low - 0xDC00:08x}"


def read_values(text: str, path: str) -> Value:
    """Return the one document of a file in YAML, or in JSON if its name ends with ``.json``.

    Raises
    ------
    ProxyConfigError
        If it is not one document, has a key twice, nests too deeply, or has too many values.
    """
    found = SURROGATE.search(text)
    if found is not None:
        raise ProxyConfigError(
            Origin(path, text.count("\n", 0, found.start()) + 1), "bytes that are not UTF-8"
        )
    if path.endswith(".json"):
        text = _json_as_yaml(text, path)
    try:
        return _Builder(path).build(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise ProxyConfigError(
            Origin(path, line), f"a character that YAML does not have ({error.reason})"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ProxyConfigError(
            Origin(path, 1 if mark is None else mark.line + 1), str(error.problem or error.context)
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ProxyConfigError(Origin(path, 1), f"no YAML ({error})") from None


@final
class _Builder:
    """Values out of events."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._anchors: dict[str, Value] = {}
        self._stack: list[tuple[Value, str | None]] = []
        """Open mappings and lists, each with its anchor."""
        self._keys: list[tuple[str, int] | None] = []
        """The key of each that waits for its value."""
        self._total = 0
        self._root: Value | None = None

    def build(self, text: str) -> Value:
        """Return the document."""
        documents = 0
        for event in yaml.parse(text, Loader=LOADER):
            line = 1 if event.start_mark is None else event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(line, "a second document")
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchors:
                    raise self._error(line, f"no finished value is named {event.anchor!r}")
                self._count(self._anchors[event.anchor].size, line)
                self._add(self._anchors[event.anchor], line)
            elif isinstance(event, yaml.ScalarEvent):
                plain = event.style in {None, ""} and event.tag in {None, ""}
                value = Value(event.value, line, plain=plain)
                self._count(1, line)
                self._name(event.anchor, value)
                self._add(value, line)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._count(1, line)
                if len(self._stack) >= MAX_DEPTH:
                    raise self._error(line, f"more than {MAX_DEPTH} levels")
                self._stack.append(
                    (Value({} if isinstance(event, yaml.MappingStartEvent) else [], line), event.anchor)
                )
                self._keys.append(None)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                value, anchor = self._stack.pop()
                self._keys.pop()
                self._name(anchor, value)
                self._add(value, value.line)
        if self._root is None:
            raise self._error(1, "an empty file")
        return self._root

    def _add(self, value: Value, line: int) -> None:
        if not self._stack:
            self._root = value
            return
        parent = self._stack[-1][0]
        parent.size += value.size
        if isinstance(parent.data, list):
            parent.data.append(value)
        elif isinstance(parent.data, dict):
            self._enter(parent.data, value, line)

    def _enter(self, entries: Entries, value: Value, line: int) -> None:
        waiting = self._keys[-1]
        if waiting is None:
            if not isinstance(value.data, str):
                raise self._error(line, "a key is a word")
            if value.data in entries:
                raise self._error(line, f"{value.data!r} twice")
            self._keys[-1] = (value.data, line)
            return
        key, at = waiting
        if at != value.line:
            shown = Value(value.data, at, plain=value.plain)
            shown.size = value.size
            value = shown
        entries[key] = value
        self._keys[-1] = None

    def _name(self, anchor: str | None, value: Value) -> None:
        if anchor is not None:
            self._anchors[anchor] = value

    def _count(self, values: int, line: int) -> None:
        self._total += values
        if self._total > MAX_VALUES:
            raise self._error(line, f"more than {MAX_VALUES} values, aliases followed")

    def _error(self, line: int, problem: str) -> ProxyConfigError:
        return ProxyConfigError(Origin(self._path, line), problem)
