"""Print the JSON Schema of configuration files: ``python -m balancekit.config``."""

from __future__ import annotations

import json
import sys

from balancekit._support.output import print_page
from balancekit._support.parser import Parser
from balancekit.config import schema

if __name__ == "__main__":
    Parser(
        prog="python -m balancekit.config",
        description="Print the JSON Schema of configuration files.",
        hint="; balancekit explain FILE checks a file",
    ).parsed()
    sys.exit(print_page(json.dumps(schema(), indent=1) + "\n"))
