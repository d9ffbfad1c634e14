"""The other side of the recipes: a web service, a gRPC service, Redis, each on loopback and in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import uvicorn
from fakeredis import TcpFakeServer


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Run an ASGI application; gives its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def count(name: str) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
    """Make a method that counts to a number; ``b"5 until 2"`` breaks off there."""

    def method(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        last, _, stop = request.decode().partition(" until ")
        for number in range(int(last)):
            if str(number) == stop:
                context.abort(grpc.StatusCode.UNAVAILABLE, "broke off")
            yield f"{name} {number}".encode()

    return method


def say(name: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Make a method that answers with its name, or with the status that it is asked for."""

    def method(request: bytes, context: grpc.ServicerContext) -> bytes:
        code = grpc.StatusCode.__members__.get(request.decode())
        if code is not None:
            context.abort(code, f"{name} was asked to")
        return f"{name} {request.decode()}".encode()

    return method


@contextmanager
def echo(name: str) -> Iterator[tuple[grpc.Server, str]]:
    """Run the gRPC service ``demo.Echo``; gives server and address."""
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(say(name)),
        "Count": grpc.unary_stream_rpc_method_handler(count(name)),
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("demo.Echo", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(5)


@contextmanager
def redis_server() -> Iterator[int]:
    """Run something that talks like Redis; gives its port. Connections end with it."""
    open_now: set[socket.socket] = set()

    class Server(TcpFakeServer):
        daemon_threads = True

        def get_request(self) -> Any:
            connection, address = super().get_request()
            open_now.add(connection)
            return connection, address

    server = Server(("127.0.0.1", 0), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
        for connection in open_now:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                connection.close()
