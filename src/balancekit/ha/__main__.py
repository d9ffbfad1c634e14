"""Print the page of the transition table."""

from __future__ import annotations

import sys

from balancekit._support.output import print_page
from balancekit._support.parser import Parser
from balancekit.ha._roles import vrrp_page

if __name__ == "__main__":
    Parser(prog="python -m balancekit.ha", description="Print the page of the transition table.").parsed()
    sys.exit(print_page(vrrp_page()))
