"""An ASGI server for the recipes that are applications."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
import uvicorn


@pytest.fixture
def serve():
    """Return a function that serves an ASGI application and returns its address."""
    running = []

    def start(app):
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return f"127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()
