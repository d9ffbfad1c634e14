"""Errors that say that the process has run out of something."""

from __future__ import annotations

import errno
import socket

import pytest
from tests._descriptors import no_descriptor

from balancekit import Outcome, classify_exception
from balancekit._support.shortage import is_shortage


def raised(error: Exception, cause: BaseException | None = None) -> Exception:
    """Return an error as it is when it has been raised from another."""
    error.__cause__ = cause
    return error


def handling(error: Exception, first: Exception, *, hidden: bool) -> Exception:
    """Return an error as it is when it was raised while another was handled; ``from None`` hides that one."""
    error.__context__, error.__suppress_context__ = first, hidden
    return error


FULL = OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_descriptors_buffers_and_memory_can_run_out(number: int) -> None:
    """An error of each such number is a shortage, by itself, as a cause, as a context and in a group."""
    error = OSError(number, "none left")
    assert is_shortage(error)
    assert is_shortage(raised(ValueError(), error))
    assert is_shortage(raised(ValueError(), raised(ValueError(), error)))
    assert is_shortage(handling(ValueError(), error, hidden=False))
    assert is_shortage(
        raised(OSError("no connection"), ExceptionGroup("all", [ConnectionRefusedError(), error]))
    )


def test_other_errors_are_no_shortage() -> None:
    """A refused connection, an unknown name, and an error that hides a shortage with ``from None`` are none."""
    assert not is_shortage(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    assert not is_shortage(socket.gaierror(socket.EAI_NONAME, "unknown"))
    assert not is_shortage(handling(ValueError(), FULL, hidden=True))


def test_causes_in_a_circle_are_walked_once() -> None:
    """Errors that are causes of each other end the walk."""
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert not is_shortage(one)


def test_a_name_that_cannot_be_looked_up_is_a_shortage() -> None:
    """While no descriptor is free the system says "unknown" of every name, and that is a shortage."""
    with no_descriptor():
        with pytest.raises(OSError) as caught:
            socket.getaddrinfo("localhost", 80)
        assert is_shortage(caught.value)


def test_a_lease_that_ends_for_a_shortage_is_ignored() -> None:
    """A shortage of the caller's process is held against no endpoint."""
    assert classify_exception(FULL) is Outcome.IGNORED
    assert classify_exception(raised(ConnectionError(), FULL)) is Outcome.IGNORED
    assert classify_exception(ConnectionError()) is Outcome.CONNECT_FAILED
