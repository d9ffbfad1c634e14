"""Unnamed network namespaces for the tiers demo: routers on a switch.

A namespace that was made by ``unshare`` exists as long as a process is in it or a descriptor of it is open. Then the kernel
removes its interfaces and the other ends of its links. So nothing is left to clean up, however the processes end. The
interfaces and addresses of the machine itself are not changed.

Needs Linux, root and iproute2. Source: network_namespaces(7), veth(4).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

__all__ = ["BRIDGE_ADDRESS", "Network", "enter_namespace"]

CLONE_NEWNET: Final = 0x4000_0000
COMMAND_TIMEOUT_S: Final = 30.0
BRIDGE_ADDRESS: Final = "192.0.2.1"
"""Address of the switch in the callers' namespace (RFC 5737)."""
PREFIX: Final = 24


def enter_namespace(descriptor: int) -> None:
    """Move this thread to a network namespace. Processes that it starts later are in that namespace too.

    Raises
    ------
    OSError
        If the system refuses.
    """
    _system_call("setns", descriptor, CLONE_NEWNET)


class Network:
    """A namespace for the callers, with a switch. A context manager; within its block, this thread is in the namespace.

    Raises
    ------
    OSError
        When the context is entered, if the system is not Linux, the process is not root, or a command fails.
    """

    def __init__(self) -> None:
        self._home = -1
        self._own = -1
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if not sys.platform.startswith("linux"):
            raise OSError("network namespaces need Linux")
        if os.geteuid() != 0:
            raise OSError("network namespaces need root")
        with ExitStack() as stack:
            self._home = _opened(stack)
            _unshare()
            stack.callback(enter_namespace, self._home)
            self._own = _opened(stack)
            _ip("link set lo up")
            _ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
            _ip(f"address add {BRIDGE_ADDRESS}/{PREFIX} dev br0")
            _ip("link set br0 up")
            self._stack = stack.pop_all()
        return self

    def add_router(self, link: str, address: str) -> int:
        """Make a namespace with an interface ``eth0`` on the switch; return its descriptor.

        Close the descriptor after a process has entered the namespace.

        Raises
        ------
        OSError
            If a command fails.
        """
        with ExitStack() as stack:
            stack.callback(enter_namespace, self._own)
            _unshare()
            inner = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _ip("link set lo up")
                enter_namespace(self._own)
                _ip(f"link add {link} type veth peer name eth0 netns /proc/{os.getpid()}/fd/{inner}")
                _ip(f"link set {link} master br0 up")
                enter_namespace(inner)
                _ip(f"address add {address}/{PREFIX} dev eth0")
                _ip("link set eth0 up")
            except BaseException:
                os.close(inner)
                raise
        return inner

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._stack.close()


def _opened(stack: ExitStack) -> int:
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _unshare() -> None:
    _system_call("unshare", CLONE_NEWNET)


def _system_call(name: str, *arguments: int) -> None:
    """Call a function of the C library. ``os`` has ``setns`` and ``unshare`` from Python 3.12 on."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _ip(words: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - no shell is used
            ["ip", *words.split()],  # noqa: S607 - its path differs between distributions
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise OSError("iproute2 is not installed") from None
    if done.returncode:
        raise OSError(f"ip {words}: {done.stderr.strip()}")
