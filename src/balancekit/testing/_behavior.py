"""Behavior of a toy server for a request, given as a path, a query or keyword arguments.

The URL of a request (``/status?code=503``) and :func:`~balancekit.testing.server.behave` use the same names. Parsing has no
side effects.

Cost: proportional to the length of the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Behavior", "Body", "Ending"]

Body: TypeAlias = Literal["name", "echo", "pieces", "events", "chat"]
"""Kind of a response body; see :class:`Behavior`."""

Ending: TypeAlias = Literal["complete", "half", "close", "reset", "hang", "nonsense"]
"""How a response ends; see :class:`Behavior`."""

MAX_DELAY_S: Final = 3600.0
MAX_PIECES: Final = 1_000_000


class Behavior(Record):
    """The behavior of a toy server for one request.

    Parameters
    ----------
    latency
        Seconds before the first byte of the response, 0 to 3600.
    jitter
        Standard deviation of the logarithm of a lognormal factor by which the latency is multiplied, 0 to 10; 0 for no
        variation.
    status
        Status code, 200 to 599.
    retry_after
        Value of ``Retry-After``, or ``None`` for no such header.
    location
        Value of ``Location``, or ``None``.
    body
        ``"name"`` (the server's name), ``"echo"`` (the request as JSON), ``"pieces"`` (chunks of text), ``"events"``
        (server-sent events, continued after ``Last-Event-ID``) or ``"chat"`` (an OpenAI-style chat completion with the text
        ``hello``, streamed if the request has ``stream``).
    pieces
        Number of pieces or events, 0 to a million.
    stop
        Number of pieces or events after which the connection is closed, 0 to a million. The body then is incomplete.
        ``None`` to send all.
    gap
        Seconds between two pieces, 0 to 3600.
    ending
        ``"complete"``, ``"half"`` (a part of the body, then a closed connection), ``"close"`` or ``"reset"`` (before
        any byte), ``"hang"`` (no byte until the client gives up) or ``"nonsense"`` (bytes that are not HTTP).

    Raises
    ------
    ConfigurationError
        If ``latency`` or ``gap`` is no number from 0 to 3600; ``jitter`` is no number from 0 to 10; ``status`` is no integer
        from 200 to 599; ``pieces`` or ``stop`` is no integer from 0 to a million; ``body`` or ``ending`` is another word; or
        ``retry_after`` or ``location`` is no printable string.

    Notes
    -----
    *When not to use it:* to emulate a network. The server itself delays and resets. To lose packets, use ``tc``.

    Example
    -------
    >>> from balancekit.testing.server import Behavior
    >>> Behavior.parse("/status?code=503&retry_after=5")
    Behavior(latency=0.0, jitter=0.0, status=503, retry_after='5', location=None, body='name', pieces=3, stop=None, gap=0.0, ending='complete')
    >>> Behavior.parse("/slow?seconds=0.2").latency, Behavior.parse("/reset").ending
    (0.2, 'reset')
    """

    latency: float = 0.0
    jitter: float = 0.0
    status: int = 200
    retry_after: str | None = None
    location: str | None = None
    body: Body = "name"
    pieces: int = 3
    stop: int | None = None
    gap: float = 0.0
    ending: Ending = "complete"

    def _check(self) -> None:
        for name in ("latency", "gap"):
            _number(name, getattr(self, name), MAX_DELAY_S)
        _number("jitter", self.jitter, 10.0)
        for name, low, high in (("status", 200, 599), ("pieces", 0, MAX_PIECES), ("stop", 0, MAX_PIECES)):
            value = getattr(self, name)
            if name == "stop" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigurationError(name, value, f"an integer from {low} to {high}")
        for name, allowed in (("body", get_args(Body)), ("ending", get_args(Ending))):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigurationError(name, value, f"one of {', '.join(allowed)}")
        for name in ("retry_after", "location"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.isprintable()):
                raise ConfigurationError(name, value, "a printable string or None")

    @classmethod
    def parse(cls, url: str) -> Behavior:
        """Return the behavior named by a path and a query.

        The last segment of the path names a behavior (``ok``, ``echo``, ``status``, ``slow``, ``hang``, ``close``,
        ``reset``, ``half``, ``nonsense``, ``pieces``, ``events``, ``completions``, ``redirect``), and the query sets fields;
        ``code``, ``seconds``, ``to`` and ``n`` are aliases of ``status``, ``latency``, ``location`` and ``pieces``. Any
        other path is ``ok``, and its query is ignored.

        Raises
        ------
        ConfigurationError
            If ``url`` is no string, the query names no field of a behavior, or a value is outside its range.
        """
        return named_behavior(url) or cls()

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> Behavior:
        """Return a behavior from field names and values, which may be text.

        Raises
        ------
        ConfigurationError
            If a name is unknown or a value is outside its range.
        """
        values: dict[str, object] = {}
        for name, value in fields.items():
            field = ALIASES.get(name, name)
            if field not in cls._fields:
                raise ConfigurationError("behavior", name, f"one of {', '.join((*cls._fields, *ALIASES))}")
            values[field] = _converted(field, value)
        return cls(**values)  # type: ignore[arg-type]  # _check refuses values of a wrong type


ALIASES: Final = {"code": "status", "seconds": "latency", "to": "location", "n": "pieces"}
PATHS: Final[Mapping[str, Mapping[str, object]]] = {
    "ok": {},
    "status": {},
    "echo": {"body": "echo"},
    "slow": {"latency": 1.0},
    "hang": {"ending": "hang"},
    "close": {"ending": "close"},
    "reset": {"ending": "reset"},
    "half": {"ending": "half"},
    "nonsense": {"ending": "nonsense"},
    "pieces": {"body": "pieces"},
    "events": {"body": "events"},
    "completions": {"body": "chat"},
    "redirect": {"status": 302, "location": "/ok"},
}
"""The behaviors by the last segment of a path."""


def named_behavior(url: str) -> Behavior | None:
    """Return the behavior that a path and a query name, ``None`` if the path names none.

    Raises
    ------
    ConfigurationError
        As :meth:`Behavior.parse`.
    """
    path, _, query = valid.text("url", url, empty=True, any_text=True).partition("#")[0].partition("?")
    found = PATHS.get(path.rpartition("/")[2])
    if found is None:
        return None
    return Behavior.from_fields({**found, **dict(parse_qsl(query, keep_blank_values=True))})


def _number(name: str, value: object, maximum: float) -> None:
    """Reject a value that is not a number from 0 to the maximum."""
    valid = isinstance(value, int | float) and not isinstance(value, bool)
    if not (valid and math.isfinite(value) and 0.0 <= value <= maximum):  # type: ignore[arg-type,operator]  # a number if valid
        raise ConfigurationError(name, value, f"a number from 0 to {maximum:g}")


def _converted(field: str, value: object) -> object:
    """Convert text to the type of a field; the field's own check rejects text that cannot be converted."""
    if not isinstance(value, str):
        return str(value) if field == "retry_after" and isinstance(value, int | float) else value
    try:
        if field in ("latency", "jitter", "gap"):
            return float(value)
        if field in ("status", "pieces", "stop"):
            return int(value)
    except ValueError:
        pass
    return value
