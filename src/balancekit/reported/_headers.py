"""Reader of load reports in response headers; rejected reports are counted, and logged once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from balancekit._support.arguments import checked_arguments, refuse
from balancekit._support.display import StateRepr
from balancekit._support.log import log_change
from balancekit.outcome import LoadReport
from balancekit.reported._orca import LOAD_HEADER, InvalidLoadReportError, parse_orca

__all__ = ["HeaderReports"]


@final
class HeaderReports(StateRepr):
    """Reader of load reports in headers.

    Example
    -------
    >>> from balancekit.reported import HeaderReports
    >>> reports = HeaderReports()
    >>> reports.read({"endpoint-load-metrics": "TEXT cpu_utilization=0.5"}).cpu_utilization
    0.5
    >>> reports.read({"endpoint-load-metrics": "TEXT cpu_utilization=nan"}), reports.rejected
    (None, 1)
    """

    __slots__ = ("rejected",)

    @checked_arguments
    def __init__(self) -> None:
        self.rejected: int = 0
        """The number of rejected reports."""

    def read(self, headers: Mapping[str, str]) -> LoadReport | None:
        """Return the load report in the headers of a response; ``None`` if there is no usable one."""
        try:
            value = headers.get(LOAD_HEADER)
        except Exception as error:
            refuse(error, HeaderReports.read, self, headers)
        if value is None:
            return None
        try:
            return parse_orca(value)
        except (InvalidLoadReportError, ModuleNotFoundError) as error:
            self.rejected += 1
            if self.rejected == 1:
                log_change("a load report was rejected, later ones are only counted: %s", error, bad=True)
            return None
