"""The parser of commands, whose help has to reach its reader."""

from __future__ import annotations

import argparse
import sys
from typing import Any

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """A parser that raises if its help or a version cannot be written, which argparse passes over."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)
