"""The end of the servers that the tests of adapters talk to."""

from __future__ import annotations

import gc
import socket
import warnings

from ._server import Server


def test_a_connection_that_is_accepted_as_a_server_ends_is_closed() -> None:
    """No transport is left half-made, whose warning would fail whichever test runs when it is collected."""
    clients = []

    def connect() -> None:
        clients.append(socket.create_connection(("127.0.0.1", server.port)))
        server._loop.call_soon(server._stop.set)  # just before the connection is accepted

    gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Server("a") as server:
            server._loop.call_soon_threadsafe(connect)
            server._thread.join(10)
        gc.collect()
    assert [str(warning.message) for warning in told] == []
    for client in clients:
        client.close()
    assert len(clients) == 1
