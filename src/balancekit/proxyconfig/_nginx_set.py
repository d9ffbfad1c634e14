"""Variables that ``set`` gives a value: those of a server, then those of the location that was chosen.

A variable is followed if the last line that sets it stands outside of ``if``, and no ``break`` comes before that line.
Any other variable that a line sets is not known.

Source: nginx 1.22, ``ngx_http_rewrite_module.c``: a server's lines run in order, then those of the location; a location
inherits none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, final

from balancekit.proxyconfig._model import ProxyConfigError
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_template import Template, Value, VariableSource

__all__ = ["SetVariables"]

SETTERS: Final = frozenset({"auth_request_set", "set_by_lua", "set_by_lua_block", "js_set", "perl_set"})
"""Lines that give a variable a value which is not known here."""
BREAKS: Final = frozenset({"break", "last"})


@final
class SetVariables:
    """The variables of a block, those that it sets before all others.

    Parameters
    ----------
    outer
        The variables without those of the block.
    block
        The directives of the block.

    Raises
    ------
    ProxyConfigError
        For a ``set`` without a variable and a value.
    """

    __slots__ = ("_outer", "_values", "doubtful", "fixed")

    def __init__(self, outer: VariableSource, block: Iterable[Directive]) -> None:
        self._outer = outer
        self._values: dict[str, Value | None] = {}
        self.doubtful: Collection[str] = set(outer.doubtful)
        """Variables that are not known for some requests."""
        self.fixed: Collection[str] = set(outer.fixed)
        """Variables with the same value for all requests."""
        certain = True
        for one in block:
            if one.name == "set":
                self._set(one, certain=certain)
            elif one.name in SETTERS and one.args:
                self._forget(one.args[0])
            elif one.name == "if":
                for inner in one.all("set"):
                    self._forget(inner.args[0] if inner.args else "")
                certain = certain and not any(map(_breaks, one.block or ()))
            certain = certain and not _breaks(one)

    def _set(self, line: Directive, *, certain: bool) -> None:
        if len(line.args) != 2 or not line.args[0].startswith("$"):
            raise ProxyConfigError(line.origin, "set has a $variable and a value")
        template = Template(line.args[1], self)
        self._forget(line.args[0])
        name = line.args[0][1:].lower()
        if not certain or template.unknown:
            return
        self._values[name] = template.value
        if template.doubtful:
            self.doubtful = {*self.doubtful, name}
        if template.fixed:
            self.fixed = {*self.fixed, name}

    def _forget(self, variable: str) -> None:
        name = variable.removeprefix("$").lower()
        self._values[name] = None
        self.doubtful = {*self.doubtful} - {name}
        self.fixed = {*self.fixed} - {name}

    def find(self, name: str) -> Value | None:
        """Return how to compute a variable, ``None`` if it is not known here."""
        lower = name.lower()
        return self._values[lower] if lower in self._values else self._outer.find(name)


def _breaks(line: Directive) -> bool:
    """Whether a line may end those of its block."""
    return line.name == "break" or (
        line.name == "rewrite" and line.args[2:3] != () and line.args[2] in BREAKS
    )
