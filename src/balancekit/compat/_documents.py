"""Fields of documents: texts, lists of texts, documents and lists of documents, each refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError

__all__ = ["document_of", "documents_of", "texts_of"]


def texts_of(field: str, value: object) -> list[str]:
    """Return a list of texts, empty if it is left out. One text is no list: its letters would be taken one by one."""
    if not isinstance(value, list | tuple | NoneType):
        raise ConfigurationError(field, value, "a list of texts")
    return [valid.text(field, one, empty=True, any_text=True) for one in value or ()]


def document_of(field: str, value: object) -> Mapping[str, Any]:
    """Return a document."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(field, value, "a document")
    return value


def documents_of(field: str, value: object) -> list[Mapping[str, Any]]:
    """Return a list of documents, empty if it is left out."""
    if not isinstance(value, list | tuple | NoneType):
        raise ConfigurationError(field, value, "a list of documents")
    return [document_of(field, one) for one in value or ()]
