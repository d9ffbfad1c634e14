"""The elections of keepalived 2.2.7, with its directives, its defaults and its deviations from VRRP.

:class:`Instance` is a ``vrrp_instance`` section. :class:`Keepalived` is the configuration of a process: instances, sync
groups, tracked scripts and tracked files. :class:`KeepalivedProcess` does no I/O: it receives packets and returns effects,
as the machines of :mod:`balancekit.ha` do. It is built from those machines.
"""

from __future__ import annotations

from balancekit.compat.keepalived._instance import Instance
from balancekit.compat.keepalived._process import Keepalived, KeepalivedProcess, TrackFile, TrackScript

__all__ = ["Instance", "Keepalived", "KeepalivedProcess", "TrackFile", "TrackScript"]
