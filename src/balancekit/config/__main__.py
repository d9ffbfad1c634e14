"""Print the JSON Schema of configuration files: ``python -m balancekit.config``."""

from __future__ import annotations

import json
import sys

from balancekit._support.output import print_page
from balancekit.config import schema

if __name__ == "__main__":
    sys.exit(print_page(json.dumps(schema(), indent=1) + "\n"))
