"""How to start, kill and bring back real servers, and leave none behind."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from types import TracebackType
from typing import Self

__all__ = ["Fleet"]

START_TIMEOUT = 20.0


class Fleet:
    """Server processes by name. An async context manager; leaving it kills those that still run.

    Each server reads a pipe from this process and ends when it closes, so that even a parent that was
    killed leaves nothing behind. They have their own session: an interrupt from the terminal reaches the
    parent only.
    """

    def __init__(self) -> None:
        self._processes: dict[str, Process] = {}
        self._ports: dict[str, int] = {}
        self._delays: dict[str, float] = {}

    async def start(self, name: str, delay: float | None = None) -> str:
        """Start a server, on the same port if it ran before; return its URL."""
        self._delays[name] = delay = self._delays[name] if delay is None else delay
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "balancekit.cli._server",
            f"--name={name}",
            f"--delay={delay}",
            f"--port={self._ports.get(name, 0)}",
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
        )
        self._processes[name] = process
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT)
        if not line:
            raise RuntimeError(f"server {name!r} ended before it listened, status {await process.wait()}")
        self._ports[name] = int(line)
        return f"http://127.0.0.1:{self._ports[name]}"

    async def kill(self, name: str) -> None:
        """Send SIGKILL: the server has no chance to say goodbye."""
        process = self._processes.pop(name)
        process.kill()
        await process.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*[process.wait() for process in self._processes.values()])
