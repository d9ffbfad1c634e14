"""JSON Schema of configuration files, generated from the keys that :func:`balancekit.config.load` reads.

``python -m balancekit.config`` prints it; ``schema.json`` beside this file is that text, for editors.
Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

from balancekit._support import validation as valid
from balancekit._support.tables import Kinds, Words
from balancekit.config import _vocabulary as vocabulary
from balancekit.config._configuration import RETRY_WORDS, WORDS
from balancekit.config._endpoints import ENDPOINT_WORDS
from balancekit.config._recipe import BALANCER_WORDS
from balancekit.health import Health

__all__ = ["schema"]

NUMBER: Final = {"type": "number"}
STRING: Final = {"type": "string"}
TABLE: Final = {"type": "object"}
TYPES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (r"bool", {"type": "boolean"}),
    (r"int|Gradient|Aimd", {"type": "integer"}),
    (r"float", NUMBER),
    (r"(Sequence|Collection)\[str\]", {"type": "array", "items": STRING}),
    (r"(Sequence|Collection)\[int\]", {"type": "array", "items": {"type": "integer"}}),
    (r"Mapping\[str, str\]", {"type": "object", "additionalProperties": STRING}),
    (r"str|hashing\.HashFunction|bytes|OnEmpty", STRING),
)
"""The JSON types of annotations of parameters."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration.

    Example
    -------
    >>> from balancekit.config import schema
    >>> sorted(schema()["properties"])
    ['balancer', 'checks', 'discovery', 'endpoints', 'retry', 'simulation', 'title']
    """
    facts = {
        "target": STRING,
        "weight": {"type": "number", "minimum": 0, "maximum": valid.MAX_WEIGHT},
        "priority": {"type": "integer", "minimum": 0},
        "zone": STRING,
        "metadata": {"type": "object", "additionalProperties": STRING},
        "headers": {"type": "object", "additionalProperties": STRING},
    }
    endpoint = _object({word: facts[word] for word in ENDPOINT_WORDS})
    listed = {"anyOf": [STRING, {**endpoint, "properties": {"id": STRING, **endpoint["properties"]}}]}
    tables = {
        "title": STRING,
        "endpoints": {
            "anyOf": [
                {"type": "array", "items": listed, "minItems": 1},
                {"type": "object", "additionalProperties": {"anyOf": [endpoint, NUMBER]}, "minProperties": 1},
            ]
        },
        "discovery": _object({"source": STRING, **_parameters(vocabulary.REFRESH)}, required=["source"]),
        "balancer": _balancer(),
        "checks": _checks(),
        "retry": _retry(),
        "simulation": TABLE,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A balancekit configuration",
        **_object({word: tables[word] for word in WORDS}),
        "oneOf": [{"required": ["endpoints"]}, {"required": ["discovery"]}],
    }


def _balancer() -> dict[str, Any]:
    states = [state.value for state in Health]
    health = _object(
        {name: _object(_parameters(kind)) for name, kind in vocabulary.HEALTH.items()}
        | {"sweep": NUMBER, "start": {"enum": states}}
    )
    found = {
        "selector": {"enum": list(vocabulary.SELECTORS)},
        "options": TABLE,
        "load": _named(vocabulary.LOADS),
        "health": {"anyOf": [{"type": "boolean"}, health]},
        "exhaustion": _named(vocabulary.EXHAUSTION),
        "on_missing_key": {"enum": ["pick", "refuse"]},
        "routing": {"type": "array", "items": {"anyOf": _kinds(vocabulary.ROUTERS)}},
    }
    options = [
        {
            "if": {"properties": {"selector": {"const": name}}, "required": ["selector"]},
            "then": {"properties": {"options": _object(_parameters(kind))}},
        }
        for name, kind in vocabulary.SELECTORS.items()
    ]
    return {**_object({word: found[word] for word in BALANCER_WORDS}), "allOf": options}


def _checks() -> dict[str, Any]:
    timing = _parameters(vocabulary.SCHEDULE)
    kinds = [
        _object(
            {"kind": {"const": name}, **_parameters(kind), **timing},
            required=[] if name == "http" else ["kind"],
        )
        for name, kind in vocabulary.CHECKS.items()
    ]
    return {"anyOf": kinds}


def _retry() -> dict[str, Any]:
    found = {
        "attempts": {"type": "integer", "minimum": 1},
        "timeout": NUMBER,
        "hedge": NUMBER,
        "budget": _object(_parameters(vocabulary.RETRY_BUDGET)),
    }
    return _object({word: found[word] for word in RETRY_WORDS})


def _named(kinds: Kinds) -> dict[str, Any]:
    """Return the schema of an object that is given by its name or as a table."""
    return {"anyOf": [{"enum": list(kinds)}, *_kinds(kinds)]}


def _kinds(kinds: Kinds) -> list[dict[str, Any]]:
    return [
        _object({"kind": {"const": name}, **_parameters(words)}, required=["kind"])
        for name, words in kinds.items()
    ]


def _object(properties: dict[str, Any], *, required: list[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return {**found, "required": required} if required else found


def _parameters(words: Words) -> dict[str, Any]:
    """Return the parameters that a file may set, each with its type."""
    kind, names = words
    parameters = inspect.signature(kind).parameters
    return {name: _type(str(parameters[name].annotation)) if name in parameters else {} for name in names}


def _type(annotation: str) -> dict[str, Any]:
    """Return the schema of an annotation; an empty one, which allows anything, if there is no equivalent."""
    parts = [part.strip() for part in annotation.split("|") if part.strip() != "None"]
    found = [next((text for pattern, text in TYPES if re.fullmatch(pattern, part)), None) for part in parts]
    known = [text for text in found if text is not None]
    if len(known) < len(parts) or not known:
        return {}
    different = [text for place, text in enumerate(known) if text not in known[:place]]
    return different[0] if len(different) == 1 else {"anyOf": different}
