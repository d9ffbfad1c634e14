"""Signatures as they are at run time, where overloads for type checkers hide parameters behind ``**options``."""

from __future__ import annotations

from typing import Any

from sphinx.pycode import ModuleAnalyzer

MODULES = ("balancekit.balancer",)


def show_parameters(_app: Any) -> None:
    """Drop overloads that take ``**options: Unpack[...]``: the implementation spells the parameters out."""
    for name in MODULES:
        analyzer = ModuleAnalyzer.for_module(name)
        analyzer.analyze()
        for place, overloads in list(analyzer.overloads.items()):
            if any(
                "Unpack[" in str(parameter.annotation)
                for one in overloads
                for parameter in one.parameters.values()
            ):
                del analyzer.overloads[place]


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", show_parameters)
    return {"parallel_read_safe": True}
