"""Directives of nginx's configuration files, includes resolved, each with its file and line.

The text is read by ``crossplane``. Includes are followed here, with limits: a loop, too many files or bytes, and blocks
inside blocks without end are errors with the line at fault.
"""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from balancekit._support.extras import extra
from balancekit.proxyconfig._files import Files, without_mark
from balancekit.proxyconfig._model import Origin, ProxyConfigError

with extra("proxyconfig"):
    import crossplane
    from crossplane.errors import NgxParserBaseException

__all__ = ["Directive", "nginx_directives"]

MAX_INCLUDE_DEPTH: Final = 40
MAX_BLOCK_DEPTH: Final = 100
BRACE: Final = re.compile("[{}]")
ESCAPE: Final = re.compile(r"""\\(["'\\trn])""")
BLANKS: Final = "\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""What the parser takes for blanks, and nginx for letters."""
HIDDEN: Final = {0xDC80 + byte: 0x10FF00 + byte for byte in range(128)} | {
    ord(blank): 0x10FE00 + place for place, blank in enumerate(BLANKS)
}
"""Those, and bytes that are not UTF-8 as the reader of files has them, as the parser leaves them alone."""
REVEALED: Final = {hidden: byte for byte, hidden in HIDDEN.items()}
CONTROLS: Final = {"t": "\t", "r": "\r", "n": "\n"}


class Directive(NamedTuple):
    """One directive."""

    name: str
    args: tuple[str, ...]
    origin: Origin
    block: tuple[Directive, ...] | None = None

    def __str__(self) -> str:
        return " ".join((self.name, *self.args))

    def all(self, name: str) -> Iterator[Directive]:
        """Yield the directives of that name in the block."""
        return (directive for directive in self.block or () if directive.name == name)

    def last(self, name: str) -> Directive | None:
        """Return the last directive of that name in the block."""
        found = None
        for directive in self.all(name):
            found = directive
        return found


def nginx_directives(path: str, files: Files) -> tuple[Directive, ...]:
    """Return the directives of a file and of all it includes.

    Raises
    ------
    ProxyConfigError
        If a file cannot be read, or is none.
    """
    folder = str(Path(path).absolute().parent)
    return _read(path, Origin(path, 1), folder, files, ())


def _read(
    path: str, origin: Origin, folder: str, files: Files, stack: tuple[str, ...]
) -> tuple[Directive, ...]:
    real = str(Path(path).resolve())
    if real in stack:
        raise ProxyConfigError(origin, f"{path!r} includes itself")
    if len(stack) >= MAX_INCLUDE_DEPTH:
        raise ProxyConfigError(origin, f"files included more than {MAX_INCLUDE_DEPTH} levels deep")
    text = without_mark(path, files.read(path, origin))
    parsed = _parsed(path, text)
    return _tree(parsed, path, folder, files, (*stack, real), 0)


def _parsed(path: str, text: str) -> Sequence[Mapping[str, Any]]:
    _check_depth(path, text)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8", errors="replace") as copy:
        copy.write(text.translate(HIDDEN))  # what was checked is what is parsed
        copy.flush()
        try:
            found = crossplane.parse(
                copy.name, single=True, strict=False, check_ctx=False, check_args=False, comments=False
            )
            misplaced = None if found["errors"] else _misplaced(crossplane.lex(copy.name))
        except NgxParserBaseException as error:
            raise ProxyConfigError(Origin(path, error.lineno or 1), str(error.strerror)) from None
        except (RecursionError, ValueError, KeyError) as error:
            raise ProxyConfigError(Origin(path, 1), f"not a configuration of nginx ({error})") from None
    for fault in found["errors"]:
        line = fault.get("line") or text.count("\n") + 1
        problem = (
            str(fault.get("error") or "").rpartition(" in ")[0] or "a quote or directive that does not end"
        )
        raise ProxyConfigError(Origin(path, line), problem)
    if misplaced is not None:
        raise ProxyConfigError(Origin(path, misplaced[0]), misplaced[1])
    return list(found["config"][0]["parsed"])


def _misplaced(tokens: Iterable[tuple[str, int, bool]]) -> tuple[int, str] | None:
    """Return the line of a sign that nginx refuses there and the parser does not, and why it does."""
    inside = False
    for word, line, quoted in tokens:
        if quoted or word not in {"{", "}", ";"}:
            inside = inside or quoted or not word.startswith("#")
        elif word == "}" and inside:
            return line, "a directive that no semicolon ends before the }"
        elif word != "}" and not inside:
            return line, f"no directive before the {word}"
        else:
            inside = False
    return None


def _check_depth(path: str, text: str) -> None:
    """Refuse blocks nested too deeply, before the parser recurses into them."""
    depth = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#"):
            continue
        for brace in BRACE.findall(line):
            depth += 1 if brace == "{" else -1
            if depth > MAX_BLOCK_DEPTH:
                raise ProxyConfigError(
                    Origin(path, number), f"blocks more than {MAX_BLOCK_DEPTH} levels deep"
                )


def _tree(
    parsed: Sequence[Mapping[str, Any]],
    path: str,
    folder: str,
    files: Files,
    stack: tuple[str, ...],
    depth: int,
) -> tuple[Directive, ...]:
    found: list[Directive] = []
    for entry in parsed:
        origin = Origin(path, entry["line"])
        args = tuple([_word(arg) for arg in entry["args"]])
        if entry["directive"] == "include":
            if len(args) != 1 or "block" in entry:
                raise ProxyConfigError(origin, "include has one argument and no block")
            for name in _included(args[0], folder, origin):
                found += _read(name, origin, folder, files, stack)
            continue
        block = entry.get("block")
        inner = None if block is None else _tree(block, path, folder, files, stack, depth + 1)
        found.append(Directive(_word(entry["directive"]), args, origin, inner))
    return tuple(found)


def _word(text: str) -> str:
    """Return a word as it is meant."""
    return ESCAPE.sub(_meant, text).translate(REVEALED)


def _meant(escape: re.Match[str]) -> str:
    """Return what an escape stands for; the parser resolves that of a quote only."""
    return CONTROLS.get(escape[1], escape[1])


def _included(pattern: str, folder: str, origin: Origin) -> list[str]:
    whole = str(Path(folder) / pattern)
    if glob.has_magic(pattern):
        return sorted(glob.glob(whole))  # noqa: PTH207 - absolute patterns too, as nginx takes them
    if not Path(whole).exists():
        raise ProxyConfigError(origin, f"there is no file {whole!r} to include")
    return [whole]
