"""Table of how servers read the same request, made from recorded traces: ``python tests/oracles/disagreements.py``.

``docs/explanation/routers-disagree.md`` ends with what this prints. nginx's and HAProxy's traces show the path that the server
matched; Envoy's show only where the request went, so its path is that of ``balancekit.compat.envoy``, which the same traces hold
to the recorded pool of every request.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from balancekit.l7 import Request, Route, RouteTable, Spelling

DATA = Path(__file__).parent / "data"
COLUMNS = ("nginx", "HAProxy", "Envoy", "Envoy, normalize and merge", "`Spelling.STRICT`")
PLAIN = Spelling.envoy(normalize=False)
NORMALIZED = Spelling.envoy(merge_slashes=True)
TRACES = ("nginx-route-spelling-basic", "haproxy-route-spelling-basic", "envoy-route-spelling-basic",
          "envoy-route-spelling-basic-normalize")  # fmt: skip


def rows() -> list[tuple[str, ...]]:
    """Return the targets that are not read alike by all, with what each server reads."""
    traces = [json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")) for name in TRACES]
    table = RouteTable([Route("rest", "rest")])
    found = []
    for place, request in enumerate(traces[0]["inputs"]["requests"]):
        target = request["target"]
        sent = Request.from_url(target).path
        outputs = [trace["outputs"][place] for trace in traces]
        reads = [
            _read(outputs[0], outputs[0].get("uri"), sent),
            _read(outputs[1], outputs[1].get("path"), sent),
            _read(outputs[2], PLAIN.read(sent), sent),
            _read(outputs[3], NORMALIZED.read(sent), sent),
        ]
        if len(set(reads)) > 1:
            rejected = "#" in target or table.match(Request.from_url(target)) is None
            found.append((f"`{target}`", *reads, "rejected" if rejected else "as sent"))
    return found


def _read(output: dict[str, Any], path: str | None, sent: str) -> str:
    if "status" in output:
        return str(output["status"])
    if path == sent:
        return "as sent"
    return f"`{path.encode('latin-1').decode()}`" if path else "no path"


def table() -> str:
    """Return the table in Markdown."""
    lines = [f"| sent | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    return "\n".join([*lines, *[f"| {' | '.join(cells)} |" for cells in rows()]])


if __name__ == "__main__":
    print(table())
