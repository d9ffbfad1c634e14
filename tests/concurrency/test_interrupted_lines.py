"""Lines of a recording survive an interrupt, at whatever place: none is lost and none is written twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from tests.concurrency._interrupts import Injector, Interrupt

from balancekit.sim._jsonl_writer import BATCH_SIZE, LineWriter

LINES = BATCH_SIZE + 5
MIN_PLACES = 20
"""Fewer would mean that the injector does not see the writer."""


def attempt(path: Path, place: int, *, jumps: bool) -> tuple[bool, LineWriter, list[str]]:
    """Write lines with an interrupt at a place, and close; return whether it came, and the lines that were added."""
    writer = LineWriter(path)
    if path.is_fifo():
        os.set_blocking(writer._file.fileno(), False)
    kept: list[str] = []
    came = False
    for number in range(LINES):
        line = f"line {number:04} {'x' * 100}"
        kept.append(line)
        if number != BATCH_SIZE - 1:
            writer.add(line)
            continue
        before = writer._batch
        try:
            with Injector(place, jumps=jumps):
                writer.add(line)
        except Interrupt:
            came = True
            if writer._batch is before and line not in before.lines:
                kept.pop()
    try:
        with Injector(place, jumps=jumps):
            writer.close()
    except Interrupt:
        came = True
    writer.close()
    return came, writer, kept


@pytest.mark.parametrize("jumps", [False, True])
def test_an_interrupt_loses_no_line(tmp_path: Path, *, jumps: bool) -> None:
    """Every line that was added is in the file once, in order, wherever a write or the close is interrupted."""
    places = 0
    for place in range(1, 500):
        came, writer, kept = attempt(tmp_path / f"{place}", place, jumps=jumps)
        assert (tmp_path / f"{place}").read_text().splitlines() == kept, place
        assert writer.dropped == 0
        places += came
        if not came:
            break
    else:
        raise AssertionError("there is no end of places")
    assert jumps or places >= MIN_PLACES


def test_an_interrupt_counts_each_line_that_finds_no_room_once(tmp_path: Path) -> None:
    """Each line is written or counted as dropped, and one at most is torn, if a full pipe takes a part of a batch."""
    for place in range(1, 500):
        path = tmp_path / f"{place}"
        os.mkfifo(path)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
            fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
            came, writer, kept = attempt(path, place, jumps=False)
            found = reader.read().decode().splitlines()
        assert found, place
        assert found[:-1] == kept[: len(found) - 1], place
        assert writer.dropped == len(kept) - len(found) + (found[-1] not in kept), place
        if not came:
            break
    else:
        raise AssertionError("there is no end of places")
