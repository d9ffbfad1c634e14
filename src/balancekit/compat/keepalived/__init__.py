"""The elections of keepalived 2.2.7, one by one: its directives, its defaults and its two quirks.

:class:`Instance` is a ``vrrp_instance`` section; :class:`Keepalived` a process with some of them, their sync groups and
tracked scripts and files. It does no I/O: it receives packets and returns effects, as the machines of
:mod:`balancekit.ha` do, which it is made of.
"""

from __future__ import annotations

from balancekit.compat.keepalived._instance import Instance
from balancekit.compat.keepalived._process import Keepalived, KeepalivedProcess, TrackFile, TrackScript

__all__ = ["Instance", "Keepalived", "KeepalivedProcess", "TrackFile", "TrackScript"]
