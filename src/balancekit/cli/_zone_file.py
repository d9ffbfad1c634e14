"""Reading of zone files and of lists of clients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from balancekit._support.files import in_file
from balancekit.cli._text_file import read_text, readable
from balancekit.errors import ConfigurationError
from balancekit.gslb import Locations, ZoneFile, read_csv, read_mmdb, zone_file

__all__ = ["observed_clients", "read_zone"]


def read_zone(path: Path, document: Mapping[str, Any]) -> ZoneFile:
    """Return the zone of a document. Databases that it names are in the folder of its file.

    Raises
    ------
    ConfigurationError
        If the document has a value that is not allowed, or a database cannot be read.
    """

    def database(name: str) -> Locations:
        file = path.parent / name
        with readable(file, parameter="database"):
            if file.suffix == ".csv":
                with file.open(encoding="utf-8-sig", newline="") as lines:
                    return read_csv(lines)
            try:
                return read_mmdb(file)
            except RuntimeError as error:  # maxminddb.InvalidDatabaseError is one
                raise ConfigurationError("database", str(file), f"a MaxMind DB file ({error})") from None

    with in_file(path):
        return zone_file(document, read_database=database)


def observed_clients(path: str, *, option: str = "--observed") -> dict[str, float]:
    """Return the number of queries by client from a file.

    Each line has an address or subnet, a blank or comma, and a count, which is 1 if left out.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or a line has another format.
    """
    found: dict[str, float] = {}
    for line in read_text(path, parameter=option).splitlines():
        words = line.replace(",", " ").split()
        if words:
            try:
                found[words[0]] = found.get(words[0], 0.0) + (float(words[1]) if len(words) > 1 else 1.0)
            except ValueError:
                raise ConfigurationError(option, line, "an address or subnet, and a count") from None
    return found
