"""A process without a free file descriptor."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

import pytest

SPARE = 64
"""Descriptors that are opened here beyond those that are open: the limit is lowered to that many."""


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """Leave no file descriptor free in a ``with`` block."""
    resource = pytest.importorskip(
        "resource", reason="the system has no limit of descriptors that can be set"
    )
    gc.collect()  # what is dropped keeps none that would become free in between
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = os.open(os.devnull, os.O_RDONLY)
    taken = [last]
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + SPARE, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in taken:
            os.close(descriptor)
