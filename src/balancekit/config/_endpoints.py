"""The ``endpoints`` of a configuration: a list of ids, a list of tables, or tables by id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from balancekit._support import tables
from balancekit._support.arguments import checked_arguments
from balancekit._support.text import listed
from balancekit.adapters import HttpTarget
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["ENDPOINT_WORDS", "endpoints_of"]

ENDPOINT_WORDS: Final = ("target", "weight", "priority", "zone", "metadata", "headers")


@checked_arguments
def endpoints_of(where: str, value: object, *, environ: Mapping[str, str] | None) -> list[Endpoint[Any]]:
    """Return the endpoints of a configuration.

    A table may have ``target`` (an address or URL; the id if left out), ``weight``, ``priority``, ``zone``, ``metadata`` and
    ``headers``. A header's value may name an environment variable as ``${NAME}``, which keeps secrets out of the file. Without
    an environment (``None``) such names are unchanged.

    Parameters
    ----------
    where
        The place of the endpoints in the file, for errors.
    value
        A list of ids, a list of tables, or tables by id.
    environ
        The environment variables that headers name, or ``None``.

    Raises
    ------
    ConfigurationError
        For an unknown key, a value outside its range or a variable that is not set.

    Example
    -------
    >>> from balancekit.config import endpoints_of
    >>> [found] = endpoints_of("endpoints", {"a": {"target": "10.0.0.1:80", "weight": 2}}, environ=None)
    >>> found.id, found.target, found.weight
    ('a', '10.0.0.1:80', 2.0)
    """
    if isinstance(value, Mapping):
        return [_endpoint(f"{where}.{id}", id, facts, environ) for id, facts in value.items()]
    if not isinstance(value, Sequence) or isinstance(value, str):
        example = f" such as {json.dumps(listed(value))}" if isinstance(value, str) else ""
        raise ConfigurationError(where, value, f"a list of ids{example}, or tables by id")
    return [_listed(f"{where}[{place}]", one, environ) for place, one in enumerate(value)]


def _listed(where: str, value: object, environ: Mapping[str, str] | None) -> Endpoint[Any]:
    """Return an endpoint from an id, or from a table that contains one."""
    if isinstance(value, str):
        return _endpoint(where, value, {}, environ)
    facts = tables.table(where, value)
    return _endpoint(where, facts.pop("id", None), facts, environ)


def _endpoint(where: str, id: Any, value: object, environ: Mapping[str, str] | None) -> Endpoint[Any]:
    facts: dict[str, Any] = (
        {"weight": value} if isinstance(value, int | float) else tables.table(where, value)
    )
    tables.reject_unknown(where, [word for word in facts if word not in ENDPOINT_WORDS], ENDPOINT_WORDS)
    headers = facts.pop("headers", None)
    try:
        if headers is not None:
            resolved = {name: _filled(text, environ) for name, text in tables.table(where, headers).items()}
            facts["target"] = HttpTarget(facts.get("target", id), headers=resolved)
        return Endpoint(id, **facts)
    except ConfigurationError as error:
        raise tables.located(where, error) from None


def _filled(text: object, environ: Mapping[str, str] | None) -> str:
    """Return a header's value with ``${NAME}`` replaced by that variable."""
    if not isinstance(text, str):
        raise ConfigurationError("headers", text, "strings")
    before, opening, rest = text.partition("${")
    if not opening or environ is None:
        return text
    name, closing, after = rest.partition("}")
    if not closing or name not in environ:
        raise ConfigurationError("headers", name, "the name of an environment variable that is set, in ${}")
    return before + environ[name] + _filled(after, environ)
