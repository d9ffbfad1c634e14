"""Resolver of a Prometheus ``file_sd`` list in JSON, read every second.

The file is read, not watched: a mounted Kubernetes ConfigMap changes by a swap of a symbolic link, which a watch on the
file does not see. The whole file is read, because size and time miss a second change within one tick of the file
system's clock. It is parsed only if its bytes have changed. A missing or half-written file is a failure: the last good
list stays in use, and the file is read again a second later.

Cost: one read per second, about 50 us for a thousand endpoints; parsing only after a change.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Self, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.files import opened
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import Resolution
from balancekit.discovery._targets import MAX_LIST_BYTES, InvalidTargetsError, parse_targets

__all__ = ["FileSdResolver"]

_EVERY_SECOND: Final = Refresh(interval=1.0, max_retry=1.0)


@final
class FileSdResolver(ConstructorRepr):
    """The targets listed in a file.

    Parameters
    ----------
    path
        The file; it need not exist yet.

    Raises
    ------
    ConfigurationError
        If ``path`` is no path of a file.

    *When not to use it:* if the list is on another machine; use :class:`HttpSdResolver`.

    Example
    -------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> from balancekit.discovery import FileSdResolver
    >>> path = Path(mkdtemp(), "orders.json")
    >>> path.write_text('[{"targets": ["10.0.0.1:80", "10.0.0.2:80"]}]')
    45
    >>> [endpoint.id for endpoint in FileSdResolver(path).resolve().endpoints]
    ['10.0.0.1:80', '10.0.0.2:80']
    """

    refresh: Final = _EVERY_SECOND

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(valid.path("path", path))
        self._last: tuple[bytes, Resolution] | None = None

    @classmethod
    def parse(cls, address: str) -> Self:
        """Make one from a path."""
        return cls(address)

    def resolve(self) -> Resolution:
        """Read the file.

        Raises
        ------
        OSError
            If it cannot be read.
        InvalidTargetsError
            If its content is not a list of targets.
        """
        data = self._read()
        last = self._last
        if last is not None and last[0] == data:
            return last[1]
        try:
            found = parse_targets(data, before=None if last is None else last[1])
        except InvalidTargetsError as error:
            raise InvalidTargetsError(f"{self._path}: {error}") from error
        self._last = (data, found)
        return found

    def _read(self) -> bytes:
        """Read a whole regular file; a pipe without a writer would hang, and a device would never end."""
        with opened(self._path) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidTargetsError(f"{self._path} is no regular file")
            if hasattr(os, "O_NONBLOCK"):  # some kernel files appear regular, and block until there is data
                os.set_blocking(file.fileno(), False)
            data = file.read(MAX_LIST_BYTES + 1)
        if data is None:
            raise InvalidTargetsError(f"{self._path} is no regular file")
        if len(data) > MAX_LIST_BYTES:
            raise InvalidTargetsError(f"{self._path} has more than {MAX_LIST_BYTES} bytes")
        return data
