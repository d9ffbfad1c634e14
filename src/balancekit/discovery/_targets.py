"""Parser of Prometheus target lists.

The format of ``file_sd`` and ``http_sd``::

    [{"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"__zone__": "eu-1", "team": "orders"}}]

``[]`` is valid and means no endpoints. Labels become metadata, except the reserved ones: ``__weight__``, ``__priority__``,
``__zone__``, and ``__scheme__``, which turns the target into ``scheme://host:port``. One invalid entry makes the whole list
an error, as does a field other than ``targets`` and ``labels``. Prometheus does the same.

Source: Prometheus 3, ``discovery/targetgroup`` and the documentation of ``http_sd_config``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import derived
from balancekit.discovery._resolution import Resolution
from balancekit.endpoint import Endpoint
from balancekit.errors import BalancekitError, brief

__all__ = ["MAX_LIST_BYTES", "InvalidTargetsError", "parse_targets"]

MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""The largest list that is read, in bytes."""
FIELDS: Final = frozenset(("targets", "labels"))
T = TypeVar("T", int, float)
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f]")


class InvalidTargetsError(BalancekitError):
    """The data is not a list of targets; the last good list stays in use."""


@checked_arguments
def parse_targets(data: bytes | str, *, before: Resolution | None = None) -> Resolution:
    """Read a list of targets.

    Parameters
    ----------
    data
        The list, in JSON.
    before
        The last answer. Unchanged endpoints are reused, because twenty thousand new objects per second trigger full garbage
        collections, which stop every thread.

    Raises
    ------
    InvalidTargetsError
        If the data is not a list of targets, or is truncated.

    Example
    -------
    >>> from balancekit.discovery import parse_targets
    >>> found = parse_targets('[{"targets": ["a:80"], "labels": {"__weight__": "3", "team": "x"}}]')
    >>> found.endpoints[0].weight, dict(found.endpoints[0].metadata)
    (3.0, {'team': 'x'})
    """
    try:
        groups = json.loads(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidTargetsError(f"invalid or truncated JSON: {error}") from error
    if not isinstance(groups, list):
        raise InvalidTargetsError(f"a list of groups is expected, not {type(groups).__name__}")
    known = {} if before is None else {endpoint.id: endpoint for endpoint in before.endpoints}
    return Resolution(endpoints=[endpoint for group in groups for endpoint in _group(group, known)])


def _group(group: Any, known: Mapping[str, Endpoint[Any]]) -> Iterable[Endpoint[str]]:
    if not isinstance(group, dict) or not isinstance(group.get("targets"), list):
        raise InvalidTargetsError('each group is expected to be {"targets": [...], "labels": {...}}')
    for field in group:
        if field not in FIELDS:
            raise InvalidTargetsError(f"unknown field {brief(field)}; a group has targets and labels")
    labels = group.get("labels")
    if labels is None:
        labels = {}
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise InvalidTargetsError("labels are expected to be an object of strings")
    like: Endpoint[str] | None = None
    for target in group["targets"]:
        scheme = _checked(target, labels)
        id = f"{scheme}://{target}" if scheme else target
        try:
            if like is None:
                like = _labelled(id, labels)
            found = derived(like, id=valid.text("id", id), target=id)
        except ValueError as error:
            raise InvalidTargetsError(f"target {brief(target)}: {error}") from error
        old = known.get(id)
        yield old if old is not None and old == found else found


def _checked(target: object, labels: Mapping[str, str]) -> str:
    """Return the scheme of a target; refuse an invalid target."""
    if not isinstance(target, str) or not target:
        raise InvalidTargetsError(
            f"a target is expected to be a string such as 'host:port', not {brief(target)}"
        )
    scheme = labels.get("__scheme__", "")
    if _BLANK.search(target):
        raise InvalidTargetsError(f"a target is expected to have no blanks, not {brief(target)}")
    if scheme and "://" in target:
        raise InvalidTargetsError(
            f"target {brief(target)} has a scheme already, besides __scheme__={brief(scheme)}"
        )
    return scheme


def _labelled(id: str, labels: Mapping[str, str]) -> Endpoint[str]:
    """Return an endpoint with these labels, as a template for its group."""
    rest = dict(labels)
    rest.pop("__scheme__", None)
    return Endpoint(
        id,
        weight=_number("__weight__", rest.pop("__weight__", "1"), float, "a number >= 0"),
        priority=_number("__priority__", rest.pop("__priority__", "0"), int, "a whole number >= 0"),
        zone=rest.pop("__zone__", ""),
        metadata=rest,
    )


def _number(label: str, text: str, read: Callable[[str], T], allowed: str) -> T:
    """Return the number in a label, which must be in plain digits."""
    try:
        if text.isascii() and "_" not in text:
            return read(text)
    except ValueError:
        pass
    raise ValueError(f"{label}={brief(text)} is not allowed: expected {allowed}")
