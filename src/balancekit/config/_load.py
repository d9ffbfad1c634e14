"""Read a configuration from a file, a mapping and the environment.

A variable such as ``BALANCEKIT_BALANCER__SELECTOR=RingHash`` sets one key. Two underscores separate the names of tables; the
value is TOML or, if it is not valid TOML, text. Variables override the file. Variables that Kubernetes sets for a service
called ``balancekit``, such as ``BALANCEKIT_PORT``, are ignored.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from balancekit._support import tables
from balancekit._support.arguments import checked_arguments
from balancekit._support.files import in_file, noted, read_file
from balancekit.config._configuration import Configuration, configuration
from balancekit.errors import ConfigurationError, brief

__all__ = ["load", "read"]

MAX_FILE_BYTES: Final = 10_000_000
PREFIX: Final = "BALANCEKIT_"
_SERVICE_LINK: Final = re.compile(
    r"(?:[A-Z0-9]+_)*(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9]+)*|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
"""The variables that Kubernetes sets in each container for a service with the name of our prefix (Docker's links)."""


@checked_arguments
def load(
    source: Mapping[str, Any] | str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    prefix: str = PREFIX,
) -> Configuration:
    """Return a fully checked configuration; nothing is started.

    Parameters
    ----------
    source
        The path of a TOML or JSON file (``.json``), or a mapping of the same shape; ``None`` for the environment alone.
    environ
        Environment variables, usually ``os.environ``, or ``None`` for none.
    prefix
        The prefix of the variables' names.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is neither TOML nor JSON, or has an unknown key or a value outside its range. The
        parameter is the place in the file, such as ``checks.path``; notes name the file
        and the variables.

    *When not to use it:* if targets, selectors or functions are objects of your program; construct a
    :class:`~balancekit.LoadBalancer` instead.

    Example
    -------
    >>> from balancekit.config import load
    >>> found = load({"endpoints": ["a", "b"], "balancer": {"selector": "RoundRobin"}})
    >>> [endpoint.id for endpoint in found.balancer.endpoints]
    ['a', 'b']
    >>> load({"endpoints": ["a"]}, environ={"BALANCEKIT_RETRY__ATTEMPTS": "4"}).retry.attempts
    4
    """
    if source is None:
        facts: dict[str, Any] = {}
    elif isinstance(source, Mapping):
        facts = tables.table("configuration", source)
    elif isinstance(source, str | Path):
        facts = read(source)
    else:
        raise ConfigurationError("source", source, "a mapping, the path of a TOML or JSON file, or None")
    with nullcontext() if source is None or isinstance(source, Mapping) else in_file(source):
        return _configured(facts, environ or {}, prefix)


def _configured(facts: dict[str, Any], variables: Mapping[str, str], prefix: str) -> Configuration:
    ours = [
        name
        for name in variables
        if name.startswith(prefix) and not _SERVICE_LINK.fullmatch(name, len(prefix))
    ]
    with noted(f"with {', '.join(ours)}") if ours else nullcontext():
        for name in ours:
            facts = _set(facts, name.removeprefix(prefix).lower().split("__"), _value(variables[name]), name)
        return configuration(facts, environ=variables)


@checked_arguments
def read(path: str | Path) -> dict[str, Any]:
    """Return the tables of a TOML or JSON file.

    Parameters
    ----------
    path
        The path; a name that ends with ``.json`` is read as JSON.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is larger than 10 MB, or is neither TOML nor JSON.
    """
    if str(path).lower().endswith((".yaml", ".yml")):
        raise ConfigurationError("source", str(path), "TOML or JSON; of YAML, load(yaml.safe_load(text))")
    try:
        content = read_file(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        text = "; of text, load(tomllib.loads(text))" if "=" in str(path) or "\n" in str(path) else ""
        raise ConfigurationError("source", str(path), f"a file that can be read ({why}){text}") from None
    kind = "JSON" if str(path).lower().endswith(".json") else "TOML"
    try:
        found = (
            json.loads(content, object_pairs_hook=_distinct)
            if kind == "JSON"
            else tomllib.loads(content.decode("utf-8-sig"))
        )
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("source", str(path), f"{kind}: {error}") from None
    return tables.table("source", found)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; refuse a repeated key, as TOML does."""
    found = dict(pairs)
    if len(found) < len(pairs):
        words = [word for word, _ in pairs]
        twice = next(word for word in words if words.count(word) > 1)
        raise ValueError(f"{brief(twice)} stands twice in one object")
    return found


def _value(text: str) -> Any:
    """Return the value of a variable: TOML if it is valid, otherwise text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _set(facts: Mapping[str, Any], path: list[str], value: Any, variable: str) -> dict[str, Any]:
    """Return tables with one key changed."""
    name, *rest = path
    if not name:
        raise ConfigurationError("environ", variable, "words separated by two underscores")
    if not rest:
        return {**facts, name: value}
    inner = facts.get(name, {})
    if not isinstance(inner, Mapping):
        raise ConfigurationError("environ", variable, f"a word of a table; {name} is none")
    return {**facts, name: _set(inner, rest, value, variable)}
