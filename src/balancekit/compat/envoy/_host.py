"""A host of an Envoy cluster, with Envoy's bounds of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["Host", "distinct"]

MAX_WEIGHT: Final = 2**32 - 1
MAX_PRIORITY: Final = 127
NO_METADATA: Final[Mapping[str, Any]] = {}


class Host(Record):
    """One host of a cluster.

    Parameters
    ----------
    name
        Name of the host, unique in its cluster.
    address
        ``address:port``, which is also its label for hashing; the name if left out.
    weight
        Weight, a whole number from 1 to 2**32 - 1.
    priority
        Priority level, 0 to 127. Lower ones are preferred.
    hostname
        Label for hashing with ``use_hostname_for_hashing``.
    zone
        Locality of the host, for locality weights and zone-aware routing.
    metadata
        ``envoy.lb`` metadata of the host, for subsets. A text under ``hash_key`` is the label for hashing instead of address
        or hostname.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty; ``address``, ``hostname`` or ``zone`` is no string; ``weight`` or ``priority`` is no integer
        within Envoy's bounds; or ``metadata`` is no mapping with strings as keys.
    """

    name: str = field(kw_only=False)
    address: str = ""
    weight: int = 1
    priority: int = 0
    hostname: str = ""
    zone: str = ""
    metadata: Mapping[str, Any] = NO_METADATA

    def _check(self) -> None:
        valid.text("name", self.name)
        valid.text("address", self.address, empty=True)
        valid.integer("weight", self.weight, minimum=1, maximum=MAX_WEIGHT)
        valid.integer("priority", self.priority, minimum=0, maximum=MAX_PRIORITY)
        valid.text("hostname", self.hostname, empty=True)
        valid.text("zone", self.zone, empty=True)
        if not isinstance(self.metadata, Mapping) or not all(isinstance(key, str) for key in self.metadata):
            raise ConfigurationError("metadata", self.metadata, "values by name")

    def endpoint(self) -> Endpoint[str]:
        """Return the host as an endpoint for the policies of this package."""
        address = self.address or self.name
        hash_key = self.metadata.get("hash_key")
        placed = hash_key if isinstance(hash_key, str) else ""
        labels = {"address": placed or address, "hostname": placed or self.hostname, "zone": self.zone}
        return Endpoint(self.name, address, weight=self.weight, priority=self.priority, metadata=labels)


def distinct(hosts: Iterable[Host]) -> list[Host]:
    """Return the hosts of a cluster as a list.

    Raises
    ------
    ConfigurationError
        If there is no host, a host has another type, or two hosts have the same name.
    """
    found = list(hosts)
    if not found or not all(isinstance(host, Host) for host in found):
        raise ConfigurationError("hosts", found, "at least one Host")
    names = [host.name for host in found]
    if len(set(names)) < len(names):
        raise ConfigurationError("hosts", names, "each name once")
    return found
