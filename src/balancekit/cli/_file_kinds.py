"""Kinds of files that ``balancekit explain`` and ``balancekit plan`` read.

The kind of a file is determined by its top-level tables. A kind is a module with two functions, which print and return the
exit status: ``explain(path, document, words)`` and ``plan(before, after, options)``, where ``before`` and ``after`` are
pairs of a path and a document. To add a kind, add a line to :data:`FILE_KINDS`.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from balancekit._support.files import read_file
from balancekit.cli._proxy_command import explain_proxy
from balancekit.cli._text_file import MAX_TEXT_BYTES, readable
from balancekit.errors import ConfigurationError

__all__ = [
    "FILE_KINDS",
    "add_explain",
    "are_files",
    "are_proxies",
    "kind_of",
    "plan_files",
    "read_document",
    "run_explain",
]

FILE_KINDS: Final[Mapping[str, str]] = {
    "zone": "balancekit.cli._zone_command",
    "endpoints": "balancekit.cli._config_command",
    "discovery": "balancekit.cli._config_command",
    "route": "balancekit.cli._route_command",
}
"""The module of each kind, by a top-level table of its files."""
ENVOY: Final = frozenset({"static_resources", "staticResources"})
"""Top-level keys of an Envoy bootstrap configuration in JSON; it has one of them."""
PROXY_SUFFIXES: Final = (".conf", ".cfg", ".yaml", ".yml")
"""Suffixes of configurations of nginx, HAProxy and Envoy."""


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``balancekit explain``."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a configuration, zone or route file (.toml, .json), or the configuration of nginx, HAProxy or Envoy",
    )
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="...", help="the options of the decision; see FILE --help"
    ).required = (
        False  # the default from Python 3.12 on; before, an error message would list "..." as required
    )


def run_explain(options: argparse.Namespace) -> int:
    """Print one decision with its reasons; return the exit status."""
    path = Path(options.file)
    if not are_files(options.file):
        return explain_proxy(options.file, options.words)
    document = read_document(path)
    if ENVOY & set(document):
        return explain_proxy(options.file, options.words)
    return int(kind_of(path, document).explain(path, document, options.words))


def are_files(*texts: str) -> bool:
    """Return whether all texts are names of TOML or JSON files, by their suffixes."""
    return all(text.endswith((".toml", ".json")) for text in texts)


def are_proxies(*texts: str) -> bool:
    """Return whether texts are names of proxy configurations, rather than endpoints or files of other kinds.

    This is so if one has the suffix of such a file, even if there is no file with that name. So an error about a misspelt
    name is about a file. It is also so if all are names of files that are proxy configurations by their content.
    """
    return any(text.endswith(PROXY_SUFFIXES) for text in texts) or all(map(_is_proxy, texts))


def _is_proxy(text: str) -> bool:
    try:
        if "," in text or "=" in text or text.startswith("@") or not Path(text).is_file():
            return False
    except (OSError, ValueError):
        return False
    return not are_files(text) or (text.endswith(".json") and bool(ENVOY & set(read_document(Path(text)))))


def plan_files(options: argparse.Namespace) -> int:
    """Print the effect of replacing one file by another; return the exit status."""
    pairs = [(path, read_document(path)) for path in (Path(options.before), Path(options.after))]
    kinds = [kind_of(path, document) for path, document in pairs]
    if kinds[0] is not kinds[1]:
        raise ConfigurationError("after", options.after, f"a file of the same kind as {options.before}")
    return int(kinds[0].plan(*pairs, options))


def read_document(path: Path) -> dict[str, Any]:
    """Return the document in a TOML or JSON file.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is no valid TOML or JSON, or has no table at the top.
    """
    with readable(path):
        data = read_file(path, MAX_TEXT_BYTES)
    try:
        found = json.loads(data) if path.suffix == ".json" else tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("file", str(path), f"TOML or JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConfigurationError("file", str(path), "a table at the top")
    return found


def kind_of(path: Path, document: Mapping[str, Any]) -> ModuleType:
    """Return the module for the kind of a file.

    Raises
    ------
    ConfigurationError
        If the document has none of the tables in :data:`FILE_KINDS`.
    """
    for table, module in FILE_KINDS.items():
        if table in document:
            return import_module(module)
    raise ConfigurationError("file", str(path), f"a file with one of the tables {', '.join(FILE_KINDS)}")
