"""ORCA load reports in HTTP headers and gRPC trailers: text, JSON and binary.

.. code-block:: text

    endpoint-load-metrics: TEXT application_utilization=0.4,rps_fractional=120,named_metrics.kv=0.7
    endpoint-load-metrics: JSON {"application_utilization": 0.4, "rps_fractional": 120}
    endpoint-load-metrics: BIN CgQ...              base64 of the message
    endpoint-load-metrics-bin                      the message itself in gRPC trailers, base64 in HTTP headers

grpcio keeps a trailer of that name for its own policies and hides it from programs: send the message under another
name, and read that.

Names are those of the message; JSON may have ``rpsFractional`` for ``rps_fractional``, and text a colon in place of ``=``.

Numbers in text, and quoted ones in JSON, are decimal, or hexadecimal after ``0x``; ``null`` in JSON leaves a field out.
Single quotes, bare names and trailing commas, which protobuf still reads as "legacy syntax", are not JSON and are rejected.

A report is untrusted input. As in Envoy, it is rejected as a whole if it is too long, not a report, has an unknown or
repeated name, or an impossible figure (NaN, negative, beyond 1e12). Named figures of the other forms may be negative.

Cost: O(length), some 10 microseconds; headers above 16 KiB are not parsed.

Source: cncf/xds ``orca_load_report.proto``; Envoy 1.40.0; gRPC proposal A51; for numbers Abseil's ``SimpleAtod``, for ``null``
protobuf's ``json/internal/parser.cc``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.extras import extra
from balancekit.errors import BalancekitError, ConfigurationError
from balancekit.outcome import LoadReport

__all__ = ["LOAD_HEADER", "LOAD_HEADER_BINARY", "InvalidLoadReportError", "format_orca", "parse_orca"]

LOAD_HEADER: Final = "endpoint-load-metrics"
"""The name of the header, and of the trailer."""
LOAD_HEADER_BINARY: Final = "endpoint-load-metrics-bin"
"""The name of the binary form."""
MAX_HEADER_BYTES: Final = 16_384
FIELDS: Final = {
    "cpu_utilization": "cpu_utilization",
    "mem_utilization": "memory_utilization",
    "application_utilization": "application_utilization",
    "rps_fractional": "rps",
    "eps": "eps",
}
"""Field names of this library, by those of the message."""
_SENDABLE: Final = re.compile(r"[!-+\-./0-9;<>-~]+")
_DECIMAL: Final = re.compile(r"(\+|-?)(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_HEXADECIMAL: Final = re.compile(
    r"(\+|-?)0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?\d+)?", re.ASCII | re.IGNORECASE
)
_BLANKS: Final = " \t\n\v\f\r"
CAMEL: Final = re.compile("(?<=[a-z])[A-Z]")
OLD_RATE: Final = "rps"
"""An integer in place of ``rps_fractional``, which Envoy and gRPC ignore."""
MAPS: Final = ("named_metrics", "utilization", "request_cost")
"""Fields that hold figures by name."""
TEXT_MAPS: Final = MAPS[:2]
"""The fields of the text form."""


class InvalidLoadReportError(BalancekitError, ValueError):
    """A load report is malformed or has an impossible figure."""


@checked_arguments
def parse_orca(value: str | bytes) -> LoadReport:
    """Read a load report.

    Parameters
    ----------
    value
        The value of the header, which begins with its form; or the bytes of the binary trailer.

    Raises
    ------
    InvalidLoadReportError
        If the value is not a valid report. No other exception is raised, whatever a server sends.
    ModuleNotFoundError
        For a binary report without the extra ``grpc``.

    Example
    -------
    >>> from balancekit.reported import parse_orca
    >>> parse_orca("TEXT cpu_utilization=0.3,rps_fractional=10,named_metrics.kv=0.5").named_metrics["kv"]
    0.5
    >>> parse_orca('JSON {"application_utilization": 0.4, "rps_fractional": 120}').rps
    120.0
    """
    if len(value) > MAX_HEADER_BYTES:
        raise InvalidLoadReportError(f"{len(value)} bytes, more than {MAX_HEADER_BYTES}")
    try:
        if isinstance(value, bytes):
            return _binary(value)
        form, _, body = value.strip().partition(" ")
        if form == "TEXT":
            return _report(_text(body))
        if form == "JSON":
            return _report(json.loads(body, object_pairs_hook=_once))
        if form == "BIN":
            return _binary(base64.b64decode(body, validate=True))
    except InvalidLoadReportError:
        raise
    except (
        ConfigurationError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise InvalidLoadReportError(str(error)[:200]) from None
    raise InvalidLoadReportError(f"form {form[:20]!r}, not TEXT, JSON or BIN")


@checked_arguments
def format_orca(report: LoadReport) -> str:
    """Return a load report in the text form, without figures that are zero.

    Raises
    ------
    ConfigurationError
        If the report could not be sent or parsed: a name with a comma or a line end, a negative figure, more than 16 KiB.

    Example
    -------
    >>> from balancekit.outcome import LoadReport
    >>> from balancekit.reported import format_orca
    >>> format_orca(LoadReport(application_utilization=0.4, rps=120.0, named_metrics={"kv": 0.7}))
    'TEXT application_utilization=0.4,rps_fractional=120,named_metrics.kv=0.7'
    """
    figures = {theirs: getattr(report, ours) for theirs, ours in FIELDS.items()}
    parts = [f"{name}={value:.6g}" for name, value in figures.items() if value]
    for field in TEXT_MAPS:
        figures = getattr(report, field)
        for name, value in figures.items():
            if _SENDABLE.fullmatch(name) is None:
                raise ConfigurationError(
                    field, name, "names of printable ASCII without blank, comma, '=' and ':'"
                )
            if value < 0.0:
                raise ConfigurationError(field, value, "figures >= 0")
        parts += [f"{field}.{name}={value:.6g}" for name, value in figures.items()]
    text = f"TEXT {','.join(parts)}".rstrip()  # no header ends with a blank
    if len(text) > MAX_HEADER_BYTES:
        raise ConfigurationError("report", text, f"a report of at most {MAX_HEADER_BYTES} bytes")
    return text


def _text(body: str) -> dict[str, Any]:
    facts: dict[str, Any] = {field: {} for field in TEXT_MAPS}
    for part in filter(None, (part.strip() for part in body.split(","))):
        found = re.fullmatch("([^=:]*)[=:](.*)", part, re.DOTALL)
        if found is None:
            raise InvalidLoadReportError(f"{part[:50]!r} is no name=number")
        field, _, key = found[1].partition(".")
        figures, name = (facts[field], key) if key and field in TEXT_MAPS else (facts, found[1])
        if figures is facts and name not in FIELDS:
            raise InvalidLoadReportError(f"{name[:50]!r} is no field of a load report in text")
        if name in figures:
            raise InvalidLoadReportError(f"{name[:50]!r} is there twice")
        figures[name] = _number(found[2])
        if figures[name] < 0.0:
            raise InvalidLoadReportError(f"{part[:50]!r} is negative")
    return facts


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; of a name that is there twice, readers take the first, the last, or neither."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidLoadReportError("a name in JSON is there twice")
    return found


def _report(facts: Mapping[str, Any]) -> LoadReport:
    named = {CAMEL.sub(lambda found: f"_{found[0].lower()}", name): value for name, value in facts.items()}
    if len(named) < len(facts):
        raise InvalidLoadReportError("a field is there twice, in two spellings")
    unknown = named.keys() - FIELDS.keys() - {OLD_RATE, *MAPS}
    if unknown:
        raise InvalidLoadReportError(f"{min(unknown)[:50]!r} is no field of a load report")
    figures = {
        FIELDS[name]: _figure(value)
        for name, value in named.items()
        if name in FIELDS and value is not None  # null means absent
    }
    kv, shares, costs = (
        {str(name): _figure(value) for name, value in (named.get(field) or {}).items()} for field in MAPS
    )
    return LoadReport(named_metrics=kv, utilization=shares, request_cost=costs, **figures)


def _figure(value: Any) -> float:
    if isinstance(value, bool):
        raise InvalidLoadReportError(f"{value!r} is no number")
    return _number(value) if isinstance(value, str) else float(value)


def _number(text: str) -> float:
    """Parse a number as Abseil does.

    ``float()`` would accept underscores and digits of other scripts, but not hexadecimal numbers.
    """
    text = text.strip(_BLANKS)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        return float.fromhex(text)
    raise InvalidLoadReportError(f"{text[:50]!r} is no number")


def _binary(data: bytes) -> LoadReport:
    with extra("grpc"):
        from google.protobuf.message import DecodeError  # noqa: PLC0415 - what an extra brings
        from xds.data.orca.v3.orca_load_report_pb2 import (  # noqa: PLC0415 - the same
            OrcaLoadReport,  # pyright: ignore[reportAttributeAccessIssue] - made at run time by protobuf
        )

    try:
        message = OrcaLoadReport.FromString(data)
    except DecodeError as error:
        raise InvalidLoadReportError(str(error)[:200]) from None
    return LoadReport(
        cpu_utilization=message.cpu_utilization,
        memory_utilization=message.mem_utilization,
        application_utilization=message.application_utilization,
        rps=message.rps_fractional or float(message.rps),
        eps=message.eps,
        named_metrics=dict(message.named_metrics),
        utilization=dict(message.utilization),
        request_cost=dict(message.request_cost),
    )
