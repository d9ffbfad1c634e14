"""Child processes by name. None of them outlives its parent."""

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
    """Python modules that run as processes. An async context manager, which kills the running processes at its end.

    Each process reads a pipe from the parent and ends when the pipe is closed. So no process is left, even if the parent is
    killed. Each has its own session, so Ctrl-C in the terminal reaches only the parent.
    """

    def __init__(self) -> None:
        self._processes: dict[str, Process] = {}

    async def launch(
        self, name: str, module: str, words: Sequence[str], *, pass_fds: Sequence[int] = ()
    ) -> Process:
        """Start a Python module with arguments, and keep the process under a name."""
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
        """Wait until a process is ready, and return the first line that it prints.

        Raises
        ------
        RuntimeError
            If the process ends before it prints a line.
        TimeoutError
            If it prints no line within 60 s.
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
        """Send SIGKILL to all processes with these names at once, and wait until they have ended."""
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
