"""The demand on a system: requests, bytes, connections, and what follows from them."""

from __future__ import annotations

from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record

__all__ = ["Demand"]

BITS_PER_BYTE: Final = 8
GIGA: Final = 1e9
SECONDS_PER_DAY: Final = 86_400
MAX_FIGURE: Final = 1e15
"""Of any property: products of three are numbers that a float can hold."""


@final
class Demand(Record):
    """A rate of requests, and their properties.

    Parameters
    ----------
    requests
        Requests per second, > 0. No property may be above 1e15.
    request_bytes, response_bytes
        Bytes of a request and of its response on the wire, >= 0.
    per_connection
        Requests on one client connection, >= 1.
    idle
        Seconds that a client connection stays open without a request, >= 0.
    service
        Seconds that a request is being served, >= 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from balancekit.capacity import Demand
    >>> demand = Demand(requests=1e6)
    >>> demand.gbps_in + demand.gbps_out, demand.in_flight
    (96.0, 100000.0)
    """

    requests: float
    request_bytes: float = 2_000.0
    response_bytes: float = 10_000.0
    per_connection: float = 100.0
    idle: float = 60.0
    service: float = 0.1

    def _check(self) -> None:
        checked = {
            "requests": valid.number("requests", self.requests, above=0.0, maximum=MAX_FIGURE),
            "per_connection": valid.number(
                "per_connection", self.per_connection, minimum=1.0, maximum=MAX_FIGURE
            ),
            **{
                name: valid.number(name, getattr(self, name), minimum=0.0, maximum=MAX_FIGURE)
                for name in ("request_bytes", "response_bytes", "idle", "service")
            },
        }
        self.__dict__.update(checked)

    @property
    def gbps_in(self) -> float:
        """Gigabits per second from clients: ``requests * request_bytes * 8``."""
        return self.requests * self.request_bytes * BITS_PER_BYTE / GIGA

    @property
    def gbps_out(self) -> float:
        """Gigabits per second to clients: ``requests * response_bytes * 8``."""
        return self.requests * self.response_bytes * BITS_PER_BYTE / GIGA

    @property
    def total_gbps(self) -> float:
        """Gigabits per second in both directions."""
        return self.gbps_in + self.gbps_out

    @property
    def per_day(self) -> float:
        """Requests a day: ``requests * 86,400``."""
        return self.requests * SECONDS_PER_DAY

    @property
    def connections_per_second(self) -> float:
        """Client connections opened per second: ``requests / per_connection``."""
        return self.requests / self.per_connection

    @property
    def open_connections(self) -> float:
        """Client connections open: opened per second times ``idle + per_connection * service`` (Little)."""
        return self.connections_per_second * (self.idle + self.per_connection * self.service)

    @property
    def in_flight(self) -> float:
        """Requests being served: ``requests * service`` (Little)."""
        return self.requests * self.service

    @checked_arguments
    def scaled(self, share: float) -> Demand:
        """Return a share of this demand: fewer requests of the same kind."""
        return self.replace(requests=self.requests * valid.number("share", share, above=0.0))
