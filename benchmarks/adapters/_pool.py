"""HTTP servers in another process, so their CPU time is not measured. They only send a fixed response.

``python -m benchmarks.adapters._pool 50`` runs fifty servers. It prints their ports, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class FixedResponse(asyncio.Protocol):
    """A connection whose requests get a response with a body of two bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport for responses."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        """Send a response for each complete request. Requests must have no body."""
        data = self.rest + data
        count = data.count(b"\r\n\r\n")
        self.rest = data.rpartition(b"\r\n\r\n")[2] if count else data
        if count:
            self.transport.write(ANSWER * count)


async def serve(count: int) -> None:
    """Serve on ``count`` ports until standard input ends."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(FixedResponse, "127.0.0.1", 0) for _ in range(count)]
    print(*[server.sockets[0].getsockname()[1] for server in servers], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def pool(count: int) -> Iterator[list[str]]:
    """Run ``count`` servers in another process. Yield their addresses."""
    command = [sys.executable, "-m", "benchmarks.adapters._pool", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield [f"127.0.0.1:{port}" for port in process.stdout.readline().split()]
        finally:
            process.communicate("")


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
