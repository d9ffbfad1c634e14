"""Check commands, which decide whether a router may be active. They run in parallel, and are killed after a time limit."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, final

from balancekit.cli._ending import Ending
from balancekit.errors import ConfigurationError

__all__ = ["CHECK_TIMEOUT_S", "CommandCheck", "command_words", "run_checks"]

CHECK_TIMEOUT_S: Final = 10.0
RUNNING_POLL_S: Final = 0.05
"""How often a command that runs is looked at."""


def command_words(command: str) -> list[str]:
    """Return the words of a command, split like a shell does.

    Raises
    ------
    ConfigurationError
        If quotes are not closed, there is no word, or there is no such program.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError("--check", command, f"a command ({error})") from None
    if not words:
        raise ConfigurationError("--check", command, "a command")
    if shutil.which(words[0]) is None:
        raise ConfigurationError(
            "--check", command, f"a command that can be run: there is no program {words[0]!r}"
        )
    return words


@final
class CommandCheck:
    """One command, run again and again; never twice at a time.

    Parameters
    ----------
    words
        The program and its arguments.
    every
        Seconds between two starts; a command that takes longer starts again when it has ended.
    """

    def __init__(self, words: Sequence[str], every: float) -> None:
        self._words = words
        self._every = every
        self._due = 0.0
        self._until = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def advance(self, now: float) -> bool | None:
        """Start the command if it is due; return whether it passed, once it has ended or its time is over."""
        process = self._process
        if process is None:
            if now < self._due:
                return None
            self._due, self._until = now + self._every, now + CHECK_TIMEOUT_S
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                    self._words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError:
                return False
            return None
        if process.poll() is None and now < self._until:
            return None
        passed = process.returncode == 0
        self.kill()
        return passed

    def due_in(self, now: float) -> float:
        """Return the seconds until :meth:`advance` is to be called."""
        return RUNNING_POLL_S if self._process is not None else max(0.0, self._due - now)

    def kill(self) -> None:
        """End the command if it runs, and the processes that it has started."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_checks(checks: dict[str, CommandCheck], report: Callable[[str, bool], object], ended: Ending) -> None:
    """Run commands until the end, and report each result by the name of its command."""
    try:
        _run_until(ended, checks, report)
    finally:
        _kill_all(checks.values())


def _run_until(ended: Ending, checks: dict[str, CommandCheck], report: Callable[[str, bool], object]) -> None:
    while not ended.wait(_pause(checks.values())):
        for name, check in checks.items():
            passed = check.advance(time.monotonic())
            if passed is not None and not ended.is_set():
                report(name, passed)


def _pause(checks: Iterable[CommandCheck]) -> float | None:
    now = time.monotonic()
    return min([check.due_in(now) for check in checks], default=None)


def _kill_all(checks: Iterable[CommandCheck]) -> None:
    for check in checks:
        check.kill()
