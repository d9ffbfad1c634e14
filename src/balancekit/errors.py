"""The errors of the library, with what to do about each.

.. code-block:: text

    BalancekitError
    ├─ ConfigurationError (ValueError)     a parameter is wrong; nothing was changed
    ├─ MissingKeyError (ValueError)        a request without a key, where the balancer refuses them
    ├─ UnknownEndpointError (LookupError)  an id that is not in the pool
    ├─ UnavailableError                    no endpoint may be picked; .retry_in, .retry_at, .reasons
    │  ├─ PoolEmptyError                   no endpoints are configured
    │  ├─ AllIneligibleError               none may be picked: ejected, draining, ...
    │  ├─ SaturatedError                   all are at their limit
    │  └─ AttemptsExhaustedError           this request has tried them all
    ├─ SelectorError (RuntimeError)        a selector returned something that is no candidate
    ├─ StickyValueError (ValueError)       a sticky value that this pool did not issue
    └─ LeaseError (RuntimeError)           a lease was used in a way that has no meaning

Catch :class:`UnavailableError` for "no endpoint can serve this now". It is never raised itself: its four
subclasses give the cause, and each needs a different reaction (configure, wait, shed load, give up).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = [
    "AllIneligibleError",
    "AttemptsExhaustedError",
    "BalancekitError",
    "ConfigurationError",
    "LeaseError",
    "MissingKeyError",
    "PoolEmptyError",
    "Reason",
    "SaturatedError",
    "SelectorError",
    "StickyValueError",
    "UnavailableError",
    "UnknownEndpointError",
]


MAX_SHOWN_CHARACTERS: Final = 200
"""Characters of a value that an error text shows at most: a value of megabytes fills no log."""
MAX_SEARCHED_CHARACTERS: Final = 2_000
"""Characters of the text of an error that are searched for passwords."""


def brief(value: object) -> str:
    """Return the repr of a value, cut to 200 characters, without passwords of URLs; if the repr fails, the class.

    Example
    -------
    >>> from balancekit.errors import brief
    >>> brief("k"), len(brief("k" * 1000)), brief(10**5000)
    ("'k'", 200, '<int>')
    """
    try:
        if isinstance(value, str | bytes) and len(value) > MAX_SEARCHED_CHARACTERS:
            value = value[:MAX_SEARCHED_CHARACTERS]  # the repr of megabytes takes its time
        if isinstance(value, list | tuple | set | frozenset | dict) and len(value) > MAX_SHOWN_CHARACTERS:
            return f"<{type(value).__name__} of {len(value)}>"
        text = without_passwords(repr(value)[:MAX_SEARCHED_CHARACTERS])
    except Exception:
        return f"<{type(value).__name__}>"
    return _cut(text)


def printable(text: str) -> str:
    r"""Return a text as one line that a log or a terminal shows: other characters become escapes.

    Ids, names of services and texts of servers may hold line ends, which would forge lines of a log, and escapes of
    terminals.

    Example
    -------
    >>> from balancekit.errors import printable
    >>> printable("a"), printable("a" + chr(10) + "b"), printable(chr(27) + "[31m")
    ('a', 'a\\nb', '\\x1b[31m')
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text])


_USERINFO: Final = re.compile(r"(\b[A-Za-z][\w+.-]+://?)[^\s/?#'\"]*@")
"""What is before the host of a URL, also of one that was taken for a path and lost a slash."""
_SECRET_PARAMETER: Final = re.compile(
    r"([?&](?:[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|signature|credential)[\w.-]*"
    r"|pwd|pass|sig|auth|jwt)=)[^\s&#'\"<>]+",
    re.IGNORECASE,
)
"""A parameter of a query whose name says that its value is a secret."""


def without_passwords(text: str) -> str:
    """Return a text with ``***`` in place of the user and password of every URL, and of secrets in queries.

    Example
    -------
    >>> from balancekit.errors import without_passwords
    >>> without_passwords("redis://app:secret@10.0.0.1:6379 by RingHash")
    'redis://***@10.0.0.1:6379 by RingHash'
    >>> without_passwords("http://10.0.0.1/v1?api_key=secret&zone=eu")
    'http://10.0.0.1/v1?api_key=***&zone=eu'
    """
    return _SECRET_PARAMETER.sub(r"\1***", _USERINFO.sub(r"\1***@", text))


def brief_error(error: BaseException) -> str:
    """Return the class and message of an exception as one line cut to 200 characters, without passwords of URLs.

    Clients name the URL of the request that failed.

    Example
    -------
    >>> from balancekit.errors import brief_error
    >>> brief_error(ValueError("bad settings"))
    'ValueError: bad settings'
    >>> brief_error(OSError("500 for url: http://app:secret@10.0.0.1/"))
    'OSError: 500 for url: http://***@10.0.0.1/'
    """
    try:
        text = str(error)
    except Exception:
        text = ""
    text = without_passwords(text[:MAX_SEARCHED_CHARACTERS])[:MAX_SHOWN_CHARACTERS]
    return _cut(printable(f"{type(error).__name__}: {text}"))


def brief_line(text: str) -> str:
    """Return a text that names values as one line: long words and long texts are cut, and passwords of URLs removed.

    For texts of other software, which show values in full.

    Example
    -------
    >>> from balancekit.errors import brief_line
    >>> brief_line("unknown: http://app:secret@10.0.0.1/" + chr(10) + "k" * 1000)[:40], len(brief_line("k" * 1000))
    ('unknown: http://***@10.0.0.1/ kkkkkkkkkk', 200)
    """
    words = [_cut(without_passwords(word[:MAX_SEARCHED_CHARACTERS])) for word in text.split()]
    line = printable(without_passwords(" ".join(words)))
    half = MAX_SEARCHED_CHARACTERS // 2
    return line if len(line) <= MAX_SEARCHED_CHARACTERS else f"{line[:half]} ... {line[-half:]}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."


class Reason(enum.Enum):
    """Why an endpoint may not be picked for this request."""

    EJECTED = "ejected"
    SUPPRESSED = "suppressed"
    COOLING = "cooling down (Retry-After)"
    UNKNOWN = "not yet checked"
    DRAINING = "draining"
    ZERO_WEIGHT = "weight zero"
    EXCLUDED = "already tried"
    SATURATED = "at the limit"
    UNMATCHED = "not matching the request"


class _Shown:
    """What stands for a value that cannot be pickled: it prints as the value did."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _portable(value: object) -> object:
    """Return a value, or what stands for it if it cannot be pickled."""
    import pickle  # noqa: PLC0415 - seldom needed

    try:
        pickle.dumps(value)
    except Exception:
        return _Shown(brief(value))
    return value


class BalancekitError(Exception):
    """The root of every error that balancekit raises on purpose. Each can be pickled and copied, whatever it holds."""

    def __reduce__(self) -> tuple[object, ...]:
        state = {name: _portable(value) for name, value in self.__dict__.items()}
        return type(self), tuple(map(_portable, self.args)), state

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(brief, self.args))})"  # logs of asyncio show it


class ConfigurationError(BalancekitError, ValueError):
    """A parameter has a value that is not allowed; the call changed nothing.

    Parameters
    ----------
    parameter
        The name of the parameter, as the caller spells it.
    value
        The value that was given.
    allowed
        What would have been accepted, in words.

    Example
    -------
    >>> from balancekit import ConfigurationError
    >>> print(ConfigurationError("weight", -1.0, "a finite number >= 0"))
    weight=-1.0 is not allowed: expected a finite number >= 0
    """

    def __init__(self, parameter: str, value: object, allowed: str) -> None:
        super().__init__(parameter, value, allowed)
        self.parameter = parameter
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        parameter = self.parameter if isinstance(self.parameter, str) else brief(self.parameter)
        return f"{parameter}={brief(self.value)} is not allowed: expected {self.allowed}"


class MissingKeyError(BalancekitError, ValueError):
    """A request without a key, on a balancer with ``on_missing_key="refuse"``; nothing was picked or counted.

    It is a mistake of the caller, not of an endpoint: adapters pass it on unchanged.

    Example
    -------
    >>> from balancekit import MissingKeyError
    >>> print(MissingKeyError())
    this balancer refuses requests without a key: call acquire(key), or give the adapter key=from_header(...)
    """

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "this balancer refuses requests without a key: call acquire(key), or give the adapter key=from_header(...)"


class UnknownEndpointError(BalancekitError, LookupError):
    """An endpoint id that the pool does not have.

    Example
    -------
    >>> from balancekit import UnknownEndpointError
    >>> print(UnknownEndpointError("c", ("a", "b")))
    no endpoint 'c' in this pool; it has 'a', 'b'
    """

    _MAX_IDS_SHOWN = 8

    def __init__(self, endpoint: object, known: tuple[str, ...]) -> None:
        super().__init__(endpoint, known)
        self.endpoint = endpoint
        self.known = known

    def __str__(self) -> str:
        if not self.known:
            return f"no endpoint {brief(self.endpoint)} in this pool; it is empty"
        shown = ", ".join(map(brief, self.known[: self._MAX_IDS_SHOWN]))
        rest = len(self.known) - self._MAX_IDS_SHOWN
        tail = f" and {rest} more" if rest > 0 else ""
        id = getattr(self.endpoint, "id", None)
        if isinstance(id, str):
            return f"no endpoint id {brief(self.endpoint)}: give its id, {brief(id)}"
        return f"no endpoint {brief(self.endpoint)} in this pool; it has {shown}{tail}"


class UnavailableError(BalancekitError):
    """No endpoint may be picked now. Never raised itself: see its four subclasses.

    Parameters
    ----------
    message
        The request, the reasons for the refusal, and what to do.
    retry_at
        The soonest time, in seconds of the balancer's clock, at which an endpoint is due to become
        eligible; ``None`` if no time is known.
    reasons
        How many endpoints were passed over for each :class:`Reason`.
    at
        The time of the refusal, in seconds of the balancer's clock; ``None`` if it is not known.
    """

    def __init__(
        self,
        message: str,
        retry_at: float | None = None,
        reasons: Mapping[Reason, int] = MappingProxyType({}),
        at: float | None = None,
    ) -> None:
        counts = dict(reasons)
        super().__init__(message, retry_at, counts, at)
        self.retry_at = retry_at
        self.reasons: Mapping[Reason, int] = MappingProxyType(counts)
        self.at = at

    @property
    def retry_in(self) -> float | None:
        """Seconds from the refusal to ``retry_at``, >= 0, whatever clock the balancer has; ``None`` if no time is known."""
        return None if self.retry_at is None or self.at is None else max(0.0, self.retry_at - self.at)

    def __reduce__(self) -> tuple[object, ...]:
        return (
            type(self),
            self.args,
            {"__notes__": notes} if (notes := getattr(self, "__notes__", None)) else None,
        )

    def __str__(self) -> str:
        return str(self.args[0])


class PoolEmptyError(UnavailableError):
    """The pool has no endpoints at all: add one, or wait for discovery."""


class AllIneligibleError(UnavailableError):
    """Every endpoint is ejected, suppressed, not yet checked, draining or has weight zero."""


class SaturatedError(UnavailableError):
    """Every endpoint that could serve is at its limit: shed load or queue."""


class AttemptsExhaustedError(UnavailableError):
    """The request has already tried every endpoint that may be picked."""


class SelectorError(BalancekitError, RuntimeError):
    """A selector returned something that is no candidate. Nothing was sent, or counted against an endpoint.

    Parameters
    ----------
    selector
        Its name.
    answer
        The id of the node, or the value that it returned instead.
    allowed
        What would have been accepted, in words.

    Example
    -------
    >>> from balancekit.errors import SelectorError
    >>> print(SelectorError("Mine", "b", "an eligible node that is not excluded"))
    Mine picked 'b': expected an eligible node that is not excluded
    """

    def __init__(self, selector: str, answer: object, allowed: str) -> None:
        super().__init__(selector, answer, allowed)
        self.selector = selector
        self.answer = answer

    def __str__(self) -> str:
        return f"{self.selector} picked {brief(self.answer)}: expected {self.args[2]}"


class StickyValueError(BalancekitError, ValueError):
    """A sticky value that this pool did not issue, or that was changed.

    It is the only error of reading a client's value, whatever the client sent. It never contains the value.
    """


class LeaseError(BalancekitError, RuntimeError):
    """A lease was used in a way that has no meaning.

    Ending a lease twice is no error: :meth:`Lease.release` then returns ``False``.
    """
