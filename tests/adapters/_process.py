"""A server as a process of its own, to be killed: ``python _process.py PORT`` serves, and prints the port.

On SIGTERM it stops listening and goes on answering on the connections it has, as a server does that drains; it never
ends by itself, as one does whose drain hangs.
"""

from __future__ import annotations

import asyncio
import signal
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Return after two milliseconds."""
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.002)
            writer.write(ANSWER)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


async def main(port: int) -> None:
    """Serve."""
    server = await asyncio.start_server(connected, "127.0.0.1", port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
