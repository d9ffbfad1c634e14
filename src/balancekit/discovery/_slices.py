"""The endpoints of a Kubernetes service, from its EndpointSlices. Sans-IO.

A service of more than a hundred pods has several slices, and each event carries one slice. The endpoints are the union of
all slices. An address may be in two slices while it moves between them; the better condition counts.

==========================================  ================================================================
ready                                       takes its share of requests
not ready, serving (it terminates)          weight 0: gets requests only if no endpoint is ready; open ones finish
neither                                     is left out
==========================================  ================================================================

Cost: O(endpoints of one slice) per event; the union is built when it is read, O(endpoints).

Source: Kubernetes API 1.34, ``discovery.k8s.io/v1``; KEP-752 (slices), KEP-1672 (conditions), KEP-1669 (terminating
endpoints as a fallback), KEP-2433 (zone hints).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.record import derived
from balancekit.discovery._targets import InvalidTargetsError
from balancekit.endpoint import Endpoint
from balancekit.errors import BalancekitError, ConfigurationError, brief_error

__all__ = ["EndpointSlices", "WatchExpiredError"]

GONE: Final = 410
"""The HTTP status for a resource version that is too old to watch from."""
SHAPE_ERRORS: Final = (LookupError, TypeError, AttributeError, ValueError, ConfigurationError)
"""The exceptions raised while reading a document that is not a slice."""


class WatchExpiredError(BalancekitError):
    """The watch cannot resume from its version; a new list is needed."""


@final
class EndpointSlices(ConstructorRepr):
    """The slices of one service.

    Parameters
    ----------
    port
        Name or number of the port; if left out, the only port of each slice.

    Raises
    ------
    ConfigurationError
        If ``port`` is neither a name nor a number from 1 to 65535.

    Example
    -------
    >>> from balancekit.discovery import EndpointSlices
    >>> slices = EndpointSlices(port="http")
    >>> piece = {
    ...     "metadata": {"name": "orders-x", "resourceVersion": "7"},
    ...     "ports": [{"name": "http", "port": 8080}],
    ...     "endpoints": [
    ...         {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "zone": "eu-1"},
    ...         {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "serving": True, "terminating": True}},
    ...         {"addresses": ["10.0.0.3"], "conditions": {"ready": False}},
    ...     ],
    ... }
    >>> slices.apply("ADDED", piece)
    True
    >>> [(endpoint.id, endpoint.zone, endpoint.weight) for endpoint in slices.endpoints()]
    [('10.0.0.1:8080', 'eu-1', 1.0), ('10.0.0.2:8080', '', 0.0)]
    """

    __slots__ = ("_found", "_port", "_without_port", "version")

    def __init__(self, port: str | int | None = None) -> None:
        if not (port is None or isinstance(port, str)):
            valid.integer("port", port, minimum=1, maximum=65_535)
        self._port = port
        self._found: dict[str, tuple[Endpoint[str], ...]] = {}
        self._without_port: dict[str, tuple[str, ...]] = {}
        """The ports of each slice that has endpoints but not the wanted port."""
        self.version: str = ""
        """The resource version to watch from."""

    def replace(self, slices: Iterable[Mapping[str, Any]], version: str) -> None:
        """Take a list of all slices, whole or not at all.

        Raises
        ------
        InvalidTargetsError
            If a slice lacks a required field.
        """
        try:
            pieces = {valid.text("name", piece["metadata"]["name"]): piece for piece in slices}
            found = {name: self._read(piece) for name, piece in pieces.items()}
            lacking = {name: self._ports_instead(piece) for name, piece in pieces.items()}
        except SHAPE_ERRORS as error:
            raise InvalidTargetsError(f"a list of EndpointSlices: {brief_error(error)}") from error
        self._found, self._without_port, self.version = found, lacking, version

    def apply(self, event: str, piece: Mapping[str, Any]) -> bool:
        """Take one event of a watch; return whether it may have changed the endpoints.

        Raises
        ------
        WatchExpiredError
            For an error event; only a new list contains the missed changes.
        InvalidTargetsError
            If the slice lacks a required field. Nothing has changed.
        """
        if event == "ERROR":
            code, message = piece.get("code"), piece.get("message", "")
            raise WatchExpiredError(f"{'expired' if code == GONE else code}: {message}")
        try:
            metadata = piece["metadata"]
            version = metadata["resourceVersion"]
            name = "" if event == "BOOKMARK" else valid.text("name", metadata["name"])
            gone = event in {"BOOKMARK", "DELETED"}
            wanted = None if gone else self._read(piece)
            lacking = () if gone else self._ports_instead(piece)
        except SHAPE_ERRORS as error:
            raise InvalidTargetsError(f"an EndpointSlice: {brief_error(error)}") from error
        before = self._found.get(name)
        if wanted is not None:
            self._found[name], self._without_port[name] = wanted, lacking
        elif event != "BOOKMARK" and name in self._found:
            self._without_port.pop(name, None)
            del self._found[name]
        self.version = version  # last, so that an event cut short by an interrupt is received again
        return event != "BOOKMARK" and wanted != before

    def endpoints(self) -> list[Endpoint[str]]:
        """Return the union of all slices, by id."""
        union: dict[str, Endpoint[str]] = {}
        for found in self._found.values():
            for endpoint in found:
                other = union.get(endpoint.id)
                if other is None or endpoint.weight > other.weight:
                    union[endpoint.id] = endpoint
        return [union[id] for id in sorted(union)]

    def ports_instead(self) -> list[str]:
        """Return the available ports, if only the wanted port is missing; otherwise an empty list.

        Example
        -------
        >>> from balancekit.discovery import EndpointSlices
        >>> slices = EndpointSlices(port="web")
        >>> piece = {
        ...     "metadata": {"name": "orders-x", "resourceVersion": "7"},
        ...     "ports": [{"name": "http", "port": 8080}],
        ...     "endpoints": [{"addresses": ["10.0.0.1"]}],
        ... }
        >>> slices.apply("ADDED", piece), slices.endpoints(), slices.ports_instead()
        (True, [], ['http'])
        """
        if any(self._found.values()):
            return []
        return sorted({port for ports in self._without_port.values() for port in ports})

    def _ports_instead(self, piece: Mapping[str, Any]) -> tuple[str, ...]:
        ports = piece.get("ports") or ()
        entries = piece.get("endpoints") or ()
        if self._port_of(ports) is not None or all(
            _weight(entry.get("conditions") or {}) is None for entry in entries
        ):
            return ()
        return tuple(str(port.get("name") or port.get("port") or "any") for port in ports)

    def _read(self, piece: Mapping[str, Any]) -> tuple[Endpoint[str], ...]:
        port = self._port_of(piece.get("ports") or ())
        if port is None:
            return ()
        format = "[{}]:{}" if piece.get("addressType") == "IPv6" else "{}:{}"
        alike: dict[tuple[float, str, str], Endpoint[str]] = {}
        found = []
        for entry in piece.get("endpoints") or ():
            weight = _weight(entry.get("conditions") or {})
            if weight is None:
                continue
            facts = weight, entry.get("zone") or "", _hinted_zones(entry)
            like = alike.get(facts)
            if like is None:
                alike[facts] = like = _endpoint(*facts)
            for address in entry.get("addresses") or ():
                target = format.format(valid.text("address", address), port)
                found.append(derived(like, id=target, target=target))
        return tuple(found)

    def _port_of(self, ports: Iterable[Mapping[str, Any]]) -> int | None:
        known = list(ports)
        if self._port is None:
            return known[0].get("port") if len(known) == 1 else None
        for port in known:
            if self._port in {port.get("name") or "", port.get("port"), str(port.get("port"))}:
                number: int | None = port.get("port")
                return number
        return None


def _weight(conditions: Mapping[str, Any]) -> float | None:
    """Return 1 for a ready endpoint, 0 for one that still serves, ``None`` for any other."""
    ready = conditions.get("ready")
    if ready is None or ready:  # the API treats unknown as ready
        return 1.0
    return 0.0 if conditions.get("serving") and conditions.get("terminating") else None


def _hinted_zones(entry: Mapping[str, Any]) -> str:
    hints = entry.get("hints")
    return ",".join([hint["name"] for hint in hints.get("forZones") or ()]) if hints else ""


def _endpoint(weight: float, zone: str, hinted: str) -> Endpoint[str]:
    """Return an endpoint with these attributes, as a template for others."""
    return Endpoint("like", weight=weight, zone=zone, metadata={"hint_zones": hinted} if hinted else {})
