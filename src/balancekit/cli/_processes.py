"""Child processes by name, none of which outlives its parent."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from types import TracebackType
from typing import Self

__all__ = ["Processes"]

START_TIMEOUT_S = 60.0


class Processes:
    """Python modules that run as processes. An async context manager; leaving it kills those that still run.

    Each process reads a pipe from this one and ends when it closes, so that even a parent that was killed
    leaves nothing behind. They have their own session: an interrupt from the terminal reaches the parent only.
    """

    def __init__(self) -> None:
        self._processes: dict[str, Process] = {}

    async def launch(
        self, name: str, module: str, words: Sequence[str], *, pass_fds: Sequence[int] = ()
    ) -> Process:
        """Start a module with arguments."""
        self._processes[name] = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *words,
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
        return process

    async def first_line(self, name: str) -> bytes:
        """Return the first line that a process prints: it is ready.

        Raises
        ------
        RuntimeError
            If it ends before.
        """
        line = await asyncio.wait_for(self.output(name).readline(), START_TIMEOUT_S)
        if not line:
            status = await self._processes[name].wait()
            raise RuntimeError(f"server {name!r} ended before it listened, status {status}")
        return line

    def output(self, name: str) -> asyncio.StreamReader:
        """Return the standard output of a process."""
        reader = self._processes[name].stdout
        assert reader is not None
        return reader

    def running(self, name: str) -> bool:
        """Return whether a process was started and has not been killed."""
        return name in self._processes

    async def kill(self, *names: str) -> None:
        """Send SIGKILL to all of them at once: none has a chance to say goodbye."""
        processes = [self._processes.pop(name) for name in names]
        for process in processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*[process.wait() for process in processes])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill(*self._processes)
