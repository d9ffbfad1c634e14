"""Print the page of the transition table."""

from __future__ import annotations

import sys

from balancekit._support.output import print_page
from balancekit.ha._roles import vrrp_page

if __name__ == "__main__":
    sys.exit(print_page(vrrp_page()))
