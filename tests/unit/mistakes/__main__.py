"""Print the table of mistakes, message by message."""

from __future__ import annotations

import sys

from tests.unit.mistakes.test_mistakes import ROWS

for row in ROWS:
    said = row.said()
    sys.stdout.write(f"{row.name:40} {said.how:22} {said.text[:300]}\n")
