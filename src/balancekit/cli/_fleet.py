"""Server processes of the demo. None of them outlives its parent."""

from __future__ import annotations

from balancekit.cli._processes import Processes

__all__ = ["Fleet"]


class Fleet(Processes):
    """Server processes by name; see :class:`Processes`."""

    def __init__(self) -> None:
        super().__init__()
        self._ports: dict[str, int] = {}
        self._delays: dict[str, float] = {}

    async def start(self, name: str, delay: float | None = None) -> str:
        """Start a server and return its URL. A server that ran before gets the same port again."""
        self._delays[name] = delay = self._delays[name] if delay is None else delay
        words = [f"--name={name}", f"--delay={delay}", f"--port={self._ports.get(name, 0)}"]
        await self.launch(name, "balancekit.cli._server", words)
        self._ports[name] = int(await self.first_line(name))
        return f"http://127.0.0.1:{self._ports[name]}"
