"""Print the page of transition tables."""

from __future__ import annotations

import sys

from balancekit._support.output import print_page
from balancekit._support.parser import Parser
from balancekit.health._tables import page

if __name__ == "__main__":
    Parser(prog="python -m balancekit.health", description="Print the page of transition tables.").parsed()
    sys.exit(print_page(page()))
